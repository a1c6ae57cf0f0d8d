//! Clipping, its metric, and memory that does not grow.

use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, InMemory, Optimizer, Partition, Problem, Sampling, SoftmaxTable, Tuner, TunerConfig,
};

use crate::common::{Kind, World, scripted::Scripted, target};

/// The gradient and the share cut, of one step from a proposal far from the policy.
fn limited(max_ratio: Option<f64>, max_reward: Option<f64>) -> (Vec<f64>, Option<f64>) {
    let world = World::new(1, 10);
    let target = target(Kind::Distributional);
    let policy = world.policy();
    let proposal = SoftmaxTable::uniform(world.context_space.clone(), world.space.clone());
    let mut scripted = Scripted::new(vec![policy], proposal, false);
    let config = TunerConfig {
        steps: 1,
        samples_per_step: 200,
        metrics_every: 1,
        baseline: Baseline::None,
        partition: Partition::Step,
        sampling: Sampling::Offline { metric: FDivergence::TotalVariation, z: 1e12, every: 1 },
        max_importance_ratio: max_ratio,
        max_pseudo_reward: max_reward,
        ..TunerConfig::f_cdpg(FDivergence::KlReverse)
    };
    let mut observed = InMemory::default();
    let problem = Problem::new(&world.contexts, &target);
    Tuner::new(config).unwrap().run(&mut scripted, &problem, &mut observed).unwrap();
    (scripted.gradients.remove(0), observed.last("cut_share").map(|metric| metric.value))
}

#[test]
fn limits_cut_what_is_beyond_them_and_say_how_much() {
    let (free, none) = limited(None, None);
    assert_eq!(none, None, "nothing is cut without a limit");
    let (wide, none) = limited(Some(1e6), Some(1e6));
    assert_eq!((&wide, none), (&free, None), "nor by one that nothing reaches");
    let mut last = 0.0;
    for limit in [1.5, 1.0, 0.5, 0.1] {
        let (cut, share) = limited(Some(limit), None);
        let share = share.unwrap();
        assert!(share > last && share < 1.0, "{limit}: {share} after {last}");
        assert_ne!(cut, free);
        last = share;
    }
    let mut last = 0.0;
    for limit in [1.0, 0.3, 0.1] {
        let (_, share) = limited(None, Some(limit));
        let share = share.unwrap();
        assert!(share > last && share < 1.0, "{limit}: {share} after {last}");
        last = share;
    }
    let (_, share) = limited(None, Some(1e-12));
    assert!(share.unwrap() > 1.0 - 1e-9, "nearly all is cut: {share:?}");
}

/// Pages in memory, which is what the process could not give back.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[test]
fn memory_does_not_grow_with_the_number_of_steps() {
    if resident().is_none() {
        println!("this system does not tell how much memory a process has");
        return;
    }
    let (world, target) = (World::new(20, 30), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target);
    let config = TunerConfig {
        steps: 6000,
        samples_per_step: 64,
        replay: 2,
        metrics_every: 5,
        learning_rate: 1e-3,
        optimizer: Optimizer::default(),
        ..TunerConfig::default()
    };
    let (tuner, mut policy) = (Tuner::new(config).unwrap(), world.policy());
    let mut run = tuner.start(&mut policy, &problem).unwrap();
    let mut advance = |steps: usize| {
        for _ in 0..steps {
            run.step().unwrap().unwrap();
        }
        resident().unwrap()
    };
    advance(500);
    let (before, after) = (advance(500), advance(5000));
    // A leak of one sample's 8 bytes a step's every sample would be 2.5 MB: 600 pages.
    assert!(after < before + 128, "{before} pages, then {after}");
}
