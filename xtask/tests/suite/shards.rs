//! Shards of the stages, joined by `merge`, are the file of one process to the byte.

use std::{fs, path::Path};

use crate::stages_of_a_model::{SPEC, run, succeed};

/// A folder with the run file, measured samples of its base, and its target.
fn fitted(spec: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.toml"), spec).unwrap();
    succeed(folder.path(), &["measure", "s.toml", "--out", "measured"]);
    succeed(folder.path(), &["fit", "s.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
    folder
}

/// Checks that `count` shards of a command, joined in any order, are the file that one process has written to `whole`.
#[track_caller]
fn check(at: &Path, command: &[&str], whole: &str, count: usize) {
    let file = |index: usize| format!("{whole}.{index}of{count}");
    for index in 1..=count {
        let shard = format!("{index}/{count}");
        succeed(at, &[command, &["--shard", &shard, "--out", &file(index)]].concat());
    }
    let files: Vec<String> = (1..=count).rev().map(file).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    succeed(at, &[&["merge"], &files[..], &["--out", "merged"]].concat());
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert!(read("merged") == read(whole), "{command:?} in {count}");
    fs::remove_file(at.join("merged")).unwrap();
}

/// Checks that files are refused with these words, and that nothing is written.
#[track_caller]
fn refused(at: &Path, files: &[&str], words: &[&str]) {
    let (code, printed) = run(at, &[&["merge"], files, &["--out", "refused"]].concat());
    let is_told = words.iter().all(|word| printed.contains(word));
    assert!(code == 1 && is_told && !at.join("refused").exists(), "{words:?}: {printed}");
}

/// Checks that the first of two shards is refused by name when it is not as it was written.
#[track_caller]
fn check_damaged(at: &Path, file: &str, other: &str) {
    let whole = fs::read_to_string(at.join(file)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let last = lines.len() - 1;
    let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let twice = [&lines[..last], &lines[last - 1..]].concat();
    let garbage = [&lines[..last], &["garbage"], &lines[last..]].concat();
    let torn = &lines[last - 1][..9];
    for (content, words) in [
        (text(&lines[..last]), "the file is cut off"),
        (text(&lines[..1]), "the file is cut off"),
        (text(&lines[..last - 1]) + torn, "the file is cut off"),
        (text(&[&lines[..last - 1], &lines[last..]].concat()), "lines are missing or were added"),
        (text(&twice), "lines are missing or were added"),
        (text(&garbage), "lines are missing or were added"),
        (whole.replacen("\"log_prob\":-", "\"log_prob\":NaN,\"was\":-", 1), "they were changed"),
        (whole.replacen("\"index\":1", "\"index\":5", 1), "allowed: 1 <= index <= count"),
        (String::new(), "the file is empty"),
    ] {
        assert!(content != whole, "{words}");
        fs::write(at.join("damaged"), content).unwrap();
        refused(at, &["damaged", other], &["damaged", words]);
    }
}

#[test]
fn shards_of_draws_are_those_of_one_process_and_others_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let with_seed = |seed: &'static str| {
        let context = ["--context", "KING RICHARD III:\n", "--context", "GREMIO:\n"];
        [
            &["sample", "--model", "embedded", "--count", "5", "--max-new-tokens", "4", "--seed", seed],
            &context[..],
        ]
        .concat()
    };
    let sample = with_seed("3");
    succeed(at, &[&sample[..], &["--out", "drawn"]].concat());
    for count in [1, 2, 3, 7] {
        check(at, &sample, "drawn", count);
    }
    refused(at, &["drawn.1of3", "drawn.3of3"], &["shard 2/3 is missing"]);
    refused(at, &["drawn.1of2", "drawn.1of2"], &["shard 1/2 is there twice", "drawn.1of2"]);
    refused(at, &["drawn.1of2", "drawn.2of3"], &["drawn.2of3", "other inputs than drawn.1of2"]);
    refused(at, &["drawn.1of2", "drawn"], &["drawn does not say which shard it is"]);
    succeed(at, &[&with_seed("4")[..], &["--shard", "2/2", "--out", "other.2of2"]].concat());
    refused(at, &["drawn.1of2", "other.2of2"], &["other.2of2", "other inputs"]);
    check_damaged(at, "drawn.1of2", "drawn.2of2");
    let (code, printed) = run(at, &[&sample[..], &["--shard", "3/2"]].concat());
    assert!(code != 0 && printed.contains("allowed: i/n"), "{printed}");
}

#[test]
fn shards_of_a_target_and_of_scores_are_those_of_one_process() {
    let folder = fitted(SPEC);
    let at = folder.path();
    let target = ["--model", "embedded", "--target", "fitted/target.json"];
    let sample = [&["sample"], &target[..], &["--accept", "5"]].concat();
    for (name, more) in [("rejection", vec![]), ("sir", vec!["--sampler", "sir"])] {
        let command = [&sample[..], &more].concat();
        let printed = succeed(at, &[&command[..], &["--out", name]].concat());
        assert!(printed.contains("10 samples of the target"), "{printed}");
        check(at, &command, name, 2);
        check(at, &command, name, 7);
    }
    let mixed = ["rejection.1of2", "sir.2of2"];
    refused(at, &mixed, &["sir.2of2", "other inputs than rejection.1of2"]);
    let imh = [&sample[..], &["--sampler", "imh", "--shard", "1/2"]].concat();
    let (code, printed) = run(at, &imh);
    assert!(code == 1 && printed.contains("one chain"), "{printed}");

    let score = [&["score"], &target[..], &["--samples", "rejection"]].concat();
    succeed(at, &[&score[..], &["--out", "scored"]].concat());
    for count in [1, 3, 11] {
        check(at, &score, "scored", count);
    }
    // The file of a shard is one of samples too.
    succeed(at, &["score", "--model", "embedded", "--samples", "scored.2of3", "--out", "again"]);
}

#[test]
fn where_exact_rejection_cannot_be_paid_for_beta_is_chosen_from_samples() {
    let folder = fitted(SPEC);
    let at = folder.path();
    let sample = ["sample", "--model", "embedded", "--target", "fitted/target.json", "--accept", "20"];
    let paid = [&sample[..], &["--exact", "--out", "exact"]].concat();
    assert!(succeed(at, &paid).contains("the samples are the target's"));
    // Some 0.7 of the proposals are accepted at the bound, and all but a few at the beta of an acceptance rate of 0.7.
    let few = [&sample[..], &["--proposals", "21"]].concat();
    let (code, printed) = run(at, &[&few[..], &["--exact", "--out", "never"]].concat());
    assert!(
        code == 1 && printed.contains("20 samples need about") && printed.contains("21 are allowed"),
        "{printed}"
    );
    assert!(!at.join("never").exists() && !printed.contains("samples of the target from"));
    let (_, printed) = run(at, &[&few[..], &["--out", "chosen"]].concat());
    assert!(printed.contains("beta is chosen from samples instead"), "{printed}");
    assert!(printed.contains("a total variation of"), "{printed}");

    let sir = run(at, &[&sample[..], &["--exact", "--sampler", "sir"]].concat());
    assert!(sir.0 == 1 && sir.1.contains("--sampler rejection"), "{}", sir.1);
    // A number of commas has no largest value.
    let counted = SPEC.replace("kind = \"contains\"", "kind = \"count\"").replace("mean = 0.6", "mean = 1.1");
    let folder = fitted(&counted.replace("samples = 600", "samples = 200"));
    let (code, printed) = run(folder.path(), &[&sample[..], &["--exact"]].concat());
    assert!(code == 1 && printed.contains("`--exact` asks"), "{printed}");
    assert!(printed.contains("the features have no known range"), "{printed}");
}

#[test]
#[cfg(unix)]
fn a_diagnosis_of_the_lines_of_shards_is_that_of_one_process_and_asks_no_program_again() {
    // The number of letters `e` of one sample.
    let program = r#"while read -r line; do
echo . >> asked
id=${line#*\"id\":}; id=${id%%,*}
case $line in
    *'"samples":[]'*) echo "{\"id\": $id, \"values\": []}" ;;
    *) text=${line#*\"text\":\"}; text=${text%%\"*}; letters=$(printf %s "$text" | tr -cd e)
       echo "{\"id\": $id, \"values\": [[${#letters}]]}" ;;
esac
done
"#;
    let feature = "[[features]]\nname = \"letters\"\nkind = \"command\"\nrun = [\"sh\", \"letters.sh\"]\nbatch = 1\n[fit]";
    let spec = SPEC.replace("[fit]", feature).replace("samples = 600", "samples = 40");
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), spec.replace("mean = 0.6", "mean = 0.5")).unwrap();
    fs::write(at.join("letters.sh"), program).unwrap();
    succeed(at, &["measure", "s.toml", "--out", "measured"]);
    succeed(at, &["fit", "s.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
    // Without the values that `measure` has written.
    let measured = fs::read_to_string(at.join("measured/measured.jsonl")).unwrap();
    let bare = |line: &str| format!("{}}}\n", line.split_once(",\"features\":").unwrap().0);
    fs::write(at.join("bare"), measured.lines().map(bare).collect::<String>()).unwrap();
    let diagnose = ["diagnose", "--target", "fitted/target.json", "--spec", "s.toml", "--samples"];
    succeed(at, &[&diagnose[..], &["bare", "--out", "whole.json"]].concat());
    for index in ["1/3", "2/3", "3/3"] {
        let out = format!("part{}", &index[..1]);
        succeed(at, &[&diagnose[..], &["bare", "--shard", index, "--out", &out]].concat());
    }
    succeed(at, &["merge", "part3", "part1", "part2", "--out", "valued"]);
    let asked = fs::read(at.join("asked")).unwrap();
    succeed(at, &[&diagnose[..], &["valued", "--out", "merged.json"]].concat());
    assert!(fs::read(at.join("asked")).unwrap() == asked);
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert_eq!(read("merged.json"), read("whole.json").replace("bare", "valued"));
    refused(at, &["part1", "part3"], &["shard 2/3 is missing"]);
    let (code, printed) = run(at, &[&diagnose[..], &["bare", "--shard", "1/2"]].concat());
    assert!(code == 1 && printed.contains("`--out FILE` with it"), "{printed}");
}
