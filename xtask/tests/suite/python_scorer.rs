//! `disco_scorer.py`, and runs whose features a Python program computes. Left out, with the reason, where there is no `python3`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xtask::{Error, INTERRUPTED, Interrupt, RunControl, StartMode, workspace_root};

use crate::common::{
    external::{folder, has_python, results, spec},
    names,
    speech::{control, run_speeches},
};

/// The variable that makes this program the child of a test: its folder.
const FOLDER: &str = "DISCO_PYTHON_TEST";

/// Features as the kind `contains` has them, and the length of the text.
const SCORERS: &str = r#"
import time
from disco_scorer import Skip, feature, serve

@feature
def king(texts, contexts):
    assert set(contexts) <= {"calm", "stormy"}
    return ["king" in text for text in texts]

@feature
def length(texts, finished, **columns):
    return [len(text) for text in texts]

@feature
def daylight(texts):
    return [Skip("it is dark") if "night" in text else 1 for text in texts]

serve()
"#;

/// The feature `king` of scorers.py, with further fields.
fn king(fields: &str) -> String {
    format!(
        "[[features]]\nname = \"king\"\nkind = \"command\"\nrun = [\"python3\", \"scorers.py\"]\nbinary = true\nmean = 0.5\n\
         {fields}\n"
    )
}

#[test]
fn the_tests_of_disco_scorer_pass() {
    if !has_python() {
        return;
    }
    let mut tests = Command::new("python3");
    tests.args(["-m", "unittest", "discover", "xtask/scorers"]).env("PYTHONDONTWRITEBYTECODE", "1");
    let tests = tests.current_dir(workspace_root()).output().unwrap();
    let said = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success() && said.contains("\nRan 7 tests"), "{said}");
}

#[test]
fn a_program_gives_the_bits_of_the_kind_that_it_imitates_for_any_number_of_workers() {
    if !has_python() {
        return;
    }
    let folder = folder(SCORERS);
    let own = "[[features]]\nname = \"king\"\nkind = \"contains\"\ntext = \"king\"\nmean = 0.5\n\
               [[features]]\nname = \"letters\"\nkind = \"length\"\nunit = \"characters\"\nmean = 14\n";
    let asked = |workers: &str| {
        let letters = "[[features]]\nname = \"letters\"\nkind = \"command\"\nrun = [\"python3\", \"scorers.py\"]\n\
                       feature = \"length\"\nmean = 14\n";
        format!("{}{letters}", king(workers))
    };
    let run = |features: &str, name: &str| {
        let out = folder.path().join(name);
        run_speeches(&spec(folder.path(), features, 5), &out, &control(StartMode::New)).unwrap();
        results(&out)
    };
    let expected = run(own, "own");
    assert_eq!(run(&asked(""), "one"), expected);
    assert_eq!(run(&asked("workers = 3\nbatch = 7\n"), "three"), expected);
}

#[test]
fn a_program_that_dies_leaves_a_checkpoint_from_which_the_run_goes_on_to_the_bit() {
    if !has_python() {
        return;
    }
    let whole = {
        let folder = folder(SCORERS);
        run_speeches(
            &spec(folder.path(), &king(""), 20),
            &folder.path().join("out"),
            &control(StartMode::New),
        )
        .unwrap();
        results(&folder.path().join("out"))
    };
    let dies = "@feature\ndef king(texts, contexts):\n    import os\n    checkpoints = os.path.isdir(\"out.checkpoints\") and \
                os.listdir(\"out.checkpoints\")\n    assert not any(name.startswith(\"step-\") for name in checkpoints or []), \"no more\"\n";
    let folder = folder(&SCORERS.replace("@feature\ndef king(texts, contexts):\n", dies));
    let out = folder.path().join("out");
    let error =
        run_speeches(&spec(folder.path(), &king(""), 20), &out, &control(StartMode::New)).unwrap_err();
    assert!(
        error.to_string().contains("reports an error: \"AssertionError: no more (scorers.py, line "),
        "{error}"
    );
    assert!(!out.exists() && folder.path().join("out.checkpoints").is_dir());
    // The program is mended, and asked in another way.
    fs::write(folder.path().join("scorers.py"), SCORERS).unwrap();
    let spec = spec(folder.path(), &king("workers = 2\nbatch = 5\nretry = 1"), 20);
    run_speeches(&spec, &out, &control(StartMode::Resume)).unwrap();
    assert_eq!(results(&out), whole);
}

