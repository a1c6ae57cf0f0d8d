//! An observer that writes one JSON object per line.

use std::{io::Write, path::Path};

use serde::Deserialize;

use super::{Control, Observer, ObserverError, Outcome, StepReport, log_file::LogFile};
use crate::{config::TunerConfig, error::Result};

/// Writes each [`StepReport`] as one line of JSON, and the [`Outcome`] as the last.
///
/// An infinite number (a divergence) is `"inf"` or `"-inf"`, and NaN is `null`. Lines are appended, each in one write,
/// before the step's checkpoint, so that a run that dies loses none. A run that is resumed first removes the lines of
/// steps that it will make again, and a last line that was cut short. So the file has each step once.
#[derive(Debug)]
pub struct JsonLines {
    file: LogFile,
}

/// The fields that distinguish a report from an outcome.
#[derive(Deserialize)]
struct Line {
    step: u64,
    reason: Option<serde::de::IgnoredAny>,
}

impl JsonLines {
    /// Appends to a file, which is created if it does not exist.
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
        Ok(self.file.rewind(step, None, |line| {
            let line = serde_json::from_slice::<Line>(line).ok()?;
            line.reason.is_none().then_some(line.step)
        })?)
    }

    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        self.line(report)?;
        Ok(Control::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> std::result::Result<(), ObserverError> {
        self.line(outcome)
    }
}
