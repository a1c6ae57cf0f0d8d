//! Outside references: the rows of `exact.json` that concern spaces, features and importance weights.
//!
//! They are read from the folder that `DISCO_GOLDEN` names, by default the copy in the repository.

use disco_core::{
    Discrete, Distribution, Exponential, Feature, FnFeature, ImportanceWeights, Mixture, Product, Scorer,
    Space, Streams, Table, Total, feature, scorer, statrs::distribution::Poisson,
};
use serde::Deserialize;

/// Exact sums agree with the reference to this.
const EXACT: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    maximum_entropy: Vec<Problem>,
    maximum_entropy_contexts: ContextProblem,
    qrs_odd_poisson: OddPoisson,
}

/// A base over `0..n`, feature values by outcome, and the fitted target.
#[derive(Clone, Deserialize)]
struct Problem {
    base_log_probs: Vec<f64>,
    features: Vec<Vec<f64>>,
    support: Vec<bool>,
    target_moments: Vec<f64>,
    base_moments: Vec<f64>,
    coefficients: Vec<f64>,
    log_z: f64,
    kl_target_base: f64,
}

#[derive(Deserialize)]
struct ContextProblem {
    contexts_base_log_probs: Vec<Vec<f64>>,
    features: Vec<Vec<f64>>,
    target_moments: Vec<f64>,
    coefficients: Vec<f64>,
}

#[derive(Deserialize)]
struct OddPoisson {
    /// "37*Poisson(11) on odd numbers".
    target: String,
    z: f64,
}

fn golden() -> Golden {
    let folder = std::env::var("DISCO_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
    let text = std::fs::read_to_string(format!("{folder}/exact.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn close(one: f64, two: f64, tolerance: f64) {
    assert!((one - two).abs() <= tolerance * (1.0 + two.abs()), "{one} is not {two}");
}

type Phi<F> = FnFeature<F, Total>;

fn features(rows: &[Vec<f64>]) -> Vec<Phi<impl Fn(&(), &usize) -> f64 + Send + Sync + '_>> {
    let phi = |i: usize| feature(format!("phi{i}"), move |_: &(), x: &usize| rows[*x][i]);
    (0..rows[0].len()).map(phi).collect()
}

fn base(log_probs: &[f64]) -> Table<usize> {
    Table::from_log_probs(Space::new(0..log_probs.len()).unwrap(), log_probs.to_vec()).unwrap()
}

/// `base * support * prod_i exp(lambda_i phi_i)`.
fn target<'a>(
    base: &'a Table<usize>,
    support: &'a [bool],
    features: &'a [impl Feature<(), usize>],
    coefficients: &[f64],
) -> Box<dyn Scorer<(), usize> + 'a> {
    let allowed = scorer(|_: &(), x: &usize| if support[*x] { 0.0 } else { f64::NEG_INFINITY });
    let start: Box<dyn Scorer<(), usize> + 'a> = Box::new(Product(base, allowed));
    features.iter().zip(coefficients).fold(start, |target, (feature, coefficient)| {
        Box::new(Product(target, Exponential { feature, coefficient: *coefficient }))
    })
}

#[test]
fn golden_exact_sums_of_fitted_targets() {
    for problem in golden().maximum_entropy {
        let base = base(&problem.base_log_probs);
        let features = features(&problem.features);
        let target = target(&base, &problem.support, &features, &problem.coefficients);
        let log_z = base.space().log_z(&target, &()).unwrap();
        close(log_z, problem.log_z, EXACT);
        let tilted = base.space().normalise(&target, &()).unwrap();
        let moments = tilted.moments(&features, &()).unwrap();
        for (moment, expected) in moments.iter().zip(&problem.target_moments) {
            close(*moment, *expected, EXACT);
        }
        for (moment, expected) in base.moments(&features, &()).unwrap().iter().zip(&problem.base_moments) {
            close(*moment, *expected, EXACT);
        }
        let kl: f64 = problem.coefficients.iter().zip(&moments).map(|(l, m)| l * m).sum::<f64>() - log_z;
        close(kl, problem.kl_target_base, EXACT);
    }
}

#[test]
fn golden_moments_averaged_over_contexts() {
    let problem = golden().maximum_entropy_contexts;
    let features = features(&problem.features);
    let n = problem.contexts_base_log_probs.len() as f64;
    let everywhere = vec![true; problem.features.len()];
    let mut means = vec![0.0; features.len()];
    for log_probs in &problem.contexts_base_log_probs {
        let base = base(log_probs);
        let target = target(&base, &everywhere, &features, &problem.coefficients);
        let tilted = base.space().normalise(&target, &()).unwrap();
        for (mean, moment) in means.iter_mut().zip(tilted.moments(&features, &()).unwrap()) {
            *mean += moment / n;
        }
    }
    for (mean, expected) in means.iter().zip(&problem.target_moments) {
        close(*mean, *expected, EXACT);
    }
}

#[test]
fn golden_partition_function_of_odd_poisson() {
    let problem = golden().qrs_odd_poisson;
    let (factor, mean) = (problem.target.strip_suffix(") on odd numbers"))
        .and_then(|target| target.split_once("*Poisson("))
        .unwrap_or_else(|| panic!("{:?} is no multiple of a Poisson on odd numbers", problem.target));
    let (factor, mean): (f64, f64) = (factor.parse().unwrap(), mean.parse().unwrap());
    let poisson = Discrete(Poisson::new(mean).unwrap());
    let odd = scorer(|_: &(), x: &u64| if x % 2 == 1 { factor.ln() } else { f64::NEG_INFINITY });
    let space = Space::new(0..500u64).unwrap();
    close(space.log_z(&Product(odd, poisson), &()).unwrap().exp(), problem.z, EXACT);
}

#[test]
fn golden_estimates_from_a_million_samples() {
    // n = 1e6, four standard errors: alpha = 6.3e-5 per estimate. Half of the samples are uniform: whatever
    // the base, every outcome then comes often enough for an estimate to be normal.
    for (row, problem) in golden().maximum_entropy.into_iter().enumerate() {
        let base = base(&problem.base_log_probs);
        let features = features(&problem.features);
        let target = target(&base, &problem.support, &features, &problem.coefficients);
        let proposal = Mixture::new([(0.5, base.clone()), (0.5, base.space().uniform())]).unwrap();
        let samples = proposal.sample(&(), &Streams::new(row as u64, 1_000_000)).unwrap();
        let values: Vec<&usize> = samples.iter().map(|sample| &sample.value).collect();
        let log_p: Vec<f64> =
            target.log_scores(&(), &values).unwrap().into_iter().map(Result::unwrap).collect();
        let log_q: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
        let weights = ImportanceWeights::new(&log_p, &log_q).unwrap();
        let log_z = weights.log_z();
        assert!((log_z.value - problem.log_z).abs() < 4.0 * log_z.std_error, "row {row}: {log_z:?}");
        for (feature, expected) in features.iter().zip(&problem.target_moments) {
            let phi: Vec<f64> =
                feature.values(&(), &values).unwrap().into_iter().map(Result::unwrap).collect();
            let moment = weights.mean(&phi).unwrap();
            let distance = (moment.value - expected).abs();
            assert!(distance < 4.0 * moment.std_error, "row {row}, {}: {moment:?}", feature.name());
        }
    }
}
