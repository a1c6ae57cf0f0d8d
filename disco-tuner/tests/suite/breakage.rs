//! Mistakes and failures that a user may meet: messages name the cause, and nothing is left half-written.

use std::{collections::BTreeSet, fs, path::Path};

use disco_core::{
    Contexts, Distribution, Error as CoreError, Feature, Result, Sampled, Score, Scorer, Skipped, Streams,
    feature,
};
use disco_tuner::{
    BatchItem, Checkpointed, Checkpoints, EarlyStopping, Error, InMemory, Partition, Policy, Problem,
    Sampling, TensorBoard, Tuner, TunerConfig, Update, UpdateStats, Validation, WeightFn,
};

use crate::common::{Kind, World, base, scripted::Table, target};

/// A table whose disk fails after the first bytes.
struct Unsaved {
    table: Table,
}

impl Scorer<usize, usize> for Unsaved {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.table.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Unsaved {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.table.sample(context, streams)
    }
}

impl Policy<usize, usize> for Unsaved {
    type Frozen = Table;

    fn freeze(&self) -> Result<Table> {
        self.table.freeze()
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        self.table.accumulate(batch, weigh)
    }

    fn clear(&mut self) {
        self.table.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.table.step(update)
    }
}

impl Checkpointed for Unsaved {
    fn save(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("half"), "{\"logi").unwrap();
        Err(CoreError::failed("weights", std::io::Error::other("no space")))
    }

    fn load(&mut self, directory: &Path) -> Result<()> {
        self.table.load(directory)
    }
}

fn config() -> TunerConfig {
    TunerConfig { steps: 6, metrics_every: 2, ..TunerConfig::default() }
}

#[test]
fn a_policy_that_cannot_be_saved_names_the_checkpoint_and_leaves_nothing() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let (tuner, folder) = (Tuner::new(config()).unwrap(), tempfile::tempdir().unwrap());
    let checkpoints = Checkpoints::new(folder.path(), 3, 1).unwrap();
    let mut policy = Unsaved { table: world.policy() };
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    let error = run.drive(&mut ()).unwrap_err();
    assert!(matches!(error, Error::PolicyFiles { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("step-3") && text.contains("weights failed: no space"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
}

/// A checkpoint of the last of six steps.
fn kept(folder: &Path) -> Checkpoints<usize> {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let checkpoints = Checkpoints::new(folder, 10, 1).unwrap();
    let (tuner, mut policy) = (Tuner::new(config()).unwrap(), world.policy());
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    run.drive(&mut ()).unwrap();
    checkpoints
}

fn resumed(checkpoints: &Checkpoints<usize>, target: &dyn Scorer<usize, usize>) -> Result<u64, Error> {
    let (world, tuner) = (World::new(2, 12), Tuner::new(config()).unwrap());
    let (problem, mut policy) = (Problem::new(&world.contexts, target), world.policy());
    tuner.resume(&mut policy, &problem, checkpoints).map(|run| run.done())
}

/// Gives fewer scores than it is asked for, or none at all.
struct Sick(bool);

impl Scorer<usize, usize> for Sick {
    fn log_scores(&self, _: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        if self.0 {
            return Err(CoreError::failed("reward model", std::io::Error::other("out of memory")));
        }
        Ok(vec![Ok(0.0); samples.len() - 1])
    }
}

#[test]
fn a_target_that_fails_when_a_run_goes_on_names_the_context() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = kept(folder.path());
    for (sick, said) in [(Sick(true), "reward model failed: out of memory"), (Sick(false), "got 1")] {
        let error = resumed(&checkpoints, &sick).unwrap_err();
        assert!(matches!(error, Error::Context { step: 6, .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("step 6, score, context") && text.contains(said), "{text}");
    }
}

#[test]
fn a_checkpoint_without_its_list_is_damaged_and_strange_names_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = kept(folder.path());
    let target = target(Kind::Distributional);
    fs::create_dir(folder.path().join("step-007")).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [6]);
    assert_eq!(resumed(&checkpoints, &target).unwrap(), 6);
    let list = checkpoints.path(6).join("manifest.json");
    fs::remove_file(&list).unwrap();
    let error = resumed(&checkpoints, &target).unwrap_err();
    assert!(matches!(&error, Error::Damaged { path, .. } if *path == list), "{error}");
    assert!(error.to_string().contains("damaged checkpoint: missing; no earlier"), "{error}");
}

#[test]
fn a_file_in_the_place_of_a_folder_is_called_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    fs::write(&file, "").unwrap();
    for error in [
        Checkpoints::<usize>::new(&file, 1, 1).map(drop).unwrap_err(),
        TensorBoard::new(&file).map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Io { path, .. } if *path == file), "{error}");
        assert!(error.to_string().contains("a file, where a directory is wanted"), "{error}");
    }
}

