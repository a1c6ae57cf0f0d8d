//! The errors of loading, running and saving a language model.

pub(crate) mod choice_problem;
#[cfg(feature = "hub-http")]
pub(crate) mod hub_problem;
pub(crate) mod request_problem;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use choice_problem::ChoiceProblem;
#[cfg(feature = "hub-http")]
pub use hub_problem::HubProblem;
pub use request_problem::RequestProblem;

/// A result whose error is disco-lm's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A weight whose shape is not the one that the configuration implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// The tensor's name in the file.
    pub name: String,
    /// The shape the configuration implies.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, not {:?}", self.name, self.found, self.expected)
    }
}

/// Why a language model could not be loaded, run or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// There is neither a folder nor a file of this name.
    #[error(
        "{} is no folder or file{}", path.display(),
        if may_be_id(path) { "; a model of that id on a hub is fetched by `Hub::language_model`, with the feature `hub`" } else { "" }
    )]
    NoModel {
        /// The path that was given.
        path: PathBuf,
    },
    /// A file does not follow its format.
    #[error("{} is damaged or not of its format: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A sound file or folder of a kind that is not read.
    #[error("{} is {found}; allowed: {allowed}", path.display())]
    NotRead {
        /// The file or folder.
        path: PathBuf,
        /// The kind of file or folder that it is.
        found: String,
        /// The kinds that are read.
        allowed: String,
    },
    /// A setting of the model's configuration, or of an adapter's, is not supported.
    #[error("{}: `{field}` is {value}; allowed: {allowed}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The setting.
        field: String,
        /// The value found.
        value: String,
        /// The supported values.
        allowed: String,
    },
    /// Names or shapes of the tensors differ from those that the configuration implies.
    #[error(
        "{}: weights do not fit the configuration{}{}{}", path.display(), listed("missing", missing),
        listed("unexpected", unexpected), listed("of another shape", misshapen)
    )]
    Weights {
        /// The folder.
        path: PathBuf,
        /// Tensors that the model needs and the files lack.
        missing: Vec<String>,
        /// Tensors in the files that the model does not have.
        unexpected: Vec<String>,
        /// Tensors whose shape is another one.
        misshapen: Vec<Misshapen>,
    },
    /// A weight that is NaN or infinite.
    #[error("{}: a weight of `{tensor}` is {value}; allowed: finite numbers", path.display())]
    NotFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// Its value.
        value: f32,
    },
    /// The tokenizer has ids that the model does not have.
    #[error("the tokenizer has ids up to {largest_id}, but the model's vocabulary has {vocabulary} entries")]
    Vocabulary {
        /// The largest id of the tokenizer.
        largest_id: u32,
        /// The size of the model's vocabulary.
        vocabulary: usize,
    },
    /// A text with a token that the tokenizer has and the model has not.
    #[error("the token {token:?} has the id {id}, and the model's vocabulary has {vocabulary} entries")]
    TokenOutside {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The size of the model's vocabulary.
        vocabulary: usize,
    },
    /// A folder without a tokenizer that can be read.
    #[error(
        "{} has no tokenizer.json; it has {found}, which is not read alone: `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` \
         of transformers writes tokenizer.json", folder.display()
    )]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
        /// The file of a tokenizer that there is.
        found: String,
    },
    /// The model has no chat template.
    #[error("the model has no chat template, in `chat_template.jinja` or in `tokenizer_config.json`")]
    NoChatTemplate,
    /// A chat template cannot be read, refuses the messages, or needs more time or memory than a template may have.
    #[error("chat template, {template}: {cause}")]
    ChatTemplate {
        /// The place of the template among the model's files.
        template: String,
        /// The error of the template or of the engine that renders it.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tokenizer failed.
    #[error("tokenizer: {cause}")]
    Tokenizer {
        /// The tokenizer's error.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The [`ContextTemplate`](crate::ContextTemplate) failed to render a context.
    #[error("the template of the context {context:?}: {cause}")]
    Template {
        /// The context.
        context: String,
        /// The template's error.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A list of [choices](crate::Choices) that cannot be scored.
    #[error("choices{}: {problem}", context.as_ref().map(|context| format!(" of the context {context:?}")).unwrap_or_default())]
    Choices {
        /// The context; `None` for a list of all contexts.
        context: Option<String>,
        /// The problem.
        problem: ChoiceProblem,
    },
    /// A grammar that cannot be used: it cannot be read, needs too much time or memory, or accepts no sequence of the model.
    #[error("the grammar ({form}) cannot be used: {reason}")]
    Grammar {
        /// The form in which it was given: `regex`, `json_schema`, `lark` or `choices`.
        form: &'static str,
        /// The reason; where the grammar cannot be read, the message of the library that reads it.
        reason: String,
    },
    /// A context and its new tokens do not fit into the model's positions.
    #[error("context of {context} tokens and {new} new ones exceed the model's {positions} positions")]
    TooLong {
        /// Number of tokens of the context.
        context: usize,
        /// Number of new tokens: usually `max_new_tokens`, whether or not a sequence ends earlier.
        new: usize,
        /// Number of tokens that the model can hold.
        positions: usize,
    },
    /// A text that has more tokens than a classifier can read.
    #[error("a text of {tokens} tokens exceeds the classifier's {positions} positions; it can be truncated")]
    TextTooLong {
        /// Number of tokens of the text, special ones included.
        tokens: usize,
        /// Number of tokens that the classifier can read.
        positions: usize,
    },
    /// A token id outside of the vocabulary.
    #[error("token id {id} is not below the vocabulary's size {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// A context without a token.
    #[error("{}", no_token(text.as_deref()))]
    EmptyContext {
        /// The text of the context; `None` if it was given as token ids.
        text: Option<String>,
    },
    /// A backend that is not compiled in.
    #[error("backend `{asked}` is not compiled in (there is: {compiled}); build with `--features {asked}`")]
    Backend {
        /// The backend that was asked for.
        asked: String,
        /// The names of the backends that are compiled in.
        compiled: String,
    },
    /// Loading this model needs a Cargo feature that is not compiled in.
    #[error("{what}; to have it, build with `--features {feature}`")]
    Feature {
        /// A sentence that says why the model cannot be loaded.
        what: String,
        /// The Cargo feature that is needed.
        feature: &'static str,
    },
    /// A backend that is compiled in, on a machine without a device for it.
    #[error("there is no device for backend `{backend}` on this machine: it needs {wanted}")]
    NoDevice {
        /// The backend.
        backend: &'static str,
        /// The device that the backend needs.
        wanted: &'static str,
    },
    /// A model could not be fetched from a hub.
    #[cfg(feature = "hub-http")]
    #[error("`{model}`, asked of {endpoint}: {problem}")]
    Hub {
        /// The URL of the hub.
        endpoint: String,
        /// The id of the model.
        model: String,
        /// The problem; its message says what to do.
        problem: crate::HubProblem,
    },
    /// A request that a [`GenerationService`](crate::GenerationService) does not take or cannot finish.
    #[error("request for generation: {problem}")]
    Request {
        /// The problem.
        problem: RequestProblem,
    },
    /// A parameter outside its range.
    #[error("{field} is {value}; allowed: {allowed}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        allowed: String,
    },
    /// The model computed NaN or an infinity.
    #[error("{what} is {value}")]
    NotFinite {
        /// The quantity that is not finite, such as a logit or the norm of the gradient.
        what: String,
        /// Its value.
        value: f64,
    },
    /// An error of disco-core.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
}

/// The largest number of tensors that a message lists: with the weights of another model, hundreds do not fit.
const LISTED: usize = 20;

/// The tensors of a list, after `what` is wrong with them; nothing for an empty list.
fn listed(what: &str, tensors: &[impl fmt::Display]) -> String {
    if tensors.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = tensors.iter().take(LISTED).map(ToString::to_string).collect();
    names.extend((tensors.len() > LISTED).then(|| format!("and {} more", tensors.len() - LISTED)));
    format!("; {what}: {}", names.join(", "))
}

/// The message of [`Error::EmptyContext`].
fn no_token(text: Option<&str>) -> String {
    match text {
        Some(text) => format!("the context {text:?} has no token, and the tokenizer adds no begin token"),
        None => "the list of token ids has no token; at least one is needed".into(),
    }
}

/// Whether a path looks like an id on a hub: `organisation/name`.
fn may_be_id(path: &Path) -> bool {
    path.is_relative() && path.components().count() == 2
}

impl Error {
    pub(crate) fn io(path: impl AsRef<Path>, cause: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), cause }
    }

    pub(crate) fn format(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::Format { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    pub(crate) fn invalid(field: &'static str, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Invalid { field, value: value.to_string(), allowed: allowed.into() }
    }
}

impl From<Error> for disco_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(error) => error,
            error => Self::failed("language model", error),
        }
    }
}
