//! Errors from their parts.

use std::{io, path::Path};

use super::Error;

impl Error {
    /// An [`Error::File`] of reading.
    pub fn read(path: &Path, cause: io::Error) -> Self {
        Self::File { action: "read", path: path.into(), cause }
    }

    /// An [`Error::File`] of writing.
    pub fn write(path: &Path, cause: io::Error) -> Self {
        Self::File { action: "write", path: path.into(), cause }
    }

    /// An [`Error::Answer`].
    pub(crate) fn answer(command: &str, problem: &str) -> Self {
        Self::Answer { command: command.into(), problem: problem.into() }
    }
}

impl From<regex::Error> for Error {
    fn from(cause: regex::Error) -> Self {
        Self::Pattern(cause)
    }
}
