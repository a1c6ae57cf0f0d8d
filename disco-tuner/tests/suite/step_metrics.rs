//! The report of a step itself: statistics of the gradient's terms, norm, learning rate, seconds. Where each
//! outcome is drawn as often as its probability says, these are exact.

use std::time::Duration;

use disco_core::{Contexts, numerics::log_sum_exp, scorer};
use disco_divergence::{Divergence, FDivergence};
use disco_tuner::{
    Baseline, Decay, InMemory, Optimizer, Partition, Problem, Sampling, Schedule, StepReport, Tuner,
    TunerConfig, Validation,
};

use crate::common::{
    self, Kind, World,
    scripted::Scripted,
    small::{CONTEXTS, config, contexts, divergences, first, is_soft, log_target, offline, target, third},
};

/// The rounding of sums in another order.
const ROUNDING: f64 = 1e-12;

/// The report of one step whose samples are stratified, and its gradient. Offline, samples are those of `third`.
fn step(config: TunerConfig, hard: bool) -> (StepReport, Vec<f64>) {
    let (contexts, target) = (contexts(), target(hard));
    let mut policy = Scripted::new(vec![first()], third(), true);
    let (config, mut observed) = (TunerConfig { metrics_every: 1, ..config }, InMemory::default());
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut observed).unwrap();
    (observed.reports()[0].clone(), policy.gradients.remove(0))
}

/// Probability of being drawn, importance ratio, and `pi/q f'(pi/p)` of every outcome of both contexts.
fn outcomes(divergence: &dyn Divergence, hard: bool, is_offline: bool) -> Vec<(f64, f64, f64)> {
    let of = |context: usize| {
        let policy = first().rows()[context].as_log_probs().to_vec();
        let proposal = if is_offline { third() } else { first() }.rows()[context].as_log_probs().to_vec();
        let outcome = move |at: usize| {
            let log_p = log_target(context, hard)[at];
            let slope = match log_p {
                f64::NEG_INFINITY => divergence.derivative_at_infinity(),
                log_p => divergence.derivative(policy[at] - log_p),
            };
            let ratio = (policy[at] - proposal[at]).exp();
            (proposal[at].exp() / CONTEXTS as f64, ratio, ratio * slope)
        };
        (0..common::small::OUTCOMES).map(outcome)
    };
    (0..CONTEXTS).flat_map(of).collect()
}

#[track_caller]
fn check(report: &StepReport, name: &str, expected: f64) {
    let found = report.metrics.get(name).unwrap_or_else(|| panic!("no {name}")).value;
    assert!(
        (found - expected).abs() <= ROUNDING * expected.abs().max(1.0),
        "{name}: {found}, not {expected}"
    );
}

