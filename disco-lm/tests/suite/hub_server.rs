//! A hub on the loopback interface, which misbehaves on request.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

/// The commit that the one branch of every repository is.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The name of that branch beside `main`.
pub(crate) const BRANCH: &str = "refs/pr/1";

/// Contents at least as long are in a store of their own, as large files of a hub are.
const LARGE: usize = 1000;

/// What a server does wrong. Nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Bodies of this file end after so many bytes, so many times.
    pub(crate) truncated: Option<(&'static str, usize, usize)>,
    /// The store answers a request for a part with the whole.
    pub(crate) no_ranges: bool,
    /// The store has so many bytes more than was announced.
    pub(crate) excess: usize,
    /// A byte of what the store has is another one.
    pub(crate) corrupt: bool,
    /// Files are given to who shows this token only.
    pub(crate) gated: Option<&'static str>,
    /// A file that is listed and not there.
    pub(crate) lost: Option<&'static str>,
}

struct State {
    repository: String,
    files: BTreeMap<String, Vec<u8>>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
}

/// The server. It ends with the process of the tests.
#[derive(Clone)]
pub(crate) struct HubServer {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

impl HubServer {
    /// A hub that has one repository with these files.
    pub(crate) fn new<const N: usize>(repository: &str, files: [(&str, Vec<u8>); N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let files = files.into_iter().map(|(name, content)| (name.to_string(), content)).collect();
        let state = State {
            repository: repository.into(),
            files,
            faults: Mutex::default(),
            requests: Mutex::default(),
        };
        let server = Self { endpoint: format!("http://{address}"), state: Arc::new(state) };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                // Who hangs up before the answer is given is a client's right.
                std::thread::spawn(move || server.answer(stream).unwrap_or_default());
            }
        });
        server
    }

    /// A hub with the files of a folder.
    pub(crate) fn of_folder<const N: usize>(repository: &str, folder: &Path, names: [&str; N]) -> Self {
        Self::new(repository, names.map(|name| (name, std::fs::read(folder.join(name)).expect("readable"))))
    }

    pub(crate) fn misbehave(&self, faults: Faults) {
        *self.state.faults.lock().expect("not poisoned") = faults;
    }

    /// The requests since the last call: method, path, and `Range` and `Authorization` if there are.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().expect("not poisoned"))
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = format!("{method} {path}");
        for name in ["range", "authorization"] {
            if let Some(value) = headers.get(name) {
                write!(request, " {value}").expect("a text can be written to");
            }
        }
        self.state.requests.lock().expect("not poisoned").push(request);
        let (head, body) = self.reply(path, &headers);
        stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes())?;
        if method != "HEAD" {
            stream.write_all(&body[..self.cut(path, body.len())])?;
        }
        stream.flush()
    }

    /// How much of a body is sent.
    fn cut(&self, path: &str, length: usize) -> usize {
        match &mut self.state.faults.lock().expect("not poisoned").truncated {
            Some((file, after, times))
                if path.starts_with("/store/") && path.ends_with(*file) && *times > 0 =>
            {
                *times -= 1;
                length.min(*after)
            }
            _ => length,
        }
    }

    fn reply(&self, path: &str, headers: &BTreeMap<String, String>) -> (String, Vec<u8>) {
        let State { repository, files, .. } = &*self.state;
        let faults = self.state.faults.lock().expect("not poisoned").clone();
        let error = |status: &str, code: &str| {
            (format!("{status}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\n"), Vec::new())
        };
        if let Some(name) = path.strip_prefix("/store/") {
            return from_store(&files[name], headers.get("range").filter(|_| !faults.no_ranges), &faults);
        }
        if let Some(name) = path.strip_prefix("/small/") {
            let content = files[name].clone();
            let etag = &sha256(&content)[..40];
            let head = format!("200 OK\r\nETag: W/\"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\n");
            return (format!("{head}Content-Length: {}\r\n", content.len()), content);
        }
        if let Some(rest) = path.strip_prefix("/api/models/") {
            let Some(revision) = rest.strip_prefix(&format!("{repository}/revision/")) else {
                return error("401 Unauthorized", "RepoNotFound");
            };
            if !["main", COMMIT].contains(&revision) && revision.replace("%2F", "/") != BRANCH {
                return error("404 Not Found", "RevisionNotFound");
            }
            let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let json = serde_json::json!({"id": repository, "sha": COMMIT, "siblings": siblings}).to_string();
            return (format!("200 OK\r\nContent-Length: {}\r\n", json.len()), json.into_bytes());
        }
        let token = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match faults.gated {
            Some(_) if token.is_none() => return error("401 Unauthorized", "GatedRepo"),
            Some(wanted) if token != Some(wanted) => return error("403 Forbidden", "GatedRepo"),
            _ => {}
        }
        let resolved = path.strip_prefix(&format!("/{repository}/resolve/"));
        let name = resolved.and_then(|path| path.strip_prefix(COMMIT).or(path.strip_prefix("main")));
        let name = name.and_then(|path| path.strip_prefix('/'));
        match name.and_then(|name| Some((name, files.get(name)?))) {
            Some((name, content)) if faults.lost != Some(name) && content.len() >= LARGE => {
                // A store with another host name.
                let store = self.endpoint.replace("127.0.0.1", "localhost");
                let (etag, size) = (sha256(content), content.len());
                let linked = format!("X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {size}\r\n");
                let location = format!("Location: {store}/store/{name}\r\nContent-Length: 0\r\n");
                (format!("302 Found\r\n{linked}X-Repo-Commit: {COMMIT}\r\n{location}"), Vec::new())
            }
            Some((name, _)) if faults.lost != Some(name) => {
                let location = format!("Location: /small/{name}\r\nContent-Length: 0\r\n");
                (format!("307 Temporary Redirect\r\n{location}"), Vec::new())
            }
            _ => error("404 Not Found", "EntryNotFound"),
        }
    }
}

fn from_store(content: &[u8], range: Option<&String>, faults: &Faults) -> (String, Vec<u8>) {
    let mut content = content.to_vec();
    content.extend(std::iter::repeat_n(0, faults.excess));
    if faults.corrupt {
        content[LARGE / 2] ^= 1;
    }
    let size = content.len();
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from {
        Some(from) if from >= size => {
            ("416 Range Not Satisfiable\r\nContent-Length: 0\r\n".into(), Vec::new())
        }
        Some(from) => {
            let range = format!("Content-Range: bytes {from}-{}/{size}\r\n", size - 1);
            (
                format!("206 Partial Content\r\n{range}Content-Length: {}\r\n", size - from),
                content.split_off(from),
            )
        }
        None => (format!("200 OK\r\nETag: \"of-the-store\"\r\nContent-Length: {size}\r\n"), content),
    }
}

pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
