//! Offline proposals, replay, presets, and what is not computed.

use std::sync::atomic::{AtomicUsize, Ordering};

use disco_core::{Condition, Contexts, Product, Space, feature, predicate, scorer};
use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, Decay, InMemory, MicroBatch, Optimizer, Partition, Problem, Sampling, Schedule, SoftmaxTable,
    Tuner, TunerConfig, rlhf_target,
};

use crate::common::{Kind, World, counting::Counting, target};

fn quick(config: TunerConfig) -> TunerConfig {
    TunerConfig {
        steps: 500,
        samples_per_step: 600,
        learning_rate: 0.1,
        schedule: Schedule { decay: Decay::Cosine, ..Schedule::default() },
        micro_batch: MicroBatch { samples: 600, tokens: None },
        ..config
    }
}

#[track_caller]
fn tuned_distance(config: TunerConfig, kind: Kind, contexts: usize) -> (f64, InMemory) {
    let world = World::new(contexts, 64);
    let (target, mut policy, mut observed) = (target(kind), world.policy(), InMemory::default());
    let problem = Problem::new(&world.contexts, &target);
    Tuner::new(config).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
    (world.distance(&policy, &target), observed)
}

#[test]
fn offline_replay_and_epochs_converge() {
    let js = TunerConfig::f_cdpg(FDivergence::JensenShannon);
    let offline = TunerConfig { sampling: Sampling::offline(), ..js.clone() };
    // Without a baseline, forward KL's gradient is noisy at the target too: that takes more samples.
    let many = |config: TunerConfig| TunerConfig { samples_per_step: 3000, ..quick(config) };
    let (distance, _) = tuned_distance(many(TunerConfig::dpg()), Kind::Mixed, 1);
    println!("dpg: {distance:.5}");
    assert!(distance < 0.01, "dpg: {distance}");
    let (distance, _) = tuned_distance(many(TunerConfig::cdpg()), Kind::Mixed, 3);
    println!("cdpg: {distance:.5}");
    assert!(distance < 0.01, "cdpg: {distance}");
    let limited = TunerConfig { max_pseudo_reward: Some(3.0), ..TunerConfig::dpg() };
    let (distance, _) = tuned_distance(many(limited), Kind::Distributional, 1);
    assert!(distance < 0.01, "limited: {distance}");
    let configs = [
        ("gdc++", TunerConfig { baseline: Baseline::ForwardKl, ..TunerConfig::cdpg() }, Kind::Mixed, 3),
        ("offline js", offline, Kind::Mixed, 3),
        ("replay", TunerConfig { replay: 2, ..js.clone() }, Kind::Distributional, 3),
        ("epochs", TunerConfig { epochs: 2, ..js.clone() }, Kind::Distributional, 3),
        ("step constants", TunerConfig { partition: Partition::Step, ..js.clone() }, Kind::Mixed, 3),
    ];
    for (name, config, kind, contexts) in configs {
        let (distance, _) = tuned_distance(quick(config), kind, contexts);
        println!("{name}: {distance:.5}");
        assert!(distance < 0.01, "{name}: {distance}");
    }
}

#[test]
fn proposals_are_replaced_while_the_policy_gains_and_not_without_reason() {
    let (_, observed) = tuned_distance(quick(TunerConfig::cdpg()), Kind::Distributional, 3);
    let replaced: Vec<u64> = observed
        .reports()
        .iter()
        .filter(|report| report.proposal_replaced)
        .map(|report| report.step)
        .collect();
    assert!(replaced.len() >= 3, "replaced only at {replaced:?}");
    // A policy that does not move is never nearer: the paired differences are exactly zero.
    let still = TunerConfig { learning_rate: 1e-300, ..quick(TunerConfig::cdpg()) };
    let (_, observed) = tuned_distance(still, Kind::Distributional, 3);
    assert!(observed.reports().iter().all(|report| !report.proposal_replaced));
}