/// Mean, standard deviation, least and greatest of `value`.
fn statistics(outcomes: &[(f64, f64, f64)], value: impl Fn(f64, f64) -> f64) -> [(&'static str, f64); 4] {
    let values: Vec<(f64, f64)> =
        outcomes.iter().map(|(q, ratio, slope)| (*q, value(*ratio, *slope))).collect();
    let mean: f64 = values.iter().map(|(q, value)| q * value).sum();
    let variance: f64 = values.iter().map(|(q, value)| q * (value - mean).powi(2)).sum();
    let only = values.iter().map(|pair| pair.1);
    let [least, greatest] =
        [only.clone().fold(f64::INFINITY, f64::min), only.fold(f64::NEG_INFINITY, f64::max)];
    [("mean", mean), ("std", variance.sqrt()), ("min", least), ("max", greatest)]
}

#[test]
fn pseudo_rewards_and_advantages_are_those_of_enumeration() {
    for divergence in divergences() {
        let hard = is_soft(&divergence);
        for sampling in [Sampling::Online, offline()] {
            let outcomes = outcomes(&divergence, hard, sampling != Sampling::Online);
            let (report, _) = step(TunerConfig { sampling, ..config(divergence) }, hard);
            for (name, expected) in statistics(&outcomes, |_, slope| -slope) {
                check(&report, &format!("pseudo_reward/{name}"), expected);
                check(&report, &format!("advantage/{name}"), expected);
            }
        }
    }
    let outcomes = outcomes(&FDivergence::KlForward, true, true);
    let forward = config(FDivergence::KlForward);
    let (report, _) =
        step(TunerConfig { baseline: Baseline::ForwardKl, sampling: offline(), ..forward }, true);
    for (name, expected) in statistics(&outcomes, |ratio, slope| -(slope + ratio)) {
        check(&report, &format!("advantage/{name}"), expected);
    }
}

#[test]
fn the_mass_that_limits_take_is_that_of_enumeration() {
    for divergence in divergences() {
        let all = outcomes(&divergence, false, true);
        let free = config(divergence);
        for (max_ratio, max_reward) in [(Some(1.2), None), (None, Some(0.2)), (Some(0.9), Some(0.1))] {
            let limited = TunerConfig {
                sampling: offline(),
                max_importance_ratio: max_ratio,
                max_pseudo_reward: max_reward,
                ..free.clone()
            };
            let kept = |ratio: f64, slope: f64| {
                let limit = max_ratio.unwrap_or(f64::INFINITY).min(ratio) / ratio;
                let reward = max_reward.unwrap_or(f64::INFINITY);
                (slope * limit).clamp(-reward, reward).abs()
            };
            let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
                all.iter().map(|(q, ratio, slope)| q * of(*ratio, *slope)).sum()
            };
            let whole = sum(&|_, slope| slope.abs());
            let share = 1.0 - sum(&kept) / whole;
            assert!(share > 0.01, "{divergence}: nothing is cut");
            let (report, _) = step(limited, false);
            check(&report, "cut_share", share);
        }
    }
}

#[test]
fn effective_sizes_and_missing_mass_are_those_of_enumeration() {
    let divergence = FDivergence::JensenShannon;
    let (report, _) = step(TunerConfig { sampling: offline(), ..config(divergence) }, true);
    let (mut ess, mut largest, mut samples) = (0.0, 0.0f64, 0.0);
    for context in 0..CONTEXTS {
        let (log_p, row) = (log_target(context, true), third().rows()[context].clone());
        // Forty samples of each context, of which each outcome has its share.
        let counts: Vec<f64> = row.probabilities().iter().map(|q| 40.0 * q).collect();
        let weights: Vec<f64> = log_p.iter().zip(row.as_log_probs()).map(|(p, q)| (p - q).exp()).collect();
        let sum = |power: i32| -> f64 { counts.iter().zip(&weights).map(|(n, w)| n * w.powi(power)).sum() };
        ess += sum(1).powi(2) / sum(2);
        largest = weights.iter().fold(largest, |most, weight| most.max(weight / sum(1)));
        samples += counts.iter().sum::<f64>();
    }
    check(&report, "ess", ess);
    check(&report, "ess_share", ess / samples);
    check(&report, "largest_weight_share", largest);
    // Every outcome is among the samples, as often as it should be.
    check(&report, "missing_mass", 0.0);
    check(&report, "log_z", 0.0);
}

#[test]
fn gradient_norms_and_learning_rates_are_those_of_the_updates() {
    let schedule = Schedule { decay: Decay::Cosine, warmup_steps: 2, floor: 0.0 };
    let (contexts, target) = (contexts(), target(false));
    let mut policy = Scripted::new(vec![first(), third()], first(), false);
    let settings = TunerConfig { steps: 6, learning_rate: 0.2, schedule, ..config(FDivergence::KlForward) };
    let mut observed = InMemory::default();
    Tuner::new(settings).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut observed).unwrap();
    // The warm-up's 1/2 and 1, then (1 + cos(pi u)) / 2 for u = 0, 1/4, 1/2, 3/4.
    let root = 0.5f64.sqrt();
    let shares = [0.5, 1.0, 1.0, (1.0 + root) / 2.0, 0.5, (1.0 - root) / 2.0];
    for (at, report) in observed.reports().iter().enumerate() {
        let norm = policy.gradients[at].iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!(norm > 0.01 && (report.gradient_norm - norm).abs() < ROUNDING, "step {at}: {norm}");
        assert!((report.learning_rate - 0.2 * shares[at]).abs() < ROUNDING, "step {at}");
        assert_eq!(policy.updates[at].learning_rate, report.learning_rate);
    }
}

