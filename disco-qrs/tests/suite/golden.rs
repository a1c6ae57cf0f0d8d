//! Golden values: every row of the QRS tables of `exact.json`, exactly and from a million samples.

use disco_core::{
    Discrete, Distribution, Estimate, Streams,
    statrs::{distribution::Poisson, function::gamma::ln_gamma},
};
use disco_qrs::{Curve, Point, Ratios, Warning};
use serde_json::Value;

/// Exact sums over 0..OUTCOMES; the tail beyond is below 1e-100.
const EXACT: f64 = 1e-9;
const OUTCOMES: u64 = 200;
const SAMPLES: usize = 1_000_000;
/// An estimate is within so many standard errors of the truth, but for one in 16,000.
const ERRORS: f64 = 4.0;

fn golden(table: &str) -> Value {
    let folder = std::env::var("DISCO_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join("exact.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json[table].clone()
}

/// A Poisson target with a factor, everywhere or on odd numbers, and a Poisson proposal, as the table names
/// them: "Poisson(11)", "37*Poisson(11) on odd numbers".
struct Problem {
    target_mean: f64,
    log_factor: f64,
    odd: bool,
    proposal_mean: f64,
    rows: Vec<Value>,
}

fn mean_of(name: &str) -> f64 {
    let from = name.find("Poisson(").unwrap() + "Poisson(".len();
    name[from..].split(')').next().unwrap().parse().unwrap()
}

fn log_poisson(mean: f64, x: u64) -> f64 {
    x as f64 * mean.ln() - mean - ln_gamma(x as f64 + 1.0)
}

impl Problem {
    fn read(table: &str) -> Self {
        let json = golden(table);
        let target = json["target"].as_str().unwrap();
        let factor: f64 = target.split_once('*').map_or(1.0, |(factor, _)| factor.parse().unwrap());
        Self {
            target_mean: mean_of(target),
            log_factor: factor.ln(),
            odd: target.contains("odd"),
            proposal_mean: mean_of(json["proposal"].as_str().unwrap()),
            rows: json["rows"].as_array().unwrap().clone(),
        }
    }

    fn log_target(&self, x: u64) -> f64 {
        if self.odd && x.is_multiple_of(2) {
            f64::NEG_INFINITY
        } else {
            self.log_factor + log_poisson(self.target_mean, x)
        }
    }

    /// Diagnostics at the betas of the table, with the mean as a feature.
    fn curve(&self, outcomes: &[u64], ratios: Ratios) -> Curve {
        let values: Vec<f64> = outcomes.iter().map(|x| *x as f64).collect();
        let grid: Vec<f64> = self.rows.iter().map(|row| row["beta"].as_f64().unwrap().ln()).collect();
        assert!(!grid.is_empty());
        ratios.with_feature("mean", &values).unwrap().curve(&grid).unwrap()
    }

    fn exact(&self) -> Curve {
        let outcomes: Vec<u64> = (0..OUTCOMES).collect();
        let target: Vec<f64> = outcomes.iter().map(|x| self.log_target(*x)).collect();
        let proposal: Vec<f64> = outcomes.iter().map(|x| log_poisson(self.proposal_mean, *x)).collect();
        self.curve(&outcomes, Ratios::exact(&target, &proposal).unwrap())
    }

    /// The curve from a million samples, and how often each outcome came.
    fn sampled(&self, key: u64) -> (Curve, Vec<f64>) {
        let proposal = Discrete(Poisson::new(self.proposal_mean).unwrap());
        let samples = proposal.sample(&(), &Streams::new(key, SAMPLES)).unwrap();
        let outcomes: Vec<u64> = samples.iter().map(|sample| sample.value).collect();
        let target: Vec<f64> = outcomes.iter().map(|x| self.log_target(*x)).collect();
        let log_proposal: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
        let mut counts = vec![0.0; OUTCOMES as usize];
        outcomes.iter().for_each(|x| counts[*x as usize] += 1.0);
        (self.curve(&outcomes, Ratios::new(&target, &log_proposal).unwrap()), counts)
    }

    /// `P/q` of each outcome.
    fn ratio(&self, x: u64) -> f64 {
        (self.log_target(x) - log_poisson(self.proposal_mean, x)).exp()
    }

    /// Total variation, KL(p||p_beta) and KL(p_beta||p) of what these masses of the outcomes say, by sums
    /// written out.
    fn by_hand(&self, masses: &[f64], beta: f64) -> [f64; 3] {
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            masses
                .iter()
                .zip(0..)
                .filter(|(mass, _)| **mass > 0.0)
                .map(|(mass, x)| mass * of(self.ratio(x)))
                .sum()
        };
        let (z, z_beta) = (sum(&|w| w), sum(&|w| w.min(beta)));
        let (p, sampler) = (|w: f64| w / z, |w: f64| w.min(beta) / z_beta);
        let kl = |from: f64, to: f64| if from > 0.0 { from * (from / to).ln() } else { 0.0 };
        [
            sum(&|w| (p(w) - sampler(w)).abs() / 2.0),
            sum(&|w| kl(p(w), sampler(w))),
            sum(&|w| kl(sampler(w), p(w))),
        ]
    }

    /// Where few or no proposals lie below beta, the rate has no normal error to go by, nor has `Z_beta`, which is
    /// beta times the rate. There it is what its samples say, their number below beta is what the proposal's law has,
    /// and where none is, what the truth lacks to 1 is no more than that many samples can leave unseen.
    fn compare_below(&self, row: &Value, point: &Point, masses: &[f64]) {
        let (n, beta) = (SAMPLES as f64, row["beta"].as_f64().unwrap());
        let is_below = |x: &u64| self.ratio(*x) < beta * (1.0 - 1e-12);
        let below = |of: &dyn Fn(u64) -> f64| (0..OUTCOMES).filter(is_below).map(of).sum::<f64>();
        let count = (n * below(&|x| masses[x as usize])).round() as usize;
        let warned = point.warnings.iter().find_map(|warning| match warning {
            Warning::NoneBelow => Some(0),
            Warning::FewBelow { below } => Some(*below),
            _ => None,
        });
        assert_eq!(warned, (count < Warning::FEW_BELOW).then_some(count), "at {beta}");
        let mean = n * below(&|x| log_poisson(self.proposal_mean, x).exp());
        if mean < 1e4 {
            let (least, most) = poisson_range(mean);
            assert!((least..=most).contains(&(count as f64)), "at {beta}: {count} below, expected {mean}");
        }
        let lacks = 1.0 - point.acceptance_rate.value;
        let by_hand = below(&|x| masses[x as usize] * (1.0 - self.ratio(x) / beta));
        // A sum of a million terms is rounded by more than one number.
        assert!((lacks - by_hand).abs() < 1e-11, "at {beta}: {lacks} {by_hand}");
        assert!((point.log_z_beta.value - beta.ln() - point.acceptance_rate.value.ln()).abs() < 1e-12);
        if count == 0 {
            // A variance of zero, but for rounding.
            assert!(lacks.abs() < 1e-12 && point.acceptance_rate.std_error < 1e-9);
            let unseen = |alpha: f64| -(alpha.ln() / n).exp_m1();
            assert!((point.below_at_most / unseen(0.05) - 1.0).abs() < 1e-9);
            let truth = row["acceptance_rate"].as_f64().unwrap();
            assert!((-1e-12..=unseen(ALPHA)).contains(&(1.0 - truth)), "at {beta}: {truth}");
        }
    }

    /// Compares each number of each row with `close`, which is told its name.
    fn compare(&self, curve: &Curve, close: impl Fn(&str, Estimate, f64, bool)) {
        for (row, point) in self.rows.iter().zip(&curve.points) {
            let (few_above, few_below) = (few_above(point), few_below(point));
            let z_beta = Estimate {
                value: point.log_z_beta.value.exp(),
                std_error: point.log_z_beta.std_error * point.log_z_beta.value.exp(),
                ess: point.log_z_beta.ess,
            };
            let numbers = [
                ("z_beta", z_beta, few_below),
                ("acceptance_rate", point.acceptance_rate, few_below),
                ("tv", point.total_variation, few_above),
                ("kl_target_qrs", point.forward_kl, few_above),
                ("reverse_kl_qrs_target", point.reverse_kl, few_above),
                ("mean", point.features[0], false),
            ];
            let given: Vec<_> = numbers.into_iter().filter(|(name, ..)| !row[*name].is_null()).collect();
            assert!(given.len() >= 5);
            for (name, estimate, doubtful) in given {
                close(&format!("{name} at {}", row["beta"]), estimate, row[name].as_f64().unwrap(), doubtful);
            }
        }
    }
}

