//! Files that a user names: opened without blocking, read as text, and read line by line in bounded memory.
//!
//! A path from a user may name a folder, a named pipe that nobody writes to, or a device without an end. [`open_regular`]
//! refuses all of them and says what they are. [`read_text`] and [`read_lines`] take UTF-8, remove a byte order mark
//! (U+FEFF) at the head of the file, and name the encoding of a file that has the mark of another one.
//!
//! ```
//! use disco_core::input;
//! let path = std::env::temp_dir().join(format!("disco-input-{}.txt", std::process::id()));
//! std::fs::write(&path, "\u{feff}one\r\ntwo\n")?;
//! let lines = input::read_lines(&path)?.collect::<disco_core::Result<Vec<_>>>()?;
//! assert_eq!(lines, [(1, "one".to_string()), (2, "two".to_string())]);
//! assert_eq!(input::read_text(&path)?, "one\r\ntwo\n");
//! std::fs::remove_file(&path)?;
//!
//! let folder = input::open_regular(std::env::temp_dir()).unwrap_err();
//! assert_eq!(folder.to_string(), "it is a directory; allowed: a regular file");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// The bytes that a line may have, without its end, unless [`Lines::with_limit`] says otherwise: 64 MiB.
pub const LINE_LIMIT: usize = 1 << 26;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Byte order marks of encodings that are not read. A mark that begins with another one comes before it.
const OTHER_MARKS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32, little-endian"),
    (b"\0\0\xfe\xff", "UTF-32, big-endian"),
    (b"\xff\xfe", "UTF-16, little-endian"),
    (b"\xfe\xff", "UTF-16, big-endian"),
];

/// Opens a regular file for reading. Symbolic links are followed.
///
/// # Errors
/// For a directory, a named pipe, a socket or a device, which the error names: opening or reading one could wait for ever.
/// For a symbolic link whose target does not exist. As [`File::open`].
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    let found = fs::metadata(path).map_err(|cause| dangling(path).unwrap_or(cause))?;
    check_regular(found.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    never_wait(&mut options);
    let file = options.open(path)?;
    // Something else can have taken the path after the first look.
    check_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// All bytes of a regular file.
///
/// # Errors
/// As [`open_regular`], and as [`Read::read_to_end`].
pub fn read_bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file without the byte order mark at its head. Ends of lines stay as they are.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`], with line and byte, for bytes that are not UTF-8, and for the byte order mark of
/// another encoding.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut bytes = read_bytes(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    refuse_other_marks(path, &bytes)?;
    if bytes.starts_with(UTF8_MARK) {
        bytes.drain(..UTF8_MARK.len());
    }
    String::from_utf8(bytes).map_err(|source| {
        let good = source.utf8_error().valid_up_to();
        let before = &source.as_bytes()[..good];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Error::malformed(path, line, not_utf8(good - line_start))
    })
}

/// The lines of a regular text file.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be opened. Errors of reading come with the lines, as [`Lines`] says.
pub fn read_lines(path: impl AsRef<Path>) -> Result<Lines<BufReader<File>>> {
    let path = path.as_ref();
    let file = open_regular(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
    Ok(Lines::new(path, BufReader::new(file)))
}

/// The lines of a text, each with its number from 1, without its end (`\n` or `\r\n`) and without the byte order mark at
/// the head of the text. A text that ends with `\n` has no line after it.
///
/// # Errors
/// Each item can be an error: [`Error::Io`]; [`Error::Malformed`] for a line that is not UTF-8, that is longer than the
/// limit, or, as line 1, for the byte order mark of another encoding. Nothing follows an error.
///
/// # Cost
/// Memory for one line: what it has, at most the limit.
#[derive(Debug)]
pub struct Lines<R> {
    // The name in errors.
    path: PathBuf,
    reader: R,
    limit: usize,
    // Lines read so far.
    count: usize,
    has_ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines that `reader` gives; `path` is their source in errors.
    pub fn new(path: impl Into<PathBuf>, reader: R) -> Self {
        Self { path: path.into(), reader, limit: LINE_LIMIT, count: 0, has_ended: false }
    }

    /// Lines of at most `limit` bytes, their ends not counted.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// The bytes of the next line without its end; `None` at the end of the text.
    fn bytes_of_next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        // With room for a mark, `\r` and `\n`, which do not count.
        let most = self.limit.saturating_add(UTF8_MARK.len() + 2) as u64;
        (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut line)
            .map_err(|cause| Error::Io { path: self.path.clone(), cause })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        if self.count == 1 {
            refuse_other_marks(&self.path, &line)?;
            if line.starts_with(UTF8_MARK) {
                line.drain(..UTF8_MARK.len());
                if line.is_empty() {
                    return Ok(None);
                }
            }
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        if line.len() > self.limit {
            let reason = format!("the line is longer than {} bytes, the limit", self.limit);
            return Err(Error::malformed(&self.path, self.count, reason));
        }
        Ok(Some(line))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let line = self.bytes_of_next().transpose().map(|bytes| {
            let text = String::from_utf8(bytes?).map_err(|source| {
                Error::malformed(&self.path, self.count, not_utf8(source.utf8_error().valid_up_to()))
            })?;
            Ok((self.count, text))
        });
        self.has_ended = !matches!(line, Some(Ok(_)));
        line
    }
}

fn check_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let error_kind = if kind.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::InvalidInput };
    Err(io::Error::new(error_kind, format!("it is {}; allowed: a regular file", name_of(kind))))
}

#[cfg(unix)]
fn name_of(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a named pipe (FIFO)",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "of an unknown kind",
    }
}

#[cfg(not(unix))]
fn name_of(kind: FileType) -> &'static str {
    if kind.is_dir() { "a directory" } else { "a device" }
}

/// The error for a path that is a symbolic link to nothing.
fn dangling(path: &Path) -> Option<io::Error> {
    let target = fs::read_link(path).ok()?;
    let exists = fs::exists(path).unwrap_or(true);
    let message = format!("it is a symbolic link to {}, which does not exist", target.display());
    (!exists).then(|| io::Error::new(ErrorKind::NotFound, message))
}

/// Opening does not wait, if a named pipe has taken the path of the regular file that was checked.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn never_wait(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    // `O_NONBLOCK` of the system's `fcntl.h`.
    const NONBLOCK: i32 = if cfg!(target_vendor = "apple") {
        0x4
    } else if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x80
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0x4000
    } else {
        0o4000
    };
    options.custom_flags(NONBLOCK);
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn never_wait(_options: &mut OpenOptions) {}

fn refuse_other_marks(path: &Path, head: &[u8]) -> Result<()> {
    match OTHER_MARKS.iter().find(|(mark, _)| head.starts_with(mark)) {
        None => Ok(()),
        Some((_, encoding)) => {
            let reason = format!("the encoding is {encoding}, by its byte order mark; allowed: UTF-8");
            Err(Error::malformed(path, 1, reason))
        }
    }
}

/// The reason why a line is refused whose first `good` bytes are UTF-8.
fn not_utf8(good: usize) -> String {
    format!("byte {} of the line is not UTF-8", good + 1)
}
