//! A hub on the loopback interface that answers one kind of request with any bytes at all, and others as it should.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::hub_server::{COMMIT, sha256};

/// The size of the weights in bytes.
pub(crate) const SIZE: usize = 20_000;

/// The request that is answered badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    List,
    Head(&'static str),
    Get(&'static str),
    /// The request for the rest of the weights, after the first one has given 4000 bytes.
    Rest,
}

/// A bad answer.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, after which the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, and then another byte every 50 ms until the client gives up.
    Drip(Vec<u8>, u8),
    /// These bytes, and then nothing.
    Hold(Vec<u8>),
    /// These bytes, and then as many more as the client takes.
    Endless(Vec<u8>),
}

/// An answer with this head, to which `Connection: close` is added, and this body.
pub(crate) fn answer(head: &str, body: impl AsRef<[u8]>) -> Answer {
    Answer::Bytes([head_of(head), body.as_ref().to_vec()].concat())
}

/// The bytes of a head whose lines are separated by `|`.
pub(crate) fn head_of(head: &str) -> Vec<u8> {
    format!("HTTP/1.1 {}\r\nConnection: close\r\n\r\n", head.replace('|', "\r\n")).into_bytes()
}

/// The content of a file of the repository.
pub(crate) fn content(name: &str) -> Vec<u8> {
    match name {
        "model.safetensors" => {
            (0..SIZE as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
        }
        _ => format!("{{\"name\": \"{name}\"}}").into_bytes(),
    }
}

/// The ETag of a file: a SHA-256 for the weights, as on the Hugging Face Hub, and another name for small files.
pub(crate) fn etag(name: &str) -> String {
    let hash = sha256(&content(name));
    if name == "model.safetensors" { hash } else { hash[..40].into() }
}

#[derive(Clone)]
pub(crate) struct HostileServer {
    /// Its URL.
    pub(crate) endpoint: String,
    /// A server on another port that gives the weights, and knows whether it was ever sent a token.
    pub(crate) store: String,
    bad: Arc<Mutex<Option<(At, Answer)>>>,
    leaks: Arc<AtomicUsize>,
}

impl HostileServer {
    pub(crate) fn new() -> Self {
        let bad = Arc::new(Mutex::new(None));
        let leaks = Arc::new(AtomicUsize::new(0));
        let [hub, store] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [endpoint, store_url] =
            [&hub, &store].map(|listener| format!("http://{}", listener.local_addr().expect("an address")));
        let server = Self { endpoint, store: store_url, bad, leaks };
        for (listener, is_hub) in [(hub, true), (store, false)] {
            let server = server.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = server.clone();
                    // Errors are ignored: the client may close the connection at any time.
                    std::thread::spawn(move || server.serve(stream, is_hub).unwrap_or_default());
                }
            });
        }
        server
    }

    /// Answers badly from here on, or as it should.
    pub(crate) fn misbehave(&self, bad: Option<(At, Answer)>) {
        *self.bad.lock().expect("not poisoned") = bad;
    }

    /// The number of requests with a token to the other port.
    pub(crate) fn leaks(&self) -> usize {
        self.leaks.load(Ordering::SeqCst)
    }

    fn serve(&self, mut stream: TcpStream, is_hub: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (mut has_token, mut from) = (false, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else { break };
            has_token |= name.eq_ignore_ascii_case("authorization");
            if name.eq_ignore_ascii_case("range") {
                from = value
                    .trim()
                    .strip_prefix("bytes=")
                    .and_then(|range| range.trim_end_matches('-').parse().ok());
            }
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !is_hub {
            self.leaks.fetch_add(usize::from(has_token), Ordering::SeqCst);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let bad = self.bad.lock().expect("not poisoned").clone();
        let is_at = |at: At| match at {
            At::List => path.starts_with("/api/"),
            At::Head(file) => method == "HEAD" && name == file,
            At::Get(file) => method == "GET" && name == file,
            At::Rest => method == "GET" && name == "model.safetensors" && from.is_some(),
        };
        match bad {
            Some((at, answer)) if is_hub && is_at(at) => return send(&mut stream, answer),
            Some((At::Rest, _)) if method == "GET" && name == "model.safetensors" => {
                stream.write_all(&head_of(&format!("200 OK|Content-Length: {SIZE}")))?;
                return stream.write_all(&content(name)[..4000]);
            }
            _ => {}
        }
        if path.starts_with("/api/") {
            let siblings = ["config.json", "tokenizer.json", "model.safetensors"];
            let siblings = siblings.map(|name| serde_json::json!({"rfilename": name}));
            let json = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
            stream.write_all(&head_of(&format!("200 OK|Content-Length: {}", json.len())))?;
            return stream.write_all(json.as_bytes());
        }
        let body = content(name);
        let own = format!("ETag: \"{}\"|X-Repo-Commit: {COMMIT}", etag(name));
        let head = match from {
            Some(from) => format!(
                "206 Partial Content|{own}|Content-Range: bytes {from}-{}/{}",
                body.len() - 1,
                body.len()
            ),
            None => format!("200 OK|{own}"),
        };
        let body = &body[from.unwrap_or(0).min(body.len())..];
        stream.write_all(&head_of(&format!("{head}|Content-Length: {}", body.len())))?;
        if method == "HEAD" { Ok(()) } else { stream.write_all(body) }
    }
}

fn send(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Bytes(bytes) => stream.write_all(&bytes),
        Answer::Hold(bytes) => {
            stream.write_all(&bytes)?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        Answer::Drip(bytes, byte) => {
            stream.write_all(&bytes)?;
            loop {
                std::thread::sleep(Duration::from_millis(50));
                stream.write_all(&[byte])?;
            }
        }
        Answer::Endless(bytes) => {
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(&[b' '; 1 << 16])?;
            }
        }
    }
}
