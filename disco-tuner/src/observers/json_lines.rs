//! An observer that writes a JSON object a line.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use crate::{Control, Observer, ObserverError, Outcome, Report, Result, files::io_error};

/// Writes each [`Report`] as one line of JSON, and the [`Outcome`] as the last.
///
/// Numbers that JSON lacks (an infinite divergence) are `null`. Lines are appended and flushed one by one, so
/// that a run that dies loses none, and one that is resumed goes on in the same file. What it repeats since its
/// last checkpoint is then there twice, with the same numbers but for seconds.
#[derive(Debug)]
pub struct JsonLines {
    file: File,
}

impl JsonLines {
    /// Appends to a file, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: file.map_err(|source| io_error(path, source))? })
    }

    fn line(&mut self, record: &impl serde::Serialize) -> std::result::Result<(), ObserverError> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        Ok(self.file.write_all(&line)?)
    }
}

impl Observer for JsonLines {
    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        self.line(report)?;
        Ok(Control::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> std::result::Result<(), ObserverError> {
        self.line(outcome)
    }
}
