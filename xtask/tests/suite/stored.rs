//! The record of a finished run, read again from its folder.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use disco_core::Estimate;
use tempfile::TempDir;
use xtask::{FileLinks, RunRecord, read_record, read_spec, render_comparison, render_report_with};

use crate::common::{record, write_results_of};

/// Writes a record, reads it again, and checks that its report is the same to the byte.
#[track_caller]
fn check_same_report(record: &RunRecord) {
    let place = TempDir::new().unwrap();
    let folder = write_results_of(&place.path().join("run"), record).unwrap();
    let again = render_report_with(&read_record(&folder).unwrap(), &FileLinks::beside(&folder).unwrap());
    let first = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(again == first, "the report differs when it is rendered again");
    assert!(first.contains("<a href=\"samples.jsonl\">samples.jsonl</a>"));
}

#[test]
fn a_report_that_is_rendered_again_is_the_same_to_the_byte() {
    check_same_report(&record());
    // Numbers that JSON does not have.
    let mut odd = record();
    let unknown = Estimate { value: f64::NAN, std_error: f64::NAN, ess: 0.0 };
    odd.base.as_mut().unwrap().means[1] = unknown;
    odd.target.as_mut().unwrap().features[1].fitted = unknown;
    odd.target.as_mut().unwrap().fit.ess = f64::INFINITY;
    let qrs = odd.qrs.as_mut().unwrap();
    (qrs.log_beta, qrs.acceptance_rate) = (f64::NEG_INFINITY, unknown);
    qrs.samples[0].log_prob = f64::NEG_INFINITY;
    qrs.samples[1].features[0] = None;
    check_same_report(&odd);
    let mut short = record();
    (short.policy, short.tuning, short.qrs, short.target) = (None, None, None, None);
    check_same_report(&short);
}

#[test]
fn every_run_file_of_the_repository_comes_back_from_the_record() {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
    let mut read = 0;
    for entry in fs::read_dir(&specs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let spec = read_spec(&path.display().to_string(), &text, &specs).unwrap();
        let written = serde_json::to_string(&spec).unwrap();
        let again: xtask::Spec =
            serde_json::from_str(&written).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert_eq!(serde_json::to_string(&again).unwrap(), written, "{path:?}");
        assert_eq!(again.measures().len(), spec.measures().len());
        read += 1;
    }
    assert!(read >= 10, "{read}");
}

#[test]
fn every_form_of_a_value_comes_back_from_the_record() {
    let feature = |number: usize, fields: &str| format!("[[features]]\nname = \"f{number}\"\n{fields}\n");
    let forms = [
        "kind = \"json\"\npath = \"$.a[0]\"\nequals = \"x\"\nmean = 0.5",
        "kind = \"json\"\npath = \"$.b\"\nequals = 2\nalways = true",
        "kind = \"json\"\npath = \"$.b\"\nequals = true\nmean = { column = \"share\" }\nper_context = true",
        "kind = \"json\"\npath = \"$.c\"\notherwise = -1.5\nbetween = [-0.5, 2]",
        "kind = \"contains\"\ntext = { column = \"word\" }\nnever = true",
        "kind = \"category\"\nlabels = [\"a\", \"b\"]\npatterns = [\"a\", \"b\"]\nordered = true\ndistribution = { b = 0.25, a = 0.75 }",
        "kind = \"length\"\nunit = \"words\"",
    ];
    let features: String = forms.iter().enumerate().map(|(number, fields)| feature(number, fields)).collect();
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("contexts.csv"), "context,word,share,n\nA,sun,0.25,2\nB,moon,0.5,1\n")
        .unwrap();
    let text = format!(
        "title = \"t\"\nseed = 1\n[model]\nsource = \"embedded\"\n[contexts]\nfile = \"contexts.csv\"\nweight = \"n\"\n\
         [checkpoints]\nbest = \"ess\"\n{features}"
    );
    let spec = read_spec("test.toml", &text, place.path()).unwrap_or_else(|error| panic!("{error}"));
    let written = serde_json::to_string(&spec).unwrap();
    let again: xtask::Spec = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    assert_eq!(
        again.features.iter().map(|one| &one.kind).collect::<Vec<_>>(),
        spec.features.iter().map(|one| &one.kind).collect::<Vec<_>>()
    );
    for (from, to) in [("\"always\"", "\"sometimes\""), ("\"ess\"", "\"best\""), ("$.a[0]", "a[0]")] {
        assert!(written.contains(from));
        let error = serde_json::from_str::<xtask::Spec>(&written.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(to.trim_matches('"')) || to == "\"sometimes\"", "{error}");
    }
}

