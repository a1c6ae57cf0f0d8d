//! Features whose values a program gives, and programs that misbehave. The programs are scripts of `sh`.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use xtask::{CommandSettings, Error, ExternalScorer, ScoredSample};

/// Answers each line with the number of letters `a` of each sample, from a JSON line of one sample at a time.
const COUNTS: &str = r#"while read -r line; do
    id=${line#*\"id\":}; id=${id%%,*}
    case $line in
        *'"samples":[]'*) echo "{\"id\": $id, \"values\": []}" ;;
        *) text=${line#*\"text\":\"}; text=${text%%\"*}; letters=$(printf %s "$text" | tr -cd a)
           echo "{\"id\": $id, \"values\": [[${#letters}]]}" ;;
    esac
done"#;

/// The variable in the environment of all processes of a case.
const MARK: &str = "DISCO_TEST_MARK";
/// The variable that makes this program the child of a test.
const CHILD: &str = "DISCO_COMMAND_TEST";

/// The time of a case that has to run out of it, and of one that must not.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

/// Answers the first line, which has no samples, as it should be, and then does `then`.
fn after_start(then: &str) -> String {
    format!("read -r line; echo '{{\"id\": 0, \"values\": []}}'; read -r line; {then}")
}

fn settings(script: &str, folder: &Path) -> CommandSettings {
    CommandSettings {
        run: ["sh", "-c", script].map(String::from).into(),
        program: "sh".into(),
        folder: folder.into(),
        environment: BTreeMap::new(),
        workers: 1,
        batch: 1,
        timeout: LONG,
        start_timeout: LONG,
        retries: 0,
    }
}

fn samples<'a>(texts: &'a [&'a str], columns: &'a BTreeMap<String, Value>) -> Vec<ScoredSample<'a>> {
    let sample = |text: &&'a str| ScoredSample { context: "Say:", text, tokens: 1, finished: true, columns };
    texts.iter().map(sample).collect()
}

#[test]
fn values_come_in_the_order_of_the_samples_for_any_number_of_processes_and_each_sample_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let columns = BTreeMap::new();
    let texts = ["banana", "apple", "", "banana", "aaa", "b", "papaya"];
    for workers in [1, 3] {
        let counted = format!("echo start >> starts{workers}; {COUNTS}")
            .replace("letters=$", "echo . >> asked; letters=$");
        let settings = CommandSettings { workers, ..settings(&counted, folder.path()) };
        let scorer = ExternalScorer::from_command(vec!["a".into()], settings).unwrap();
        for _ in 0..2 {
            let rows = scorer.rows(&samples(&texts, &columns)).unwrap();
            let values: Vec<f64> = rows.iter().map(|row| *row[0].as_ref().unwrap()).collect();
            assert_eq!(values, [3.0, 1.0, 0.0, 3.0, 3.0, 0.0, 3.0]);
        }
        drop(scorer);
        let lines = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap().lines().count();
        assert_eq!((lines(&format!("starts{workers}")), lines("asked")), (workers, 6));
        fs::remove_file(folder.path().join("asked")).unwrap();
    }
}

#[test]
fn threads_that_ask_at_the_same_time_share_the_processes() {
    let folder = tempfile::tempdir().unwrap();
    let columns = BTreeMap::new();
    // Each process holds a folder of its own while it answers: two threads at once would find it there.
    let alone = COUNTS.replace("letters=$", "mkdir busy$$ || exit 7; sleep 0.02; rmdir busy$$; letters=$");
    let settings = CommandSettings { workers: 2, ..settings(&alone, folder.path()) };
    let scorer = ExternalScorer::from_command(vec!["a".into()], settings).unwrap();
    thread::scope(|scope| {
        for thread in 0..4_usize {
            let (scorer, columns) = (&scorer, &columns);
            scope.spawn(move || {
                let texts: Vec<String> =
                    (0..5).map(|count| format!("{thread}{}", "a".repeat(count))).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let rows = scorer.rows(&samples(&texts, columns)).unwrap();
                assert_eq!(rows, [0.0, 1.0, 2.0, 3.0, 4.0].map(|count| [Ok(count)]));
            });
        }
    });
}

/// A program that misbehaves.
struct Case {
    script: String,
    /// A part of the error.
    told: &'static str,
    start_timeout: Duration,
    timeout: Duration,
}

fn case(script: impl Into<String>, told: &'static str) -> Case {
    Case { script: script.into(), told, start_timeout: LONG, timeout: LONG }
}

/// A program that has to run out of its time.
fn slow(script: impl Into<String>) -> Case {
    let script = script.into();
    let (start_timeout, timeout) = if script.starts_with("read") { (LONG, SHORT) } else { (SHORT, LONG) };
    Case { script, told: "no answer within 1 s", start_timeout, timeout }
}

