//! A file that no run wrote is never removed, replaced or followed, whatever its name.

use std::{fs, path::Path};

use disco_tuner::SealedFolder;
use xtask::{CheckpointFolder, Error, OutputFile, OutputFolder, StartMode};

use crate::common::{names, speech::control, write_results};

/// The content of a file of somebody else.
const MINE: &str = "years of work";

fn results(folder: &Path) -> bool {
    let names = names(folder);
    ["manifest.json", "report.html", "run.toml", "samples.jsonl", "summary.json"]
        .iter()
        .all(|name| names.iter().any(|n| n == name))
}

/// Something of somebody else at `place`, and a check that it is still there.
fn foreign(kind: &str, place: &Path) {
    match kind {
        "file" => fs::write(place, MINE).unwrap(),
        "empty folder" => fs::create_dir(place).unwrap(),
        "folder" => {
            fs::create_dir(place).unwrap();
            fs::write(place.join("thesis.tex"), MINE).unwrap();
        }
        "folder with a summary" => {
            fs::create_dir(place).unwrap();
            fs::write(place.join("summary.json"), "{}").unwrap();
        }
        "folder with a manifest" => {
            fs::create_dir(place).unwrap();
            fs::write(place.join("manifest.json"), r#"{"version":1,"files":{}}"#).unwrap();
            fs::write(place.join("thesis.tex"), MINE).unwrap();
        }
        #[cfg(unix)]
        "link" => std::os::unix::fs::symlink("elsewhere", place).unwrap(),
        #[cfg(unix)]
        "dangling link" => std::os::unix::fs::symlink("nowhere", place).unwrap(),
        _ => unreachable!("{kind}"),
    }
}

/// Everything below a folder, with content.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        let there = path.symlink_metadata().unwrap();
        if there.is_symlink() {
            found.push((name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
        } else if there.is_dir() {
            found.push((format!("{name}/"), Vec::new()));
            found.extend(
                snapshot(&path).into_iter().map(|(below, content)| (format!("{name}/{below}"), content)),
            );
        } else {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
    found
}

const KINDS: [&str; 7] = [
    "file",
    "empty folder",
    "folder",
    "folder with a summary",
    "folder with a manifest",
    "link",
    "dangling link",
];

#[test]
fn what_appears_during_a_run_stays_and_the_results_are_kept_beside_it() {
    for before in ["nothing", "results"] {
        for kind in KINDS {
            let place = tempfile::tempdir().unwrap();
            fs::create_dir(place.path().join("elsewhere")).unwrap();
            fs::write(place.path().join("elsewhere").join("thesis.tex"), MINE).unwrap();
            let out = place.path().join("out");
            if before == "results" {
                write_results(&out).unwrap();
            }
            let folder = OutputFolder::prepare(&out, 0).unwrap();
            if before == "results" {
                fs::remove_dir_all(&out).unwrap();
            }
            foreign(kind, &out);
            let expected = snapshot(place.path()).into_iter().filter(|(name, _)| !name.starts_with('.'));
            let expected: Vec<_> = expected.collect();
            xtask::write_outputs(&folder, &crate::common::record()).unwrap();
            let finished = folder.finish();
            if (before, kind) == ("results", "empty folder") {
                // An empty folder is as good as none where results were to be replaced.
                assert!(results(&finished.unwrap()));
                continue;
            }
            let error = finished.unwrap_err();
            let kept = place.path().join("out.kept");
            assert!(
                matches!(&error, Error::KeptBeside { results, .. } if *results == kept.canonicalize().unwrap()),
                "{error}"
            );
            let said = error.to_string();
            assert!(said.contains("out.kept") && said.contains("was not replaced"), "{said}");
            assert!(results(&kept), "{kind}");
            fs::remove_dir_all(&kept).unwrap();
            assert_eq!(snapshot(place.path()), expected, "{before}, then {kind}");
        }
    }
}

#[test]
fn a_file_that_appears_among_earlier_results_keeps_all_of_them() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    write_results(&out).unwrap();
    let folder = OutputFolder::prepare(&out, 0).unwrap();
    fs::write(out.join("notes.txt"), MINE).unwrap();
    let before = snapshot(&out);
    xtask::write_outputs(&folder, &crate::common::record()).unwrap();
    let said = folder.finish().unwrap_err().to_string();
    assert!(said.contains("notes.txt: not in the manifest"), "{said}");
    assert_eq!(snapshot(&out), before);
    assert_eq!(names(place.path()), ["out", "out.kept"]);
    // The next run finds it at its beginning, and says so.
    let said = OutputFolder::prepare(&out, 0).unwrap_err().to_string();
    assert!(said.contains("notes.txt: not in the manifest") && said.contains("move it away"), "{said}");
    // A second one that is kept has a name of its own.
    fs::remove_file(out.join("notes.txt")).unwrap();
    let folder = OutputFolder::prepare(&out, 0).unwrap();
    fs::write(out.join("report.html"), MINE).unwrap();
    let said = folder.finish().unwrap_err().to_string();
    assert!(said.contains("report.html: ") && said.contains("out.kept-2"), "{said}");
}

#[test]
fn only_what_a_manifest_lists_as_it_is_counts_as_earlier_results() {
    let place = tempfile::tempdir().unwrap();
    foreign("folder", &place.path().join("elsewhere"));
    for (at, kind) in KINDS.into_iter().filter(|kind| *kind != "empty folder").enumerate() {
        let out = place.path().join(at.to_string());
        foreign(kind, &out);
        let before = snapshot(place.path());
        let error = OutputFolder::prepare(&out, 0).unwrap_err();
        match kind {
            "dangling link" => {
                let said = error.to_string();
                assert!(said.contains("is a link to something that does not exist"), "{said}");
            }
            _ => assert!(matches!(error, Error::Occupied { .. }), "{kind}: {error}"),
        }
        assert_eq!(snapshot(place.path()), before, "{kind}");
    }
    // Results of an early version, which wrote no manifest.
    let out = place.path().join("old");
    write_results(&out).unwrap();
    fs::remove_file(out.join("manifest.json")).unwrap();
    let said = OutputFolder::prepare(&out, 0).unwrap_err().to_string();
    assert!(said.contains("manifest.json is missing") && said.contains("move it away"), "{said}");
    // A file that its owner has removed is no reason to refuse.
    let out = place.path().join("thinned");
    write_results(&out).unwrap();
    fs::remove_file(out.join("samples.jsonl")).unwrap();
    write_results(&out).unwrap();
    assert!(results(&out));
}

#[test]
fn models_and_checkpoints_are_sealed_and_no_results() {
    let place = tempfile::tempdir().unwrap();
    for (name, files) in [
        ("model", ["config.json", "model.safetensors"]),
        ("adapter", ["adapter_config.json", "adapter_model.safetensors"]),
        ("step-3", ["run.json", "parameters.safetensors"]),
    ] {
        let out = place.path().join(name);
        fs::create_dir(&out).unwrap();
        files.iter().for_each(|file| fs::write(out.join(file), MINE).unwrap());
        SealedFolder::seal(&out).unwrap();
        let before = snapshot(place.path());
        let error = OutputFolder::prepare(&out, 0).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::Occupied { .. }), "{said}");
        assert!(said.contains("there is no summary.json, so it is a model or a checkpoint"), "{said}");
        assert_eq!(snapshot(place.path()), before, "{name}");
    }
    // One that comes during a run stays too.
    let out = place.path().join("out");
    let folder = OutputFolder::prepare(&out, 0).unwrap();
    xtask::write_outputs(&folder, &crate::common::record()).unwrap();
    fs::rename(place.path().join("model"), &out).unwrap();
    let error = folder.finish().unwrap_err();
    assert!(matches!(error, Error::KeptBeside { .. }), "{error}");
    assert_eq!(fs::read_to_string(out.join("config.json")).unwrap(), MINE);
    assert!(results(&place.path().join("out.kept")));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_of_results_leads_to_it() {
    let place = tempfile::tempdir().unwrap();
    let (link, disk) = (place.path().join("out"), place.path().join("disk"));
    fs::create_dir(&disk).unwrap();
    std::os::unix::fs::symlink("disk", &link).unwrap();
    write_results(&link).unwrap();
    write_results(&link).unwrap();
    assert!(results(&disk) && link.is_symlink());
}

#[test]
fn places_that_no_folder_can_have_are_refused_at_once() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("there")).unwrap();
    let here = std::env::current_dir().unwrap();
    for (out, reason) in [
        (Path::new("/").to_path_buf(), "names no folder of its own"),
        (place.path().join("there/.."), "names no folder of its own"),
        (place.path().join("not-there/.."), "names no folder of its own"),
        (place.path().join("not-there/../out"), "a folder in front of `..` does not exist"),
        (here.clone(), "the command runs in this folder"),
        (here.parent().unwrap().to_path_buf(), "the command runs in this folder"),
        (".".into(), "the command runs in this folder"),
    ] {
        let error = OutputFolder::prepare(&out, 0).unwrap_err();
        assert!(matches!(error, Error::Place { .. }) && error.to_string().contains(reason), "{error}");
    }
    assert_eq!(names(place.path()), ["there"]);
    let within = place.path().join("there/../out");
    write_results(&within).unwrap();
    assert!(results(&place.path().join("out")));
}

