//! The place to which lines of samples are written as they come.

use std::path::Path;

use serde::Serialize;

use super::Inputs;
use crate::{
    Error, Interrupt, Result,
    results::OutputFile,
    samples::{ShardSum, begins_samples},
    terminal::print_json,
};

/// A file that gets its name at the end, or standard output.
#[derive(Debug)]
pub(crate) struct SampleLines {
    place: Place,
    /// The sum of the lines of a shard.
    sum: Option<ShardSum>,
}

#[derive(Debug)]
enum Place {
    File(Box<OutputFile>, Interrupt),
    Output,
}

impl SampleLines {
    /// Opens the place. A file is made now, so that a place that cannot be written to is found before a model is loaded. The lines of a
    /// shard have one before them that says of which inputs, and which shard, they are, and one behind them with their number and sum.
    ///
    /// # Errors
    /// As [`OutputFile::prepare`].
    pub(crate) fn open(out: Option<&Path>, shard: Option<&Inputs>) -> Result<Self> {
        let place = match out {
            None => Place::Output,
            Some(path) => {
                let interrupt = Interrupt::install()?;
                let file =
                    interrupt.begin(|| OutputFile::prepare(path, begins_samples), OutputFile::temporary)?;
                Place::File(Box::new(file), interrupt)
            }
        };
        let mut lines = Self { place, sum: None };
        if let Some(inputs) = shard {
            let first = serde_json::to_string(inputs).map_err(Error::Json)?;
            lines.write_text(&first)?;
            lines.sum = Some(ShardSum::new(first.as_bytes()));
        }
        Ok(lines)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::File`]; [`Error::OutputClosed`].
    pub(crate) fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).map_err(Error::Json)?;
        self.write_text(&line)?;
        if let Some(sum) = &mut self.sum {
            sum.add(line.as_bytes());
        }
        Ok(())
    }

    fn write_text(&mut self, line: &str) -> Result<()> {
        match &mut self.place {
            Place::File(file, _) => file.write(line.as_bytes()),
            Place::Output => print_json(line),
        }
    }

    /// Ends the lines of a shard, and gives the file its name.
    ///
    /// # Errors
    /// As [`write`](Self::write), and as [`OutputFile::finish`].
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(sum) = self.sum.take() {
            self.write_text(&serde_json::to_string(&sum.end()).map_err(Error::Json)?)?;
        }
        match self.place {
            Place::File(file, interrupt) => interrupt.finish(|| file.finish()),
            Place::Output => Ok(()),
        }
    }
}
