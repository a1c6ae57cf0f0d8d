//! A sample of a model on a server.

use serde::{Deserialize, Serialize};

use crate::features::TextSample;

/// A sample of a model on a server. In JSON it has the fields `text`, `ids`, `tokens` and `finished`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct RemoteSample {
    /// The text that it adds to the context's.
    pub text: String,
    /// The ids of its tokens, the end token included; empty if the server does not tell them.
    pub ids: Vec<u32>,
    /// The number of its tokens.
    pub tokens: usize,
    /// Whether the model ended it; otherwise it was cut.
    pub finished: bool,
}

impl TextSample for RemoteSample {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.tokens
    }

    fn token_ids(&self) -> &[u32] {
        &self.ids
    }

    fn finished(&self) -> bool {
        self.finished
    }
}

/// A sample as JSON may have it: without a number of tokens, it has as many as ids.
#[derive(Deserialize)]
struct Written {
    text: String,
    #[serde(default)]
    ids: Vec<u32>,
    tokens: Option<usize>,
    finished: bool,
}

impl From<Written> for RemoteSample {
    fn from(written: Written) -> Self {
        let Written { text, ids, tokens, finished } = written;
        Self { text, tokens: tokens.unwrap_or(ids.len()), ids, finished }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tokens_is_that_of_the_ids_unless_it_is_told() {
        let read = |json: &str| serde_json::from_str::<RemoteSample>(json).unwrap();
        let sample = read(r#"{"text": " a", "ids": [5, 2], "finished": true}"#);
        assert_eq!((sample.token_count(), sample.finished()), (2, true));
        assert_eq!(read(r#"{"text": " a", "tokens": 3, "finished": false}"#).token_count(), 3);
        assert_eq!(read(&serde_json::to_string(&sample).unwrap()), sample);
    }
}
