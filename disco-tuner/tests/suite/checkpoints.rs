//! A run that stops or is killed resumes to the bit, and no checkpoint is mistaken for another.

use std::{fs, path::Path, time::Duration};

use disco_divergence::FDivergence;
use disco_tuner::{
    Checkpoints, EarlyStopping, Error, InMemory, MicroBatch, Problem, Sampling, StopFlag, StopReason, Tuner,
    TunerConfig, Validation,
};

use crate::common::{self, Kind, World, child, target};

/// Names the folder that the child of the kill test works in.
const FOLDER: &str = "DISCO_TUNER_KILL_TEST";

/// Everything that has a state: proposal, replay buffer, estimates of Z, optimizer, order of contexts.
fn config() -> TunerConfig {
    TunerConfig {
        steps: 120,
        samples_per_step: 200,
        contexts_per_step: 2,
        learning_rate: 0.05,
        sampling: Sampling::offline(),
        replay: 2,
        epochs: 2,
        micro_batch: MicroBatch { samples: 64, tokens: None },
        ..TunerConfig::f_cdpg(FDivergence::JensenShannon)
    }
}

fn world() -> World {
    World::new(5, 40)
}

/// The parameters, as bits.
fn bits(policy: &common::scripted::Table) -> Vec<u64> {
    policy.logits().iter().map(|logit| logit.to_bits()).collect()
}

/// A run to the end: from the latest checkpoint, or from the beginning where there is none.
fn run(config: &TunerConfig, folder: Option<&Path>) -> Vec<u64> {
    let (world, target) = (world(), target(Kind::Mixed));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config.clone()).unwrap());
    let mut policy = world.policy();
    match folder {
        None => tuner.run(&mut policy, &problem, &mut ()).unwrap(),
        Some(folder) => {
            let checkpoints = Checkpoints::new(folder, 3, 2).unwrap();
            let run = if checkpoints.steps().unwrap().is_empty() {
                tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap()
            } else {
                tuner.resume(&mut policy, &problem, &checkpoints).unwrap()
            };
            run.drive(&mut ()).unwrap()
        }
    };
    bits(&policy)
}

#[test]
fn a_stopped_run_goes_on_to_the_bit() {
    let online = TunerConfig { sampling: Sampling::Online, replay: 0, epochs: 1, ..config() };
    for config in [config(), online] {
        let whole = run(&config, None);
        let folder = tempfile::tempdir().unwrap();
        let (world, target) = (world(), target(Kind::Mixed));
        let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config.clone()).unwrap());
        let checkpoints = Checkpoints::new(folder.path(), 7, 2).unwrap();
        // Stopped after step 1 by an observer, which leaves a checkpoint of its own.
        let flag = StopFlag::default();
        flag.raise();
        let mut policy = world.policy();
        let started = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
        let outcome = started.drive(&mut flag.clone()).unwrap();
        assert_eq!((outcome.step, outcome.reason), (1, StopReason::Observer));
        // Dropped after ten more.
        let mut policy = world.policy();
        let mut resumed = tuner.resume(&mut policy, &problem, &checkpoints).unwrap();
        assert_eq!(resumed.done(), 1);
        for _ in 0..10 {
            resumed.step().unwrap().unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [1, 7]);
        drop(resumed);
        assert_eq!(run(&config, Some(folder.path())), whole);
        // A finished run stays finished.
        let mut policy = world.policy();
        let mut finished = tuner.resume(&mut policy, &problem, &checkpoints).unwrap();
        assert!(finished.step().unwrap().is_none());
        assert_eq!(bits(&policy), whole);
    }
}

/// Not a test of its own: the test below starts and kills it.
#[test]
fn child_of_the_kill_test() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        run(&config(), Some(Path::new(&folder)));
    }
}

