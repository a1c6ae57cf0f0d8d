//! The part of HTTP/1.1 that a logging server on a trusted network needs.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// The time without data after which a connection counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// A server by its address `http://HOST[:PORT][/PATH]`. One connection per request; no TLS.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    host: String,
    path: String,
}

impl Server {
    /// Parses an address; `None` if it has another form.
    pub(crate) fn new(address: &str) -> Option<Self> {
        let rest = address.strip_prefix("http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || rest.contains(|other: char| other.is_whitespace() || other.is_control()) {
            return None;
        }
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let path = path.trim_end_matches('/');
        Some(Self { host, path: if path.is_empty() { String::new() } else { format!("/{path}") } })
    }

    /// Sends a request and returns status and body of the answer.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>)> {
        let mut last = Error::new(ErrorKind::NotFound, format!("{} has no address", self.host));
        let mut stream = 'connected: {
            for address in self.host.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, SILENCE) {
                    Ok(stream) => break 'connected stream,
                    Err(error) => last = error,
                }
            }
            return Err(last);
        };
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.path,
            self.host,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| Error::new(ErrorKind::InvalidData, "not an HTTP answer"))
    }
}

/// Status and body of a complete answer; `None` if it is malformed or cut short.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Some((status, unchunk(body)?));
    }
    let body = match header("content-length") {
        Some(length) => body.get(..length.parse().ok()?)?,
        None => body,
    };
    Some((status, body.to_vec()))
}

/// Joins the chunks of a body: each a line with its size in hexadecimal, and as many bytes.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Server, parse};

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody".to_vec();
        assert_eq!(parse(&plain), Some((200, b"body".to_vec())));
        assert_eq!(parse(&plain[..plain.len() - 1]), None);
        let chunked =
            b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1;x=y\r\ny\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), Some((404, b"body".to_vec())));
        for cut in 0..chunked.len() - 5 {
            assert_eq!(parse(&chunked[..cut]), None, "cut at {cut}");
        }
        assert_eq!(parse(b"HTTP/1.0 204 None\r\n\r\n"), Some((204, Vec::new())));
        assert_eq!(parse(b"SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn addresses_have_one_form() {
        let parts = |address| Server::new(address).map(|server| (server.host, server.path));
        assert_eq!(parts("http://logs"), Some(("logs:80".into(), String::new())));
        assert_eq!(parts("http://[::1]:5000/m/"), Some(("[::1]:5000".into(), "/m".into())));
        for other in ["https://logs", "logs:5000", "http://", "http://a b", "http://a\r\nX: y"] {
            assert!(Server::new(other).is_none(), "{other}");
        }
    }
}