#[test]
fn a_run_with_another_file_than_that_of_its_checkpoint_is_refused() {
    if !has_python() {
        return;
    }
    let folder = folder(SCORERS);
    let out = folder.path().join("out");
    let spec = |steps| spec(folder.path(), &king("files = [\"scorers.py\"]"), steps);
    run_speeches(&spec(4), &out, &control(StartMode::New)).unwrap();
    run_speeches(&spec(6), &out, &control(StartMode::Resume)).unwrap();
    fs::write(folder.path().join("scorers.py"), format!("{SCORERS}\n# changed\n")).unwrap();
    let refused = run_speeches(&spec(8), &out, &control(StartMode::Resume)).unwrap_err().to_string();
    assert!(refused.contains("features") && refused.contains("scorers.py"), "{refused}");
}

/// Not a test of its own: what the test below starts and ends.
#[test]
fn child_of_the_python_tests() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let control = RunControl { interrupt: Interrupt::install().unwrap(), ..control(StartMode::New) };
    let error =
        run_speeches(&spec(folder, &king("workers = 3\nbatch = 50"), 1000), &folder.join("out"), &control)
            .unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    std::process::exit(INTERRUPTED.into());
}

/// Waits until `folder` has as many files as are asked whose names begin so.
fn wait_for(folder: &Path, beginning: &str, count: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while names(folder).iter().filter(|name| name.starts_with(beginning)).count() < count {
        assert!(Instant::now() < until, "{:?} in {}", names(folder), folder.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_program_is_left_behind_by_an_interrupt_or_a_kill() {
    if !has_python() {
        return;
    }
    // Each process leaves a file with its id, and another one when it is asked for values; its child would outlive it.
    let marked = "import os, subprocess, time\nopen(f\"pid-{os.getpid()}\", \"w\")\n";
    let sleeps = "    open(f\"asked-{os.getpid()}\", \"w\")\n    subprocess.Popen([\"sleep\", \"60\"])\n    time.sleep(SECONDS)\n";
    let scorers = |seconds: &str| {
        let body = "def king(texts, contexts):\n";
        format!(
            "{marked}{}",
            SCORERS.replacen(body, &format!("{body}{}", sleeps.replace("SECONDS", seconds)), 1)
        )
    };
    // While all processes are busy for a minute (the base is measured), and while the policy is tuned.
    let cases = [("60", "-TERM"), ("60", "-INT"), ("0.5", "-KILL"), ("0", "-TERM")];
    thread::scope(|scope| {
        for (seconds, signal) in cases {
            let scorers = scorers(seconds);
            scope.spawn(move || end_a_run(&scorers, seconds == "0", signal));
        }
    });
}

/// Ends a run with a signal once three processes are busy, or once it has a checkpoint, and waits for the end of the processes.
fn end_a_run(scorers: &str, tunes: bool, signal: &str) {
    let folder = folder(scorers);
    let path = folder.path();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "python_scorer::child_of_the_python_tests", "--nocapture"]).env(FOLDER, path);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(path, "asked-", 3);
    if tunes {
        wait_for(&path.join("out.checkpoints"), "step-", 1);
    }
    let start = Instant::now();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    let expected = (signal != "-KILL").then_some(i32::from(INTERRUPTED));
    assert_eq!(ended.status.code(), expected, "{signal} {said}");
    assert!(start.elapsed() < Duration::from_secs(5), "{signal} {:?}", start.elapsed());
    assert!(!said.contains("error:") && !said.contains("panicked"), "{said}");
    for name in names(path).iter().filter_map(|name| name.strip_prefix("pid-")) {
        // Killed processes end when the system has time for it; one whose caller was killed ends with its input.
        while is_alive(name) {
            assert!(start.elapsed() < Duration::from_secs(10), "{signal}: process {name} is left");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a process runs, where the system tells.
fn is_alive(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn values_that_are_skipped_or_not_binary_are_told_by_the_names_of_the_run_file() {
    if !has_python() {
        return;
    }
    let folder = folder(SCORERS);
    let out = folder.path().join("out");
    let skips = "[[features]]\nname = \"day\"\nkind = \"command\"\nrun = [\"python3\", \"scorers.py\"]\nfeature = \"daylight\"\n\
                 always = true\nbinary = true\n";
    let skips = format!("{}{skips}", king(""));
    run_speeches(&spec(folder.path(), &skips, 2), &out, &control(StartMode::New)).unwrap();
    let rows = fs::read_to_string(out.join("samples.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in rows {
        let is_dark = row["text"].as_str().unwrap().contains("night");
        assert_eq!(row["features"][1].is_null(), is_dark, "{row}");
    }
    let wrong = king("feature = \"length\"");
    let error =
        run_speeches(&spec(folder.path(), &wrong, 2), &folder.path().join("other"), &control(StartMode::New));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("the scorer `python3 scorers.py` failed: sample 0 (context \"calm\", text "),
        "{error}"
    );
    assert!(
        error.contains("feature `king` gave 1") && error.contains("allowed: 0, 1, false and true"),
        "{error}"
    );
}
