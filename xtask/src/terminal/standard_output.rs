//! Printing to standard output, which may be full or closed: that is an error here, where `println!` would panic.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use crate::{Error, Result};

/// Prints a line.
///
/// # Errors
/// [`Error::File`] if it cannot be written.
pub(crate) fn print(line: impl Display) -> Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(failed)
}

/// The error of a failed write to standard output.
pub(crate) fn failed(source: io::Error) -> Error {
    Error::write(Path::new("standard output"), source)
}
