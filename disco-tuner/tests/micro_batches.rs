//! How an update is cut changes nothing.

mod common;

use common::{Kind, World, target};
use disco_divergence::FDivergence;
use disco_tuner::{MicroBatch, Problem, Sampling, Tuner, TunerConfig};

/// Issue 4's bound, over 30 steps of accumulated rounding.
const TOLERANCE: f64 = 1e-10;

fn tuned(micro_batch: MicroBatch, settings: &TunerConfig) -> Vec<f64> {
    let world = World::new(3, 64);
    let (target, mut policy) = (target(Kind::Mixed), world.policy());
    let config = TunerConfig { steps: 30, learning_rate: 0.05, micro_batch, ..settings.clone() };
    let problem = Problem::new(&world.contexts, &target).with_length(|outcome: &usize| 1 + outcome % 9);
    Tuner::new(config).unwrap().run(&mut policy, &problem, &mut ()).unwrap();
    policy.logits().iter().copied().collect()
}

#[test]
fn micro_batches_do_not_change_the_result() {
    let online = TunerConfig::f_cdpg(FDivergence::JensenShannon);
    let offline = TunerConfig { sampling: Sampling::offline(), replay: 1, epochs: 2, ..online.clone() };
    for settings in [online, offline, TunerConfig::cdpg()] {
        let whole = tuned(MicroBatch { samples: 10_000, tokens: None }, &settings);
        let cuts = [(1, None), (7, None), (256, None), (64, Some(30)), (10_000, Some(1))];
        for (samples, tokens) in cuts {
            let cut = tuned(MicroBatch { samples, tokens }, &settings);
            let gap = whole.iter().zip(&cut).map(|(one, two)| (one - two).abs()).fold(0.0, f64::max);
            assert!(gap < TOLERANCE, "{samples} samples, {tokens:?} tokens: {gap}");
        }
    }
}
