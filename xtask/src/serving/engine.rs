//! The engine of a server: it turns text into token ids and draws completions, with log-probabilities and facts about each.

use serde_json::{Map, Value};

/// A source of completions for a [`Server`](super::Server): a language model, or anything else that draws completions after a context.
pub trait Engine: Send + Sync + 'static {
    /// The number of tokens that a context and its completion may have together.
    fn positions(&self) -> usize;

    /// The token ids of a text.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a text that the engine cannot read.
    fn encode(&self, text: &str) -> Result<Vec<u32>, Refusal>;

    /// The token ids of a conversation, up to the beginning of the answer.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if there is no chat template, or it refuses the conversation.
    fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Refusal>;

    /// The text that tokens add to the text of the tokens before them.
    ///
    /// # Errors
    /// [`Refusal::Failed`].
    fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal>;

    /// The text of one token by itself; no two tokens have the same.
    fn token_text(&self, id: u32) -> String;

    /// Begins to draw. The engine calls `on_event` with one [`DrawEvent::Finished`] for each completion, or with
    /// [`DrawEvent::Failed`], and then drops it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Busy`] or [`Refusal::Stopped`].
    fn draw(&self, request: DrawRequest, on_event: OnEvent) -> Result<Box<dyn Drawing>, Refusal>;

    /// The requests that wait and that run.
    fn load(&self) -> EngineLoad;

    /// Takes no more requests; those that there are will be finished.
    fn close(&self);
}

/// A function that is called with each event of a request. It returns at once.
pub type OnEvent = Box<dyn FnMut(DrawEvent) + Send>;

/// Completions that are being drawn. Dropping it cancels all of them.
pub trait Drawing: Send {
    /// Cancels one completion.
    fn cancel(&self, completion: usize);
}

/// Completions of one context that are asked of an engine.
#[derive(Clone, Debug)]
pub struct DrawRequest {
    /// The token ids of the context.
    pub context: Vec<u32>,
    /// The key of the random streams.
    pub seed: u64,
    /// The number of the first completion's stream; the others follow.
    pub first_stream: u64,
    /// The number of completions.
    pub count: usize,
    /// How tokens are drawn.
    pub sampling: SamplingSettings,
    /// How many of the most probable tokens are reported beside each token.
    pub alternatives: usize,
    /// Whether the log-probabilities of the context's tokens are reported.
    pub context_log_probs: bool,
}

/// How tokens are drawn: the settings of `disco_lm::Decoding`, and the length.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are those of `disco_lm::Decoding`")]
pub struct SamplingSettings {
    /// 0: there is no completion.
    pub max_tokens: usize,
    pub min_tokens: usize,
    /// Whether each token is the most probable one.
    pub greedy: bool,
    pub temperature: f64,
    pub top_k: usize,
    pub top_p: f64,
    pub min_p: f64,
    pub typical_p: f64,
    pub repetition_penalty: f64,
}

/// A message of a conversation.
#[derive(Clone, Debug)]
pub struct ChatMessage {
    /// The role of the speaker.
    pub role: String,
    /// The text.
    pub content: String,
}

/// A part of an engine's answer.
#[derive(Clone, Debug)]
pub enum DrawEvent {
    /// The tokens of the context from the second on.
    Context(Vec<DrawnToken>),
    /// The next token of a completion.
    Token {
        /// The number of the completion.
        completion: usize,
        /// The token.
        token: DrawnToken,
    },
    /// The end of a completion.
    Finished {
        /// The number of the completion.
        completion: usize,
        /// Whether it was cut at the maximal length.
        is_cut: bool,
        /// Facts about how it was drawn, such as the acceptance rate and fidelity of rejection sampling; for the client.
        facts: Map<String, Value>,
    },
    /// The engine could not go on.
    Failed(String),
}

/// A token with its log-probability (nats), and those of the most probable tokens in its place.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the type says it")]
pub struct DrawnToken {
    pub id: u32,
    pub log_prob: f64,
    pub alternatives: Vec<(u32, f64)>,
}

/// The requests of an engine at a moment.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the type says it")]
pub struct EngineLoad {
    pub waiting: usize,
    pub running: usize,
}

/// Why an engine does not answer a request.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The request cannot be answered; the message says why, and what is allowed.
    Invalid(String),
    /// Too many requests wait.
    Busy(String),
    /// The engine is being stopped.
    Stopped,
    /// The engine failed.
    Failed(String),
}
