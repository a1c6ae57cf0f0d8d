//! A run that dies between two system calls, or to which a system call fails for a full disk, harms nothing and can be run again.
//!
//! `strace` chooses the call: without it, nothing is tested here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use disco_tuner::SealedFolder;
use xtask::{Interrupt, ProgressTarget, RunControl, StartMode, WEIGHTS};

use crate::{
    common::{
        names,
        speech::{control, run_speeches, speech_spec},
    },
    interrupt::wait_for,
};

/// The variable that names the folder of the child.
const FOLDER: &str = "DISCO_KILL_TEST";

/// The calls that change files.
const CALLS: &str = "mkdir,rename,unlink,unlinkat,rmdir,openat,fsync,fallocate,flock,ftruncate,write";

/// Two checkpoints are replaced, and one is the best.
fn spec() -> xtask::Spec {
    speech_spec(&[
        ("steps = 1000", "steps = 8"),
        ("every = 7", "every = 2"),
        ("samples = 1000", "samples = 500"),
        ("count = 500", "count = 200"),
        ("samples_per_step = 256", "samples_per_step = 64"),
    ])
}

/// Not a test of its own: what the tests below start and end.
#[test]
fn child_of_the_kill_tests() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let control = RunControl {
        progress: ProgressTarget::Lines,
        interrupt: Interrupt::install().unwrap(),
        ..control(StartMode::Resume)
    };
    if let Err(error) = run_speeches(&spec(), &Path::new(&folder).join("out"), &control) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

