//! A run that is interrupted or killed, as a process of its own, can be resumed and gives the same bits.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use xtask::{Error, INTERRUPTED, Interrupt, RunControl, StartMode, WEIGHTS};

use crate::common::{
    names,
    speech::{control, run_speeches as run, speech_spec as spec},
};

/// The variables that name the folder of the child, and whether it resumes a run.
const FOLDER: &str = "DISCO_INTERRUPT_TEST";
const RESUME: &str = "DISCO_INTERRUPT_TEST_RESUME";

/// The tuned weights, and the summary but for times.
fn results(out: &Path) -> (Vec<u8>, serde_json::Value) {
    let weights = fs::read(out.join(WEIGHTS).join("softmax_table.json")).unwrap();
    let mut summary: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    for field in ["stages", "peak_memory_bytes"] {
        summary.as_object_mut().unwrap().remove(field).unwrap();
    }
    (weights, summary)
}

/// Not a test of its own: what the tests below start and end.
#[test]
fn child_of_the_interrupt_tests() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let start = if std::env::var_os(RESUME).is_some() { StartMode::Resume } else { StartMode::New };
    let control = RunControl { interrupt: Interrupt::install().unwrap(), ..control(start) };
    match run(&spec(&[]), &Path::new(&folder).join("out"), &control) {
        Ok(()) => {}
        Err(error @ Error::Interrupted { .. }) => {
            eprintln!("{error}");
            std::process::exit(INTERRUPTED.into());
        }
        Err(error) => panic!("{error}"),
    }
}

fn child(folder: &Path, resume: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "interrupt::child_of_the_interrupt_tests", "--nocapture"]).env(FOLDER, folder);
    if resume {
        command.env(RESUME, "yes");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until there is something in the folder whose name begins so.
pub(crate) fn wait_for(folder: &Path, beginning: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = names(folder).iter().any(|name| name.starts_with(beginning));
        if found {
            return;
        }
        assert!(Instant::now() < until, "no {beginning} in {}", folder.display());
        sleep(Duration::from_millis(1));
    }
}

fn ended(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_run_that_is_interrupted_says_how_to_go_on_and_goes_on_to_the_bit() {
    let place = tempfile::tempdir().unwrap();
    run(&spec(&[]), &place.path().join("whole"), &control(StartMode::New)).unwrap();
    let whole = results(&place.path().join("whole"));

    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("out.checkpoints");
    for (attempt, name) in ["-TERM", "-INT"].into_iter().enumerate() {
        let child = child(folder.path(), attempt > 0);
        // The second run resumes the first one: some steps later there is a new checkpoint.
        let steps = names(&checkpoints);
        let until = Instant::now() + Duration::from_secs(60);
        while attempt > 0 && names(&checkpoints) == steps && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
        wait_for(&checkpoints, "step-");
        signal(&child, name);
        let (status, said) = ended(child);
        assert_eq!(status.code(), Some(i32::from(INTERRUPTED)), "{said}");
        assert!(said.contains("interrupted after step") && said.contains("--resume"), "{said}");
        assert_eq!(names(folder.path()), ["out.checkpoints"], "something is left behind");
    }
    // Beginning anew by mistake would lose it all.
    let out = folder.path().join("out");
    let refused = run(&spec(&[]), &out, &control(StartMode::New)).unwrap_err().to_string();
    assert!(refused.contains("--resume") && refused.contains("--restart"), "{refused}");
    let other = spec(&[("mean = 0.5", "mean = 0.4")]);
    let refused = run(&other, &out, &control(StartMode::Resume)).unwrap_err().to_string();
    assert!(refused.contains("features") && refused.contains("target.coefficients"), "{refused}");
    run(&spec(&[]), &out, &control(StartMode::Resume)).unwrap();
    assert_eq!(results(&out), whole);

    // A finished run can be made longer, and is replaced without a question.
    run(&spec(&[("steps = 1000", "steps = 1010")]), &out, &control(StartMode::Resume)).unwrap();
    assert_eq!(results(&out).1["steps"].as_array().unwrap().len(), 1010);
    run(&spec(&[]), &out, &control(StartMode::New)).unwrap();
    assert_eq!(results(&out), whole);
}

#[test]
fn an_interrupt_before_there_is_anything_to_keep_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let child = child(folder.path(), false);
    // The hidden folder of results under construction.
    wait_for(folder.path(), ".out.");
    signal(&child, "-TERM");
    let (status, said) = ended(child);
    assert_eq!(status.code(), Some(i32::from(INTERRUPTED)), "{said}");
    assert!(names(folder.path()).iter().all(|name| name == "out.checkpoints"), "{:?}", names(folder.path()));
}

#[test]
fn kill_9_costs_nothing_but_the_steps_since_the_last_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    run(&spec(&[]), &place.path().join("whole"), &control(StartMode::New)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for attempt in 0..5 {
        let mut child = child(folder.path(), attempt > 0);
        wait_for(&folder.path().join("out.checkpoints"), "step-");
        sleep(Duration::from_millis(20 + 13 * attempt));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Files that reserve space: each run has removed the file of the run before it.
    let reserved = || {
        let names = names(folder.path()).into_iter();
        names.filter(|name| folder.path().join(name).join("reserve").exists()).count()
    };
    assert!(reserved() <= 1, "{:?}", names(folder.path()));
    let out = folder.path().join("out");
    run(&spec(&[]), &out, &control(StartMode::Resume)).unwrap();
    assert_eq!(results(&out), results(&place.path().join("whole")));
    assert_eq!(reserved(), 0, "{:?}", names(folder.path()));
}
