//! The place to which lines of samples are written as they come.

use std::path::Path;

use serde::Serialize;

use super::Inputs;
use crate::{Error, Interrupt, Result, results::OutputFile, samples::begins_samples, terminal::print_json};

/// A file that gets its name at the end, or standard output.
#[derive(Debug)]
pub(crate) enum SampleLines {
    File(Box<OutputFile>, Interrupt),
    Output,
}

impl SampleLines {
    /// Opens the place. A file is made now, so that a place that cannot be written to is found before a model is loaded. The lines of a
    /// shard have one before them that says of which inputs, and which shard, they are.
    ///
    /// # Errors
    /// As [`OutputFile::prepare`].
    pub(crate) fn open(out: Option<&Path>, shard: Option<&Inputs>) -> Result<Self> {
        let mut lines = match out {
            None => Self::Output,
            Some(path) => {
                let interrupt = Interrupt::install()?;
                let file =
                    interrupt.begin(|| OutputFile::prepare(path, begins_samples), OutputFile::temporary)?;
                Self::File(Box::new(file), interrupt)
            }
        };
        if let Some(inputs) = shard {
            lines.write(inputs)?;
        }
        Ok(lines)
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
