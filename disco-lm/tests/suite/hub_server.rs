//! A hub on the loopback interface for tests, which misbehaves on request.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

/// The commit of the only branch of every repository.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The name of that branch besides `main`.
pub(crate) const BRANCH: &str = "refs/pr/1";

/// Contents of at least this many bytes are in a separate storage server, like the large files of the Hugging Face Hub.
const LARGE: usize = 1000;

/// The faults of a server. By default it has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// File, bytes and times: that many responses for this file end after that many bytes.
    pub(crate) truncated: Option<(&'static str, usize, usize)>,
    /// The storage server answers a range request with the whole file.
    pub(crate) no_ranges: bool,
    /// The storage server sends this many bytes more than were announced.
    pub(crate) excess: usize,
    /// The storage server sends one wrong byte.
    pub(crate) corrupt: bool,
    /// Files are given only to requests with this token.
    pub(crate) gated: Option<&'static str>,
    /// A file that is listed but does not exist.
    pub(crate) lost: Option<&'static str>,
}

struct State {
    repository: String,
    files: BTreeMap<String, Vec<u8>>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
}

/// The server. It runs until the process of the tests ends.
#[derive(Clone)]
pub(crate) struct HubServer {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

impl HubServer {
    /// A hub with one repository of these files.
    pub(crate) fn new<'a>(repository: &str, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
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
                // Errors are ignored: a client may close the connection before the response is sent.
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

    /// The requests since the last call: method, path, and `Range` and `Authorization` if they are set.
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

    /// The number of bytes of a body that are sent.
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
                // The storage server has another host name.
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
