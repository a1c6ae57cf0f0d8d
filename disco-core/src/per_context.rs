//! A distribution or scorer of its own for each context.

use std::{collections::HashMap, hash::Hash};

use crate::{Distribution, Error, Result, Sampled, Score, Scorer, Streams};

/// One distribution or scorer for each of finitely many contexts. Each is called with its context, which it may ignore.
/// Another context is an [`Error::Invalid`].
///
/// ```
/// use disco_core::{Distribution, PerContext, Space, Streams, Table};
/// let space = Space::new(["yes", "no"])?;
/// let answers = PerContext::new([
///     ("certain", Table::from_probabilities(space.clone(), &[1.0, 0.0])?),
///     ("doubtful", Table::from_probabilities(space, &[0.5, 0.5])?),
/// ])?;
/// assert_eq!(answers.log_probs(&"doubtful", &[&"no"])?, [0.5f64.ln()]);
/// assert_eq!(answers.sample(&"certain", &Streams::new(7, 1))?[0].value, "yes");
/// assert!(answers.sample(&"unheard of", &Streams::new(7, 1)).is_err());
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PerContext<C, D> {
    parts: HashMap<C, D>,
}

impl<C: Eq + Hash, D> PerContext<C, D> {
    /// One part per context.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Invalid`] for a context that comes twice.
    pub fn new(parts: impl IntoIterator<Item = (C, D)>) -> Result<Self> {
        let mut by_context = HashMap::new();
        for (index, (context, part)) in parts.into_iter().enumerate() {
            if by_context.insert(context, part).is_some() {
                let field = format!("context {index}");
                return Err(Error::invalid(field, "the same as an earlier one", "distinct contexts"));
            }
        }
        if by_context.is_empty() {
            return Err(Error::Empty { what: "list of contexts".into() });
        }
        Ok(Self { parts: by_context })
    }

    /// The distribution or scorer of a context.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a context that has no part.
    pub fn part(&self, context: &C) -> Result<&D> {
        self.parts.get(context).ok_or_else(|| {
            let allowed = format!("one of the {} that have a distribution or scorer", self.parts.len());
            Error::invalid("context", "unknown", allowed)
        })
    }
}

impl<C: Eq + Hash + Send + Sync, X: ?Sized, S: Scorer<C, X>> Scorer<C, X> for PerContext<C, S> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        self.part(context)?.log_scores(context, samples)
    }

    fn has_hard_constraints(&self) -> bool {
        self.parts.values().any(Scorer::has_hard_constraints)
    }
}

impl<C: Eq + Hash + Send + Sync, X, D: Distribution<C, X>> Distribution<C, X> for PerContext<C, D> {
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        self.part(context)?.sample(context, streams)
    }

    fn supply(&self, context: &C) -> Result<Option<u64>> {
        self.part(context)?.supply(context)
    }
}

crate::impl_product!([C, D] PerContext<C, D>);
