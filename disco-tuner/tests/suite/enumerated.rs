//! Steps with all outcomes: gradients and metrics are exact sums over the space.

use disco_core::{Contexts, Distribution, Feature, Result, Score, Scorer, Skipped, Space, feature, scorer};
use disco_divergence::{Divergence, FDivergence, exact};
use disco_tuner::{
    Baseline, InMemory, MicroBatch, Optimizer, Partition, Problem, Sampling, StepReport, Tuner, TunerConfig,
    Validation,
};
use ndarray::Array2;

use crate::common::{
    scripted::{Scripted, Table},
    small::{CONTEXTS, OUTCOMES, contexts, divergences, first, is_soft, log_target, second, target, third},
};

/// Sums of a few terms of order one in `f64`, computed in two ways.
const TOLERANCE: f64 = 1e-10;

pub(crate) fn config(divergence: FDivergence) -> TunerConfig {
    TunerConfig {
        steps: 1,
        contexts_per_step: CONTEXTS,
        sampling: Sampling::Enumerated,
        micro_batch: MicroBatch { samples: 7, tokens: None },
        ..TunerConfig::f_cdpg(divergence)
    }
}

/// The space of every context.
pub(crate) fn space() -> Space<usize> {
    Space::new(0..OUTCOMES).unwrap()
}

/// The gradients of all updates of a run.
fn gradients(config: TunerConfig, script: Vec<Table>, target: &dyn Scorer<usize, usize>) -> Vec<Vec<f64>> {
    let contexts = contexts();
    let problem = Problem::new(&contexts, target).with_space(|_| Ok(space()));
    let mut policy = Scripted::new(script, third(), false);
    Tuner::new(config).unwrap().run(&mut policy, &problem, &mut ()).unwrap();
    policy.gradients
}

/// `grad_theta[c, y] mean_c D_f(pi_c||p_c) = pi_y (r_y - sum_x pi_x r_x) / contexts` with `r = f'(pi/p)`: the derivative of a
/// softmax, by hand.
fn expected(divergence: &dyn Divergence, policy: &Table, hard: bool) -> Vec<f64> {
    let mut gradient = Vec::new();
    for context in 0..CONTEXTS {
        let row = &policy.rows()[context];
        let pairs = row.as_log_probs().iter().zip(log_target(context, hard));
        let derivatives: Vec<f64> = pairs
            .map(|(log_pi, log_p)| match log_p {
                f64::NEG_INFINITY => divergence.derivative_at_infinity(),
                log_p => divergence.derivative(log_pi - log_p),
            })
            .collect();
        let mean = row.expectation(&derivatives).unwrap();
        let pairs = row.probabilities().iter().zip(derivatives);
        gradient.extend(pairs.map(|(pi, derivative)| pi * (derivative - mean) / CONTEXTS as f64));
    }
    gradient
}

#[track_caller]
pub(crate) fn check(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = found == expected || (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
        assert!(near, "{what}, number {at}: {found}, not {expected}");
    }
}

#[test]
fn the_gradient_is_that_of_the_divergence() {
    for divergence in divergences() {
        for hard in [false, true].into_iter().filter(|hard| !hard || is_soft(&divergence)) {
            let expected = expected(&divergence, &first(), hard);
            // Whether the log-probabilities are known before the pass or only in it, and whatever has no effect.
            for (metrics_every, baseline, partition, samples_per_step) in [
                (1, Baseline::LeaveOneOut, Partition::Running, 256),
                (0, Baseline::None, Partition::Step, 2),
                (0, Baseline::LeaveOneOut, Partition::Normalised, 17),
            ] {
                let config = TunerConfig {
                    metrics_every,
                    baseline,
                    partition,
                    samples_per_step,
                    ..config(divergence)
                };
                let found = gradients(config, vec![first()], &target(hard));
                check(&format!("{divergence}, hard: {hard}, {baseline:?}"), &found[0], &expected);
            }
        }
    }
}

/// `grad KL(p||pi) = pi - p`, and `grad KL(pi||p) = pi (ln(pi/p) - KL(pi||p))`.
#[test]
fn the_gradients_of_both_kl_divergences_are_their_closed_forms() {
    let policy = first();
    let (mut forward, mut reverse) = (Vec::new(), Vec::new());
    for (context, row) in policy.rows().iter().enumerate() {
        let log_ratios: Vec<f64> =
            row.as_log_probs().iter().zip(log_target(context, false)).map(|(pi, p)| pi - p).collect();
        let kl = row.expectation(&log_ratios).unwrap();
        for (pi, log_ratio) in row.probabilities().iter().zip(log_ratios) {
            forward.push((pi - pi / log_ratio.exp()) / CONTEXTS as f64);
            reverse.push(pi * (log_ratio - kl) / CONTEXTS as f64);
        }
    }
    for (divergence, expected) in [(FDivergence::KlForward, forward), (FDivergence::KlReverse, reverse)] {
        let found = gradients(config(divergence), vec![first()], &target(false));
        check(&divergence.to_string(), &found[0], &expected);
    }
}

