//! A sample of a model on a server.

use serde::{Deserialize, Serialize};

use crate::features::TextSample;

/// A sample of a model on a server. In JSON it has the fields of a sample of a model that runs here: `tokens` (ids; their number, where the
/// server does not tell them), `text` and `finished`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
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

/// A sample as JSON has it.
#[derive(Serialize, Deserialize)]
struct Written {
    tokens: Tokens,
    text: String,
    finished: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Tokens {
    Ids(Vec<u32>),
    Count(usize),
}

impl From<Written> for RemoteSample {
    fn from(Written { tokens, text, finished }: Written) -> Self {
        let (ids, tokens) = match tokens {
            Tokens::Count(tokens) => (Vec::new(), tokens),
            Tokens::Ids(ids) => {
                let tokens = ids.len();
                (ids, tokens)
            }
        };
        Self { text, ids, tokens, finished }
    }
}

impl From<RemoteSample> for Written {
    fn from(RemoteSample { text, ids, tokens, finished }: RemoteSample) -> Self {
        let tokens = if ids.is_empty() { Tokens::Count(tokens) } else { Tokens::Ids(ids) };
        Self { tokens, text, finished }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ids_where_the_server_tells_them() {
        let read = |json: &str| serde_json::from_str::<RemoteSample>(json).unwrap();
        for (json, ids, count) in [
            (r#"{"tokens":[5,2],"text":" a","finished":true}"#, &[5, 2][..], 2),
            (r#"{"tokens":3,"text":" a","finished":true}"#, &[], 3),
        ] {
            let sample = read(json);
            assert_eq!((&sample.ids[..], sample.token_count(), sample.finished()), (ids, count, true));
            assert_eq!(serde_json::to_string(&sample).unwrap(), json);
        }
    }
}
