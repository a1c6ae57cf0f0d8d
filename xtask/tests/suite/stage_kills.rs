//! A stage that is killed at any moment leaves nothing or a whole file, and the next process ends with the bits of one that was not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    common::names,
    stages_of_a_model::{SPEC, run, succeed},
};

/// A stage, with its arguments but for `--out`, the file in its results that is compared, if they are a folder, and the number of kills.
struct Stage {
    arguments: &'static [&'static str],
    file: Option<&'static str>,
    kills: u32,
}

const STAGES: [Stage; 8] = [
    Stage { arguments: &["measure", "../s.toml"], file: Some("measured.jsonl"), kills: 4 },
    Stage {
        arguments: &["fit", "../s.toml", "--samples", "../measured/measured.jsonl"],
        file: Some("target.json"),
        kills: 6,
    },
    Stage {
        arguments: &["tune", "../s.toml", "--target", "../fitted/target.json", "--resume"],
        file: Some("model/model.safetensors"),
        kills: 4,
    },
    Stage {
        arguments: &["sample", "--model", "embedded", "--target", "../fitted/target.json", "--accept", "30"],
        file: None,
        kills: 4,
    },
    Stage {
        arguments: &[
            "score",
            "--model",
            "embedded",
            "--target",
            "../fitted/target.json",
            "--samples",
            "../measured/measured.jsonl",
        ],
        file: None,
        kills: 4,
    },
    Stage {
        arguments: &[
            "diagnose",
            "--target",
            "../fitted/target.json",
            "--samples",
            "../measured/measured.jsonl",
        ],
        file: None,
        kills: 6,
    },
    Stage {
        arguments: &["merge", "../shard1/measured.jsonl", "../shard2/measured.jsonl"],
        file: None,
        kills: 6,
    },
    Stage { arguments: &["report", "../measured"], file: None, kills: 6 },
];

/// The results at `out`, of which one file is compared.
fn result(out: &Path, stage: &Stage) -> Vec<u8> {
    let file = stage.file.map_or(out.to_path_buf(), |file| out.join(file));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Starts a program of a stage in `folder`, with its results at `out`, and kills it after some time. Whether it was killed.
fn kill(folder: &Path, arguments: &[&str], after: Duration) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disco"));
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    sleep(after);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// Kills a stage at moments spread over its duration; the number of processes that were killed.
fn sweep(at: &Path, stage: &Stage, number: usize) -> u32 {
    let place = |name: String| -> PathBuf {
        let place = at.join(name);
        fs::create_dir(&place).unwrap();
        place
    };
    let arguments = [stage.arguments, &["--out", "out"]].concat();
    let whole = place(format!("whole{number}"));
    let begun = Instant::now();
    succeed(&whole, &arguments);
    let duration = begun.elapsed();
    let (expected, left) = (result(&whole.join("out"), stage), names(&whole));
    let mut killed = 0;
    for kill_number in 0..stage.kills {
        let what = format!("{:?}, kill {kill_number} of {}", stage.arguments, stage.kills);
        let place = place(format!("killed{number}-{kill_number}"));
        killed += u32::from(kill(&place, &arguments, duration * (2 * kill_number + 1) / (2 * stage.kills)));
        let out = place.join("out");
        if out.exists() {
            assert!(result(&out, stage) == expected, "{what}: half a file");
        }
        for name in names(&place) {
            let is_known = left.contains(&name) || name.starts_with(".out") || name.starts_with("out.");
            assert!(is_known, "{what}: {name}");
        }
        let (code, printed) = run(&place, &arguments);
        assert_eq!(code, 0, "{what}: {printed}");
        assert!(result(&out, stage) == expected, "{what}: other bits");
        assert_eq!(names(&place), left, "{what}");
    }
    killed
}

#[test]
fn a_stage_killed_at_any_moment_leaves_nothing_or_a_whole_file_and_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), SPEC.to_owned() + "[checkpoints]\nevery = 1\n").unwrap();
    succeed(at, &["measure", "s.toml", "--out", "measured"]);
    succeed(at, &["fit", "s.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
    for shard in ["1/2", "2/2"] {
        succeed(at, &["measure", "s.toml", "--shard", shard, "--out", &format!("shard{}", &shard[..1])]);
    }
    let killed: u32 = STAGES.iter().enumerate().map(|(number, stage)| sweep(at, stage, number)).sum();
    let tried: u32 = STAGES.iter().map(|stage| stage.kills).sum();
    println!("{killed} kills of {tried}");
    assert!(2 * killed > tried, "{killed} of {tried} were killed");
}

#[test]
fn a_measure_that_was_killed_goes_on_from_the_samples_that_it_had_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), SPEC.replace("samples = 600", "samples = 3000")).unwrap();
    succeed(at, &["measure", "s.toml", "--out", "whole"]);
    let measure = ["measure", "s.toml", "--out", "out"];
    let drawn = at.join("out.drawn.jsonl");
    let lines = || fs::read_to_string(&drawn).map_or(0, |text| text.lines().count());

    let mut child = Command::new(env!("CARGO_BIN_EXE_disco"));
    let mut child = child.args(measure).current_dir(at).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while lines() < 300 {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "{}", lines());
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Of other inputs: none of these samples count. What nobody of ours wrote stays.
    let text = fs::read_to_string(&drawn).unwrap();
    for (content, expected) in [("mine\n", 1), ("", 0)] {
        fs::write(&drawn, content).unwrap();
        let (code, printed) = run(at, &["measure", "s.toml", "--seed", "9", "--out", "out"]);
        assert!(code == expected && !printed.contains("of an earlier process"), "{printed}");
        assert_eq!(drawn.exists(), expected == 1);
    }
    fs::remove_dir_all(at.join("out")).unwrap();

    // The end of the file was lost, within a line.
    fs::write(&drawn, &text[..text.len() - 7]).unwrap();
    let printed = succeed(at, &measure);
    assert!(printed.contains("samples of an earlier process"), "{printed}");
    let read = |name: &str| fs::read(at.join(name).join("measured.jsonl")).unwrap();
    assert!(read("out") == read("whole"));
    assert_eq!(names(at), ["out", "s.toml", "whole"]);

    // Lines that no process wrote like this are drawn again, with all behind them.
    let lines: Vec<&str> = text.lines().collect();
    let written = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for changed in [
        text.replacen("\"log_prob\":-", "\"log_prob\":-9", 1),
        written(&[&lines[..9], &lines[10..]].concat()),
        written(&[&lines[..9], &lines[1..]].concat()),
    ] {
        fs::write(&drawn, changed).unwrap();
        fs::remove_dir_all(at.join("out")).unwrap();
        let printed = succeed(at, &measure);
        assert!(read("out") == read("whole"), "{printed}");
    }

    // A process that is killed when its results are in place leaves the samples, and the next one removes them.
    fs::write(&drawn, &text).unwrap();
    assert!(succeed(at, &measure).contains("nothing to do"));
    assert_eq!(names(at), ["out", "s.toml", "whole"]);
    // From the beginning.
    fs::write(&drawn, &text).unwrap();
    assert!(!succeed(at, &[&measure[..], &["--restart"]].concat()).contains("of an earlier process"));
    assert!(read("out") == read("whole") && !drawn.exists());
}
