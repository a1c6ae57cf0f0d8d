//! An observer that writes the metrics as comma-separated values.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use crate::{Control, Observer, ObserverError, Report, Result, files::io_error};

/// Writes the metrics of measured steps as tidy data: a row `step,metric,value,std_error` for each number.
///
/// The standard error is empty where there is none. Rows are appended, so that a run that is resumed goes on
/// in the same file, and metrics that come at different intervals need no empty columns.
#[derive(Debug)]
pub struct Csv {
    file: File,
}

impl Csv {
    /// Appends to a file; where there is none, or an empty one, the header comes first.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let open = || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            if file.metadata()?.len() == 0 {
                file.write_all(b"step,metric,value,std_error\n")?;
            }
            Ok(file)
        };
        Ok(Self { file: open().map_err(|source| io_error(path, source))? })
    }
}

/// A cell as RFC 4180 has it: in quotes where it holds a comma, quote or line end.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

impl Observer for Csv {
    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        let mut rows = String::new();
        for (name, metric) in &report.metrics {
            let std_error = metric.std_error.map(|error| error.to_string()).unwrap_or_default();
            rows += &format!("{},{},{},{std_error}\n", report.step, quoted(name), metric.value);
        }
        self.file.write_all(rows.as_bytes())?;
        Ok(Control::Continue)
    }
}