/// The command of the child, behind these words.
fn child(before: &[&str], folder: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let words = before.iter().map(AsRef::<std::ffi::OsStr>::as_ref).chain([program.as_os_str()]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", "kills::child_of_the_kill_tests", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The tuned weights, and the summary but for seconds and memory.
fn results(out: &Path) -> (Vec<u8>, serde_json::Value) {
    SealedFolder::open(out).unwrap().check().unwrap();
    let weights = fs::read(out.join(WEIGHTS).join("softmax_table.json")).unwrap();
    let mut summary: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    summary.as_object_mut().unwrap().remove("peak_memory_bytes").unwrap();
    for stage in summary["stages"].as_array_mut().unwrap() {
        let stage = stage.as_object_mut().unwrap();
        stage.remove("seconds").unwrap();
        // There is none unless the run was resumed.
        stage.remove("earlier_seconds");
    }
    (weights, summary)
}

/// Things of somebody else, with names like ours.
const FOREIGN: [&str; 4] =
    [".out.AbCd12/made/thesis.tex", ".out.backup/thesis.tex", "out.kept/thesis.tex", "out.txt"];

/// A folder with foreign things, and with earlier results if so asked.
fn prepared(earlier: bool) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in FOREIGN {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    if earlier {
        let out = place.path().join("out");
        run_speeches(&spec(), &out, &control(StartMode::New)).unwrap();
        fs::remove_dir_all(place.path().join("out.checkpoints")).unwrap();
    }
    place
}

/// Checks what a process that has ended left, and that the next run mends it: in turn one that resumes, and one that begins anew.
fn check_and_run_again(number: usize, place: &Path, whole: &(Vec<u8>, serde_json::Value), what: &str) {
    let out = place.join("out");
    if out.exists() {
        results(&out);
    }
    let start = if number.is_multiple_of(2) { StartMode::Resume } else { StartMode::Restart };
    run_speeches(&spec(), &out, &control(start)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(&results(&out), whole, "{what}");
    for name in FOREIGN {
        assert_eq!(fs::read_to_string(place.join(name)).unwrap(), name, "{what}");
    }
    let expected = [".out.AbCd12", ".out.backup", "out", "out.checkpoints", "out.kept", "out.txt"];
    assert_eq!(names(place), expected, "{what}");
    let left = names(&place.join("out.checkpoints"));
    let is_known = |name: &String| {
        name == "finished"
            || name == "steps.jsonl"
            || name.strip_prefix("step-").is_some_and(|n| n.parse::<u64>().is_ok())
    };
    assert!(left.iter().all(is_known), "{what}: {left:?}");
}

/// A call of the thread that runs the workflow: its name, its number among the calls of that name, and its line in the trace.
struct Call {
    name: String,
    number: usize,
    line: String,
}

/// All calls of a whole run; `None` if there is no strace that may trace.
fn trace(earlier: bool) -> Option<Vec<Call>> {
    let place = prepared(earlier);
    let log = place.path().join("log");
    let calls = format!("trace={CALLS}");
    let words = ["strace", "-f", "-qq", "-s", "200", "-o", log.to_str().unwrap(), "-e", &calls];
    let Ok(output) = child(&words, place.path()).output() else {
        println!("skipped: there is no strace");
        return None;
    };
    if !output.status.success() {
        println!("skipped: strace does not work here: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = fs::read_to_string(&log).unwrap();
    let mut threads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        threads.entry(thread).or_default().push(call.trim_start());
    }
    let busiest = threads
        .into_values()
        .max_by_key(|calls| calls.iter().filter(|call| call.starts_with("rename")).count());
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let call = |line: &str| {
        let name = line.split_once('(').filter(|_| !line.starts_with("<..."))?.0.to_owned();
        let number = numbers.entry(name.clone()).or_default();
        *number += 1;
        Some(Call { name, number: *number, line: line.to_owned() })
    };
    Some(busiest.unwrap().into_iter().filter_map(call).collect())
}

/// Runs the child, in which a call is made to fail or kill.
fn inject(place: &Path, call: &Call, fault: &str) -> Output {
    let injected = format!("inject={}:{fault}:when={}", call.name, call.number);
    let traced = format!("trace={}", call.name);
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &traced, "-e", &injected];
    child(&words, place).output().unwrap()
}

/// `count` of these, from the last one backwards at equal distances.
fn spread<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    let step = (all.len() / count).max(1);
    all.iter().rev().step_by(step).take(count)
}

fn whole() -> (Vec<u8>, serde_json::Value) {
    let place = tempfile::tempdir().unwrap();
    run_speeches(&spec(), &place.path().join("out"), &control(StartMode::New)).unwrap();
    results(&place.path().join("out"))
}

/// Kills the child at `at_the_end` calls from the first write of results on, and at `before` calls before.
fn kill_between_calls(at_the_end: usize, before: usize) {
    let whole = whole();
    let (mut tried, mut killed) = (0, 0);
    for earlier in [false, true] {
        let Some(calls) = trace(earlier) else { return };
        // The reserved space is freed when results begin to be written.
        let end =
            calls.iter().position(|call| call.line.contains("/reserve\"") && call.name == "unlink").unwrap();
        let chosen = spread(&calls[end..], at_the_end).chain(spread(&calls[..end], before));
        for (number, call) in chosen.enumerate() {
            let place = prepared(earlier);
            let output = inject(place.path(), call, "signal=KILL");
            tried += 1;
            killed += usize::from(!output.status.success());
            check_and_run_again(number, place.path(), &whole, &format!("killed in {}", call.line));
        }
    }
    println!("{killed} kills of {tried}");
    // A run may make a call less often than the one that was traced.
    assert!(2 * killed > tried, "{killed} of {tried} were killed");
}

#[test]
fn a_run_killed_between_two_calls_can_be_run_again() {
    kill_between_calls(3, 1);
}

#[test]
#[ignore = "sweep: 100 kills between two system calls, 3 minutes"]
fn sweep_kills_between_two_calls() {
    assert!(trace(false).is_some(), "the sweep needs strace");
    kill_between_calls(40, 10);
}

/// Lets calls fail for a full disk, which is said as such wherever it comes.
fn fill_disks(count: usize) {
    let whole = whole();
    let mut failed = 0;
    for earlier in [false, true] {
        let Some(calls) = trace(earlier) else { return };
        let writes = |call: &&Call| match call.name.as_str() {
            "openat" => call.line.contains("O_CREAT"),
            // The first descriptors are the terminal.
            "write" => !call.line.starts_with("write(2,") && !call.line.starts_with("write(1,"),
            "mkdir" | "rename" | "fsync" | "fallocate" => true,
            _ => false,
        };
        let within = |call: &&Call| {
            call.line.contains("out") || call.line.starts_with("write") || call.name.starts_with('f')
        };
        let calls: Vec<&Call> = calls.iter().filter(writes).filter(within).collect();
        for (number, call) in spread(&calls, count).enumerate() {
            let place = prepared(earlier);
            let output = inject(place.path(), call, "error=ENOSPC");
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                failed += 1;
                let at_end = said.contains("No space left on device") && !said.contains("damaged");
                assert!(at_end && !said.contains("panicked"), "{}: {said}", call.line);
            }
            check_and_run_again(number, place.path(), &whole, &format!("disk full in {}", call.line));
        }
    }
    println!("{failed} runs ended by a full disk");
    assert!(failed > 0, "no run was ended by a full disk");
}

#[test]
fn a_full_disk_is_called_that_and_the_run_can_be_run_again() {
    fill_disks(3);
}

#[test]
#[ignore = "sweep: 60 full disks, 2 minutes"]
fn sweep_full_disks() {
    assert!(trace(false).is_some(), "the sweep needs strace");
    fill_disks(30);
}

#[test]
#[ignore = "sweep: 58 signals and 50 kills at any moment, 2 minutes"]
fn sweep_signals_at_any_moment() {
    let whole = whole();
    let signals = std::iter::repeat_n(["-INT", "-TERM", "-HUP"], 20).flatten().take(58);
    for (at, signal) in signals.chain(std::iter::repeat_n("-KILL", 50)).enumerate() {
        let place = prepared(at % 2 == 0);
        let mut child = child(&["env"], place.path()).spawn().unwrap();
        sleep(Duration::from_millis(3 * at as u64 % 157));
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        if signal != "-KILL" {
            let hidden =
                names(place.path()).into_iter().filter(|name| name.starts_with(".out.")).collect::<Vec<_>>();
            assert_eq!(hidden, [".out.AbCd12", ".out.backup"], "{signal}, {status}");
        }
        check_and_run_again(at, place.path(), &whole, &format!("number {at}, {signal}"));
    }
}

#[test]
fn a_terminal_that_is_closed_or_full_ends_no_run() {
    let whole = whole();
    for redirection in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"] {
        let place = prepared(false);
        let script = format!("exec 3>&1; \"$0\" \"$@\" {redirection}; exit ${{PIPESTATUS[0]}}");
        let output = child(&["bash", "-c", &script], place.path()).output().unwrap();
        assert!(output.status.success(), "{redirection}: {output:?}");
        assert_eq!(results(&place.path().join("out")), whole, "{redirection}");
    }
}

/// The second of two runs ends at once, names the first, and takes nothing from it.
#[test]
fn of_two_runs_with_one_place_the_second_ends_at_once() {
    let place = tempfile::tempdir().unwrap();
    let out: PathBuf = place.path().join("out");
    let mut first = child(&["env"], place.path());
    let mut first = first.spawn().unwrap();
    wait_for(place.path(), ".out.lock");
    let second = run_speeches(&spec(), &out, &control(StartMode::Restart));
    assert!(first.wait().unwrap().success());
    let said = second.unwrap_err().to_string();
    let named = format!("process {} on ", first.id());
    assert!(said.contains("is in use by") && said.contains(&named), "{said}");
    assert_eq!(results(&out), whole());
}
