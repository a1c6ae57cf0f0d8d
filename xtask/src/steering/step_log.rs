//! The log of the steps, so that the report of a resumed run has all of them.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use disco_tuner::Metric;
use serde::{Deserialize, Serialize};

use crate::results::StepRecord;

/// A file with one line per step.
#[derive(Debug)]
pub(super) struct StepLog {
    path: PathBuf,
    file: Option<File>,
    /// The length of the file up to its last whole line.
    length: u64,
    /// Lines that could not be written yet.
    pending: Vec<u8>,
}

/// A line. Numbers are written as their bits, since JSON has no infinity.
#[derive(Serialize, Deserialize)]
struct Line {
    step: usize,
    tokens: usize,
    moments: Vec<Option<(u64, Option<u64>)>>,
    divergences: BTreeMap<String, (u64, Option<u64>)>,
    ess: Option<u64>,
    gradient_norm: u64,
    learning_rate: u64,
    /// The wall time since the step before; absent in logs of early versions.
    #[serde(default)]
    seconds: Option<u64>,
}

/// Whether a file is a log of steps: it is empty, or its first line is of a step, if perhaps cut off.
pub(super) fn is_step_log(path: &Path) -> bool {
    if !path.symlink_metadata().is_ok_and(|there| there.is_file()) {
        return false;
    }
    let Ok(text) = fs::read_to_string(path) else { return false };
    match text.split_once('\n') {
        Some((first, _)) => serde_json::from_str::<Line>(first).is_ok(),
        None => text.is_empty() || text.starts_with("{\"step\":"),
    }
}

/// The steps of an earlier run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Earlier {
    pub(super) records: Vec<StepRecord>,
    /// Their wall time; `None` if some have none.
    pub(super) seconds: Option<f64>,
}

impl StepLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, pending: Vec::new() }
    }

    /// The records of the first `done` steps; later lines are removed, since these steps will be made again.
    pub(super) fn open(&mut self, done: u64) -> io::Result<Earlier> {
        let text = match fs::read_to_string(&self.path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| self.unusable("", source))?,
        };
        let lines: Vec<&str> = text.lines().take(done as usize).collect();
        let (mut records, mut seconds) = (Vec::with_capacity(lines.len()), Some(0.0));
        for (number, line) in (1..).zip(&lines) {
            let line: Line = serde_json::from_str(line).map_err(|error| {
                // serde counts the lines of a text of one line.
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or(&what);
                self.unusable(&format!(", line {number}, column {}", error.column()), what)
            })?;
            seconds = seconds.zip(line.seconds.map(f64::from_bits)).map(|(sum, seconds)| sum + seconds);
            records.push(read(line));
        }
        if !records.iter().map(|record| record.step).eq(1..=done as usize) {
            return Err(self.unusable("", format!("it does not have each of the {done} steps once")));
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.length = lines.iter().map(|line| line.len() as u64 + 1).sum();
        file.set_len(self.length)?;
        self.file = Some(file);
        Ok(Earlier { records, seconds })
    }

    /// The error of a log that cannot be used: the place, the problem and the remedy.
    fn unusable(&self, place: &str, problem: impl Display) -> io::Error {
        let path = self.path.display();
        let remedy = "the report needs a line for each step that was made; `--restart` begins anew";
        io::Error::new(io::ErrorKind::InvalidData, format!("{path}{place}: {problem}; {remedy}"))
    }

    /// Writes a line, after the lines that could not be written before.
    pub(super) fn write(&mut self, record: &StepRecord, seconds: f64) -> io::Result<()> {
        let bits = |metric: &Metric| (metric.value.to_bits(), metric.std_error.map(f64::to_bits));
        let line = Line {
            step: record.step,
            tokens: record.tokens,
            moments: record.moments.iter().map(|moment| moment.as_ref().map(bits)).collect(),
            divergences: record.divergences.iter().map(|(name, found)| (name.clone(), bits(found))).collect(),
            ess: record.ess.map(f64::to_bits),
            gradient_norm: record.gradient_norm.to_bits(),
            learning_rate: record.learning_rate.to_bits(),
            seconds: Some(seconds.to_bits()),
        };
        serde_json::to_writer(&mut self.pending, &line)?;
        self.pending.push(b'\n');
        self.flush()
    }

    /// Writes the lines that could not be written before. A disk that is full for a moment costs no line, without which the run could not
    /// be resumed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(&self.pending) {
            // The next attempt begins at a line. The first error is the one to report.
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn read(line: Line) -> StepRecord {
    let metric = |(value, error): (u64, Option<u64>)| Metric {
        value: f64::from_bits(value),
        std_error: error.map(f64::from_bits),
    };
    StepRecord {
        step: line.step,
        tokens: line.tokens,
        moments: line.moments.into_iter().map(|moment| moment.map(metric)).collect(),
        divergences: line.divergences.into_iter().map(|(name, bits)| (name, metric(bits))).collect(),
        ess: line.ess.map(f64::from_bits),
        gradient_norm: f64::from_bits(line.gradient_norm),
        learning_rate: f64::from_bits(line.learning_rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back_and_later_steps_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.jsonl");
        let record = |step| StepRecord {
            step,
            tokens: 7,
            moments: vec![None, Some(Metric { value: 0.1 + 0.2, std_error: None })],
            divergences: [("KL".to_owned(), Metric { value: f64::INFINITY, std_error: Some(1e-300) })].into(),
            ess: Some(3.5),
            gradient_norm: 1.0 / 3.0,
            learning_rate: 0.1,
        };
        let mut log = StepLog::new(path.clone());
        assert!(log.open(0).unwrap().records.is_empty());
        (1..=3).for_each(|step| log.write(&record(step), 0.25).unwrap());
        fs::write(&path, [fs::read(&path).unwrap(), b"{\"step\":4,\"tok".to_vec()].concat()).unwrap();
        let earlier = StepLog::new(path.clone()).open(2).unwrap();
        assert_eq!(earlier, Earlier { records: vec![record(1), record(2)], seconds: Some(0.5) });
        assert!(is_step_log(&path));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        let refused = || StepLog::new(path.clone()).open(2).unwrap_err().to_string();
        let more = StepLog::new(path.clone()).open(3).unwrap_err().to_string();
        assert!(more.contains("each of the 3 steps") && more.contains("--restart"), "{more}");

        let whole = fs::read_to_string(&path).unwrap();
        let (first, second) = whole.split_once('\n').unwrap();
        for (line, expected) in [
            ("garbage", "steps.jsonl, line 2, column 1: expected value; "),
            (&second[..9], "steps.jsonl, line 2, column "),
            ("{}", "steps.jsonl, line 2, column 2: missing field `step`; "),
        ] {
            fs::write(&path, format!("{first}\n{line}\n")).unwrap();
            let said = refused();
            assert!(said.contains(expected) && said.contains("--restart"), "{said}");
        }
    }
}