/// Whether the divergences have no normal error.
fn few_above(point: &Point) -> bool {
    point.warnings.iter().any(|warning| matches!(warning, Warning::FewAbove { .. } | Warning::NoneAbove))
}

/// Whether the acceptance rate has none.
fn few_below(point: &Point) -> bool {
    point.warnings.iter().any(|warning| matches!(warning, Warning::FewBelow { .. } | Warning::NoneBelow))
}

#[track_caller]
fn exactly(table: &str) {
    let problem = Problem::read(table);
    problem.compare(&problem.exact(), |name, found, expected, _| {
        let error = (found.value - expected).abs();
        assert!(error < EXACT * expected.abs().max(1.0), "{name}: {found:?}, expected {expected}");
        assert_eq!(found.std_error, 0.0);
    });
}

#[track_caller]
fn from_samples(table: &str, key: u64) {
    let problem = Problem::read(table);
    let (curve, counts) = problem.sampled(key);
    assert!(curve.points.iter().filter(|point| !few_above(point)).count() >= 3);
    assert!(curve.points.iter().filter(|point| !few_below(point)).count() >= 3);
    // 1e-12: rounding, where an error is zero. Doubtful estimates are compared below.
    problem.compare(&curve, |name, found, expected, doubtful| {
        let errors = (found.value - expected).abs() / (found.std_error + 1e-12);
        assert!(doubtful || errors < ERRORS, "{name}: {found:?}, expected {expected}: {errors} errors off");
    });
    // Where few or no proposals lie above beta, which the curve says, a divergence has no normal error to go by.
    // There (and everywhere) it is what its samples say, by sums written out, and their number above beta is
    // what the proposal's law has: the two together are all there is to a mean over so few.
    let masses: Vec<f64> = counts.iter().map(|count| count / SAMPLES as f64).collect();
    for (row, point) in problem.rows.iter().zip(&curve.points) {
        let beta = row["beta"].as_f64().unwrap();
        let found = [point.total_variation, point.forward_kl, point.reverse_kl].map(|found| found.value);
        for (found, expected) in found.iter().zip(problem.by_hand(&masses, beta)) {
            assert!((found - expected).abs() < 1e-12 + EXACT * expected, "at {beta}: {found} {expected}");
        }
        let above = (0..OUTCOMES).filter(|x| problem.ratio(*x) > beta * (1.0 + 1e-12));
        let mean: f64 = above.map(|x| SAMPLES as f64 * log_poisson(problem.proposal_mean, x).exp()).sum();
        let count = point.above as f64;
        if mean < 1e4 {
            let (least, most) = poisson_range(mean);
            assert!((least..=most).contains(&count), "at {beta}: {count} above, expected {mean}");
        }
        problem.compare_below(row, point, &masses);
    }
}