#[test]
fn two_runs_with_one_place_do_not_harm_each_other() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let first = OutputFolder::prepare(&out, 0).unwrap();
    let error = OutputFolder::prepare(
        &place.path().join("../").join(place.path().file_name().unwrap()).join("out"),
        0,
    )
    .unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::InUse { .. }), "{said}");
    assert!(said.contains(&format!("process {} on ", std::process::id())), "{said}");
    xtask::write_outputs(&first, &crate::common::record()).unwrap();
    first.finish().unwrap();
    assert_eq!(names(place.path()), ["out"]);
    drop(OutputFolder::prepare(&out, 0).unwrap());
    assert_eq!(names(place.path()), ["out"]);
}

#[test]
fn no_entry_of_the_folder_of_checkpoints_is_removed_for_its_name() {
    for name in
        ["step-7", "proposal-0", "step-7.partial", "step-7.removed", "step-7.replaced", "step-old", "notes"]
    {
        for start in [StartMode::New, StartMode::Restart] {
            for finished in [false, true] {
                let place = tempfile::tempdir().unwrap();
                let checkpoints = place.path().join("out.checkpoints");
                fs::create_dir(&checkpoints).unwrap();
                foreign("folder", &checkpoints.join(name));
                if finished {
                    fs::write(checkpoints.join("finished"), "").unwrap();
                }
                let before = snapshot(place.path());
                let error =
                    CheckpointFolder::prepare(&place.path().join("out"), &control(start)).unwrap_err();
                assert!(
                    matches!(error, Error::Foreign { .. }) && error.to_string().contains(name),
                    "{error}"
                );
                assert_eq!(snapshot(place.path()), before, "{name}");
            }
        }
    }
    // Files with the names of ours, and with another content.
    for (name, content) in [("finished", MINE), ("steps.jsonl", MINE), ("step-7", MINE)] {
        let place = tempfile::tempdir().unwrap();
        let checkpoints = place.path().join("out.checkpoints");
        fs::create_dir(&checkpoints).unwrap();
        fs::write(checkpoints.join(name), content).unwrap();
        let error =
            CheckpointFolder::prepare(&place.path().join("out"), &control(StartMode::Restart)).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(checkpoints.join(name)).unwrap(), MINE);
    }
}

