//! Policies that are written in other ways than ours: the tuner works with them, or says why not.

use disco_core::{Distribution, Result, Sampled, Score, Scorer, Streams};
use disco_tuner::{
    BatchItem, Checkpointed, Checkpoints, Error, Policy, Problem, Sampling, Tuner, TunerConfig, Update,
    UpdateStats, WeightFn,
};

use crate::common::{Kind, World, scripted::Table, target};

/// How a policy asks for the weights of a batch.
#[derive(Clone, Copy, Debug)]
enum Asking {
    Never,
    Once,
    Twice,
    /// Sample by sample.
    OneByOne,
}

/// A table that asks for weights in another way, and relies on the directory that it saves into.
struct Plain {
    table: Table,
    asking: Asking,
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

    fn freeze(&self) -> Result<Table> {
        self.table.freeze()
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        let asking = self.asking;
        self.table.accumulate(batch, &mut |log_probs| match asking {
            Asking::Never => Ok(vec![0.0; batch.len()]),
            Asking::Once => weigh(log_probs),
            Asking::Twice => {
                weigh(log_probs)?;
                weigh(log_probs)
            }
            Asking::OneByOne => {
                let weights: Result<Vec<_>> = log_probs.chunks(1).map(&mut *weigh).collect();
                Ok(weights?.concat())
            }
        })
    }

    fn clear(&mut self) {
        self.table.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.table.step(update)
    }
}

impl Checkpointed for Plain {
    fn save(&self, folder: &std::path::Path) -> Result<()> {
        assert!(folder.is_dir() && folder.read_dir().unwrap().next().is_none(), "{}", folder.display());
        self.table.save(folder)
    }

    fn load(&mut self, directory: &std::path::Path) -> Result<()> {
        self.table.load(directory)
    }
}

#[test]
fn every_weight_is_to_be_asked_for_once() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    for sampling in [Sampling::Online, Sampling::offline()] {
        let tuner = Tuner::new(TunerConfig { steps: 2, sampling, ..TunerConfig::default() }).unwrap();
        let run = |asking| {
            let mut policy = Plain { table: world.policy(), asking };
            let result = tuner.run(&mut policy, &problem, &mut ());
            (policy.table.logits().to_owned(), result)
        };
        for (asking, said) in [
            (
                Asking::Never,
                "log-probabilities given to `weigh` by `Policy::accumulate`: expected 16 values, got 0",
            ),
            (Asking::Twice, "log-probabilities of a batch is 32; allowed: 16 in all, one of each sample"),
        ] {
            let (logits, result) = run(asking);
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Step { step: 0, .. }), "{error}");
            assert_eq!(error.to_string(), format!("step 0, gradient: {said}"));
            assert_eq!(logits, world.policy().logits());
        }
        let [once, one_by_one] = [Asking::Once, Asking::OneByOne].map(run);
        once.1.unwrap();
        one_by_one.1.unwrap();
        assert_eq!(once.0, one_by_one.0);
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
    let mut policy = Plain { table: world.policy(), asking: Asking::Once };
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    run.drive(&mut ()).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [2, 3]);
}