/// The step of the latest checkpoint, of a folder that another process writes to.
fn latest(folder: &Path) -> Option<u64> {
    let names = fs::read_dir(folder).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

#[test]
fn kill_9_at_twenty_random_moments_costs_nothing() {
    let whole = run(&config(), None);
    let folder = tempfile::tempdir().unwrap();
    let (mut killed, mut resumed_from) = (0, Vec::new());
    for attempt in 0..400 {
        let mut child = child::start("checkpoints::child_of_the_kill_test", FOLDER, folder.path());
        // Each fourth is killed at any moment, before its first checkpoint or during its start; the others at most 30 ms
        // after one of their checkpoints, however long a busy machine takes to reach it.
        let last = resumed_from.last().copied();
        while attempt % 4 > 0 && child.try_wait().unwrap().is_none() && latest(folder.path()) <= last {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros((common::hash(attempt, 99) * 30_000.0) as u64));
        match child.try_wait().unwrap() {
            // The run reached its end between two kills; the next begins anew.
            Some(status) => {
                assert!(status.success(), "the child failed: {status}");
                assert_eq!(run(&config(), Some(folder.path())), whole);
                if killed >= 20 {
                    return;
                }
                fs::remove_dir_all(folder.path()).unwrap();
                fs::create_dir(folder.path()).unwrap();
                // There is no checkpoint in this folder yet; the entry is not counted below.
                resumed_from.push(0);
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                let checkpoints = Checkpoints::<usize>::new(folder.path(), 3, 2).unwrap();
                let steps = checkpoints.steps().unwrap();
                let mut policy = world().policy();
                for &step in &steps {
                    checkpoints.load_policy(step, &mut policy).unwrap();
                }
                if let Some(&step) = steps.last() {
                    let (world, target) = (world(), target(Kind::Mixed));
                    let problem = Problem::new(&world.contexts, &target);
                    let tuner = Tuner::new(config()).unwrap();
                    let resumed = tuner.resume(&mut policy, &problem, &checkpoints).unwrap();
                    assert_eq!(resumed.done(), step);
                    resumed_from.push(step);
                }
                if killed >= 20 {
                    println!("killed at or after steps {resumed_from:?}");
                    assert!(
                        resumed_from.iter().filter(|step| **step > 0).count() >= 10,
                        "killed before there was anything to kill: {resumed_from:?}"
                    );
                    assert_eq!(run(&config(), Some(folder.path())), whole);
                    return;
                }
            }
        }
    }
    panic!("only {killed} kills");
}

/// Makes a checkpoint folder of a short run.
fn prepared(folder: &Path) -> Checkpoints<usize> {
    let (world, target) = (world(), target(Kind::Mixed));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config()).unwrap());
    let checkpoints = Checkpoints::new(folder, 2, 3).unwrap();
    let mut policy = world.policy();
    let mut run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    for _ in 0..8 {
        run.step().unwrap();
    }
    checkpoints
}

fn resume(config: TunerConfig, world: &World, checkpoints: &Checkpoints<usize>) -> Result<u64, Error> {
    let target = target(Kind::Mixed);
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config).unwrap());
    let mut policy = world.policy();
    let before = bits(&policy);
    let resumed = tuner.resume(&mut policy, &problem, checkpoints).map(|run| run.done());
    assert!(resumed.is_ok() || bits(&policy) == before, "a refused checkpoint changed the policy");
    resumed
}

#[test]
fn old_checkpoints_and_proposals_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    assert_eq!(checkpoints.steps().unwrap(), [4, 6, 8]);
    let names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.starts_with("step-") || name.starts_with("proposal-")), "{names:?}");
    assert_eq!(resume(config(), &world(), &checkpoints).unwrap(), 8);
}

#[test]
fn a_damaged_checkpoint_names_the_one_to_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    let damage = |step: u64| fs::write(checkpoints.path(step).join("run.json"), "{").unwrap();
    let refused = || resume(config(), &world(), &checkpoints).unwrap_err().to_string();
    damage(8);
    let said = refused();
    assert!(
        said.ends_with("; step-6 is whole: remove the checkpoints after it to go on from there"),
        "{said}"
    );
    damage(6);
    let said = refused();
    assert!(said.contains("step-8") && said.contains("; step-4 is whole: remove"), "{said}");
    damage(4);
    let said = refused();
    assert!(said.ends_with("; no earlier checkpoint is whole: the run has to begin anew"), "{said}");

    // The advice of the message works.
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    fs::remove_dir_all(checkpoints.path(8)).unwrap();
    assert_eq!(resume(config(), &world(), &checkpoints).unwrap(), 6);
}

#[test]
fn every_damaged_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    let step = checkpoints.path(8);
    for file in ["run.json", "manifest.json", "policy/softmax_table.json"].map(|file| step.join(file)) {
        let healthy = fs::read(&file).unwrap();
        for at in (0..healthy.len()).step_by(healthy.len() / 17 + 1) {
            let mut sick = healthy.clone();
            sick[at] ^= 1;
            fs::write(&file, &sick).unwrap();
            let error = resume(config(), &world(), &checkpoints).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "byte {at} of {}: {error}", file.display());
        }
        fs::write(&file, &healthy[..healthy.len() / 2]).unwrap();
        assert!(matches!(resume(config(), &world(), &checkpoints), Err(Error::Damaged { .. })));
        fs::write(&file, &healthy).unwrap();
    }
    let stray = step.join("policy").join("more");
    fs::write(&stray, "more").unwrap();
    assert!(
        matches!(resume(config(), &world(), &checkpoints), Err(Error::Damaged { path, .. }) if path == stray)
    );
    fs::remove_file(stray).unwrap();
    let file = step.join("policy").join("softmax_table.json");
    fs::remove_file(&file).unwrap();
    assert!(
        matches!(resume(config(), &world(), &checkpoints), Err(Error::Damaged { path, .. }) if path == file)
    );
}

