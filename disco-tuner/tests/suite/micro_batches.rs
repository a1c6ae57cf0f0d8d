//! The size of micro-batches changes nothing.

use disco_divergence::FDivergence;
use disco_tuner::{MicroBatch, Problem, Sampling, Tuner, TunerConfig};

use crate::common::{Kind, World, counting::Counting, target};

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

#[test]
fn the_policy_is_given_no_more_than_the_limits() {
    let world = World::new(3, 64);
    let target = target(Kind::Distributional);
    let length = |outcome: &usize| 1 + outcome % 9;
    let problem = Problem::new(&world.contexts, &target).with_length(length);
    for (samples, tokens) in [(5, None), (100, Some(20)), (4, Some(20)), (100, Some(8))] {
        let micro_batch = MicroBatch { samples, tokens };
        let config = TunerConfig { steps: 2, micro_batch, ..TunerConfig::f_cdpg(FDivergence::JensenShannon) };
        let mut policy = Counting::new(world.policy());
        Tuner::new(config).unwrap().run(&mut policy, &problem, &mut ()).unwrap();
        assert_eq!(policy.passed(), 2 * 256);
        for batch in &policy.passes {
            // As padding makes it: all as long as the longest.
            let padded = batch.len() * batch.iter().map(length).max().unwrap();
            let fits = tokens.is_none_or(|tokens| padded <= tokens || batch.len() == 1);
            assert!(batch.len() <= samples && fits, "{} samples, {padded} tokens", batch.len());
        }
        let most = policy.passes.iter().map(Vec::len).max().unwrap();
        assert_eq!(most, samples.min(tokens.unwrap_or(usize::MAX)), "the limits are not made use of");
    }
}
