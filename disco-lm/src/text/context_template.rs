//! What a language model makes of a context before it reads it.

use std::{fmt, sync::Arc};

use crate::{Error, Result};

type Failure = Box<dyn std::error::Error + Send + Sync>;

type Rendering = dyn Fn(&str) -> std::result::Result<String, Failure> + Send + Sync;

/// A text made of a context, which the model then reads in its place: a prefix, an instruction, a chat template.
///
/// It belongs to the model: sampling, scoring and tuning all see the context as it is rendered, while samples
/// keep the context they were asked for. It is a function, so it is not saved with the model.
///
/// ```
/// use disco_lm::ContextTemplate;

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
    /// An error of `rendering` ends what was asked of the model, as [`Error::Template`].
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

    /// The same template, whose text holds all of its special tokens: the tokenizer adds none. So it is with
    /// chat templates, which write the begin token themselves.
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
    /// [`Error::Template`].
    pub fn render(&self, context: &str) -> Result<String> {
        (self.rendering)(context).map_err(|source| Error::Template { context: context.into(), source })
    }
}

impl fmt::Debug for ContextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextTemplate")
            .field("adds_special_tokens", &self.adds_special_tokens)
            .finish_non_exhaustive()
    }
}
