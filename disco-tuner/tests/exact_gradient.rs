//! The gradient that the tuner hands to a policy is that of the divergence, exactly where the samples are the
//! distribution itself, and in the mean where they are drawn.

mod common;

use common::scripted::{Scripted, Table};
use disco_core::{Contexts, Scorer, Space, numerics::log_sum_exp, scorer};
use disco_divergence::{Divergence, FDivergence, exact};
use disco_tuner::{Baseline, MicroBatch, Partition, Problem, Sampling, Tuner, TunerConfig};
use ndarray::Array2;

const CONTEXTS: usize = 2;
const OUTCOMES: usize = 6;
/// What all probabilities below are multiples of.
const SAMPLES: usize = 40;
/// Issue 4's bound for gradients against finite differences.
const TOLERANCE: f64 = 1e-6;

fn table(counts: [[u32; OUTCOMES]; CONTEXTS]) -> Table {
    let logits = Array2::from_shape_fn((CONTEXTS, OUTCOMES), |(row, at)| f64::from(counts[row][at]).ln());
    Table::new(Space::new(0..CONTEXTS).unwrap(), Space::new(0..OUTCOMES).unwrap(), logits).unwrap()
}

fn first() -> Table {
    table([[10, 4, 6, 12, 5, 3], [2, 15, 8, 5, 9, 1]])
}

fn second() -> Table {
    table([[6, 10, 3, 7, 2, 12], [9, 5, 10, 4, 4, 8]])
}

fn third() -> Table {
    table([[3, 3, 20, 4, 6, 4], [11, 7, 2, 3, 10, 7]])
}

/// A normalised target; outcome 4 is forbidden in context 1 if `hard`.
fn log_target(context: usize, hard: bool) -> Vec<f64> {
    let score = |outcome: usize| match (outcome, context, hard) {
        (4, 1, true) => f64::NEG_INFINITY,
        _ => 1.5 * common::hash(context, outcome) - 0.3 * outcome as f64,
    };
    let scores: Vec<f64> = (0..OUTCOMES).map(score).collect();
    let log_z = log_sum_exp(&scores);
    scores.into_iter().map(|score| score - log_z).collect()
}

fn target(hard: bool) -> impl Scorer<usize, usize> {
    let scores: Vec<Vec<f64>> = (0..CONTEXTS).map(|context| log_target(context, hard)).collect();
    scorer(move |context: &usize, outcome: &usize| scores[*context][*outcome])
}

/// `grad mean_c D_f(pi_c||p_c)` by central differences.
fn expected(divergence: FDivergence, policy: &Table, hard: bool) -> Vec<f64> {
    let h = 1e-5;
    let objective = |logits: &Array2<f64>| {
        let of = |context: usize| {
            exact(&divergence, &log_target(context, hard), &logits.row(context).to_vec()).unwrap()
        };
        (0..CONTEXTS).map(of).sum::<f64>() / CONTEXTS as f64
    };
    let moved = |at: usize, by: f64| {
        let mut logits = policy.logits().to_owned();
        logits[[at / OUTCOMES, at % OUTCOMES]] += by;
        objective(&logits)
    };
    (0..CONTEXTS * OUTCOMES).map(|at| (moved(at, h) - moved(at, -h)) / (2.0 * h)).collect()
}

fn divergences() -> Vec<FDivergence> {
    let others = ["alpha:-1", "alpha:0.5", "alpha:3", "skewed-kl:0.3", "skewed-js:0.3"];
    FDivergence::NAMED.into_iter().chain(others.map(|name| name.parse().unwrap())).collect()
}

fn config(divergence: FDivergence) -> TunerConfig {
    TunerConfig {
        steps: 1,
        samples_per_step: CONTEXTS * SAMPLES,
        contexts_per_step: CONTEXTS,
        partition: Partition::Normalised,
        baseline: Baseline::None,
        micro_batch: MicroBatch { samples: 7, tokens: None },
        ..TunerConfig::f_cdpg(divergence)
    }
}

/// A proposal that no paired test replaces.
fn offline() -> Sampling {
    Sampling::Offline { metric: FDivergence::TotalVariation, z: 1e12, every: 1 }
}

