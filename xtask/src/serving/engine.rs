//! The engine of a server: it turns text into token ids and draws completions, with log-probabilities and facts about each.

use serde_json::{Map, Value};

/// A source of completions for a [`Server`](super::Server): a language model, or anything else that draws completions after a context.
pub trait Engine: Send + Sync + 'static {
    /// The number of tokens that a context and its completion may have together.
    fn positions(&self) -> usize;

    /// The number of new tokens of a completion whose request does not say it; `None`: as in OpenAI's API.
    fn default_tokens(&self) -> Option<usize> {
        None
    }

    /// Reads what a client wants to be continued.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a text, ids or a conversation that the engine cannot continue.
    fn read(&self, asked: Asked) -> Result<Prompt, Refusal>;

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

/// The beginning of a completion, as a client writes it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A text.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
    /// A conversation, which an answer follows.
    Chat(Vec<ChatMessage>),
}

/// The beginning of a completion, as an engine has read it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The token ids; those of a conversation end where the answer begins.
    pub ids: Vec<u32>,
    /// The text: of a conversation, whatever the engine needs of it.
    pub text: String,
}

/// Completions of one prompt that are asked of an engine.
#[derive(Clone, Debug)]
pub struct DrawRequest {
    /// The beginning of each.
    pub prompt: Prompt,
    /// The key of the random streams.
    pub seed: u64,
    /// The number of the first completion's stream; the others follow.
    pub first_stream: u64,
    /// The number of completions.
    pub count: usize,
    /// How tokens are drawn.
    pub sampling: SamplingSettings,
    /// How many of the most probable tokens are reported beside each token; `None`: nor are log-probabilities.
    pub alternatives: Option<usize>,
    /// Whether the log-probabilities of the prompt's tokens are reported.
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
    /// The tokens of the prompt from the second on.
    Prompt(Vec<DrawnToken>),
    /// Facts about how a completion was drawn, such as the acceptance rate and fidelity of rejection sampling; for the client. Before
    /// its first token, if there are any.
    Facts {
        /// The number of the completion.
        completion: usize,
        /// The facts.
        facts: Map<String, Value>,
    },
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
    },
    /// The engine could not go on.
    Failed(Refusal),
}

/// A token with its log-probability (nats), and those of the most probable tokens in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnToken {
    /// Its id.
    pub id: u32,
    /// `None` if the engine does not know it.
    pub log_prob: Option<f64>,
    /// The most probable tokens, each with its log-probability.
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
    /// No completion was found with the work that is allowed for a request; the message says how much that was.
    Exhausted(String),
    /// The engine is being stopped.
    Stopped,
    /// The engine failed.
    Failed(String),
}
