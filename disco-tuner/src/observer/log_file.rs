//! A log file to which a resumed run appends.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use crate::{error::Result, storage::io_error};

/// A file to which lines are appended.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
}

impl LogFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        Ok(Self { file: file.map_err(|cause| io_error(path, cause))? })
    }

    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == 0)
    }

    /// Prepares the file for a run of which `done` steps are done. Records end with a line end; a line end between
    /// `quote` characters does not end one.
    ///
    /// For a run that is resumed, everything after the last record of a step up to `done` is removed; `step` gives
    /// the step of a record, or `None` if it belongs to no step. At a run's beginning nothing is removed, because the
    /// records belong to another run; but a last one that was cut short is ended.
    pub(crate) fn rewind(
        &mut self,
        done: u64,
        quote: Option<u8>,
        step: impl Fn(&[u8]) -> Option<u64>,
    ) -> io::Result<()> {
        // At a run's beginning, and without quotes, the last byte alone says whether the last record was cut short.
        let is_read = done > 0 || quote.is_some();
        let mut end = if is_read { 0 } else { self.file.metadata()?.len().saturating_sub(1) };
        self.file.seek(SeekFrom::Start(end))?;
        let mut reader = BufReader::new(&self.file);
        let (mut record, mut is_open, mut kept) = (Vec::new(), false, None);
        loop {
            let count = reader.read_until(b'\n', &mut record)?;
            if count == 0 {
                break;
            }
            end += count as u64;
            let quotes = record[record.len() - count..].iter().filter(|byte| Some(**byte) == quote).count();
            is_open ^= quotes % 2 == 1;
            if is_open || record.last() != Some(&b'\n') {
                continue;
            }
            if done > 0 && step(&record).is_some_and(|step| step <= done) {
                kept = Some(end);
            }
            record.clear();
        }
        match kept {
            _ if done == 0 => {
                if is_open {
                    self.file.write_all(quote.as_slice())?;
                }
                if record.is_empty() { Ok(()) } else { self.file.write_all(b"\n") }
            }
            Some(kept) => self.file.set_len(kept),
            // A file without such a record has nothing of this run: the logger was added later.
            None => Ok(()),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