/// The gradients of all updates of a run whose samples are stratified.
fn gradients(config: TunerConfig, script: Vec<Table>, hard: bool) -> Vec<Vec<f64>> {
    let (contexts, target) = (Contexts::new((0..CONTEXTS).collect()).unwrap(), target(hard));
    let mut policy = Scripted::new(script, third(), true);
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut ()).unwrap();
    policy.gradients
}

#[track_caller]
fn check(what: &str, found: &[f64], expected: &[f64]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let gap = (found - expected).abs();
        assert!(
            gap <= TOLERANCE * expected.abs().max(1.0),
            "{what}, parameter {at}: {found}, not {expected}"
        );
    }
}

#[test]
fn online_and_offline_gradients_are_those_of_the_divergence() {
    for divergence in divergences() {
        for hard in [false, true].into_iter().filter(|hard| !hard || is_soft(&divergence)) {
            let expected = expected(divergence, &first(), hard);
            for sampling in [Sampling::Online, offline()] {
                let what = format!("{divergence}, hard: {hard}, {sampling:?}");
                let config = TunerConfig { sampling, ..config(divergence) };
                check(&what, &gradients(config, vec![first()], hard)[0], &expected);
            }
        }
    }
}

/// Whether the policy may leave the target's support.
fn is_soft(divergence: &FDivergence) -> bool {
    divergence.derivative_at_infinity() < f64::INFINITY
}

#[test]
fn the_exact_baseline_of_forward_kl_changes_no_expectation() {
    let expected = expected(FDivergence::KlForward, &first(), true);
    for sampling in [Sampling::Online, offline()] {
        let config =
            TunerConfig { sampling, baseline: Baseline::ForwardKl, ..config(FDivergence::KlForward) };
        check("forward KL", &gradients(config, vec![first()], true)[0], &expected);
    }
}

#[test]
fn replayed_samples_and_later_epochs_give_the_gradient_of_the_policy_as_it_is() {
    for divergence in divergences() {
        // Each update finds another policy than the one that drew the samples.
        let script = vec![first(), second(), third()];
        let expected: Vec<_> = script.iter().map(|policy| expected(divergence, policy, false)).collect();
        let replayed = TunerConfig { steps: 3, replay: 2, ..config(divergence) };
        let epochs = TunerConfig { epochs: 3, ..config(divergence) };
        for (what, config) in [("replayed", replayed), ("epochs", epochs)] {
            let found = gradients(config, script.clone(), false);
            assert_eq!(found.len(), 3);
            for (update, (found, expected)) in found.iter().zip(&expected).enumerate() {
                check(&format!("{divergence}, {what}, update {update}"), found, expected);
            }
        }
    }
}

/// Means over batches with their standard errors, and the total variance.
struct Sampled {
    means: Vec<f64>,
    std_errors: Vec<f64>,
    variance: f64,
}

/// `steps` gradients of the configured number of samples each, at fixed parameters.
fn sampled(config: TunerConfig, policy: Table, steps: u64, hard: bool) -> Sampled {
    let config = TunerConfig {
        steps,
        metrics_every: 0,
        micro_batch: MicroBatch { samples: 5000, tokens: None },
        ..config
    };
    let (contexts, target) = (Contexts::new((0..CONTEXTS).collect()).unwrap(), target(hard));
    let mut policy = Scripted::new(vec![policy], third(), false);
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut ()).unwrap();
    let n = policy.gradients.len() as f64;
    let column = |at: usize| policy.gradients.iter().map(move |gradient| gradient[at]);
    let means: Vec<f64> = (0..CONTEXTS * OUTCOMES).map(|at| column(at).sum::<f64>() / n).collect();
    let variance = |at: usize| column(at).map(|value| (value - means[at]).powi(2)).sum::<f64>() / (n - 1.0);
    let variances: Vec<f64> = (0..CONTEXTS * OUTCOMES).map(variance).collect();
    Sampled {
        std_errors: variances.iter().map(|variance| (variance / n).sqrt()).collect(),
        variance: variances.iter().sum(),
        means,
    }
}