/// A probability that is as small as that of four standard errors on one side.
const ALPHA: f64 = 3.2e-5;

/// Where a Poisson number lies but for a probability of 3e-5 on either side: as for four standard errors.
fn poisson_range(mean: f64) -> (f64, f64) {
    use disco_core::statrs::distribution::DiscreteCDF;
    let poisson = Poisson::new(mean.max(1e-300)).unwrap();
    let least = (0..).find(|k| poisson.cdf(*k) > ALPHA).unwrap();
    let most = (0..).find(|k| poisson.sf(*k) < ALPHA).unwrap();
    (least as f64, most as f64)
}

#[test]
fn golden_qrs_poisson_exactly() {
    exactly("qrs_poisson");
}

#[test]
fn golden_qrs_odd_poisson_exactly() {
    exactly("qrs_odd_poisson");
    let (problem, z) = (Problem::read("qrs_odd_poisson"), golden("qrs_odd_poisson")["z"].as_f64().unwrap());
    assert!((problem.exact().log_z.value - z.ln()).abs() < EXACT);
}

#[test]
fn golden_qrs_poisson_from_a_million_samples() {
    from_samples("qrs_poisson", 1);
}

#[test]
fn golden_qrs_odd_poisson_from_a_million_samples() {
    from_samples("qrs_odd_poisson", 2);
    let ((curve, _), z) =
        (Problem::read("qrs_odd_poisson").sampled(2), golden("qrs_odd_poisson")["z"].as_f64().unwrap());
    assert!((curve.log_z.value - z.ln()).abs() < ERRORS * curve.log_z.std_error);
}