/// Skips every sample.
struct Skips;

impl Scorer<usize, usize> for Skips {
    fn log_scores(&self, _: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|_| Err(Skipped::new("parser", "no code"))).collect())
    }
}

#[test]
fn a_target_that_scores_nothing_is_not_taken_for_one_that_forbids_everything() {
    let world = World::new(2, 12);
    let mut policy = world.policy();
    let tuner = Tuner::new(TunerConfig { max_steps_without_success: 3, ..config() }).unwrap();
    let error = tuner.run(&mut policy, &Problem::new(&world.contexts, &Skips), &mut ()).unwrap_err();
    assert!(matches!(error, Error::NoSuccess { steps: 3, samples: 768, skipped: 256, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("256 of the last step's because the target could not"), "{text}");
    // The scorer and its reason.
    assert!(text.contains("parser skipped sample 0: no code"), "{text}");
}

#[test]
fn settings_of_offline_sampling_are_none_of_online_sampling() {
    let read = |text: &str| serde_json::from_str::<TunerConfig>(text);
    let refused = read(r#"{"sampling": {"kind": "online", "z": 3}}"#).unwrap_err().to_string();
    assert!(refused.contains("unknown field `z`"), "{refused}");
    assert_eq!(read(r#"{"sampling": {"kind": "online"}}"#).unwrap().sampling, Sampling::Online);
    for sampling in [Sampling::Online, Sampling::offline()] {
        let json = serde_json::to_string(&sampling).unwrap();
        assert_eq!(serde_json::from_str::<Sampling>(&json).unwrap(), sampling);
    }
}

/// The error for an unknown metric lists the names of all metrics; each of them is reported by one of two runs, and no
/// other.
#[test]
fn the_metric_of_early_stopping_is_looked_for_before_the_first_step() {
    let (world, target) = (World::new(2, 12), target(Kind::Mixed));
    let policy = Table::from_scorer(world.context_space.clone(), world.space.clone(), &base()).unwrap();
    let even = feature("even", |_: &usize, x: &usize| f64::from(u8::from(x.is_multiple_of(2))));
    let held_out = Contexts::new(vec![0usize]).unwrap();
    for sampling in [Sampling::Online, Sampling::offline()] {
        let problem = Problem::new(&world.contexts, &target)
            .with_base(&policy)
            .with_features([&even as &dyn Feature<usize, usize>])
            .unwrap()
            .with_length(|_: &usize| 1)
            .with_statistic("count", |samples: &[&usize]| samples.len() as f64)
            .unwrap()
            .with_held_out(&held_out);
        let watching = |metric: &str| TunerConfig {
            sampling: sampling.clone(),
            max_pseudo_reward: Some(1e-3),
            partition: Partition::Normalised,
            validation: Some(Validation { every: 5, samples: 50 }),
            early_stopping: Some(EarlyStopping {
                metric: metric.into(),
                patience: 9,
                ..EarlyStopping::default()
            }),
            ..config()
        };
        let mut tuned = world.policy();
        let wrong = Tuner::new(watching("validation/kl")).unwrap();
        let error = wrong.start(&mut tuned, &problem).map(drop).unwrap_err();
        let Error::Metric { metric, available } = &error else { panic!("{error}") };
        assert_eq!(metric, "validation/kl");
        let mut observed = InMemory::default();
        let right = Tuner::new(watching("validation/kl_target_policy")).unwrap();
        assert!(right.run(&mut tuned, &problem, &mut observed).unwrap().best.is_some());
        let reported: BTreeSet<&str> =
            observed.reports().iter().flat_map(|report| report.metrics.keys().map(String::as_str)).collect();
        assert_eq!(available.iter().map(String::as_str).collect::<BTreeSet<_>>(), reported);
        assert!(error.to_string().ends_with(&available.join(", ")), "{error}");
    }
}
