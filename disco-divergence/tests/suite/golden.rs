//! Golden values: every divergence of `exact.json`, exactly and from a million samples.

use disco_core::{Distribution, Space, Streams, Table};
use disco_divergence::{Divergence, Estimator, FDivergence, LogZ, Renyi, Scored, TwoSamples, exact};

/// Exact sums over the space.
const EXACT: f64 = 1e-9;
const SAMPLES: usize = 1_000_000;
/// An estimate is within so many standard errors of the truth, but for one in 16,000.
const ERRORS: f64 = 4.0;

struct Golden {
    log_target: Vec<f64>,
    log_policy: Vec<f64>,
    expected: Vec<(FDivergence, f64)>,
}

fn golden() -> Golden {
    let folder = std::env::var("DISCO_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join("exact.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let row = &json["divergences"];
    let logs = |name: &str| -> Vec<f64> {
        let probabilities: Vec<f64> = serde_json::from_value(row[name].clone()).unwrap();
        probabilities.iter().map(|probability| probability.ln()).collect()
    };
    let mut expected: Vec<(FDivergence, f64)> = [
        ("forward-kl", "kl_p_pi"),
        ("reverse-kl", "kl_pi_p"),
        ("tv", "total_variation"),
        ("js", "jensen_shannon"),
        ("chi2-reverse", "chi2_pi_p"),
        ("chi2-forward", "chi2_p_pi"),
        ("hellinger", "squared_hellinger"),
    ]
    .map(|(name, key)| (name.parse().unwrap(), row[key].as_f64().unwrap()))
    .to_vec();
    let orders = row["alpha"].as_object().unwrap();
    assert!(!orders.is_empty());
    for (order, value) in orders {
        expected.push((FDivergence::alpha(order.parse().unwrap()).unwrap(), value.as_f64().unwrap()));
    }
    Golden { log_target: logs("p"), log_policy: logs("pi"), expected }
}

#[test]
fn golden_divergences_exactly() {
    let golden = golden();
    for (divergence, expected) in &golden.expected {
        let found = exact(divergence, &golden.log_target, &golden.log_policy).unwrap();
        assert!((found - expected).abs() < EXACT * expected.max(1.0), "{divergence}: {found}, {expected}");
    }
}

#[test]
fn golden_relations_between_divergences() {
    let golden = golden();
    let at = |name: &str| {
        exact(&name.parse::<FDivergence>().unwrap(), &golden.log_target, &golden.log_policy).unwrap()
    };
    let same = |found: f64, expected: f64| {
        assert!((found - expected).abs() < EXACT * expected, "{found} {expected}")
    };
    same(at("jeffreys"), at("forward-kl") + at("reverse-kl"));
    same(at("alpha:0"), at("forward-kl"));
    same(at("alpha:1"), at("reverse-kl"));
    same(at("alpha:0.5"), 4.0 * at("hellinger"));
    same(at("alpha:2"), 0.5 * at("chi2-reverse"));
    same(at("alpha:-1"), 0.5 * at("chi2-forward"));
    same(at("skewed-js:0.5"), at("js"));
    for order in [0.3, 1.0 - 1e-10, 1.0, 1.7] {
        let renyi = Renyi::new(order).unwrap();
        let found = renyi.from_alpha(at(&renyi.alpha().to_string())).unwrap();
        let terms = golden.log_target.iter().zip(&golden.log_policy);
        let moment: f64 = terms.map(|(p, pi)| (p + order * (pi - p)).exp()).sum();
        let expected =
            if (order - 1.0).abs() < 1e-6 { at("reverse-kl") } else { moment.ln() / (order - 1.0) };
        assert!((found - expected).abs() < 1e-8 * expected, "{order}: {found} {expected}");
    }
}

/// Positions drawn from a table, with the log-probability of each.
fn draw(log_probs: &[f64], key: u64, count: usize) -> (Vec<usize>, Vec<f64>) {
    let space = Space::new(0..log_probs.len()).unwrap();
    let table = Table::from_log_scores(space, log_probs.to_vec()).unwrap();
    let samples = table.sample(&(), &Streams::new(key, count)).unwrap();
    samples.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip()
}

fn take(log_probs: &[f64], positions: &[usize], shift: f64) -> Vec<f64> {
    positions.iter().map(|&position| log_probs[position] + shift).collect()
}

/// A mean of a million samples is normal enough for four errors if the skewness of its terms, over the root
/// of their number, is below this. Heavier terms (chi-squared from a proposal that hardly ever draws what
/// matters) have no error that a sample could tell, and the million is no test of them.
const SKEWNESS: f64 = 0.1;

/// Whether the contributions `u f(v/u)` of samples of `log_proposal` are that light, by exact sums.
fn is_light(golden: &Golden, divergence: &FDivergence, log_proposal: &[f64]) -> bool {
    let terms: Vec<(f64, f64)> = (0..log_proposal.len())
        .map(|x| {
            let (log_target, log_policy) = (golden.log_target[x], golden.log_policy[x]);
            let term = divergence.weighted_generator(log_policy - log_target, log_target - log_proposal[x]);
            (log_proposal[x].exp(), term)
        })
        .collect();
    let mean: f64 = terms.iter().map(|(q, term)| q * term).sum();
    let central = |power: i32| terms.iter().map(|(q, term)| q * (term - mean).abs().powi(power)).sum::<f64>();
    central(3) / central(2).powf(1.5) / (SAMPLES as f64).sqrt() < SKEWNESS
}

#[track_caller]
fn within_errors(
    found: &[disco_divergence::DivergenceEstimate],
    golden: &Golden,
    log_proposal: &[f64],
    from: &str,
) {
    assert_eq!(found.len(), golden.expected.len());
    let light = |divergence: &FDivergence| is_light(golden, divergence, log_proposal);
    for (found, (divergence, expected)) in found.iter().zip(&golden.expected) {
        if !light(divergence) {
            continue;
        }
        let estimate = found.estimate;
        let errors = (estimate.value - expected) / estimate.std_error;
        assert!(
            errors.abs() < ERRORS,
            "{divergence} from {from}: {errors} errors off, {estimate:?} {expected}"
        );
    }
}

/// The proposal in equal parts of p, pi, and the shares that each outcome has in the divergences, on average.
fn importance(golden: &Golden) -> Vec<f64> {
    let count = golden.expected.len() as f64;
    (golden.log_target.iter().zip(&golden.log_policy))
        .map(|(p, pi)| {
            let share = |(divergence, total): &(FDivergence, f64)| {
                divergence.weighted_generator(pi - p, *p) / total / count
            };
            let terms: f64 = golden.expected.iter().map(share).sum();
            ((p.exp() + pi.exp() + terms) / 3.0).ln()
        })
        .collect()
}

#[test]
fn golden_divergences_from_a_million_samples() {
    let golden = golden();
    let divergences: Vec<FDivergence> = golden.expected.iter().map(|(divergence, _)| *divergence).collect();
    // A proposal that is neither: the mixture of both with the uniform distribution.
    let uniform = 1.0 / golden.log_target.len() as f64;
    let mixture: Vec<f64> = (golden.log_target.iter().zip(&golden.log_policy))
        .map(|(p, pi)| ((p.exp() + pi.exp() + uniform) / 3.0).ln())
        .collect();
    // And one that goes where the terms are: with k divergences, none is above 3k times its mean.
    let terms = importance(&golden);
    let served = |divergence: &FDivergence, proposal: &[f64]| is_light(&golden, divergence, proposal);
    for divergence in &divergences {
        let proposals = [&golden.log_policy, &golden.log_target, &mixture, &terms];
        let tested = proposals.iter().any(|proposal| served(divergence, proposal));
        assert!(tested, "no proposal tests {divergence}");
    }
    // The target is given as P = e^5 p, the policy once as 0.01 pi.
    for (seed, (name, proposal)) in [
        ("policy", &golden.log_policy),
        ("target", &golden.log_target),
        ("mixture", &mixture),
        ("terms", &terms),
    ]
    .into_iter()
    .enumerate()
    {
        let (positions, log_proposal) = draw(proposal, seed as u64, SAMPLES);
        let target = take(&golden.log_target, &positions, 5.0);
        let policy = take(&golden.log_policy, &positions, 0.0);
        let estimator = Estimator::new(&target, &policy, &log_proposal).unwrap();
        let known = estimator.clone().target_log_z(LogZ::Known(5.0)).unwrap();
        within_errors(
            &known.estimate(&divergences).unwrap().divergences,
            &golden,
            proposal,
            &format!("{name}, Z known"),
        );
        let found = estimator.estimate(&divergences).unwrap();
        within_errors(&found.divergences, &golden, proposal, &format!("{name}, Z estimated"));
        let log_z = found.target_log_z;
        assert!((log_z.value - 5.0).abs() <= ERRORS * log_z.std_error + EXACT, "{log_z:?}");
        let policy = take(&golden.log_policy, &positions, 0.01f64.ln());
        let estimator = Estimator::new(&target, &policy, &log_proposal).unwrap();
        let both = estimator.policy_log_z(LogZ::Estimated).unwrap();
        within_errors(
            &both.estimate(&divergences).unwrap().divergences,
            &golden,
            proposal,
            &format!("{name}, both Z"),
        );
    }
}

#[test]
fn golden_divergences_between_two_sampled_distributions() {
    let golden = golden();
    let divergences: Vec<FDivergence> = golden.expected.iter().map(|(divergence, _)| *divergence).collect();
    let (from_target, _) = draw(&golden.log_target, 11, SAMPLES / 2);
    let (from_policy, _) = draw(&golden.log_policy, 12, SAMPLES / 4);
    let shift = -3.0;
    let columns = [&from_target, &from_policy].map(|positions| {
        (take(&golden.log_target, positions, shift), take(&golden.log_policy, positions, 0.0))
    });
    let [target, policy] =
        [0, 1].map(|i: usize| Scored { log_target: &columns[i].0, log_policy: &columns[i].1 });
    let samples = TwoSamples::new(target, policy).unwrap();
    let known = samples.clone().log_ratio_z(LogZ::Known(shift)).unwrap().estimate(&divergences).unwrap();
    // The pool of both: two thirds of the target's samples, one third of the policy's.
    let mixture = golden.log_target.iter().zip(&golden.log_policy);
    let mixture: Vec<f64> = mixture.map(|(p, pi)| ((2.0 * p.exp() + pi.exp()) / 3.0).ln()).collect();
    within_errors(&known.divergences, &golden, &mixture, "both, Z known");
    let found = samples.log_ratio_z(LogZ::Estimated).unwrap().estimate(&divergences).unwrap();
    within_errors(&found.divergences, &golden, &mixture, "both, Z estimated");
    assert!((found.log_ratio_z.value - shift).abs() < ERRORS * found.log_ratio_z.std_error);
}
