//! An observer that writes the metrics as comma-separated values.

use std::{io::Write, path::Path};

use super::{Control, Observer, ObserverError, StepReport, log_file::LogFile};
use crate::{config::TunerConfig, error::Result, storage::io_error};

/// Writes the metrics of measured steps as tidy data: a row `step,metric,value,std_error` for each number.
///
/// The format is that of RFC 4180: a name with commas, quotes or line ends stands in quotes. The standard error is empty
/// where there is none; numbers that are not finite are `NaN`, `inf` and `-inf`. Rows are appended, so that metrics that
/// come at different intervals need no empty columns. A run that is resumed appends to the same file, after removing the
/// rows of steps that it will make again.
#[derive(Debug)]
pub struct Csv {
    file: LogFile,
}

impl Csv {
    /// Appends to a file, which is created if it does not exist. The header is written into an empty file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = LogFile::open(path)?;
        let header = |file: &mut LogFile| {
            if file.is_empty()? { file.write_all(b"step,metric,value,std_error\n") } else { Ok(()) }
        };
        header(&mut file).map_err(|cause| io_error(path, cause))?;
        Ok(Self { file })
    }
}

/// A cell in the format of RFC 4180: in quotes if it contains a comma, a quote or a line end.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

impl Observer for Csv {
    fn start(&mut self, _: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        Ok(self.file.rewind(step, Some(b'"'), |line| {
            let step = line.split(|byte| *byte == b',').next()?;
            std::str::from_utf8(step).ok()?.parse().ok()
        })?)
    }

    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        let mut rows = String::new();
        for (name, metric) in &report.metrics {
            let std_error = metric.std_error.map(|error| error.to_string()).unwrap_or_default();
            rows += &format!("{},{},{},{std_error}\n", report.step, quoted(name), metric.value);
        }
        self.file.write_all(rows.as_bytes())?;
        Ok(Control::Continue)
    }
}