fn cases() -> Vec<Case> {
    let id = r#"{"id": 1, "#;
    let answers = |answer: &str| after_start(&format!("echo '{id}{answer}}}'; sleep 60"));
    vec![
        // At the start.
        case("exit 3", "at its start: it ended without an answer (exit status: 3)"),
        case("echo 'no such model' >&2; exit 1", "last words on standard error: no such model"),
        slow("sleep 60"),
        slow("while :; do echo error; done >&2"),
        slow("head -c 1000000000 /dev/zero >&2; sleep 60"),
        case("echo hello; sleep 60", "no JSON object as documented"),
        case("echo '{\"id\": 0, \"values\": [[1]]}'; sleep 60", "1 rows of values for 0 samples"),
        // In a batch.
        case(after_start("exit 0"), "batch 1 of 1 (1 samples): it ended without an answer (exit status: 0)"),
        case(after_start("kill -9 $$"), "signal: 9"),
        slow(after_start("sleep 60")),
        slow(after_start(&format!("printf '%s' '{id}'; sleep 60"))),
        case(after_start(&format!("printf '%s' '{id}'")), "it ended without an answer"),
        slow(after_start("while :; do printf x; sleep 0.1; done")),
        case(after_start("head -c 1000000000 /dev/zero; sleep 60"), "a line of more than 16 MiB"),
        case(after_start("yes ''"), "no JSON object as documented"),
        case(answers("\"values\": [[1]]}' '{\"id\": 5"), "no JSON object as documented"),
        case(after_start(r#"echo '{"id": 5, "values": [[1]]}'; sleep 60"#), "id 5 where id 1 was asked"),
        case(after_start(r#"echo '{"values": [[1]]}'; sleep 60"#), "no id where id 1 was asked"),
        case(answers("\"values\": [[1], [2]]"), "2 rows of values for 1 samples"),
        case(
            answers("\"values\": [[1, 2]]"),
            "sample 0 (context \"Say:\", text \"text\"): it gave 2 values for 1 features",
        ),
        case(answers("\"values\": [[NaN]]"), "NaN, which is no value"),
        case(answers("\"values\": [[\"1\"]]"), "sample 0 (context \"Say:\", text \"text\"): feature `a`"),
        case(answers("\"error\": \"no GPU\""), "reports an error: \"no GPU\""),
        case(after_start(&format!("printf '{id}\"values\": [[\\377]]}}\\n'; sleep 60")), "not UTF-8"),
        case(after_start("exec 1>&-; sleep 60"), "closed its standard output"),
        case(
            // The second batch is larger than what a pipe holds.
            "read -r line; echo '{\"id\": 0, \"values\": []}'; exec 0<&-; sleep 60",
            "closed its standard input",
        ),
        slow(after_start("trap '' TERM INT HUP; sleep 60")),
        case(after_start("sleep 60 & sleep 60 & exit 4"), "it ended without an answer (exit status: 4)"),
        case(after_start("(sleep 60; echo late) & exit 4"), "it ended without an answer (exit status: 4)"),
        // Out of turn: the second answer comes before the second request.
        case(
            format!(
                "read -r line; echo '{{\"id\": 0, \"values\": []}}'; echo '{id}\"values\": [[1]]}}'; sleep 0.3; read -r line; \
                 sleep 60"
            ),
            "a line that nobody had asked for",
        ),
    ]
}

/// The error that a case ends with, after a moment in which it can write what it should not.
fn outcome(case: &Case, number: usize, folder: &Path) -> Result<(), String> {
    let columns = BTreeMap::new();
    let long = "text".repeat(200_000);
    let text = if case.told.contains("standard input") { long.as_str() } else { "text" };
    let mark = format!("{}x{number}", std::process::id());
    let settings = CommandSettings {
        environment: [(MARK.to_owned(), (&mark).into())].into(),
        timeout: case.timeout,
        start_timeout: case.start_timeout,
        ..settings(&case.script, folder)
    };
    let start = Instant::now();
    let outcome = ExternalScorer::from_command(vec!["a".into()], settings).and_then(|scorer| {
        thread::sleep(Duration::from_millis(200));
        scorer.rows(&samples(&[text], &columns))
    });
    let taken = start.elapsed();
    let Err(Error::Scorer { scorer, problem }) = outcome else { return Err(format!("{outcome:?}")) };
    if !problem.contains(case.told) || !scorer.starts_with("sh -c") || taken > Duration::from_secs(5) {
        return Err(format!("{scorer}: {problem} (after {taken:?})"));
    }
    // A process that was killed ends when the system has time for it.
    let deadline = Instant::now() + Duration::from_secs(5);
    while processes_with(&mark) > 0 {
        if Instant::now() > deadline {
            return Err("a process is left".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The number of processes in whose environment the mark is, where the system tells.
fn processes_with(mark: &str) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let variable = format!("{MARK}={mark}");
    let environments = entries.flatten().filter_map(|entry| fs::read(entry.path().join("environ")).ok());
    let has =
        |environment: &Vec<u8>| environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes());
    environments.filter(has).count()
}

/// Not a test of its own: the child whose standard error and memory the test below looks at.
#[test]
fn child_of_the_command_tests() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    let failures = thread::scope(|scope| {
        let folder = folder.path();
        let run = |(number, case)| scope.spawn(move || outcome(case, number, folder));
        let running: Vec<_> = cases.iter().enumerate().map(run).collect();
        let outcomes = running.into_iter().zip(&cases).map(|(thread, case)| (thread.join().unwrap(), case));
        let failures =
            outcomes.filter_map(|(outcome, case)| Some(format!("{}:\n  {}", case.script, outcome.err()?)));
        failures.collect::<Vec<_>>()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kibibytes < 300 << 10, "{kibibytes} KiB of memory");
    }
}

#[test]
fn each_misbehaviour_is_one_clear_error_within_its_time_and_no_process_and_no_memory_is_left() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "command_scorer::child_of_the_command_tests", "--nocapture"]).env(CHILD, "yes");
    let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    // The lines of the programs are shown after their name, and not all of a flood.
    let own: Vec<&str> = said.lines().filter(|line| !line.starts_with("sh: ")).collect();
    assert!(child.status.success(), "{}", own.join("\n"));
    assert!(said.lines().any(|line| line == "sh: no such model"), "{}", own.join("\n"));
    assert_eq!(said.lines().filter(|line| *line == "sh: error").count(), 1000);
    assert_eq!(said.lines().filter(|line| *line == "sh: no more of its lines are shown").count(), 2);
    assert!(said.len() < 4 << 20, "{} bytes", said.len());
}

#[test]
fn a_batch_that_fails_is_asked_again_as_often_as_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let columns = BTreeMap::new();
    // The first process ends at its first batch; the next one answers.
    let once = format!("if [ -e failed ]; then {COUNTS}\nelse touch failed; {} ; fi", after_start("exit 1"));
    let with = |retries| CommandSettings { retries, ..settings(&once, folder.path()) };
    let scorer = ExternalScorer::from_command(vec!["a".into()], with(1)).unwrap();
    let rows = scorer.rows(&samples(&["banana"], &columns)).unwrap();
    assert_eq!(rows, [[Ok(3.0)]]);
    fs::remove_file(folder.path().join("failed")).unwrap();
    let scorer = ExternalScorer::from_command(vec!["a".into()], with(0)).unwrap();
    assert!(scorer.rows(&samples(&["banana"], &columns)).is_err());
    let never = CommandSettings { retries: 1, ..settings(&after_start("exit 1"), folder.path()) };
    let scorer_that_never_answers = ExternalScorer::from_command(vec!["a".into()], never).unwrap();
    let error = scorer_that_never_answers.rows(&samples(&["banana"], &columns)).unwrap_err().to_string();
    assert!(error.contains("it ended without an answer") && error.ends_with(" (after 1 retry)"), "{error}");
    // After an error, a new process is started for the next batch.
    assert_eq!(scorer.rows(&samples(&["banana"], &columns)).unwrap(), [[Ok(3.0)]]);
}

#[test]
fn of_several_errors_that_of_the_first_batch_is_told_for_any_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let columns = BTreeMap::new();
    let fails = COUNTS.replace("letters=$", "case $text in *bad*) exit 5;; esac; letters=$");
    for workers in [1, 4] {
        let settings = CommandSettings { workers, ..settings(&fails, folder.path()) };
        let scorer = ExternalScorer::from_command(vec!["a".into()], settings).unwrap();
        let texts = ["1", "2", "3", "bad 4", "5", "bad 6", "7", "bad 8"];
        let error = scorer.rows(&samples(&texts, &columns)).unwrap_err().to_string();
        assert!(error.contains("batch 4 of 8 (1 samples): it ended without"), "{error}");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = CommandSettings {
        run: vec!["no-such-program".into()],
        program: "no-such-program".into(),
        ..settings("", folder.path())
    };
    let error = ExternalScorer::from_command(vec!["a".into()], settings).unwrap_err().to_string();
    assert!(
        error.starts_with("the scorer `no-such-program`: at its start: it could not be started: "),
        "{error}"
    );
}
