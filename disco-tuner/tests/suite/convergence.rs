//! Every divergence that allows it reaches the exact target.

use disco_divergence::{Divergence, FDivergence};
use disco_tuner::{Decay, Problem, Schedule, Tuner, TunerConfig};

use crate::common::{Kind, World, target};

/// The bound of issue 4, on 512 outcomes.
const TOTAL_VARIATION: f64 = 0.005;

fn config(divergence: FDivergence, contexts: usize) -> TunerConfig {
    TunerConfig {
        steps: 600,
        samples_per_step: 500 * contexts,
        learning_rate: 0.1,
        schedule: Schedule { decay: Decay::Cosine, ..Schedule::default() },
        metrics_every: 0,
        micro_batch: disco_tuner::MicroBatch { samples: 500, tokens: None },
        ..TunerConfig::f_cdpg(divergence)
    }
}

#[track_caller]
fn check(divergence: FDivergence, kind: Kind, contexts: usize) {
    let world = World::new(contexts, 512);
    let (target, mut policy) = (target(kind), world.policy());
    let before = world.distance(&policy, &target);
    assert!(before > 0.1, "the policy begins at {before} already");
    let problem = Problem::new(&world.contexts, &target);
    Tuner::new(config(divergence, contexts)).unwrap().run(&mut policy, &problem, &mut ()).unwrap();
    let after = world.distance(&policy, &target);
    println!("{divergence} {kind:?} {contexts}: {before:.4} -> {after:.5}");
    assert!(after < TOTAL_VARIATION, "{divergence}, {kind:?}, {contexts} contexts: {after}");
}

fn divergences() -> Vec<FDivergence> {
    let mut all = FDivergence::NAMED.to_vec();
    all.extend(
        ["alpha:0.5", "skewed-kl:0.5", "skewed-js:0.3"].map(|name| name.parse::<FDivergence>().unwrap()),
    );
    all
}

/// The divergences that allow hard constraints.
fn soft() -> impl Iterator<Item = FDivergence> {
    divergences().into_iter().filter(|other| other.derivative_at_infinity().is_finite())
}

#[test]
fn distributional_targets_one_context() {
    divergences().into_iter().for_each(|divergence| check(divergence, Kind::Distributional, 1));
}

#[test]
fn distributional_targets_three_contexts() {
    divergences().into_iter().for_each(|divergence| check(divergence, Kind::Distributional, 3));
}

#[test]
fn pointwise_targets_one_context() {
    soft().for_each(|divergence| check(divergence, Kind::Pointwise, 1));
}

#[test]
fn pointwise_targets_three_contexts() {
    soft().for_each(|divergence| check(divergence, Kind::Pointwise, 3));
}

#[test]
fn mixed_targets_one_context() {
    soft().for_each(|divergence| check(divergence, Kind::Mixed, 1));
}

#[test]
fn mixed_targets_three_contexts() {
    soft().for_each(|divergence| check(divergence, Kind::Mixed, 3));
}
