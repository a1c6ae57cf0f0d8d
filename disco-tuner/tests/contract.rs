//! Policies that are written otherwise than ours: what the tuner does for them, and what it refuses.

mod common;

use common::{Kind, World, scripted::Table, target};
use disco_core::{Distribution, Result, Sampled, Score, Scorer, Streams};
use disco_tuner::{
    Checkpoints, Error, Item, Policy, Problem, Sampling, Tuner, TunerConfig, Update, Updated, Weigh,
};

/// A table that asks for the weights of a batch so many times, and relies on the folder it is told to save into.
struct Plain {
    table: Table,
    calls: usize,
}

impl Scorer<usize, usize> for Plain {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.table.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Plain {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.table.sample(context, streams)
    }
}

impl Policy<usize, usize> for Plain {
    type Frozen = Table;
    type Scalar = f64;

    fn freeze(&self) -> Result<Table> {
        self.table.freeze()
    }

    fn accumulate(&mut self, batch: &[Item<'_, usize, usize>], weigh: &mut Weigh<'_>) -> Result<()> {
        let calls = self.calls;
        self.table.accumulate(batch, &mut |log_probs| {
            let mut weights = vec![0.0; batch.len()];
            for _ in 0..calls {
                weights = weigh(log_probs)?;
            }
            Ok(weights)
        })
    }

    common::wrapping::leave_to_table!(table);

    fn step(&mut self, update: &Update) -> Result<Updated> {
        self.table.step(update)
    }

    fn save(&self, folder: &std::path::Path) -> Result<()> {
        assert!(folder.is_dir() && folder.read_dir().unwrap().next().is_none(), "{}", folder.display());
        self.table.save(folder)
    }
}

#[test]
fn weights_are_to_be_asked_for_exactly_once() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    for sampling in [Sampling::Online, Sampling::offline()] {
        let tuner = Tuner::new(TunerConfig { steps: 2, sampling, ..TunerConfig::default() }).unwrap();
        for calls in [0, 2] {
            let mut policy = Plain { table: world.policy(), calls };
            let error = tuner.run(&mut policy, &problem, &mut ()).unwrap_err();
            assert!(matches!(error, Error::Step { step: 0, .. }), "{error}");
            let expected = format!("step 0, gradient: calls of `weigh` by `Policy::accumulate` is {calls}");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(policy.table.logits(), world.policy().logits());
        }
        let mut policy = Plain { table: world.policy(), calls: 1 };
        tuner.run(&mut policy, &problem, &mut ()).unwrap();
    }
}

#[test]
fn the_folder_that_a_policy_is_saved_into_is_there_and_empty() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let sampling = Sampling::offline();
    let tuner = Tuner::new(TunerConfig { steps: 3, sampling, ..TunerConfig::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), 1, 2).unwrap();
    let mut policy = Plain { table: world.policy(), calls: 1 };
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    run.drive(&mut ()).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [2, 3]);
}
