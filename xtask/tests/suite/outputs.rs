//! A folder of results appears whole or not at all, and only ever replaces results.

use std::{fs, path::Path};

use xtask::{Error, OutputFolder};

use crate::common::{names, write_results};

/// Writes made-up results to `destination`.
fn write(destination: &Path) {
    write_results(destination).unwrap();
}

#[test]
fn results_replace_earlier_results() {
    let place = tempfile::tempdir().unwrap();
    let destination = place.path().join("runs").join("demo");
    write(&destination);
    write(&destination);
    let files = ["manifest.json", "record.json", "report.html", "run.toml", "samples.jsonl", "summary.json"];
    assert_eq!(names(&destination), files);
    assert_eq!(names(&place.path().join("runs")), ["demo"], "nothing is left beside it");
}

#[test]
fn an_unfinished_run_leaves_nothing_and_takes_nothing_away() {
    let place = tempfile::tempdir().unwrap();
    let destination = place.path().join("demo");
    write(&destination);
    let before = names(&destination);
    let folder = OutputFolder::prepare(&destination, 0).unwrap();
    folder.write("half", b"x").unwrap();
    drop(folder);
    assert_eq!(names(&destination), before);
    assert_eq!(names(place.path()), ["demo"]);
}

#[test]
fn other_things_are_never_replaced() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(matches!(OutputFolder::prepare(&file, 0), Err(Error::Occupied { .. })));
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "mine").unwrap();
    let error = OutputFolder::prepare(&other, 0).unwrap_err();
    assert!(error.to_string().contains("is no folder of earlier results"), "{error}");
    assert_eq!(names(place.path()), ["file", "other"]);
    // An empty folder is as good as none.
    fs::create_dir(place.path().join("empty")).unwrap();
    write(&place.path().join("empty"));
}

#[test]
fn a_place_that_cannot_be_written_is_found_at_once() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let error = OutputFolder::prepare(&file.join("below").join("demo"), 0).unwrap_err();
    assert!(matches!(error, Error::File { action: "write", .. }), "{error}");
}

#[test]
fn the_summary_has_every_number_and_every_sample_has_a_line() {
    let place = tempfile::tempdir().unwrap();
    let destination = place.path().join("demo");
    write(&destination);
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(destination.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["features"][0]["tuned"]["value"], 0.4672);
    assert_eq!(summary["features"][0]["tuned"]["std_error"], 0.0156);
    assert_eq!(summary["spec"]["features"][0]["kind"], "contains");
    assert_eq!(summary["spec"]["features"][0]["target"]["mean"], 0.5);
    assert_eq!(summary["distances"][1]["base"]["value"], "inf", "infinity has a name in JSON");
    assert_eq!(summary["stages"][1]["seconds"], 9.8);
    assert_eq!(summary["steps"].as_array().unwrap().len(), 40);

    let lines = fs::read_to_string(destination.join("samples.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 9);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["stage"], "base");
    assert_eq!(first["context"], "KING RICHARD III:\n");
}