#[test]
fn seconds_are_counted_for_the_stage_that_takes_them() {
    let (world, held_out) = (World::new(2, 12), Contexts::new(vec![0usize]).unwrap());
    let pause = Duration::from_millis(20);
    let slow = scorer(move |_: &usize, outcome: &usize| {
        if *outcome == 3 {
            std::thread::sleep(pause);
        }
        0.1 * *outcome as f64
    });
    let problem = Problem::new(&world.contexts, &slow).with_held_out(&held_out);
    let settings = TunerConfig {
        steps: 1,
        samples_per_step: 60,
        sampling: Sampling::offline(),
        validation: Some(Validation { every: 1, samples: 20 }),
        ..TunerConfig::default()
    };
    let mut observed = InMemory::default();
    Tuner::new(settings).unwrap().run(&mut world.policy(), &problem, &mut observed).unwrap();
    let seconds = &observed.reports()[0].seconds;
    let names: Vec<&str> = seconds.keys().copied().collect();
    assert_eq!(names, ["gradient", "log_prob", "metrics", "sample", "score", "update", "validation"]);
    let paused = |stage: &str| seconds[stage] >= pause.as_secs_f64();
    assert!(paused("score") && paused("validation"), "{seconds:?}");
    let others: f64 =
        ["gradient", "log_prob", "metrics", "sample", "update"].map(|stage| seconds[stage]).iter().sum();
    assert!(others < seconds["score"], "{seconds:?}");
}

/// n = 20,000 samples in each held-out context, seed 0; within four standard errors, alpha = 6e-5 per metric.
#[test]
fn validation_is_of_the_updated_policy_on_the_held_out_contexts() {
    let (world, target) = (World::new(4, 20), common::target(Kind::Mixed));
    let (trained, held_out) =
        (Contexts::new(vec![0usize, 1]).unwrap(), Contexts::new(vec![2usize, 3]).unwrap());
    let problem = Problem::new(&trained, &target).with_held_out(&held_out);
    let settings = TunerConfig {
        steps: 3,
        learning_rate: 0.5,
        // Moves the rows of the held-out contexts too, which have no gradient.
        optimizer: Optimizer::Sgd { momentum: 0.0, weight_decay: 0.3 },
        partition: Partition::Step,
        validation: Some(Validation { every: 2, samples: 20_000 }),
        ..TunerConfig::default()
    };
    let (tuner, mut policy) = (Tuner::new(settings).unwrap(), world.policy());
    let mut run = tuner.start(&mut policy, &problem).unwrap();
    for step in 1..=3 {
        let report = run.step().unwrap().unwrap();
        // Every second, and the last.
        assert_eq!(report.metrics.contains_key("validation/entropy"), step != 1);
        if step == 1 {
            continue;
        }
        let exact = |name: &str| {
            let divergence: FDivergence = name.parse().unwrap();
            let of = |context: &usize| {
                let scores = world.space.log_scores(&target, context).unwrap();
                let log_z = log_sum_exp(&scores);
                let log_p: Vec<f64> = scores.iter().map(|score| score - log_z).collect();
                let row = run.policy().rows()[*context].as_log_probs().to_vec();
                disco_divergence::exact(&divergence, &log_p, &row).unwrap()
            };
            held_out.items().iter().map(of).sum::<f64>() / 2.0
        };
        for (name, divergence) in [("kl", "forward-kl"), ("js", "js"), ("tv", "tv")] {
            let metric = report.metrics[&format!("validation/{name}_target_policy")];
            let (gap, std_error) = ((metric.value - exact(divergence)).abs(), metric.std_error.unwrap());
            assert!(
                gap < 4.0 * std_error && std_error < 0.02,
                "step {step}, {name}: {metric:?}, off by {gap}"
            );
        }
    }
}
