//! An observer that writes a JSON object a line.

use std::{io::Write, path::Path};

use serde::Deserialize;

use super::log_file::LogFile;
use crate::{Control, Observer, ObserverError, Outcome, Report, Result, TunerConfig};

/// Writes each [`Report`] as one line of JSON, and the [`Outcome`] as the last.
///
/// An infinite number (a divergence) is `"inf"` or `"-inf"`, one that is none `null`. Lines are appended, each in one write, before the
/// step's checkpoint: a run that dies loses none. One that is resumed first removes what it will write again: its
/// steps after the checkpoint, and a last line that was cut short. So the file has each step once.
#[derive(Debug)]
pub struct JsonLines {
    file: LogFile,
}

/// What tells a report from an outcome.
#[derive(Deserialize)]
struct Line {
    step: u64,
    reason: Option<serde::de::IgnoredAny>,
}

impl JsonLines {
    /// Appends to a file, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { file: LogFile::open(path.as_ref())? })
    }

    fn line(&mut self, record: &impl serde::Serialize) -> std::result::Result<(), ObserverError> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        Ok(self.file.write_all(&line)?)
    }
}

impl Observer for JsonLines {
    fn start(&mut self, _: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        Ok(self.file.rewind(step, |line| {
            let line = serde_json::from_slice::<Line>(line).ok()?;
            line.reason.is_none().then_some(line.step)
        })?)
    }

    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        self.line(report)?;
        Ok(Control::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> std::result::Result<(), ObserverError> {
        self.line(outcome)
    }
}