/// Checks that a folder has no record, with an error that says `expected`.
#[track_caller]
fn check_refused(change: impl FnOnce(&Path), expected: &str) {
    let place = TempDir::new().unwrap();
    let folder = write_results_of(&place.path().join("run"), &record()).unwrap();
    change(&folder);
    let error = read_record(&folder).unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("run"), "{error}");
}

#[test]
fn a_folder_that_is_no_whole_run_is_refused_by_name() {
    let edit = |name: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
    };
    check_refused(|folder| fs::remove_dir_all(folder).unwrap(), "it is no folder");
    check_refused(|folder| fs::remove_file(folder.join("manifest.json")).unwrap(), "no manifest.json");
    check_refused(|folder| fs::remove_file(folder.join("record.json")).unwrap(), "there is no record.json");
    check_refused(|folder| fs::remove_file(folder.join("summary.json")).unwrap(), "summary.json");
    check_refused(edit("record.json", "\"accepted\":517", "\"accepted\":518"), "another content");
    check_refused(edit("summary.json", "517", "518"), "another content");
}

#[test]
fn a_record_of_another_version_is_refused_by_name() {
    let place = TempDir::new().unwrap();
    let folder = write_results_of(&place.path().join("run"), &record()).unwrap();
    let path = folder.join("record.json");
    let text = fs::read_to_string(&path).unwrap();
    for (change, expected) in [
        (text.replacen("\"format\":1", "\"format\":2", 1), "format 2; allowed: 1"),
        (text.replacen("\"seed\"", "\"sead\"", 1), "missing field `seed`"),
    ] {
        fs::write(&path, change).unwrap();
        fs::remove_file(folder.join("manifest.json")).unwrap();
        disco_tuner::SealedFolder::seal(&folder).unwrap();
        let error = read_record(&folder).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_comparison_names_the_settings_that_differ_and_no_others() {
    let mut other = record();
    other.spec.tune.learning_rate = 0.125;
    other.qrs = None;
    let runs = [("one".to_owned(), record()), ("two".to_owned(), other)]
        .map(|(name, record)| (name, FileLinks::default(), record));
    let html = render_comparison(&runs);
    assert!(html.contains("tune.learning_rate") && html.contains("0.125"));
    assert!(!html.contains("tune.steps") && !html.contains("tune.optimizer"));
    assert!(html.contains("0.467") && html.contains("Settings that differ"));
}

/// Runs `cargo xtask report` in a folder.
fn report(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .current_dir(place)
        .arg("report")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_command_renders_one_run_again_and_compares_several() {
    let place = TempDir::new().unwrap();
    let run = |name: &str| write_results_of(&place.path().join(name), &record()).unwrap();
    let (one, _) = (run("runs/one run"), run("runs/two"));
    let output = report(place.path(), &["runs/one run", "--out", "page.html"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "page.html\n");
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("<a href=\"runs/one%20run/samples.jsonl\">samples.jsonl</a>"), "no link");
    // But for the addresses of its links it is the page of the run itself.
    let own = fs::read_to_string(one.join("report.html")).unwrap();
    assert!(page.replace("runs/one%20run/", "") == own);

    let output = report(place.path(), &["runs/one run", "runs/two", "--out", "page.html"]);
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("comparison of 2 runs") && page.contains("<a href=\"runs/two/report.html\">"));
}

#[test]
fn the_command_replaces_nothing_but_its_own_pages_and_writes_no_half_of_one() {
    let place = TempDir::new().unwrap();
    write_results_of(&place.path().join("run"), &record()).unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let output = report(place.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    };
    fs::write(place.path().join("mine.html"), "<!doctype html>\n<p>mine</p>\n").unwrap();
    check(&["run", "--out", "mine.html"], "mine.html");
    assert!(fs::read_to_string(place.path().join("mine.html")).unwrap().contains("mine"));
    check(&["run", "missing", "--out", "page.html"], "missing has no record of a run");
    check(&["run", "--out", "run/again.html"], "lists all its files with their checksums");
    check(&["run", "--out", "no/such/page.html"], "no/such");
    assert!(!place.path().join("page.html").exists());
    read_record(&place.path().join("run")).unwrap();
}
