//! The distribution of a language model over listed choices.

use std::{fmt, sync::Arc};

use disco_core::{Distribution, Sampled, Score, Scorer, Space, Streams};

use super::{
    cache::{Cache, Key},
    list::Choices,
    listed::Listing,
    scored::Scored,
};
use crate::{Completion, LanguageModel, Result};

/// Scores of the choices of contexts under parameters that do not change.
pub(crate) type Scores = Arc<Cache<Arc<Scored>>>;

/// A language model that may give only the texts of a list: a distribution over [`Completion`]s whose every probability is known.
///
/// ```text
/// q(x|c) = a(x|c) / sum_y a(y|c)      over the choices y of c
/// ```
///
/// `a(x|c)` is the probability that the model completes `c` by the tokens of `x` and an end token (any of them, if the model
/// has several; their probabilities are added). So `q` is the distribution of the model's completions, given that they are on the list.
/// [`Choices::without_end_token`] leaves the end token out. The decoding of the model applies, temperature and top-k among
/// others; its `max_new_tokens` does not.
///
/// # Tokens
/// A choice has the ids that it has in the running text behind its context, where these begin with the ids of the context, as they
/// are scored in lm-evaluation-harness; else its own. In any case they have its text behind the context
/// ([`LanguageModel::completion_after`]); a choice for which there are no such ids is an error. Other ids of the same text are not counted.
///
/// # Sums over the choices
/// [`space`](Self::space) lists the choices of a context as samples, for exact sums: `disco_ebm::Measured`,
/// [`disco_tuner::Problem::with_space`]. A completion that is not among them has log-probability `-inf`.
///
/// # Cost
/// One forward pass over each context and its choices (without end tokens, one for each number of tokens that choices have). The scores
/// are kept for the next call, for at most 65,536 choices of the latest contexts, and shared by clones. A sample costs nothing
/// else.
///
/// ```
/// use disco_core::Distribution;
/// use disco_lm::{Backend, ChoiceModel, Choices, Generation, LanguageModel};
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
/// # let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).unwrap();
/// let model = LanguageModel::load(folder, &device, Generation::default())?;
/// let answers = ChoiceModel::new(model, Choices::new(["yes", "no", "my lord"])?.without_end_token())?;
/// let space = answers.space("ROMEO:\n")?;
/// let samples: Vec<_> = space.outcomes().iter().collect();
/// let sum: f64 = answers.log_probs("ROMEO:\n", &samples)?.iter().map(|log_prob| log_prob.exp()).sum();
/// assert!((sum - 1.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ChoiceModel<C: ?Sized> {
    pub(super) model: LanguageModel,
    pub(super) listing: Arc<Listing<C>>,
    pub(super) scores: Scores,
}

impl<C: ?Sized> ChoiceModel<C> {
    /// The distribution of `model` over `choices`.
    ///
    /// # Errors
    /// [`Error::Choices`](crate::Error::Choices) for a model without an end token, unless the choices need none. What is wrong with the choices of
    /// a context is found when it is asked for.
    pub fn new(model: LanguageModel, choices: Choices<C>) -> Result<Self> {
        let listing = Listing::new(&model, choices)?;
        Ok(Self { model, listing: listing.into(), scores: Scores::default() })
    }

    /// The language model.
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }
}

impl<C: AsRef<str> + ?Sized> ChoiceModel<C> {
    /// The choices of a context as samples, in the order of the list. Nothing is scored.
    ///
    /// # Errors
    /// [`Error::Choices`](crate::Error::Choices), naming context and text; errors of [`LanguageModel::encode`].
    pub fn space(&self, context: &C) -> Result<Space<Completion>> {
        let key = self.listing.key(context)?;
        Ok(self.listing.listed(&self.model, &key)?.space.clone())
    }

    /// `ln sum_x a(x|c)` (nats): the logarithm of the probability that the model itself completes the context by one of the
    /// choices. Without end tokens, choices that begin with others are counted twice.
    ///
    /// # Errors
    /// As [`space`](Self::space), and the errors of the forward pass.
    pub fn log_mass(&self, context: &C) -> Result<f64> {
        Ok(self.scored(context)?.log_mass())
    }

    fn scored(&self, context: &C) -> Result<Arc<Scored>> {
        self.scored_of(&self.listing.key(context)?)
    }

    /// The scored choices of a key.
    pub(super) fn scored_of(&self, key: &Key) -> Result<Arc<Scored>> {
        self.scores.get_or(key, || {
            let listed = self.listing.listed(&self.model, key)?;
            Scored::new(self.model.tokens(), listed, key).map(Arc::new)
        })
    }
}

impl<C: AsRef<str> + ?Sized> Scorer<C, Completion> for ChoiceModel<C> {
    fn log_scores(&self, context: &C, samples: &[&Completion]) -> disco_core::Result<Vec<Score>> {
        let scored = self.scored(context)?;
        Ok(samples.iter().map(|sample| Ok(scored.table.log_prob(sample))).collect())
    }
}

impl<C: AsRef<str> + ?Sized> Distribution<C, Completion> for ChoiceModel<C> {
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Completion>>> {
        self.scored(context)?.table.sample(context, streams)
    }
}

disco_core::impl_product!([C: ?Sized] ChoiceModel<C>);

impl<C: ?Sized> Clone for ChoiceModel<C> {
    fn clone(&self) -> Self {
        let (listing, scores) = (Arc::clone(&self.listing), Arc::clone(&self.scores));
        Self { model: self.model.clone(), listing, scores }
    }
}

impl<C: ?Sized> fmt::Debug for ChoiceModel<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoiceModel").field("model", &self.model).finish_non_exhaustive()
    }
}
