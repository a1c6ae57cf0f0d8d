//! What a run is about: contexts, target, and what is to be measured.

use std::collections::BTreeMap;

use disco_core::{Contexts, Distribution, Error, Feature, Result, Scorer};

/// A statistic of a whole batch of samples, such as [`distinct_n`](crate::distinct_n) or
/// [`self_bleu`](crate::self_bleu).
pub type Statistic<'a, X> = dyn Fn(&[&X]) -> f64 + Send + Sync + 'a;

/// The contexts to tune in, the target to tune towards, and what to measure on the way.
///
/// Features and base only serve metrics; they are not evaluated at steps without.
pub struct Problem<'a, C, X> {
    pub(crate) contexts: &'a Contexts<C>,
    pub(crate) target: &'a dyn Scorer<C, X>,
    pub(crate) hard: bool,
    pub(crate) base: Option<&'a dyn Distribution<C, X>>,
    // Invariant: names are different.
    pub(crate) features: Vec<&'a dyn Feature<C, X>>,
    pub(crate) statistics: Vec<(String, Box<Statistic<'a, X>>)>,
    pub(crate) length: Option<Box<Length<'a, X>>>,
    pub(crate) held_out: Option<&'a Contexts<C>>,
    pub(crate) facts: BTreeMap<String, serde_json::Value>,
    pub(crate) show: Option<(usize, Box<Show<'a, C, X>>)>,
}

pub(crate) type Length<'a, X> = dyn Fn(&X) -> usize + Send + Sync + 'a;
pub(crate) type Show<'a, C, X> = dyn Fn(&C, &X) -> String + Send + Sync + 'a;

impl<C, X> std::fmt::Debug for Problem<'_, C, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let features: Vec<_> = self.features.iter().map(|feature| feature.name()).collect();
        f.debug_struct("Problem")
            .field("contexts", &self.contexts.len())
            .field("features", &features)
            .finish_non_exhaustive()
    }
}

impl<'a, C, X> Problem<'a, C, X> {
    /// Tuning towards `target`, an unnormalised `P(x|c)`. Put what is cheap and what forbids first in a
    /// product: later factors are not asked about what is forbidden.
    pub fn new(contexts: &'a Contexts<C>, target: &'a dyn Scorer<C, X>) -> Self {
        Self {
            contexts,
            target,
            hard: target.has_hard_constraints(),
            base: None,
            features: Vec::new(),
            statistics: Vec::new(),
            length: None,
            held_out: None,
            facts: BTreeMap::new(),
            show: None,
        }
    }

    /// Says that the target has hard constraints of which it [does not tell](Scorer::has_hard_constraints), such as
    /// those of a closure, so that a divergence that cannot have them is refused before anything is sampled.
    /// Otherwise it is refused at the first sample that violates one, and before any update if that sample comes
    /// in the first step.
    #[must_use]
    pub fn with_hard_constraints(mut self) -> Self {
        self.hard = true;
        self
    }

    /// A fact on which the run depends and which the tuner cannot see, such as a coefficient of the target or the
    /// name of the model: a run that [goes on](crate::Tuner::resume) from a checkpoint must agree with it.
    ///
    /// Settings, contexts and the target's scores of some samples are compared without being told.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that comes twice; [`Error::Failed`] for a value that cannot be written as JSON.
    pub fn with_fact(mut self, name: impl Into<String>, value: &impl serde::Serialize) -> Result<Self> {
        let name = name.into();
        if self.facts.contains_key(&name) {
            return Err(Error::invalid("name of a fact", name, "a name of its own"));
        }
        let value = serde_json::to_value(value).map_err(|source| Error::failed(name.clone(), source))?;
        self.facts.insert(name, value);
        Ok(self)
    }

    /// The original model, for the divergences of the policy from it: one log-probability per sample of
    /// those steps that have metrics.
    #[must_use]
    pub fn with_base(mut self, base: &'a dyn Distribution<C, X>) -> Self {
        self.base = Some(base);
        self
    }

    /// Features whose moments under policy, proposal and target are to be estimated.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that comes twice.
    pub fn with_features(
        mut self,
        features: impl IntoIterator<Item = &'a dyn Feature<C, X>>,
    ) -> Result<Self> {
        for feature in features {
            if self.features.iter().any(|other| other.name() == feature.name()) {
                return Err(Error::invalid("name of a feature", feature.name(), "a name of its own"));
            }
            self.features.push(feature);
        }
        Ok(self)
    }

    /// A statistic of each measured step's samples of one context, averaged over contexts; it becomes the
    /// metric `statistic/NAME`.
    ///
    /// ```
    /// use disco_core::{Contexts, scorer};
    /// use disco_tuner::{Problem, distinct_n, self_bleu};
    /// let (contexts, target) = (Contexts::one(()), scorer(|_: &(), tokens: &Vec<u32>| -(tokens.len() as f64)));
    /// let problem = Problem::new(&contexts, &target)
    ///     .with_statistic("distinct_2", |samples: &[&Vec<u32>]| distinct_n(samples, 2))?
    ///     .with_statistic("self_bleu", |samples: &[&Vec<u32>]| self_bleu(samples, 4))?;
    /// # Ok::<(), disco_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that comes twice.
    pub fn with_statistic(
        mut self,
        name: impl Into<String>,
        statistic: impl Fn(&[&X]) -> f64 + Send + Sync + 'a,
    ) -> Result<Self> {
        let name = name.into();
        if self.statistics.iter().any(|(other, _)| *other == name) {
            return Err(Error::invalid("name of a statistic", name, "a name of its own"));
        }
        self.statistics.push((name, Box::new(statistic)));
        Ok(self)
    }

    /// How long a sample is, for micro-batches by tokens and the metric `length`.
    #[must_use]
    pub fn with_length(mut self, length: impl Fn(&X) -> usize + Send + Sync + 'a) -> Self {
        self.length = Some(Box::new(length));
        self
    }

    /// Contexts that are not tuned in, for [`Validation`](crate::Validation).
    #[must_use]
    pub fn with_held_out(mut self, contexts: &'a Contexts<C>) -> Self {
        self.held_out = Some(contexts);
        self
    }

    /// Puts the first `count` samples of each measured step into its [`Report`](crate::Report), as text.
    #[must_use]
    pub fn with_samples_shown(
        mut self,
        count: usize,
        show: impl Fn(&C, &X) -> String + Send + Sync + 'a,
    ) -> Self {
        self.show = Some((count, Box::new(show)));
        self
    }
}
