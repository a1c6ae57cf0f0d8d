//! Log-scores from -1e300 to 1e300, such as a scorer's soft "minus infinity": values against mpmath
//! (reference/huge_scores.py writes the file), and bounds for every input, exact and estimated.

use disco_divergence::{Divergence, Estimator, FDivergence, LogZ, Renyi, Scored, TwoSamples, exact};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::Value;

use crate::properties::all;

/// Sums of four terms, each exact to a few units in the last place, relative to the value and to 1.
const RELATIVE: f64 = 1e-11;

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::INFINITY)
}

#[track_caller]
fn is_near(found: f64, expected: f64, what: &str) {
    let near = (found - expected).abs() <= RELATIVE * (1.0 + expected.abs());
    // At the end of the range, a sum of rounded terms is infinite.
    let overflows = found == f64::INFINITY && expected > 1e308;
    assert!(found == expected || near || overflows, "{what}: {found}, expected {expected}");
}

#[test]
fn exact_values_agree_with_mpmath() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("reference/huge_scores.json")).unwrap();
    assert_eq!(cases.len(), 52);
    for case in &cases {
        let (target, policy) = (numbers(&case["log_target"]), numbers(&case["log_policy"]));
        for (name, expected) in case["divergences"].as_object().unwrap() {
            let divergence: FDivergence = name.parse().unwrap();
            let found = exact(&divergence, &target, &policy).unwrap();
            is_near(found, number(expected), &format!("{name} of {target:?} and {policy:?}"));
        }
        for (order, expected) in case["renyi"].as_object().unwrap() {
            let found = Renyi::new(order.parse().unwrap()).unwrap().exact(&target, &policy).unwrap();
            is_near(found, number(expected), &format!("Renyi {order} of {target:?} and {policy:?}"));
        }
    }
}

/// A log-score: ordinary, huge, or one that scorers give for "impossible".
fn score() -> impl Strategy<Value = f64> {
    let huge = (-300.0..300.0, proptest::bool::ANY).prop_map(|(exponent, negative): (f64, bool)| {
        10f64.powf(exponent) * if negative { -1.0 } else { 1.0 }
    });
    prop_oneof![
        3 => -5.0..5.0,
        3 => huge,
        2 => proptest::sample::select(vec![
            -1e16, -1e30, f64::from(f32::MIN), f64::MIN, -1e300, 1e300, f64::NEG_INFINITY, -745.0, -1e9,
        ]),
    ]
}

fn scores(n: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(score(), n)
        .prop_filter("some probability", |scores| scores.iter().any(|score| *score > f64::NEG_INFINITY))
}

fn pair() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (1..8usize).prop_flat_map(|n| (scores(n), scores(n)))
}

/// The largest value of a divergence: `f(0) + f'(inf)` in the form with `f'(1) = 0`; 1 for total variation.
fn largest(divergence: &FDivergence) -> f64 {
    match divergence {
        FDivergence::TotalVariation | FDivergence::SquaredHellinger => 1.0,
        FDivergence::JensenShannon => 2f64.ln(),
        FDivergence::Alpha(order) if order.get() > 0.0 && order.get() < 1.0 => {
            1.0 / (order.get() * (1.0 - order.get()))
        }
        FDivergence::SkewedKl(weight) => -(-weight.get()).ln_1p(),
        FDivergence::SkewedJs(weight) => {
            let w = weight.get();
            -w * w.ln() - (1.0 - w) * (-w).ln_1p()
        }
        _ => f64::INFINITY,
    }
}

