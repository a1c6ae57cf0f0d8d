//! Downloading one file, resumed with further requests after the connection breaks off.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use ureq::{Body, http::Response};

use crate::{
    Error, HubProblem, Result,
    hub::{
        client::{Client, RemoteFile, other_commit, unquoted},
        content::{mistaken_file, sha256},
        own_file::open_own,
        request::{Answer, Method, Request, foreign_encoding, header},
        url::Origin,
    },
};

/// The number of attempts before a download is given up. An attempt that receives [`MUCH`] starts the count again.
const ATTEMPTS: u32 = 5;

/// The number of attempts that one counts for which ended because nothing, or too little, came for the whole timeout.
const SLOW: u32 = 3;

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
    /// The hub does not continue what is there: another request may give the whole file.
    Discontinued(String),
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
        let mut partial = open_own(path).map_err(disk)?;
        if file.sha256().is_none() {
            // Without a hash nobody would notice that the bytes which an earlier call has left are of another content.
            partial.set_len(0).map_err(disk)?;
        }
        let mut attempts = 0;
        let mut most_received = 0;
        loop {
            let before = partial.metadata().map_err(disk)?.len();
            // A partial file of the full size may have been left with another content, so it is begun again.
            let before = if before < file.size { before } else { 0 };
            partial.set_len(before).and_then(|()| partial.seek(SeekFrom::Start(before))).map_err(disk)?;
            let started = Instant::now();
            let end = self.request(file, before, &mut partial, progress);
            let received = partial.metadata().map_err(disk)?.len();
            let reason = match end {
                // With all bytes there, it does not matter how the connection ended.
                Ok(()) | Err(End::Broken(_)) if received == file.size => break,
                Ok(()) => "the connection was closed".into(),
                Err(End::Broken(reason)) => reason,
                Err(End::Discontinued(reason)) => {
                    partial.set_len(0).map_err(disk)?;
                    reason
                }
                Err(End::Refused(problem)) => return Ok(Err(problem)),
                Err(End::Disk(source)) => return Err(disk(source)),
            };
            if before == 0 && received > 0 {
                // Told now, a login page has its own name; later it would be the beginning of a damaged file.
                if let Some(reason) = mistaken_file(&file.name, &mut partial).map_err(disk)? {
                    return refused(path, file, reason.into());
                }
            }
            // Compared with the most that there ever was: a hub that begins again and again makes no progress.
            let was_slow = started.elapsed() >= self.requests.patience;
            attempts = match received >= most_received.max(before) + MUCH {
                true => 1,
                false => attempts + if was_slow { SLOW } else { 1 },
            };
            most_received = most_received.max(received);
            if attempts >= ATTEMPTS {
                let (name, size) = (file.name.clone(), file.size);
                return Ok(Err(HubProblem::Interrupted { file: name, received, size, reason }));
            }
            sleep(PAUSE * 2u32.pow(attempts - 1));
        }
        partial.sync_all().map_err(disk)?;
        if let Some(reason) = differs(&mut partial, file).map_err(disk)? {
            return refused(path, file, reason);
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
        let from = (before > 0).then_some(before);
        let request = Request { method: Method::Get, from, size: file.size - before };
        let (response, asked) = self.requests.send(request, &file.url, |_| false)?;
        let refused = |reason| End::Refused(HubProblem::Answer { url: file.url.clone(), reason });
        if let Some(reason) = foreign_encoding(response.headers()) {
            return Err(refused(reason));
        }
        let mut received = before;
        match response.status().as_u16() {
            206 if before > 0 => {
                let range = header(response.headers(), "content-range").unwrap_or("nothing");
                if !continues(range, before, file.size) {
                    let reason = format!("the hub gave the range `{range}` of {} bytes", file.size);
                    return Err(End::Discontinued(reason));
                }
            }
            // A server that does not support ranges gives the whole file.
            200 => {
                received = 0;
                partial.set_len(0).and_then(|()| partial.rewind()).map_err(End::Disk)?;
            }
            416 if before > 0 => {
                return Err(End::Discontinued(format!("the hub has no bytes after the first {before}")));
            }
            500.. => return Err(End::Broken(format!("status {}", response.status().as_u16()))),
            status => return Err(End::Refused(HubProblem::Status { url: file.url.clone(), status })),
        }
        if let Some(reason) = self.replaced(file, &response, &asked) {
            return Err(refused(reason));
        }
        let mut body = self.requests.body(response);
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

    /// Why the hub answers with another content than it announced, if its own headers say so. Contents with a hash need no such
    /// check, and the servers that store them have ETags of their own.
    fn replaced(&self, file: &RemoteFile, response: &Response<Body>, asked: &str) -> Option<String> {
        if file.sha256().is_some() || Origin::of(asked) != Origin::of(&self.endpoint) {
            return None;
        }
        let etag = header(response.headers(), "etag").map(unquoted).filter(|etag| *etag != file.etag);
        let etag = etag.map(|etag| format!("with the ETag `{etag}` in the place of `{}`", file.etag));
        etag.or_else(|| other_commit(response, &file.commit))
    }
}

/// Removes a file that is not what was announced.
fn refused(path: &Path, file: &RemoteFile, reason: String) -> Result<Answer<()>> {
    std::fs::remove_file(path).map_err(|source| Error::io(path, source))?;
    Ok(Err(HubProblem::Damaged { file: file.name.clone(), reason }))
}

/// Whether a `Content-Range` begins at byte `from` of a content of `size` bytes. It may end before the content does, and
/// `*` may stand for the size.
fn continues(range: &str, from: u64, size: u64) -> bool {
    let parts = range.strip_prefix("bytes ").and_then(|range| range.trim().split_once('/'));
    let Some(((first, last), total)) = parts.and_then(|(range, total)| Some((range.split_once('-')?, total)))
    else {
        return false;
    };
    first.parse() == Ok(from)
        && last.parse().is_ok_and(|last: u64| (from..size).contains(&last))
        && (total == "*" || total.parse() == Ok(size))
}

/// Why a content is not the one of `file`, by its hash if the hub gives one, else by its beginning.
fn differs(content: &mut File, file: &RemoteFile) -> std::io::Result<Option<String>> {
    let Some(expected) = file.sha256() else {
        return Ok(mistaken_file(&file.name, content)?.map(String::from));
    };
    let found = sha256(content)?;
    Ok((found != expected).then(|| format!("its SHA-256 is {found}, not {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_continues_where_it_was_asked_to() {
        for range in ["bytes 5-9/10", "bytes 5-9/*", "bytes 5-7/10", "bytes 5-5/10"] {
            assert!(continues(range, 5, 10), "{range}");
        }
        for range in [
            "bytes 4-9/10",
            "bytes 5-10/10",
            "bytes 5-9/11",
            "bytes 9-5/10",
            "bytes 5-4/10",
            "bytes */10",
            "5-9/10",
            "bytes 5-/10",
            "nothing",
            "",
        ] {
            assert!(!continues(range, 5, 10), "{range}");
        }
    }
}
