//! A server on the loopback interface, and a client that can also be rude.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use xtask::{Engine, Server, ServerSettings};

/// The longest time that anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the server at an address.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

/// A server that runs until it is dropped, and a client of it.
pub(crate) struct Running {
    client: Client,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<xtask::Result<()>>>,
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The chunks of a stream, but for the last, which says that it is done.
    #[track_caller]
    pub(crate) fn chunks(&self) -> Vec<Value> {
        assert!(self.head.contains("text/event-stream"), "{self:?}");
        let data = self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let mut data: Vec<&str> = data.collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{self:?}");
        data.into_iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
    }
}

impl Running {
    pub(crate) fn start(engine: Arc<dyn Engine>, settings: ServerSettings) -> Self {
        let server = Server::bind("127.0.0.1", 0, settings).unwrap();
        let (client, stop) = (Client { address: server.address() }, Arc::new(AtomicBool::new(false)));
        let seen = stop.clone();
        Self { client, stop, thread: Some(thread::spawn(move || server.run(engine, &seen))) }
    }

    /// Tells it to stop; it may still have requests to answer.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for its end.
    pub(crate) fn join(&mut self) {
        self.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Deref for Running {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Client {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends text, and reads until the server closes the connection.
    pub(crate) fn say(&self, text: &str) -> Answer {
        let mut stream = self.connect();
        // A server that has refused what it has read so far may have closed the connection.
        let _ = stream.write_all(text.as_bytes());
        read_answer(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.say(&post(path, &body.to_string()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.join();
        }
    }
}

/// A request to post JSON.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Reads what a server sends until it closes the connection.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // A connection that is closed while we still write may be reset behind the answer.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

/// The content of a chunked body.
fn unchunked(mut body: &str) -> String {
    let mut content = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        content.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    content
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to hold");
        thread::sleep(Duration::from_millis(2));
    }
}