/// n = 1e6 samples in 100 batches; alpha = 6e-5 per parameter (four standard errors), seed 0.
#[test]
fn means_of_sampled_gradients_are_exact_with_estimated_constants_and_baselines() {
    for divergence in divergences() {
        let hard = is_soft(&divergence);
        let expected = expected(divergence, &first(), hard);
        let config = TunerConfig {
            partition: Partition::Running,
            baseline: Baseline::LeaveOneOut,
            samples_per_step: 10_000,
            ..config(divergence)
        };
        let found = sampled(config, first(), 100, hard);
        for (at, expected) in expected.iter().enumerate() {
            let (mean, std_error) = (found.means[at], found.std_errors[at]);
            assert!(
                (mean - expected).abs() < 4.0 * std_error,
                "{divergence}, parameter {at}: {mean} +- {std_error}, not {expected}"
            );
        }
    }
}

/// n = 1e5 samples in 20 batches each, seed 0, near the target, where a run spends most of its time.
#[test]
fn leave_one_out_baselines_lower_the_variance() {
    let near = |context: usize, outcome: usize| {
        log_target(context, false)[outcome] + 0.3 * common::hash(outcome, 7 + context)
    };
    let logits = Array2::from_shape_fn((CONTEXTS, OUTCOMES), |(context, outcome)| near(context, outcome));
    let near = Table::new(first().contexts().clone(), first().outcomes().clone(), logits).unwrap();
    for divergence in divergences() {
        let variance = |baseline| {
            let config = TunerConfig {
                partition: Partition::Running,
                baseline,
                samples_per_step: 5000,
                ..config(divergence)
            };
            sampled(config, near.clone(), 20, false).variance
        };
        let (without, with) = (variance(Baseline::None), variance(Baseline::LeaveOneOut));
        println!("{divergence}: variance without baseline {without:.2e}, leave-one-out {with:.2e}");
        // Where f'(1) is not zero, a constant is there to be removed. Otherwise f' is about zero in the mean
        // already, and a baseline must only do no harm: two estimates differ by some 10% for chance alone.
        let bound = if divergence.derivative(0.0) == 0.0 { 1.3 } else { 0.2 };
        assert!(with < bound * without, "{divergence}: {with} with a baseline, {without} without");
    }
}

/// n = 1e6 samples in 100 batches; alpha = 6e-5 per parameter, seed 0.
#[test]
fn means_of_offline_and_replayed_gradients_are_exact() {
    for divergence in ["forward-kl", "js", "tv", "reverse-kl"].map(|name| name.parse().unwrap()) {
        let hard = is_soft(&divergence);
        let expected = expected(divergence, &first(), hard);
        for (sampling, replay) in [(offline(), 0), (Sampling::Online, 1)] {
            let config = TunerConfig {
                partition: Partition::Running,
                baseline: Baseline::LeaveOneOut,
                sampling,
                replay,
                samples_per_step: 10_000,
                ..config(divergence)
            };
            let found = sampled(config, first(), 100, hard);
            for (at, expected) in expected.iter().enumerate() {
                // Each replayed batch is in two neighbouring gradients: at most twice the variance of the mean.
                let std_error = found.std_errors[at] * if replay > 0 { 2f64.sqrt() } else { 1.0 };
                let mean = found.means[at];
                assert!(
                    (mean - expected).abs() < 4.0 * std_error,
                    "{divergence}, parameter {at}: {mean} +- {std_error}, not {expected}"
                );
            }
        }
    }
}

/// n = 2e5 samples in 40 batches; alpha = 3e-4 per parameter (four standard errors, Student's t with 39 degrees of
/// freedom), seed 0. The constants are known: an estimate is shared by the steps, whose errors then go together, and
/// the spread of the batches says too little of the error of their mean.
#[test]
fn means_of_offline_gradients_are_exact_for_every_divergence() {
    for divergence in divergences() {
        let hard = is_soft(&divergence);
        let expected = expected(divergence, &first(), hard);
        let config = TunerConfig {
            baseline: Baseline::LeaveOneOut,
            sampling: offline(),
            samples_per_step: 5000,
            ..config(divergence)
        };
        let found = sampled(config, first(), 40, hard);
        for (at, expected) in expected.iter().enumerate() {
            let (mean, std_error) = (found.means[at], found.std_errors[at]);
            assert!(
                (mean - expected).abs() < 4.0 * std_error,
                "{divergence}, parameter {at}: {mean} +- {std_error}, not {expected}"
            );
        }
    }
}
