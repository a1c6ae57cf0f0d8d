//! A sample as a file has it.

use serde::Serialize;

use crate::features::TextSample;

/// A sample of any system that draws texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StoredSample {
    /// The ids of its tokens, the end token included, if the file tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    /// The text, without the context.
    pub text: String,
    /// Whether the system ended it; `true` where the file does not tell.
    pub finished: bool,
    /// The number of its tokens; 0 where the file does not tell.
    #[serde(skip)]
    pub token_count: usize,
}

impl TextSample for StoredSample {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.token_count
    }

    fn finished(&self) -> bool {
        self.finished
    }
}
