//! A client that asks a server, again if need be.

use std::{fmt, thread, time::Duration};

use ureq::{
    Agent, Body,
    http::{HeaderName, HeaderValue, Response, StatusCode},
};

use super::{LONGEST_ANSWER, Secrets};

/// The pause before the second try; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also where a server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a server is asked.
pub(crate) struct ClientSettings<'a> {
    /// Headers of the requests, which may be secret.
    pub(crate) headers: &'a [(String, String)],
    /// The number of connections that are kept open.
    pub(crate) connections: usize,
    /// The time within which a request has to be answered.
    pub(crate) timeout: Duration,
    /// How often a request is sent, if the server cannot be reached or answers with status 429 or 500 to 599. The pauses between the
    /// tries grow from half a second, or are as long as the server says (at most a minute).
    pub(crate) tries: usize,
}

/// A client with its connections. Proxies that the environment names are not used, and redirections are not followed.
pub(crate) struct Client {
    agent: Agent,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The words of the headers.
    secrets: Secrets,
    tries: usize,
}

impl fmt::Debug for Client {
    /// Without the values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// The problem, as a sentence about the server. No secret is in it.
    pub(crate) problem: String,
    /// The status of the server's answer, if it answered.
    pub(crate) status: Option<u16>,
}

/// A try that gave no answer.
struct Fault {
    problem: String,
    status: Option<u16>,
    /// Whether another try can help, and the pause that the server asks for.
    again: Option<Option<Duration>>,
}

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// The problem with a header, as the end of a sentence.
    pub(crate) fn new(settings: &ClientSettings<'_>) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, value) in settings.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => return Err(format!("the header `{name}` is none that can be sent")),
            }
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(settings.connections)
            .proxy(None)
            .user_agent(concat!("disco/", env!("CARGO_PKG_VERSION")))
            .build();
        let secrets = Secrets::of(settings.headers.iter().map(|(_, value)| value.as_str()));
        Ok(Self { agent: agent.into(), headers, secrets, tries: settings.tries })
    }

    /// The words that are hidden in messages.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The answer to a request with a body of JSON.
    ///
    /// # Errors
    /// [`Unanswered`] after the last try, and at once where another try cannot help.
    pub(crate) fn post(&self, url: &str, body: &[u8]) -> Result<Vec<u8>, Unanswered> {
        self.again_and_again(|| {
            let mut post = self.agent.post(url).content_type("application/json");
            for (name, value) in &self.headers {
                post = post.header(name, value);
            }
            post.send(body)
        })
    }

    /// The answer to a request without a body.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub(crate) fn get(&self, url: &str) -> Result<Vec<u8>, Unanswered> {
        self.again_and_again(|| {
            let mut get = self.agent.get(url);
            for (name, value) in &self.headers {
                get = get.header(name, value);
            }
            get.call()
        })
    }

    fn again_and_again(
        &self,
        send: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Vec<u8>, Unanswered> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match self.answer(send()) {
                Ok(answer) => return Ok(answer),
                Err(Fault { again: Some(asked), .. }) if tries < self.tries => {
                    thread::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tries += 1;
                }
                Err(Fault { problem, status, .. }) => {
                    let tried = if tries == 1 { String::new() } else { format!(" (tried {tries} times)") };
                    // Also in what a library says of the answer.
                    return Err(Unanswered {
                        problem: self.secrets.hide(&format!("{problem}{tried}")),
                        status,
                    });
                }
            }
        }
    }

    fn answer(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Fault> {
        let unreachable =
            |cause: ureq::Error| Fault { problem: explained(&cause), status: None, again: Some(None) };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let number = Some(status.as_u16());
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let again = is_busy.then(|| retry_after(&response));
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER as u64).read_to_vec();
        if status.is_success() {
            return body.map_err(|cause| match cause {
                ureq::Error::BodyExceedsLimit(limit) => Fault {
                    problem: format!("its answer has more than {} MiB", limit >> 20),
                    status: number,
                    again: None,
                },
                cause => Fault {
                    problem: format!("its answer broke off: {cause}"),
                    status: number,
                    again: Some(None),
                },
            });
        }
        let said = body.map_or_else(|_| String::new(), |body| format!(": {}", self.secrets.beginning(&body)));
        let target = response.headers().get("location").and_then(|target| target.to_str().ok());
        let target = target.map_or_else(String::new, |target| {
            format!(" to {}, which is not followed", self.secrets.beginning(target.as_bytes()))
        });
        Err(Fault {
            problem: format!("it answered with status {status}{target}{said}"),
            status: number,
            again,
        })
    }
}

/// An error of a connection, and, for the two of TLS that say little by themselves, its meaning.
fn explained(cause: &ureq::Error) -> String {
    const MEANINGS: [(&str, &str); 2] = [
        (
            "invalid peer certificate",
            "its certificate is not signed by an authority that browsers trust, or is another host's",
        ),
        ("InvalidContentType", "it does not speak TLS: its address begins with http://"),
    ];
    let said = cause.to_string();
    match MEANINGS.iter().find(|(sign, _)| said.contains(sign)) {
        Some((_, meaning)) => format!("{meaning} ({said})"),
        None => said,
    }
}

/// The seconds of the header `Retry-After`; a date is not read.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