#[test]
fn every_epoch_has_the_gradient_of_the_policy_as_it_is() {
    for divergence in divergences() {
        let script = vec![first(), second(), third()];
        let expected: Vec<_> = script.iter().map(|policy| expected(&divergence, policy, false)).collect();
        let found =
            gradients(TunerConfig { epochs: 3, ..config(divergence) }, script.clone(), &target(false));
        assert_eq!(found.len(), 3);
        for (found, expected) in found.iter().zip(&expected) {
            check(&divergence.to_string(), found, expected);
        }
    }
}

#[test]
fn a_policy_that_is_the_target_has_a_gradient_of_zero_to_the_last_bits() {
    for divergence in divergences() {
        // Total variation has a kink there.
        if divergence == FDivergence::TotalVariation {
            continue;
        }
        let target = first();
        let found = gradients(config(divergence), vec![first()], &target);
        assert!(found[0].iter().all(|value| value.abs() < 1e-15), "{divergence}: {:?}", found[0]);
    }
}

/// A target that cannot score outcome 4 of context 1, which [`target`] forbids if it is hard.
struct Skipping<S>(S);

impl<S: Scorer<usize, usize>> Scorer<usize, usize> for Skipping<S> {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let scores = self.0.log_scores(context, samples)?;
        let skip = |(score, sample): (Score, &&usize)| match (**sample, *context) {
            (4, 1) => Err(Skipped::new("target", "too long")),
            _ => score,
        };
        Ok(scores.into_iter().zip(samples).map(skip).collect())
    }
}

#[test]
fn an_outcome_that_the_target_skips_is_a_forbidden_one() {
    for divergence in divergences().into_iter().filter(is_soft) {
        let found = gradients(config(divergence), vec![first()], &Skipping(target(false)));
        check(&divergence.to_string(), &found[0], &expected(&divergence, &first(), true));
    }
}

/// Context 1 has four outcomes; the other two have a probability of `e^-800` under the policy, which is 0 in `f64`.
#[test]
fn contexts_may_differ_in_the_number_of_outcomes() {
    let logits = Array2::from_shape_fn((CONTEXTS, OUTCOMES), |(context, at)| match (context, at) {
        (1, 2 | 5) => -800.0,
        _ => first().logits()[[context, at]],
    });
    let policy = Table::new(Space::new(0..CONTEXTS).unwrap(), space(), logits).unwrap();
    let contexts = contexts();
    let target = target(false);
    let problem = Problem::new(&contexts, &target).with_space(|context| match context {
        1 => Space::new([4, 0, 3, 1]),
        _ => Ok(space()),
    });
    let mut scripted = Scripted::new(vec![policy.clone()], third(), false);
    let mut observed = InMemory::default();
    let tuner = Tuner::new(config(FDivergence::KlForward)).unwrap();
    tuner.run(&mut scripted, &problem, &mut observed).unwrap();
    let mut expected = Vec::new();
    let mut log_z = 0.0;
    for context in 0..CONTEXTS {
        let kept = |at: usize| context == 0 || ![2, 5].contains(&at);
        let scores = log_target(context, false);
        let mass: f64 = (0..OUTCOMES).filter(|at| kept(*at)).map(|at| scores[at].exp()).sum();
        log_z += mass.ln() / CONTEXTS as f64;
        expected.extend((0..OUTCOMES).map(|at| {
            let p = if kept(at) { scores[at].exp() / mass } else { 0.0 };
            (policy.rows()[context].probabilities()[at] - p) / CONTEXTS as f64
        }));
    }
    check("gradient", &scripted.gradients[0], &expected);
    check("ln Z", &[observed.last("log_z").unwrap().value], &[log_z]);
    assert_eq!(observed.reports()[0].samples, 10);
}

