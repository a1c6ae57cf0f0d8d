//! Context templates: they turn a context into the text that a language model reads instead.

use std::{fmt, sync::Arc};

use crate::{Error, Result};

type Failure = Box<dyn std::error::Error + Send + Sync>;

type Rendering = dyn Fn(&str) -> std::result::Result<String, Failure> + Send + Sync;

/// A function from a context to the text that the model reads instead of it: it adds a prefix, an instruction or a chat
/// template.
///
/// It belongs to the model: sampling, scoring and tuning all use the rendered context, while samples keep the context that was
/// passed in. Because it is a function, it is not saved with the model.
///
/// ```
/// use disco_lm::ContextTemplate;
///
/// let question = ContextTemplate::new(|context| Ok(format!("Question: {context}\nAnswer:")));
/// assert_eq!(question.render("Why?")?, "Question: Why?\nAnswer:");
/// # Ok::<(), disco_lm::Error>(())
/// ```
#[derive(Clone)]
pub struct ContextTemplate {
    rendering: Arc<Rendering>,
    pub(crate) adds_special_tokens: bool,
}

impl ContextTemplate {
    /// The template that renders a context as `rendering` does, which must give the same text every time.
    ///
    /// An error of `rendering` ends the call of the model's method, which returns it as [`Error::Template`].
    pub fn new(
        rendering: impl Fn(&str) -> std::result::Result<String, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { rendering: Arc::new(rendering), adds_special_tokens: true }
    }

    /// The template that puts `prefix` before every context.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self::new(move |context| Ok(format!("{prefix}{context}")))
    }

    /// Declares that the rendered text contains all special tokens already, so that the tokenizer adds none. Chat templates
    /// are an example: they write the begin token themselves.
    #[must_use]
    pub fn with_own_special_tokens(self) -> Self {
        Self { adds_special_tokens: false, ..self }
    }

    /// Whether the tokenizer adds its special tokens to the rendered text.
    pub fn adds_special_tokens(&self) -> bool {
        self.adds_special_tokens
    }

    /// The text that the model reads for `context`.
    ///
    /// # Errors
    /// [`Error::Template`] if the rendering function fails.
    pub fn render(&self, context: &str) -> Result<String> {
        (self.rendering)(context).map_err(|cause| Error::Template { context: context.into(), cause })
    }
}

impl fmt::Debug for ContextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextTemplate")
            .field("adds_special_tokens", &self.adds_special_tokens)
            .finish_non_exhaustive()
    }
}