#[test]
fn a_file_of_lines_replaces_only_files_of_its_kind() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("samples.jsonl");
    let is_ours = |line: &[u8]| line.starts_with(b"{\"context\":");
    let write = |line: &str| {
        let mut file = OutputFile::prepare(&path, is_ours).unwrap();
        file.write(line.as_bytes()).unwrap();
        file.finish()
    };
    write("{\"context\":1}").unwrap();
    write("{\"context\":2}").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"context\":2}\n");
    // A killed process leaves its file under another name, and its lock.
    fs::write(place.path().join(".samples.jsonl.partial"), "{\"context\":3").unwrap();
    fs::write(place.path().join(".samples.jsonl.lock"), "disco lock: process 1 on nowhere\n").unwrap();
    write("{\"context\":4}").unwrap();
    assert_eq!(names(place.path()), ["samples.jsonl"]);
    // It appears or changes during the run.
    let mut file = OutputFile::prepare(&path, is_ours).unwrap();
    file.write(b"{\"context\":5}").unwrap();
    assert!(matches!(OutputFile::prepare(&path, is_ours), Err(Error::InUse { .. })));
    fs::write(&path, MINE).unwrap();
    let error = file.finish().unwrap_err();
    assert!(matches!(error, Error::KeptBeside { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), MINE);
    assert_eq!(fs::read_to_string(place.path().join("samples.jsonl.kept")).unwrap(), "{\"context\":5}\n");
    let said = OutputFile::prepare(&path, is_ours).unwrap_err().to_string();
    assert!(said.contains("a file that this command did not write"), "{said}");
    assert!(OutputFile::prepare(place.path(), is_ours).is_err());
    assert_eq!(names(place.path()), ["samples.jsonl", "samples.jsonl.kept"]);
}