#[test]
fn metrics_are_exact_and_have_no_error() {
    let (contexts, target, base, policy) = (contexts(), target(true), second(), first());
    let square = feature("square", |_: &usize, x: &usize| (x * x) as f64);
    let held_out = Contexts::new(vec![1usize]).unwrap();
    let problem = Problem::new(&contexts, &target)
        .with_space(|_| Ok(space()))
        .with_base(&base)
        .with_features([&square as &dyn Feature<usize, usize>])
        .unwrap()
        .with_length(|x| *x)
        .with_held_out(&held_out);
    let validation = Some(Validation { every: 1, samples: 2 });
    let config = TunerConfig { validation, ..config(FDivergence::JensenShannon) };
    let mut scripted = Scripted::new(vec![policy.clone()], third(), false);
    let mut observed = InMemory::default();
    Tuner::new(config).unwrap().run(&mut scripted, &problem, &mut observed).unwrap();

    let squares: Vec<f64> = (0..OUTCOMES).map(|x| (x * x) as f64).collect();
    let lengths: Vec<f64> = (0..OUTCOMES).map(|x| x as f64).collect();
    let of_context = |context: usize| {
        let (row, log_p) = (&policy.rows()[context], log_target(context, true));
        let (log_pi, log_a) = (row.as_log_probs(), second().rows()[context].as_log_probs().to_vec());
        let target = Table::new(
            Space::new([0]).unwrap(),
            space(),
            Array2::from_shape_fn((1, OUTCOMES), |(_, at)| log_p[at].max(-1e4)),
        );
        let entropy: Vec<f64> = log_pi.iter().map(|log_prob| -log_prob).collect();
        let divergence = |divergence, of: &[f64]| exact(&divergence, of, log_pi).unwrap();
        [
            ("kl_target_policy", divergence(FDivergence::KlForward, &log_p)),
            ("js_target_policy", divergence(FDivergence::JensenShannon, &log_p)),
            ("tv_target_policy", divergence(FDivergence::TotalVariation, &log_p)),
            ("kl_policy_base", divergence(FDivergence::KlReverse, &log_a)),
            ("kl_base_policy", divergence(FDivergence::KlForward, &log_a)),
            ("moment/square/policy", row.expectation(&squares).unwrap()),
            ("moment/square/target", target.unwrap().rows()[0].expectation(&squares).unwrap()),
            ("length", row.expectation(&lengths).unwrap()),
            ("entropy", row.expectation(&entropy).unwrap()),
            ("outside_mass", if context == 1 { row.probabilities()[4] } else { 0.0 }),
            ("log_z", log_target(context, true).iter().map(|score| score.exp()).sum::<f64>().ln()),
        ]
    };
    let report: &StepReport = &observed.reports()[0];
    for ((name, one), (_, two)) in of_context(0).into_iter().zip(of_context(1)) {
        check(name, &[report.metrics[name].value], &[(one + two) / 2.0]);
        check(name, &[report.metrics[&format!("validation/{name}")].value], &[two]);
    }
    for (name, metric) in &report.metrics {
        assert!(metric.std_error == Some(0.0) || name == "log_prob_gap", "{name}: {metric:?}");
    }
    let of_samples = ["ess", "missing_mass", "log_z_running", "pseudo_reward", "advantage", "largest_weight"];
    let found = report.metrics.keys().find(|name| of_samples.iter().any(|of| name.contains(of)));
    assert_eq!(found, None);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

/// Plain gradient descent with a small step follows the exact gradient: the divergence falls at every step.
#[test]
fn the_divergence_falls_at_every_step_to_the_target() {
    let (contexts, target) = (contexts(), target(true));
    for divergence in divergences().into_iter().filter(is_soft) {
        let problem = Problem::new(&contexts, &target).with_space(|_| Ok(space()));
        let config = TunerConfig {
            steps: 200,
            learning_rate: 0.2,
            metrics_every: 0,
            optimizer: Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
            ..config(divergence)
        };
        let (tuner, mut policy) = (Tuner::new(config).unwrap(), first());
        let mut run = tuner.start(&mut policy, &problem).unwrap();
        let value = |policy: &Table| -> f64 {
            let of = |context: usize| {
                let row = policy.rows()[context].as_log_probs();
                exact(&divergence, &log_target(context, true), row).unwrap()
            };
            (0..CONTEXTS).map(of).sum()
        };
        let mut last = value(run.policy());
        let begin = last;
        while run.step().unwrap().is_some() {
            let now = value(run.policy());
            // Total variation is not smooth where a probability crosses the target's.
            let falls = now < last || divergence == FDivergence::TotalVariation;
            assert!(falls, "{divergence}, step {}: {last} before, {now} after", run.done());
            last = now;
        }
        assert!(last < 0.9 * begin, "{divergence}: {begin} to {last}");
    }
}

#[test]
fn a_few_hundred_steps_reach_the_target() {
    let (contexts, target) = (contexts(), target(false));
    let problem = Problem::new(&contexts, &target).with_space(|_| Ok(space()));
    let config =
        TunerConfig { steps: 400, learning_rate: 0.05, metrics_every: 400, ..config(FDivergence::KlForward) };
    let (mut policy, mut observed) = (first(), InMemory::default());
    Tuner::new(config).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
    let kl = observed.last("kl_target_policy").unwrap();
    assert!(kl.value < 1e-9, "{kl:?}");
    for context in 0..CONTEXTS {
        let scores = policy.log_probs(&context, &space().outcomes().iter().collect::<Vec<_>>()).unwrap();
        for (found, expected) in scores.iter().zip(log_target(context, false)) {
            assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
        }
    }
}

#[test]
fn settings_are_read_from_json() {
    let read: TunerConfig = serde_json::from_str(r#"{"sampling": {"kind": "enumerated"}}"#).unwrap();
    assert_eq!(read, TunerConfig { sampling: Sampling::Enumerated, ..TunerConfig::default() });
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["sampling"]["kind"], "enumerated");
    serde_json::from_str::<TunerConfig>(r#"{"sampling": {"kind": "enumerated", "z": 1}}"#).unwrap_err();
    let scored = scorer(|_: &usize, _: &usize| 0.0);
    let contexts = contexts();
    assert!(format!("{:?}", Problem::new(&contexts, &scored)).contains("contexts"));
}
