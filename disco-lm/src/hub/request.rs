//! Requests to a hub: redirections, the token, and limits on time.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response},
};

use crate::{
    HubProblem,
    hub::url::{Origin, target},
};

/// Timeout for making a connection, for the response, and for each read of its body, unless another is set.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The least number of bytes per second, as a mean over the timeout, that a body must bring.
pub(crate) const SLOWEST: u64 = 1000;

/// The most redirections that are followed for one request.
const REDIRECTS: usize = 5;

/// The longest time that one body may take, whatever its size.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A result whose error is the reason why the hub did not fulfil a request.
pub(crate) type Answer<T> = std::result::Result<T, HubProblem>;

/// The HTTP side of a client.
#[derive(Clone)]
pub(crate) struct Requests {
    /// The only origin that gets the token.
    origin: Option<Origin>,
    pub(crate) token: Option<String>,
    /// The timeout; see [`PATIENCE`].
    pub(crate) patience: Duration,
    agent: Agent,
}

/// A request without its URL.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The first byte that is asked for; `None` asks for the whole content without mentioning ranges.
    pub(crate) from: Option<u64>,
    /// The number of bytes that the body may have; it decides how long the body may take.
    pub(crate) size: u64,
}

/// The method of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

impl Requests {
    pub(crate) fn new(endpoint: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("disco-lm/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { origin: Origin::of(endpoint), token: None, patience: PATIENCE, agent: agent.into() }
    }

    /// The response to a request, and the URL that gave it. Redirections are followed until a response fulfils `is_enough`.
    ///
    /// The token goes to the hub's own origin alone, and no further once a redirection has left it.
    pub(crate) fn send(
        &self,
        request: Request,
        url: &str,
        is_enough: impl Fn(&HeaderMap) -> bool,
    ) -> Answer<(Response<Body>, String)> {
        let answers = |reason: String| HubProblem::Answer { url: url.into(), reason };
        let mut asked = url.to_string();
        let mut is_trusted = true;
        for _ in 0..=REDIRECTS {
            let origin = Origin::of(&asked);
            is_trusted &= origin.is_some() && origin == self.origin;
            let response = self.once(request, &asked, self.token.as_deref().filter(|_| is_trusted))?;
            let headers = response.headers();
            if !response.status().is_redirection() || response.status() == 304 || is_enough(headers) {
                return Ok((response, asked));
            }
            let next = header(headers, "location").and_then(|location| target(&asked, location));
            let next = next.ok_or_else(|| answers("with a redirection that names no URL".into()))?;
            let loses = |to: Origin| origin.is_some_and(|from| from.loses_encryption(&to));
            if Origin::of(&next).is_some_and(loses) {
                return Err(answers(
                    "with a redirection from https to http, which others can read and change".into(),
                ));
            }
            asked = next;
        }
        Err(answers(format!("with more than {REDIRECTS} redirections")))
    }

    fn once(&self, request: Request, url: &str, token: Option<&str>) -> Answer<Response<Body>> {
        let builder = match request.method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        let at_slowest = Duration::from_secs(request.size / SLOWEST);
        let mut builder = builder
            .config()
            .timeout_resolve(Some(self.patience))
            .timeout_connect(Some(self.patience))
            .timeout_send_request(Some(self.patience))
            .timeout_recv_response(Some(self.patience))
            .timeout_per_read(Some(self.patience))
            .timeout_per_write(Some(self.patience))
            .timeout_recv_body(Some((2 * self.patience + at_slowest).min(LONGEST)))
            .build()
            .header("Accept-Encoding", "identity");
        if let Some(token) = token {
            builder = builder.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(from) = request.from {
            builder = builder.header("Range", format!("bytes={from}-"));
        }
        builder.call().map_err(unreachable)
    }

    /// A reader of a response's body that fails when the body is slower than [`SLOWEST`].
    pub(crate) fn body(&self, response: Response<Body>) -> Paced<impl Read> {
        let body = response.into_body().into_reader();
        Paced { body, patience: self.patience, since: Instant::now(), received: 0 }
    }
}

/// A body that must bring [`SLOWEST`] bytes per second, as a mean over each stretch of `patience`.
pub(crate) struct Paced<R> {
    body: R,
    patience: Duration,
    since: Instant,
    received: u64,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.received += count as u64;
        if count > 0 && self.since.elapsed() >= self.patience {
            let least = (self.patience.as_secs_f64() * SLOWEST as f64) as u64;
            if self.received < least {
                let told = format!(
                    "only {} bytes came in {:?}; at least {least} must come",
                    self.received, self.patience
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, told));
            }
            (self.since, self.received) = (Instant::now(), 0);
        }
        Ok(count)
    }
}

/// A header's value, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why a body is not the bytes that were asked for: an encoding that no request allows.
pub(crate) fn foreign_encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get("content-encoding")?.to_str().unwrap_or("an unknown one");
    let is_none = encoding.trim().is_empty() || encoding.eq_ignore_ascii_case("identity");
    (!is_none).then(|| format!("in the encoding `{encoding}`, which was not asked for"))
}

fn unreachable(error: ureq::Error) -> HubProblem {
    HubProblem::Unreachable { reason: error.to_string() }
}
