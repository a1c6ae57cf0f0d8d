//! The most probable next tokens, as a server tells of them.

use super::server::NEVER;

/// The most probable tokens behind a context.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NextTokens {
    /// The token that was drawn, by its id or text.
    pub(super) drawn: String,
    /// The most probable tokens that can be drawn with their log-probabilities, the most probable first.
    pub(super) top: Vec<(String, f64)>,
    /// The number of tokens that the server was asked for: if there are fewer, no other can be drawn.
    pub(super) asked: usize,
}

impl NextTokens {
    /// At most `asked` tokens, in any order; those of probability 0 are left out.
    pub(super) fn new(drawn: String, mut top: Vec<(String, f64)>, asked: usize) -> Self {
        top.retain(|(_, log_prob)| *log_prob > NEVER);
        top.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        // The token that was drawn may come on top of them.
        top.truncate(asked);
        Self { drawn, top, asked }
    }

    /// The sum of the probabilities of these tokens.
    pub(super) fn mass(&self) -> f64 {
        self.top.iter().map(|(_, log_prob)| log_prob.exp()).sum()
    }

    /// Whether these are all the tokens that can be drawn.
    pub(super) fn is_all(&self) -> bool {
        self.top.len() < self.asked
    }

    /// The log-probability of a token among these.
    pub(super) fn log_prob(&self, token: &str) -> Option<f64> {
        self.top.iter().find(|(other, _)| other == token).map(|(_, log_prob)| *log_prob)
    }
}
