//! Names with separators, quotes and line ends in the files of observers.

use disco_core::{Feature, feature};
use disco_tuner::{Csv, InMemory, JsonLines, Observer, Problem, StepReport, Tuner, TunerConfig};

use crate::common::{Kind, World, target};

const NAMES: [&str; 9] =
    ["a,b", "\"", "\"quoted\", and more", "two\nlines", "two lines", "two\r\nlines", "", "\n3,x\n", "'=1"];

fn reports(observer: &mut dyn Observer) -> Vec<StepReport> {
    let (world, target) = (World::new(1, 12), target(Kind::Distributional));
    let features: Vec<_> = NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| feature(*name, move |_: &usize, _: &usize| at as f64))
        .collect();
    let problem = Problem::new(&world.contexts, &target)
        .with_features(features.iter().map(|feature| feature as &dyn Feature<usize, usize>))
        .unwrap()
        .with_statistic("endless", |_: &[&usize]| f64::INFINITY)
        .unwrap();
    let (config, mut told) = (config(), InMemory::default());
    Tuner::new(config.clone()).unwrap().run(&mut world.policy(), &problem, &mut told).unwrap();
    observer.start(&config, 0).unwrap();
    told.reports().iter().for_each(|report| assert!(observer.step(report).is_ok()));
    told.reports().to_vec()
}

fn config() -> TunerConfig {
    TunerConfig { steps: 5, metrics_every: 1, ..TunerConfig::default() }
}

/// The records of a text in the format of RFC 4180.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match (quoted, character) {
            (true, '"') if characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            (_, '"') => quoted = !quoted,
            (false, ',') => record.push(std::mem::take(&mut cell)),
            (false, '\n') => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            (_, other) => cell.push(other),
        }
    }
    assert!(!quoted && cell.is_empty() && record.is_empty(), "the last record is not whole");
    records
}

/// Each step has each name once, with its value.
fn check(text: &str, reports: &[StepReport]) {
    let records = records(text);
    let expected: usize = reports.iter().map(|report| report.metrics.len()).sum();
    assert_eq!((records.len(), records[0].join(",")), (expected + 1, "step,metric,value,std_error".into()));
    let mut records = records[1..].iter();
    for report in reports {
        for (name, metric) in &report.metrics {
            let record = records.next().unwrap();
            let value = if metric.value.is_infinite() { "inf".into() } else { metric.value.to_string() };
            assert_eq!(record[..3], [report.step.to_string(), name.clone(), value], "{record:?}");
        }
    }
}

#[test]
fn a_table_gives_every_name_back_and_resumes_at_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let reports = reports(&mut Csv::new(&path).unwrap());
    let whole = std::fs::read_to_string(&path).unwrap();
    check(&whole, &reports);
    // A run that died anywhere in step 4, also within quotes, goes on after step 2.
    let fourth = whole.rfind("\n4,entropy").unwrap();
    for cut in (fourth + 1..whole.len()).filter(|at| whole.is_char_boundary(*at)).step_by(7) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut resumed = Csv::new(&path).unwrap();
        resumed.start(&config(), 2).unwrap();
        reports[2..].iter().for_each(|report| assert!(resumed.step(report).is_ok()));
        check(&std::fs::read_to_string(&path).unwrap(), &reports);
    }
    // Another run after one that was cut short within quotes begins a new record.
    let cut = whole.rfind("quoted").unwrap();
    std::fs::write(&path, &whole[..cut]).unwrap();
    let mut other = Csv::new(&path).unwrap();
    other.start(&config(), 0).unwrap();
    other.step(&reports[0]).unwrap();
    let all = records(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(all[all.len() - reports[0].metrics.len()][0], "1");
}

#[test]
fn lines_of_json_give_every_name_and_number_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("steps.jsonl");
    let reports = reports(&mut JsonLines::new(&path).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), reports.len());
    for (line, report) in text.lines().zip(&reports) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for (name, metric) in &report.metrics {
            let value = &line["metrics"][name]["value"];
            match metric.value.is_infinite() {
                true => assert_eq!(value, "inf", "{name}"),
                false => assert_eq!(value.as_f64(), Some(metric.value), "{name}"),
            }
        }
    }
}
