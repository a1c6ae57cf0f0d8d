//! Settings and limits of a server.

use std::time::Duration;

/// Settings and limits of a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The name of the model, which requests may give.
    pub model: String,
    /// The bearer token that each request but `/health` must have, if there is one.
    pub token: Option<String>,
    /// The most bytes of a body.
    pub max_body: usize,
    /// The most new tokens of a completion.
    pub max_tokens: usize,
    /// The most completions of a request, over all of its prompts.
    pub max_completions: usize,
    /// The most connections at a time; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take for the headers of a request, and for its body.
    pub reading_time: Duration,
    /// How long a request may take, waiting included.
    pub request_time: Duration,
    /// How long requests may go on after the server is told to stop.
    pub grace: Duration,
    /// The seed from which requests without one get theirs, in the order in which they come.
    pub seed: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            model: "disco".into(),
            token: None,
            max_body: 4 << 20,
            max_tokens: 1024,
            max_completions: 128,
            max_connections: 1024,
            reading_time: Duration::from_secs(30),
            request_time: Duration::from_secs(600),
            grace: Duration::from_secs(30),
            seed: 0,
        }
    }
}
