//! The problem of a run: contexts, target, and measurements.

use std::collections::BTreeMap;

use disco_core::{Contexts, Distribution, Error, Feature, Result, Scorer, Space};

/// A statistic of a whole batch of samples, such as [`distinct_n`](crate::distinct_n) or
/// [`self_bleu`](crate::self_bleu).
pub type Statistic<'a, X> = dyn Fn(&[&X]) -> f64 + Send + Sync + 'a;

/// The contexts to tune in, the target to tune towards, and the measurements on the way.
///
/// Features and base serve metrics only: they are evaluated only at steps that have metrics.
///
/// ```
/// use disco_core::{Contexts, Feature, Space, feature, scorer};
/// use disco_tuner::{InMemory, Problem, SoftmaxTable, Tuner, TunerConfig};
/// let prompts = Contexts::new(vec!["short", "long"])?;
/// let target = scorer(|prompt: &&str, length: &usize| if *prompt == "long" { *length as f64 / 4.0 } else { 0.0 });
/// let lengths = Space::new(1..=8usize)?;
/// let mut policy = SoftmaxTable::uniform(Space::new(["short", "long"])?, lengths.clone());
/// let base = policy.clone();
///
/// let even = feature("even", |_: &&str, length: &usize| f64::from(length % 2 == 0));
/// let problem = Problem::new(&prompts, &target)
///     .with_base(&base)
///     .with_features([&even as &dyn Feature<&str, usize>])?
///     .with_length(|length| *length)
///     .with_samples_shown(1, |prompt, length| format!("{prompt}: {length}"));
/// let mut observed = InMemory::default();
/// Tuner::new(TunerConfig { steps: 30, ..TunerConfig::default() })?.run(&mut policy, &problem, &mut observed)?;
/// for metric in ["moment/even/policy", "kl_policy_base", "length"] {
///     assert!(observed.last(metric).is_some(), "{metric}");
/// }
/// # Ok::<(), disco_tuner::Error>(())
/// ```
pub struct Problem<'a, C, X> {
    pub(crate) contexts: &'a Contexts<C>,
    pub(crate) target: &'a dyn Scorer<C, X>,
    pub(crate) hard: bool,
    pub(crate) base: Option<&'a dyn Distribution<C, X>>,
    // Invariant: no two have the same name.
    pub(crate) features: Vec<&'a dyn Feature<C, X>>,
    pub(crate) statistics: Vec<(String, Box<Statistic<'a, X>>)>,
    /// All outcomes of a context.
    pub(crate) outcomes: Option<Box<Outcomes<'a, C, X>>>,
    pub(crate) length: Option<Box<Length<'a, X>>>,
    pub(crate) held_out: Option<&'a Contexts<C>>,
    pub(crate) facts: BTreeMap<String, serde_json::Value>,
    pub(crate) show: Option<(usize, Box<Show<'a, C, X>>)>,
}

pub(crate) type Length<'a, X> = dyn Fn(&X) -> usize + Send + Sync + 'a;
pub(crate) type Outcomes<'a, C, X> = dyn Fn(&C) -> Result<Vec<X>> + Send + Sync + 'a;
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
    /// Tuning towards `target`, an unnormalised `P(x|c)`. In a product, put cheap factors and hard constraints first:
    /// later factors do not score the samples that an earlier one forbids.
    pub fn new(contexts: &'a Contexts<C>, target: &'a dyn Scorer<C, X>) -> Self {
        Self {
            contexts,
            target,
            hard: target.has_hard_constraints(),
            base: None,
            features: Vec::new(),
            statistics: Vec::new(),
            outcomes: None,
            length: None,
            held_out: None,
            facts: BTreeMap::new(),
            show: None,
        }
    }

    /// Declares that the target has hard constraints which it [does not report](Scorer::has_hard_constraints), such as
    /// constraints inside a closure. A divergence that is infinite for them is then refused before anything is sampled.
    /// Without the declaration it is refused at the first sample that violates one, and before any update if that sample
    /// is drawn in the first step.
    #[must_use]
    pub fn with_hard_constraints(mut self) -> Self {
        self.hard = true;
        self
    }

    /// Adds a fact on which the run depends and which the tuner cannot see, such as a coefficient of the target or the
    /// name of the model. A run that [resumes](crate::Tuner::resume) from a checkpoint must agree with it.
    ///
    /// Settings, contexts and the target's scores of some samples are compared in any case.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that occurs twice; [`Error::Failed`] for a value that cannot be written as JSON.
    pub fn with_fact(mut self, name: impl Into<String>, value: &impl serde::Serialize) -> Result<Self> {
        let name = name.into();
        if self.facts.contains_key(&name) {
            return Err(Error::invalid("name of a fact", name, "a name of its own"));
        }
        let value = serde_json::to_value(value).map_err(|cause| Error::failed(name.clone(), cause))?;
        self.facts.insert(name, value);
        Ok(self)
    }

    /// Sets the original model, for the divergences of the policy from it. It costs one log-probability per sample of the
    /// steps that have metrics. If it gives NaN, these metrics are NaN; a sample that it skips has no probability under it.
    #[must_use]
    pub fn with_base(mut self, base: &'a dyn Distribution<C, X>) -> Self {
        self.base = Some(base);
        self
    }

    /// Adds features whose moments under policy, proposal and target are estimated. A feature that gives NaN costs its own
    /// moments only; samples that it skips are left out of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that occurs twice.
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

    /// Adds a statistic of all samples that a measured step draws in one context. Its mean over the contexts is the metric
    /// `statistic/NAME`. If several workers share the run, each receives the samples of all for it. A value that is not
    /// finite is shown as it is.
    ///
    /// ```
    /// use disco_core::{Contexts, scorer};
    /// use disco_tuner::{Problem, distinct_n, self_bleu};
    /// let (contexts, target) = (Contexts::single(()), scorer(|_: &(), tokens: &Vec<u32>| -(tokens.len() as f64)));
    /// let problem = Problem::new(&contexts, &target)
    ///     .with_statistic("distinct_2", |samples: &[&Vec<u32>]| distinct_n(samples, 2))?
    ///     .with_statistic("self_bleu", |samples: &[&Vec<u32>]| self_bleu(samples, 4))?;
    /// # Ok::<(), disco_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that occurs twice.
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

    /// Sets the function for all outcomes of a context, for [`Sampling::Enumerated`](crate::Sampling::Enumerated). It has to give
    /// every outcome to which the policy gives probability, in the same order every time. Spaces may differ by context.
    ///
    /// A checkpoint does not hold the spaces: a run that resumes with others is refused only where they are a
    /// [fact](Self::with_fact).
    ///
    /// ```
    /// use disco_core::{Contexts, Space, scorer};
    /// use disco_tuner::{InMemory, Problem, Sampling, SoftmaxTable, Tuner, TunerConfig};
    /// // A die that shows x with probability x/21.
    /// let (contexts, die) = (Contexts::single(()), Space::new(1..=6u8)?);
    /// let target = scorer(|_: &(), x: &u8| f64::from(*x).ln());
    /// let mut policy = SoftmaxTable::uniform(Space::new([()])?, die.clone());
    /// let problem = Problem::new(&contexts, &target).with_space(|_| Ok(die.clone()));
    /// let config =
    ///     TunerConfig { steps: 100, learning_rate: 0.1, sampling: Sampling::Enumerated, ..TunerConfig::default() };
    /// let mut observed = InMemory::default();
    /// Tuner::new(config)?.run(&mut policy, &problem, &mut observed)?;
    /// let log_z = observed.last("log_z").unwrap();
    /// assert!((log_z.value - 21f64.ln()).abs() < 1e-12 && log_z.std_error == Some(0.0));
    /// assert!((policy.rows()[0].probabilities()[5] - 6.0 / 21.0).abs() < 1e-3);
    /// # Ok::<(), disco_tuner::Error>(())
    /// ```
    #[must_use]
    pub fn with_space(mut self, space: impl Fn(&C) -> Result<Space<X>> + Send + Sync + 'a) -> Self
    where
        X: Clone,
    {
        self.outcomes = Some(Box::new(move |context| Ok(space(context)?.outcomes().to_vec())));
        self
    }

    /// Sets the function for the length of a sample, for micro-batches by tokens and the metric `length`.
    #[must_use]
    pub fn with_length(mut self, length: impl Fn(&X) -> usize + Send + Sync + 'a) -> Self {
        self.length = Some(Box::new(length));
        self
    }

    /// Sets contexts that are only measured, for [`Validation`](crate::Validation).
    #[must_use]
    pub fn with_held_out(mut self, contexts: &'a Contexts<C>) -> Self {
        self.held_out = Some(contexts);
        self
    }

    /// Puts the first `count` samples of each measured step into its [`StepReport`](crate::StepReport), as text.
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
