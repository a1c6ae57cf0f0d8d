//! What a command prints, to a place that may be full or closed: an error, where `println!` would panic.

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

/// Standard output could not be written to.
pub(crate) fn failed(source: io::Error) -> Error {
    Error::write(Path::new("standard output"), source)
}
