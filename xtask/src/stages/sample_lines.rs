//! The place to which lines of samples are written as they come.

use std::path::Path;

use serde::Serialize;

use crate::{Error, Interrupt, Result, results::OutputFile, samples::is_sample_line, terminal::print_json};

/// A file that gets its name at the end, or standard output.
#[derive(Debug)]
pub(crate) enum SampleLines {
    File(Box<OutputFile>, Interrupt),
    Output,
}

impl SampleLines {
    /// Opens the place. A file is made now, so that a place that cannot be written to is found before a model is loaded.
    ///
    /// # Errors
    /// As [`OutputFile::prepare`].
    pub(crate) fn open(out: Option<&Path>) -> Result<Self> {
        let Some(path) = out else { return Ok(Self::Output) };
        let interrupt = Interrupt::install()?;
        let file = interrupt.begin(|| OutputFile::prepare(path, is_sample_line), OutputFile::temporary)?;
        Ok(Self::File(Box::new(file), interrupt))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::File`]; [`Error::OutputClosed`].
    pub(crate) fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).map_err(Error::Json)?;
        match self {
            Self::File(file, _) => file.write(line.as_bytes()),
            Self::Output => print_json(&line),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// As [`OutputFile::finish`].
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::File(file, interrupt) => interrupt.finish(|| file.finish()),
            Self::Output => Ok(()),
        }
    }
}