#[test]
fn rlhf_reaches_the_optimum_of_the_penalised_reward() {
    let (beta, space) = (0.5, Space::new(0..32u32).unwrap());
    let base = space.normalise(&scorer(|_: &(), x: &u32| -0.1 * f64::from(*x)), &()).unwrap();
    let reward = |x: &u32| f64::from(x % 5) / 4.0;
    let target =
        rlhf_target(base.clone(), feature("reward", move |_: &(), x: &u32| reward(x)), beta).unwrap();
    let contexts = Contexts::single(());
    let mut policy = SoftmaxTable::from_scorer(Space::new([()]).unwrap(), space.clone(), &base).unwrap();
    let tuner = Tuner::new(quick(TunerConfig::rlhf())).unwrap();
    tuner.run(&mut policy, &Problem::new(&contexts, &target), &mut ()).unwrap();
    let objective = |log_probs: &[f64]| -> f64 {
        let terms = log_probs.iter().zip(base.as_log_probs()).zip(space.outcomes());
        terms.map(|((log_pi, log_a), x)| log_pi.exp() * (reward(x) - beta * (log_pi - log_a))).sum()
    };
    // The optimum is beta ln Z (Korbak et al. 2022).
    let best = beta * space.log_z(&target, &()).unwrap();
    let reached = objective(policy.rows()[0].as_log_probs());
    assert!(best - reached < 1e-4 && reached <= best + 1e-12, "{reached} of {best}");
}

#[test]
fn work_that_cannot_matter_is_not_done() {
    let world = World::new(2, 60);
    let target = target(Kind::Pointwise);
    let run = |config: TunerConfig| {
        let (mut policy, mut observed) = (Counting::new(world.policy()), InMemory::default());
        let config = TunerConfig { steps: 3, metrics_every: 0, optimizer: Optimizer::default(), ..config };
        let problem = Problem::new(&world.contexts, &target);
        Tuner::new(config).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
        let successes: usize = observed.reports().iter().map(|report| report.successes).sum();
        let passed = policy.passed();
        (policy.scored.into_inner(), passed, successes)
    };
    // Online, the log-probabilities of sampling are used; for forward KL, samples without weight need no pass.
    let plain = TunerConfig { baseline: Baseline::None, ..TunerConfig::f_cdpg(FDivergence::KlForward) };
    let (scored, passed, successes) = run(plain);
    assert_eq!((scored, passed), (0, successes));
    assert!(successes < 3 * 256);
    // Offline without a test that is due, the gradient's own forward pass gives them.
    let sampling = Sampling::Offline { metric: FDivergence::KlForward, z: 1.0, every: 1000 };
    let (scored, passed, successes) = run(TunerConfig { sampling, ..TunerConfig::cdpg() });
    // Only the first step has a test.
    assert_eq!((scored, passed), (256, successes));
    // With a baseline, forbidden samples have a weight, and need a pass.
    let (scored, passed, successes) = run(TunerConfig::f_cdpg(FDivergence::JensenShannon));
    assert_eq!((scored, passed), (0, 3 * 256));
    assert!(successes < passed);
}

/// If no sample is allowed, the baseline equals every derivative, and the weights are exactly zero.
#[test]
fn a_context_without_a_success_costs_no_pass() {
    let world = World::new(2, 60);
    let only = scorer(|context: &usize, _: &usize| if *context == 0 { 0.0 } else { f64::NEG_INFINITY });
    for name in ["js", "tv", "hellinger", "forward-kl", "alpha:0.5", "skewed-kl:0.3"] {
        let config = TunerConfig { steps: 2, ..TunerConfig::f_cdpg(name.parse().unwrap()) };
        let (mut policy, mut observed) = (Counting::new(world.policy()), InMemory::default());
        let problem = Problem::new(&world.contexts, &only);
        Tuner::new(config).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
        assert_eq!(policy.passed(), 2 * 128, "{name}");
        for report in observed.reports() {
            assert_eq!((report.weighted, report.contexts_without_success), (128, 1), "{name}");
        }
        assert_eq!(policy.table.logits().row(1), world.policy().logits().row(1), "{name}");
    }
}

#[test]
fn the_base_is_not_asked_about_what_a_constraint_forbids() {
    let (world, asked) = (World::new(2, 60), AtomicUsize::new(0));
    let base = scorer(|_: &usize, x: &usize| {
        asked.fetch_add(1, Ordering::Relaxed);
        -0.1 * *x as f64
    });
    let third = predicate("third", |_: &usize, x: &usize| x.is_multiple_of(3));
    let target = Product(Condition::always(third), base);
    let (mut policy, mut observed) = (world.policy(), InMemory::default());
    let tuner = Tuner::new(TunerConfig { steps: 3, metrics_every: 1, ..TunerConfig::default() }).unwrap();
    tuner.run(&mut policy, &Problem::new(&world.contexts, &target), &mut observed).unwrap();
    let successes: usize = observed.reports().iter().map(|report| report.successes).sum();
    assert_eq!(asked.load(Ordering::Relaxed), successes);
    assert!(successes < 3 * 256 / 2, "{successes}");
}