/// Refused for digits that are not there, with the sample that has the huge score named; or a value within its bounds.
#[track_caller]
fn holds(
    divergence: &FDivergence,
    found: Result<f64, disco_divergence::Error>,
    huge: &dyn Fn(usize) -> bool,
) {
    match found {
        Ok(value) => {
            let most = largest(divergence) * (1.0 + 1e-14);
            let supremum = divergence.supremum();
            assert!(supremum == most || (supremum / most - 1.0).abs() < 1e-13, "{divergence}: {supremum}");
            assert!(value >= 0.0 && value <= most, "{divergence}: {value} beyond {most}");
        }
        Err(error) => {
            let text = error.to_string();
            let sample = text.split("sample ").nth(1).and_then(|rest| rest.split([',', ' ', ';']).next());
            let index: usize = sample.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
            let overflows = text.contains("where exp overflows");
            let unbounded = largest(divergence) == f64::INFINITY;
            assert!(huge(index) && (overflows || unbounded), "{divergence}: {text}");
        }
    }
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(15),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn exact_bounds_hold(count: u32) {
    proptest!(cases(count), |(divergence in all(), (p, pi) in pair())| {
        let huge = |i: usize| p[i].abs().max(pi[i].abs()) > 1e8;
        let found = exact(&divergence, &p, &pi);
        holds(&divergence, found, &huge);
        holds(&divergence, exact(&divergence, &p, &p), &huge);
        if let FDivergence::Alpha(order) = divergence && order.get() > 0.0 {
            let renyi = Renyi::new(order.get()).unwrap().exact(&p, &pi);
            assert!(renyi.as_ref().is_ok_and(|value| *value >= 0.0) || renyi.is_err(), "{renyi:?}");
        }
    });
}

#[test]
fn exact_values_stay_within_their_bounds() {
    exact_bounds_hold(20_000);
}

#[test]
#[ignore = "sweep: 2,000,000 pairs of distributions, 1 minute"]
fn sweep_exact_values_stay_within_their_bounds() {
    exact_bounds_hold(2_000_000);
}

fn estimates_hold(count: u32) {
    let strategy = (1..8usize)
        .prop_flat_map(|n| (scores(n), scores(n), proptest::collection::vec(-8.0..0.0, n), 0..3u8));
    proptest!(cases(count), |(divergence in all(), (p, pi, q, known) in strategy)| {
        let huge = |i: usize| p[i].abs().max(pi[i].abs()) > 100.0;
        let log_z = |is_known| if is_known { LogZ::Known(0.0) } else { LogZ::Estimated };
        let estimator = Estimator::new(&p, &pi, &q).unwrap();
        let estimator = estimator.target_log_z(log_z(known == 1)).unwrap();
        let found = estimator.policy_log_z(log_z(known > 0)).unwrap().estimate(&[divergence]);
        if let Ok(found) = &found {
            let DivergenceParts { std_error, ess, largest_share } = parts(&found.divergences[0]);
            let n = p.len() as f64;
            assert!(std_error >= 0.0, "{std_error}");
            assert!((1.0..=n).contains(&ess) && largest_share <= 1.0 + 1e-12, "{ess} {largest_share}");
        }
        holds(&divergence, found.map(|found| found.divergences[0].estimate.value), &huge);
    });
}

struct DivergenceParts {
    std_error: f64,
    ess: f64,
    largest_share: f64,
}

fn parts(found: &disco_divergence::DivergenceEstimate) -> DivergenceParts {
    let disco_core::Estimate { std_error, ess, .. } = found.estimate;
    DivergenceParts { std_error, ess, largest_share: found.largest_share }
}

#[test]
fn estimates_stay_within_their_bounds() {
    estimates_hold(20_000);
}

#[test]
#[ignore = "sweep: 2,000,000 sets of samples, 1 minute"]
fn sweep_estimates_stay_within_their_bounds() {
    estimates_hold(2_000_000);
}

#[test]
fn estimates_from_two_samples_stay_within_their_bounds() {
    // Of each, the samples that it drew have finite scores.
    let drawn = |n| proptest::collection::vec(score().prop_filter("drawn", |score| score.is_finite()), n);
    let strategy = (1..6usize, 1..6usize)
        .prop_flat_map(move |(n, m)| ((drawn(n), scores(n)), (scores(m), drawn(m)), proptest::bool::ANY));
    proptest!(cases(20_000), |(divergence in all(), (from_p, from_pi, estimated) in strategy)| {
        let (p, pi) = ([&from_p.0[..], &from_pi.0].concat(), [&from_p.1[..], &from_pi.1].concat());
        let two = TwoSamples::new(
            Scored { log_target: &from_p.0, log_policy: &from_p.1 },
            Scored { log_target: &from_pi.0, log_policy: &from_pi.1 },
        ).unwrap();
        let log_z = if estimated { LogZ::Estimated } else { LogZ::Known(0.0) };
        match two.log_ratio_z(log_z).unwrap().estimate(&[divergence]) {
            Err(disco_divergence::Error::NoOverlap) => assert!(estimated),
            found => {
                let huge = |i: usize| p[i].abs().max(pi[i].abs()) > 100.0;
                if let Ok(found) = &found {
                    assert!(found.log_ratio_z.value.is_finite() && found.log_ratio_z.std_error >= 0.0);
                    assert!(parts(&found.divergences[0]).std_error >= 0.0);
                }
                holds(&divergence, found.map(|found| found.divergences[0].estimate.value), &huge);
            }
        }
    });
}

#[test]
fn soft_constraints_are_hard_ones() {
    // Outcome 2 is forbidden, in the two ways that a scorer can say so: the bounded divergences are the same.
    let policy = [0.1f64, 0.2, 0.3, 0.4].map(f64::ln);
    let target = |forbidden| [0.3, 1.2, forbidden, 2.0];
    for divergence in ["tv", "js", "hellinger", "alpha:0.5", "skewed-kl:0.9", "skewed-js:0.1", "forward-kl"] {
        let divergence: FDivergence = divergence.parse().unwrap();
        let expected = exact(&divergence, &target(f64::NEG_INFINITY), &policy).unwrap();
        for penalty in [-1e16, -1e30, f64::from(f32::MIN), f64::MIN] {
            let found = exact(&divergence, &target(penalty), &policy).unwrap();
            is_near(found, expected, &format!("{divergence} with {penalty}"));
            // From one proposal of each outcome.
            let proposal = [0.25f64.ln(); 4];
            let (soft, hard) = (target(penalty), target(f64::NEG_INFINITY));
            let found = Estimator::new(&soft, &policy, &proposal).unwrap();
            let found = found.estimate(&[divergence]).unwrap();
            let estimate = found.divergences[0].estimate;
            is_near(estimate.value, expected, &format!("estimate of {divergence} with {penalty}"));
            let hard = Estimator::new(&hard, &policy, &proposal).unwrap();
            let hard = hard.estimate(&[divergence]).unwrap().divergences[0].estimate;
            is_near(estimate.std_error, hard.std_error, &format!("error of {divergence} with {penalty}"));
            // A weight below every f64 adds nothing where a slope is infinite, and infinitely much where it is hard.
            assert!((found.policy_mass_outside.value - 0.3).abs() < 1e-15);
        }
    }
}

#[test]
fn a_divergence_of_ones_own_stays_within_its_bound() {
    /// Total variation with the methods that the trait gives.
    #[derive(Debug)]
    struct Mine;
    impl Divergence for Mine {
        fn name(&self) -> std::borrow::Cow<'static, str> {
            "mine".into()
        }
        fn generator(&self, l: f64) -> f64 {
            l.exp_m1().abs() / 2.0
        }
        fn derivative(&self, l: f64) -> f64 {
            0.5 * if l == 0.0 { 0.0 } else { l.signum() }
        }
        fn derivative_at_infinity(&self) -> f64 {
            0.5
        }
    }
    let policy = [0.1f64, 0.2, 0.3, 0.4].map(f64::ln);
    for penalty in [-720.0, -750.0, -1e16, f64::MIN, f64::NEG_INFINITY] {
        for target in [[0.3, 1.2, penalty, 2.0], [penalty, penalty, 0.0, penalty]] {
            let expected = exact(&FDivergence::TotalVariation, &target, &policy).unwrap();
            is_near(exact(&Mine, &target, &policy).unwrap(), expected, "total variation");
        }
    }
}

#[test]
fn a_value_without_digits_is_refused_by_the_sample_that_has_the_huge_score() {
    // Sample 2 has 1e16 nats less than the others under the policy, and twice as many under the target: its term of
    // chi-squared, pi^2/p, is the exponential of a number that f64 knows to about 2.
    let (target, policy) = ([0.0, 0.0, -2e16 - 4.0], [0.0, 0.0, -1e16]);
    let error = exact(&FDivergence::ChiSquaredReverse, &target, &policy).unwrap_err().to_string();
    assert!(error.starts_with("log-score of sample 2, ") && error.contains("`chi2-reverse`"), "{error}");
    assert!(exact(&FDivergence::KlReverse, &target, &policy).unwrap() < 1e-12);
}
