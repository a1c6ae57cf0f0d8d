//! A log file to which a resumed run appends.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
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

    /// Prepares the file for a run of which `done` steps are done.
    ///
    /// For a run that is resumed, everything after the last line of a step up to `done` is removed; `step` gives the step
    /// of a line, or `None` if the line belongs to no step. At a run's beginning nothing is removed, because the lines
    /// belong to another run; but a last line that was cut short is ended.
    pub(crate) fn rewind(&mut self, done: u64, step: impl Fn(&[u8]) -> Option<u64>) -> io::Result<()> {
        if done == 0 {
            if !self.is_empty()? {
                let mut last = [0];
                self.file.seek(SeekFrom::End(-1))?;
                self.file.read_exact(&mut last)?;
                if last != *b"\n" {
                    self.file.write_all(b"\n")?;
                }
            }
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut end, mut kept) = (Vec::new(), 0, None);
        while reader.read_until(b'\n', &mut line)? > 0 {
            end += line.len() as u64;
            let whole = line.last() == Some(&b'\n');
            if whole && step(&line).is_some_and(|step| step <= done) {
                kept = Some(end);
            }
            line.clear();
        }
        // A file without such a line has nothing of this run: the logger was added later.
        match kept {
            Some(kept) => self.file.set_len(kept),
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
