//! SIGINT and SIGTERM end a run after its step, with a checkpoint from which it resumes to the bit.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use disco_tuner::{Checkpoints, Observer, Problem, StopFlag, StopReason, Tuner, TunerConfig};

use crate::common::{Kind, World, child, target};

/// Names the folder that the child works in.
const FOLDER: &str = "DISCO_TUNER_SIGNAL_TEST";
/// The child's exit codes: done, and stopped.
const STOPPED: i32 = 130;

/// No checkpoint is due before the end: if there is one, it was written because the run was stopped.
const NEVER: u64 = 1_000_000;

fn run(folder: Option<&Path>, observer: &mut dyn Observer) -> (StopReason, Vec<f64>) {
    let (world, target) = (World::new(2, 40), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target);
    let tuner = Tuner::new(TunerConfig { steps: 1500, ..TunerConfig::default() }).unwrap();
    let mut policy = world.policy();
    let outcome = match folder {
        None => tuner.run(&mut policy, &problem, observer).unwrap(),
        Some(folder) => {
            let checkpoints = Checkpoints::new(folder, NEVER, 1).unwrap();
            let run = if checkpoints.steps().unwrap().is_empty() {
                tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap()
            } else {
                tuner.resume(&mut policy, &problem, &checkpoints).unwrap()
            };
            run.drive(observer).unwrap()
        }
    };
    (outcome.reason, policy.logits().iter().copied().collect())
}

/// Not a test of its own: the test below starts it and sends it a signal.
#[test]
fn child_of_the_signal_test() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, flag.clone()).unwrap();
    }
    std::fs::write(folder.join("ready"), "").unwrap();
    let (reason, _) = run(Some(&folder.join("checkpoints")), &mut StopFlag::new(flag));
    std::fs::remove_file(folder.join("ready")).unwrap();
    std::process::exit(if reason == StopReason::Observer { STOPPED } else { 0 });
}

#[test]
fn a_signal_leaves_a_checkpoint_from_which_the_run_goes_on_to_the_bit() {
    let (_, whole) = run(None, &mut ());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("checkpoints");
    let mut last = 0;
    for signal in ["-INT", "-TERM", "-INT", "-TERM"] {
        let mut child = child::start("signals::child_of_the_signal_test", FOLDER, folder.path());
        let until = Instant::now() + Duration::from_secs(60);
        while !folder.path().join("ready").exists() {
            assert!(Instant::now() < until, "the child did not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(15));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(STOPPED), "{signal}");
        let steps = Checkpoints::<usize>::new(&place, NEVER, 1).unwrap().steps().unwrap();
        assert!(steps.len() == 1 && steps[0] > last && steps[0] < 1500, "{signal}: {steps:?} after {last}");
        last = steps[0];
    }
    assert_eq!(run(Some(&place), &mut ()), (StopReason::Finished, whole));
}
