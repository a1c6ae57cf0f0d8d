//! A server on the loopback interface.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// A request that a server has had.
pub(crate) struct Request {
    /// Its number, from 0, in the order of connections.
    pub(crate) number: usize,
    pub(crate) path: String,
    /// Null if it has no body.
    pub(crate) body: Value,
}

/// Starts a server; returns its address. Each request is answered by a thread of its own.
pub(crate) fn serve(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            thread::spawn(move || {
                if let Some((path, body)) = read(&stream) {
                    answer(&Request { number, path, body }, &mut stream);
                }
            });
        }
    });
    address
}

/// A request's path and body; `None` where the client has gone away.
fn read(stream: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    Some((path, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }))
}

/// Sends a whole answer.
pub(crate) fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has given up does not read.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Sends bytes without end.
pub(crate) fn flood(stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
}

/// Sends a byte every tenth of a second, for three seconds.
pub(crate) fn drip(stream: &mut TcpStream, byte: &[u8]) {
    for _ in 0..30 {
        if stream.write_all(byte).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
