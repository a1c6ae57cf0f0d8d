//! Downloading one file, resumed with further requests after the connection breaks off.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    thread::sleep,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, HubProblem, Result,
    hub::client::{Answer, Client, RemoteFile, header},
};

/// The number of attempts before a download is given up. An attempt that receives [`MUCH`] starts the count again.
const ATTEMPTS: u32 = 5;

/// In bytes.
const MUCH: u64 = 1 << 20;

/// The pause before the second attempt; it doubles with each further attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// The size of the buffer between connection and disk, in bytes.
const BUFFER: usize = 1 << 16;

/// Why a request ended before the whole file was received.
enum End {
    /// The connection broke off: another request may give the rest.
    Broken(String),
    /// The hub refuses: another request would not help.
    Refused(HubProblem),
    /// The disk failed, not the hub.
    Disk(std::io::Error),
}

impl From<HubProblem> for End {
    fn from(problem: HubProblem) -> Self {
        match problem {
            HubProblem::Unreachable { reason } => Self::Broken(reason),
            problem => Self::Refused(problem),
        }
    }
}

impl Client {
    /// Downloads a file to `path`, resuming from the bytes that are there, and checks it against the announced size and hash.
    pub(crate) fn download(
        &self,
        file: &RemoteFile,
        path: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<Answer<()>> {
        let disk = |source| Error::io(path, source);
        let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut partial = options.map_err(disk)?;
        let mut attempts = 0;
        loop {
            let before = partial.metadata().map_err(disk)?.len();
            // A partial file of the full size may have been left with another content, so it is begun again.
            let before = if before < file.size { before } else { 0 };
            partial.set_len(before).and_then(|()| partial.seek(SeekFrom::Start(before))).map_err(disk)?;
            let end = self.request(file, before, &mut partial, progress);
            let received = partial.metadata().map_err(disk)?.len();
            let reason = match end {
                Ok(()) if received == file.size => break,
                Ok(()) => "the connection was closed".into(),
                Err(End::Broken(reason)) => reason,
                Err(End::Refused(problem)) => return Ok(Err(problem)),
                Err(End::Disk(source)) => return Err(disk(source)),
            };
            attempts = if received >= before + MUCH { 1 } else { attempts + 1 };
            if attempts >= ATTEMPTS {
                let (name, size) = (file.name.clone(), file.size);
                return Ok(Err(HubProblem::Interrupted { file: name, received, size, reason }));
            }
            sleep(PAUSE * 2u32.pow(attempts - 1));
        }
        partial.sync_all().map_err(disk)?;
        if let Some(reason) = differs(&mut partial, &file.etag).map_err(disk)? {
            std::fs::remove_file(path).map_err(disk)?;
            return Ok(Err(HubProblem::Damaged { file: file.name.clone(), reason }));
        }
        Ok(Ok(()))
    }

    /// Appends the response to one request to the `before` bytes that are there.
    fn request(
        &self,
        file: &RemoteFile,
        before: u64,
        partial: &mut File,
        progress: &dyn Fn(u64),
    ) -> std::result::Result<(), End> {
        let response = self.get(&file.url, (before > 0).then_some(before))?;
        let status = response.status().as_u16();
        let refused = |reason| End::Refused(HubProblem::Answer { url: file.url.clone(), reason });
        let mut received = before;
        match status {
            206 if before > 0 => {
                let range = format!("bytes {before}-{}/{}", file.size - 1, file.size);
                let found = header(response.headers(), "content-range").unwrap_or("nothing");
                if found != range {
                    return Err(refused(format!("with the range `{found}` in the place of `{range}`")));
                }
            }
            // A server that does not support ranges gives the whole file.
            200 => {
                received = 0;
                partial.set_len(0).and_then(|()| partial.rewind()).map_err(End::Disk)?;
            }
            500.. => return Err(End::Broken(format!("status {status}"))),
            status => return Err(End::Refused(HubProblem::Status { url: file.url.clone(), status })),
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::Broken(error.to_string())),
            };
            received += count as u64;
            if received > file.size {
                partial.set_len(0).map_err(End::Disk)?;
                return Err(refused(format!("with more than the {} bytes it announced", file.size)));
            }
            partial.write_all(&buffer[..count]).map_err(End::Disk)?;
            progress(received);
        }
    }
}

/// Why a content does not have the SHA-256 that is its ETag; `None` if it has, or if the ETag is not a SHA-256.
fn differs(content: &mut File, etag: &str) -> std::io::Result<Option<String>> {
    if etag.len() != 64 || !etag.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(None);
    }
    content.rewind()?;
    let mut hash = Sha256::new();
    std::io::copy(content, &mut hash)?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = etag.to_ascii_lowercase();
    Ok((found != expected).then(|| format!("its SHA-256 is {found}, not {expected}")))
}
