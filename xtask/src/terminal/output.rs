//! Writing to standard output and standard error, which may be full or closed: `println!` and `eprintln!` would panic.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    path::Path,
};

use super::visible::{visible, visible_json};
use crate::{Error, Result};

/// Prints to standard output, and ends the line.
///
/// # Errors
/// [`Error::OutputClosed`] if the reader has closed it, as `head` does; [`Error::File`] if it cannot be written to.
pub(crate) fn print(text: impl Display) -> Result<()> {
    write_output(&format!("{}\n", visible(&text.to_string())))
}

/// Prints a line of JSON, of any length.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(json: &str) -> Result<()> {
    write_output(&format!("{}\n", visible_json(json)))
}

fn write_output(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|source| match source.kind() {
        ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::write(Path::new("standard output"), source),
    })
}

/// Says something on standard error. A message that cannot be written is no reason to end a run.
pub(crate) fn say(text: impl Display) {
    let line = format!("{}\n", visible(&text.to_string()));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Says an error. Its further lines are indented, so that a text in it cannot pass for a message of its own.
pub(crate) fn say_error(error: impl Display) {
    say(format!("error: {error}").replace('\n', "\n  "));
}