#[test]
fn checkpoints_of_other_runs_are_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    let other = TunerConfig { learning_rate: 0.06, seed: 9, ..config() };
    let error = resume(other, &world(), &checkpoints).unwrap_err().to_string();
    assert!(error.contains("learning_rate: 0.05 in the checkpoint, 0.06 now"), "{error}");
    assert!(error.contains("seed: 0 in the checkpoint, 9 now"), "{error}");
    let error = resume(config(), &World::new(6, 40), &checkpoints).unwrap_err().to_string();
    assert!(error.contains("contexts: 5 in the checkpoint, 6 now"), "{error}");
    let error = resume(config(), &World::new(5, 41), &checkpoints).unwrap_err().to_string();
    assert!(error.contains("(5, 40)") && error.contains("(5, 41)"), "{error}");
    // A second run must not mix its checkpoints with those of the first.
    let (world, target) = (world(), target(Kind::Mixed));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config()).unwrap());
    let mut policy = world.policy();
    let error = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap_err();
    assert!(error.to_string().contains("step-8"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let none = Checkpoints::<usize>::new(empty.path(), 1, 1).unwrap();
    assert!(matches!(resume(config(), &world, &none), Err(Error::NoCheckpoint { .. })));
    assert!(Checkpoints::<usize>::new(empty.path(), 0, 1).unwrap_err().to_string().contains("every"));
    assert!(Checkpoints::<usize>::new(empty.path(), 1, 0).unwrap_err().to_string().contains("keep"));
    let file = empty.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Checkpoints::<usize>::new(file.join("below"), 1, 1), Err(Error::Io { .. })));
}

#[test]
fn a_checkpoint_that_stepped_aside_for_one_that_never_came_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = prepared(folder.path());
    let [latest, aside] = [checkpoints.path(8), folder.path().join("step-8.replaced")];
    // Killed between the two renames: the old one aside, the new one not yet in its place.
    fs::rename(&latest, &aside).unwrap();
    fs::create_dir(folder.path().join("step-8.partial")).unwrap();
    let checkpoints = Checkpoints::<usize>::new(folder.path(), 4, 2).unwrap();
    assert!(latest.is_dir() && !aside.exists());
    resume(config(), &world(), &checkpoints).unwrap();
    // Killed after both: the one aside is no longer needed.
    fs::create_dir(&aside).unwrap();
    Checkpoints::<usize>::new(folder.path(), 4, 2).unwrap();
    assert!(latest.is_dir() && !aside.exists());
}

#[test]
fn the_best_checkpoint_is_kept_and_a_run_without_gain_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (world, target) = (world(), target(Kind::Distributional));
    let held_out = disco_core::Contexts::new(vec![3usize, 4]).unwrap();
    let problem = Problem::new(&world.contexts, &target).with_held_out(&held_out);
    // A step size at which the policy gains first and cannot settle later.
    let stopping = EarlyStopping {
        metric: "validation/kl_target_policy".into(),
        patience: 4,
        ..EarlyStopping::default()
    };
    let config = TunerConfig {
        steps: 4000,
        learning_rate: 0.3,
        validation: Some(Validation { every: 2, samples: 100 }),
        early_stopping: Some(stopping),
        ..TunerConfig::f_cdpg(FDivergence::TotalVariation)
    };
    let checkpoints = Checkpoints::new(folder.path(), 1, 2).unwrap();
    let (tuner, mut policy, mut observed) =
        (Tuner::new(config).unwrap(), world.policy(), InMemory::default());
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    let outcome = run.drive(&mut observed).unwrap();
    assert_eq!(outcome.reason, StopReason::NoImprovement);
    let (best, at) = outcome.best.unwrap();
    let lowest = observed
        .series("validation/kl_target_policy")
        .min_by(|one, two| one.1.value.total_cmp(&two.1.value))
        .unwrap();
    assert_eq!((lowest.0, lowest.1.value), (at, best));
    assert_eq!(outcome.step, at + 2 * 4);
    assert_eq!(checkpoints.steps().unwrap(), [at, outcome.step - 1, outcome.step]);
}
