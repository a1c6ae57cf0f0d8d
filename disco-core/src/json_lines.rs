//! Files of one record per line.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The lines of a text file without their ends (`\n` or `\r\n`), each with its number from 1.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read, [`Error::Malformed`] for a line that is not UTF-8.
pub(crate) fn read_lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String)>>> {
    let unreadable = |cause| Error::Io { path: path.to_path_buf(), cause };
    let file = File::open(path).map_err(unreadable)?;
    let path = path.to_path_buf();
    Ok(BufReader::new(file).lines().enumerate().map(move |(index, line)| match line {
        Ok(line) => Ok((index + 1, line)),
        Err(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::malformed(&path, index + 1, source))
        }
        Err(cause) => Err(Error::Io { path: path.clone(), cause }),
    }))
}

/// The records of a JSON lines file: one JSON value per line, each with its line number from 1.
///
/// # Errors
/// As [`read_lines`]; [`Error::Malformed`] for a line that is not such a record.
pub(crate) fn read_json_lines<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, T)>>> {
    let path_of_errors = path.to_path_buf();
    Ok(read_lines(path)?.map(move |line| {
        let (number, line) = line?;
        let record = serde_json::from_str(&line)
            .map_err(|source| Error::malformed(&path_of_errors, number, in_line(&line, &source)))?;
        Ok((number, record))
    }))
}

/// The reason why a line cannot be read, with its column but without the line number, which is always 1 for serde.
fn in_line(line: &str, source: &serde_json::Error) -> String {
    if line.trim().is_empty() {
        return "the line is blank; allowed: one JSON value".into();
    }
    let message = source.to_string();
    let place = format!(" at line {} column {}", source.line(), source.column());
    match message.strip_suffix(&place) {
        Some(what) => format!("{what}, at column {}", source.column()),
        None => message,
    }
}
