//! The part of HTTP/1.1 that a logging server on a trusted network needs.

use std::{
    env::VarError,
    fmt::{Display, Formatter},
    io::{Error, ErrorKind, Read, Result, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use disco_core::Error as CoreError;

use super::credentials::{Credentials, without_secret};

/// The time without data after which a connection counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// The time that a whole answer may take, and its largest size in bytes.
const PATIENCE: Duration = Duration::from_secs(60);
const LARGEST: usize = 64 << 20;

/// A server by its address `http://[USER:PASSWORD@]HOST[:PORT][/PATH]`. One connection per request; no TLS.
#[derive(Clone, Debug)]
pub(super) struct Server {
    host: String,
    path: String,
    credentials: Credentials,
}

/// The server without user and password, for messages.
impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.host, self.path)
    }
}

impl Server {
    /// Parses an address; credentials that it does not have come from the `variable`s of the environment.
    ///
    /// # Errors
    /// [`CoreError::Invalid`], without the password.
    pub(super) fn new(
        address: &str,
        variable: impl Fn(&str) -> std::result::Result<String, VarError>,
    ) -> disco_core::Result<Self> {
        let refused = || {
            let allowed =
                "http://HOST[:PORT][/PATH], with USER:PASSWORD@ before HOST if the server asks for it";
            CoreError::invalid("address of MLflow", without_secret(address), allowed)
        };
        let rest = address.strip_prefix("http://").ok_or_else(refused)?;
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (secret, host) = match place.rsplit_once('@') {
            Some((secret, host)) => (Some(secret), host),
            None => (None, place),
        };
        let is_strange = |other: char| other.is_whitespace() || other.is_control() || "?#@".contains(other);
        if host.is_empty() || host.contains(is_strange) || path.contains(is_strange) {
            return Err(refused());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let host = if has_port { host.to_owned() } else { format!("{host}:80") };
        let path = path.trim_end_matches('/');
        Ok(Self {
            host,
            path: if path.is_empty() { String::new() } else { format!("/{path}") },
            credentials: Credentials::new(secret, variable)?,
        })
    }

    /// Sends a request and returns status and body of the answer. An error names the server.
    pub(super) fn request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> std::result::Result<(u16, Vec<u8>), String> {
        self.exchange(method, path, kind, body).map_err(|error| {
            let said = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("no data for {} seconds", SILENCE.as_secs())
                }
                _ => error.to_string(),
            };
            format!("MLflow at {self}: {said}")
        })
    }

    fn exchange(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}Content-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.path,
            self.host,
            self.credentials.header(),
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let (until, mut answer, mut part) = (Instant::now() + PATIENCE, Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&part[..count]);
            if answer.len() > LARGEST || Instant::now() > until {
                return Err(Error::new(ErrorKind::InvalidData, "the answer does not end"));
            }
        }
        parse(&answer).ok_or_else(|| Error::new(ErrorKind::InvalidData, "not an HTTP answer"))
    }

    fn connect(&self) -> Result<TcpStream> {
        let mut last = Error::new(ErrorKind::NotFound, format!("{} has no address", self.host));
        for address in self.host.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, SILENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
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
    use std::env::VarError;

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
        let unset = |_: &str| Err(VarError::NotPresent);
        let parts = |address| Server::new(address, unset).map(|server| (server.host, server.path)).unwrap();
        assert_eq!(parts("http://logs"), ("logs:80".into(), String::new()));
        assert_eq!(parts("http://[::1]:5000/m/"), ("[::1]:5000".into(), "/m".into()));
        assert_eq!(parts("http://[::1]"), ("[::1]:80".into(), String::new()));
        let named = Server::new("http://a:secret@logs:5000/m", unset).unwrap();
        assert_eq!(named.to_string(), "http://logs:5000/m");
        assert_eq!(named.credentials.header(), "Authorization: Basic YTpzZWNyZXQ=\r\n");
        assert!(!format!("{named:?}").contains("YTpz"));
        for other in [
            "https://a:secret@logs",
            "a:secret@logs:5000",
            "http://",
            "http://a:secret@",
            "http://a b",
            "http://a\r\nX: y",
            "http://logs/?a=b",
        ] {
            let error = Server::new(other, unset).unwrap_err().to_string();
            assert!(error.contains("http://HOST[:PORT]") && !error.contains("secret"), "{error}");
        }
    }
}
