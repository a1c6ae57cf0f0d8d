//! Choices: the texts that a model may give in a context.

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{Error, Result, error::ChoiceProblem};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The texts of a context, shared by all who ask.
pub(crate) type Texts = Arc<[String]>;

/// Gives the texts of a context, which are checked.
type Listing<C> = dyn Fn(&C) -> Result<Texts, ChoiceProblem> + Send + Sync;

/// The texts that a model may give, for [`ChoiceModel`](crate::ChoiceModel) and [`ChoicePolicy`](crate::ChoicePolicy): one list for
/// all contexts, or a list by context.
///
/// An end token follows each text, unless [`without_end_token`](Self::without_end_token) says otherwise. Texts are completions: what
/// stands directly behind the context. After `"Answer:"` the choices are `" A"` and `" B"`, with their space, which most
/// tokenizers put into one token with the word.
///
/// ```
/// use disco_lm::Choices;
/// let letters: Choices<str> = Choices::new([" A", " B", " C"])?;
/// // By context; the error of the function names the context.
/// let days: Choices<str> = Choices::by_context(|language: &str| match language {
///     "English:" => Ok(vec![" Monday".into(), " Tuesday".into()]),
///     "Deutsch:" => Ok(vec![" Montag".into(), " Dienstag".into()]),
///     other => Err(format!("no weekdays of {other}").into()),
/// });
/// assert!(Choices::<str>::new([" A", " A"]).is_err());
/// # Ok::<(), disco_lm::Error>(())
/// ```
pub struct Choices<C: ?Sized> {
    listing: Arc<Listing<C>>,
    end_token: bool,
}

impl<C: ?Sized> Choices<C> {
    /// The same texts in every context.
    ///
    /// # Errors
    /// [`Error::Choices`] for an empty list, or a text that is listed twice.
    pub fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let texts: Texts = texts.into_iter().map(Into::into).collect();
        check(&texts).map_err(|problem| Error::Choices { context: None, problem })?;
        Ok(Self { listing: Arc::new(move |_| Ok(Arc::clone(&texts))), end_token: true })
    }

    /// The texts that `list` gives for a context, such as the content of a column. It must give the same list every time.
    ///
    /// An error of `list`, an empty list or a text that is listed twice ends the call of the model's method, which
    /// returns it as [`Error::Choices`].
    pub fn by_context(
        list: impl Fn(&C) -> std::result::Result<Vec<String>, Failure> + Send + Sync + 'static,
    ) -> Self {
        let listing = move |context: &C| {
            let texts = list(context).map_err(|cause| ChoiceProblem::Listing { cause })?;
            check(&texts)?;
            Ok(texts.into())
        };
        Self { listing: Arc::new(listing), end_token: true }
    }

    /// The same texts, of which each stands for every completion that begins with its tokens: `a(x|c)` has no factor for an end
    /// token, as in EleutherAI's lm-evaluation-harness.
    ///
    /// If one text's tokens begin with another's, `a` of the longer is part of `a` of the shorter one. The distribution is
    /// normalised over the list all the same.
    #[must_use]
    pub fn without_end_token(mut self) -> Self {
        self.end_token = false;
        self
    }

    /// Whether an end token follows each text.
    pub fn has_end_token(&self) -> bool {
        self.end_token
    }

    /// The texts of a context, all different, at least one.
    pub(crate) fn texts(&self, context: &C) -> Result<Texts, ChoiceProblem> {
        (self.listing)(context)
    }
}

impl<C: ?Sized> Clone for Choices<C> {
    fn clone(&self) -> Self {
        Self { listing: Arc::clone(&self.listing), end_token: self.end_token }
    }
}

impl<C: ?Sized> fmt::Debug for Choices<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices").field("end_token", &self.end_token).finish_non_exhaustive()
    }
}

/// Checks that there is a text, and none twice.
fn check(texts: &[String]) -> Result<(), ChoiceProblem> {
    let mut positions = HashMap::with_capacity(texts.len());
    for (second, text) in texts.iter().enumerate() {
        if let Some(first) = positions.insert(text, second) {
            return Err(ChoiceProblem::Twice { text: text.clone(), first, second });
        }
    }
    if texts.is_empty() { Err(ChoiceProblem::Empty) } else { Ok(()) }
}
