//! Samples with their log-probabilities and feature values, evaluated once.

use std::{collections::BTreeMap, hash::Hash, sync::Arc};

use disco_core::{
    Distribution, Empirical, Error as CoreError, Estimate, Feature, ImportanceWeights, Sampled, Scorer, Space,
};
use ndarray::{ArrayView2, Axis};
use rand::Rng;

use crate::{
    ContextErrors, ContextSamples, Error, Result,
    context_samples::{Evaluated, sample_each},
    context_shares::context_shares,
    evaluate::{EvaluatedContexts, evaluate_contexts, score_base},
    strata::{Mean, Strata},
    tilt::check_distinct,
};

/// The distance from 1 that the sum of the probabilities of a space may have, for sums over it to be called exact.
const MASS_TOLERANCE: f64 = 1e-7;

/// Samples in one or more contexts, on which features were evaluated, each once.
///
/// Any number of fits, with any constraints on these features, can be made from it without evaluating or
/// scoring anything again: [`fit`](Self::fit).
///
/// A sample that a feature or the base skipped is left out, and counted in [`skipped`](Self::skipped). It
/// still counts as a drawn sample of weight zero: the target has no mass where it cannot be scored, so that `Z`, and
/// with it KL(p||base), treat the skipped share as forbidden, as disco-qrs does. Moments, those of the base included,
/// are over the samples that could be evaluated.
///
/// ```
/// use disco_core::{Space, StreamRng, predicate};
/// use disco_ebm::{Constraint, ContextErrors, FitConfig, Measured, features};
/// use rand::SeedableRng;
/// let die = Space::new(1..=6u32)?.uniform();
/// let constraints = [Constraint::moment(predicate("six", |_: &(), x: &u32| *x == 6), 0.5)?];
/// let mut rng = StreamRng::seed_from_u64(1);
/// let measured = Measured::draw(&die, vec![()], &features(&constraints), 1_000, &mut rng)?;
/// assert_eq!((measured.contexts(), measured.samples()), (1, 1_000));
/// let base = measured.base_moments(ContextErrors::Fixed)?[0];
/// assert!((base.value - 1.0 / 6.0).abs() < 4.0 * base.std_error);
/// // Any number of fits, without drawing or evaluating again.
/// let fit = measured.fit(&constraints, &FitConfig::default())?;
/// assert!(fit.report().ess.is_some_and(|ess| ess > 100.0));
/// # Ok::<(), disco_ebm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Measured<C, X> {
    // Invariant: distinct, one per column of values.
    pub(crate) names: Vec<String>,
    // Invariant: not empty.
    pub(crate) contexts: Vec<Evaluated<C, X>>,
    // Invariant: one per context, not negative, sum to 1.
    pub(crate) shares: Vec<f64>,
    pub(crate) skipped: BTreeMap<String, usize>,
    // Whether the samples are all outcomes of a space, with log_proposal 0.
    pub(crate) exact: bool,
}

impl<C, X> Measured<C, X> {
    /// Draws `count` samples of the base in each context, and evaluates the features.
    ///
    /// One draw from `rng` per context; sample `i` of a context has its own stream.
    ///
    /// # Errors
    /// [`disco_core::Error`] for an empty list of contexts or features; [`Error::InContext`] for an error in one context, such
    /// as one of sampling or of a feature; [`Error::DuplicateFeature`]; [`Error::AllSkipped`].
    pub fn draw<R: Rng + ?Sized>(
        base: &impl Distribution<C, X>,
        contexts: Vec<C>,
        features: &[Arc<dyn Feature<C, X>>],
        count: usize,
        rng: &mut R,
    ) -> Result<Self> {
        let samples = sample_each(base, &contexts, count, rng)?;
        Self::from_base(contexts, samples, features)
    }

    /// Draws `count` samples of a proposal in each context, scores them with the base, and evaluates the
    /// features.
    ///
    /// # Errors
    /// As [`draw`](Self::draw).
    pub fn draw_from<R: Rng + ?Sized>(
        base: &impl Scorer<C, X>,
        proposal: &impl Distribution<C, X>,
        contexts: Vec<C>,
        features: &[Arc<dyn Feature<C, X>>],
        count: usize,
        rng: &mut R,
    ) -> Result<Self> {
        let samples = sample_each(proposal, &contexts, count, rng)?;
        Self::from_proposal(base, contexts, samples, features)
    }

    /// Evaluates features on samples that were drawn from the base: one list of samples per context.
    ///
    /// # Errors
    /// As [`draw`](Self::draw), and for log-probabilities that are not finite.
    pub fn from_base(
        contexts: Vec<C>,
        samples: Vec<Vec<Sampled<X>>>,
        features: &[Arc<dyn Feature<C, X>>],
    ) -> Result<Self> {
        CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
        let stored = contexts.into_iter().zip(samples).map(|(context, samples)| {
            let (samples, log_base): (Vec<X>, Vec<f64>) =
                samples.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip();
            ContextSamples { context, samples, log_proposal: log_base.clone(), log_base }
        });
        Self::from_stored(stored.collect(), features)
    }

    /// Evaluates features on samples that were drawn from a proposal, and scores them with the base.
    ///
    /// # Errors
    /// As [`from_base`](Self::from_base).
    pub fn from_proposal(
        base: &impl Scorer<C, X>,
        contexts: Vec<C>,
        samples: Vec<Vec<Sampled<X>>>,
        features: &[Arc<dyn Feature<C, X>>],
    ) -> Result<Self> {
        CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
        let mut skipped = BTreeMap::new();
        let (mut stored, mut left_out) = (Vec::new(), Vec::new());
        for (index, (context, samples)) in contexts.into_iter().zip(samples).enumerate() {
            let (scored, count) = score_base(base, index, context, samples, &mut skipped)?;
            stored.push(scored);
            left_out.push(count);
        }
        let mut measured = Self::from_stored(stored, features)?;
        for (context, count) in measured.contexts.iter_mut().zip(left_out) {
            context.left_out += count;
        }
        for (by, count) in skipped {
            *measured.skipped.entry(by).or_default() += count;
        }
        Ok(measured)
    }

    /// Evaluates features on samples with known log-probabilities, as another engine may have stored them.
    ///
    /// # Errors
    /// As [`from_base`](Self::from_base), and [`disco_core::Error::Length`].
    pub fn from_stored(
        stored: Vec<ContextSamples<C, X>>,
        features: &[Arc<dyn Feature<C, X>>],
    ) -> Result<Self> {
        Self::evaluated(stored, features, false)
    }

    /// Evaluates features on all samples that another engine drew from the base, each once.
    ///
    /// # Errors
    /// As [`from_base`](Self::from_base).
    pub fn from_empirical(drawn: &Empirical<C, X>, features: &[Arc<dyn Feature<C, X>>]) -> Result<Self>
    where
        C: Clone + Eq + Hash,
        X: Clone + Eq + Hash,
    {
        let contexts = drawn.contexts().to_vec();
        let samples: disco_core::Result<Vec<Vec<Sampled<X>>>> =
            contexts.iter().map(|context| drawn.samples(context).map(<[_]>::to_vec)).collect();
        Self::from_base(contexts, samples?, features)
    }

    /// Evaluates features on all outcomes of a finite space: fits made from it are exact.
    ///
    /// # Errors
    /// As [`from_base`](Self::from_base); [`disco_core::Error::Invalid`] if the probabilities of the outcomes
    /// do not sum to 1 in each context, within 1e-7. A skipped outcome is an error, since the sum would lack
    /// it.
    pub fn exact(
        base: &impl Scorer<C, X>,
        space: &Space<X>,
        contexts: Vec<C>,
        features: &[Arc<dyn Feature<C, X>>],
    ) -> Result<Self>
    where
        X: Clone + Eq + Hash,
    {
        Self::exact_each(
            base,
            contexts.into_iter().map(|context| (context, space.clone())).collect(),
            features,
        )
    }

    /// As [`exact`](Self::exact), with a space for each context: the outcomes may differ from context to context.
    ///
    /// # Errors
    /// As [`exact`](Self::exact).
    pub fn exact_each(
        base: &impl Scorer<C, X>,
        spaces: Vec<(C, Space<X>)>,
        features: &[Arc<dyn Feature<C, X>>],
    ) -> Result<Self>
    where
        X: Clone + Eq + Hash,
    {
        let mut stored = Vec::with_capacity(spaces.len());
        for (index, (context, space)) in spaces.into_iter().enumerate() {
            let in_context = |cause| Error::InContext { context: index, cause };
            let log_base = space.log_scores(base, &context).map_err(in_context)?;
            let mass = disco_core::numerics::log_sum_exp(&log_base).exp();
            if !((mass - 1.0).abs() <= MASS_TOLERANCE) {
                let field = "sum of the base's probabilities over the space";
                return Err(in_context(CoreError::invalid(field, mass, "1, within 1e-7")));
            }
            let samples = space.outcomes().to_vec();
            let log_proposal = vec![0.0; samples.len()];
            stored.push(ContextSamples { context, samples, log_base, log_proposal });
        }
        Self::evaluated(stored, features, true)
    }

    fn evaluated(
        stored: Vec<ContextSamples<C, X>>,
        features: &[Arc<dyn Feature<C, X>>],
        exact: bool,
    ) -> Result<Self> {
        if features.is_empty() {
            return Err(CoreError::Empty { what: "list of features".into() }.into());
        }
        check_distinct(features.iter().map(|feature| feature.name()))?;
        let shares = context_shares(None, stored.len())?;
        let EvaluatedContexts { contexts, skipped } = evaluate_contexts(stored, features, exact)?;
        let names = features.iter().map(|feature| feature.name().to_owned()).collect();
        Ok(Self { names, contexts, shares, skipped, exact })
    }

    /// Weights the contexts; without this they count the same, which is right for contexts drawn from their
    /// distribution. A context of weight 0 keeps its position, and counts for nothing.
    ///
    /// # Errors
    /// [`disco_core::Error`] for a wrong number of weights, one that is negative or not finite, and where all are zero.
    pub fn with_context_weights(mut self, weights: &[f64]) -> Result<Self> {
        self.shares = context_shares(Some(weights), self.contexts.len())?;
        Ok(self)
    }

    /// These samples, with the context weights of `other`.
    pub(crate) fn with_shares_of(mut self, other: &Self) -> Self {
        self.shares.clone_from(&other.shares);
        self
    }

    /// Adds samples of the same contexts and features.
    pub(crate) fn append(&mut self, other: Self) -> Result<()> {
        for (index, (mine, mut theirs)) in self.contexts.iter_mut().zip(other.contexts).enumerate() {
            let append = mine.values.append(Axis(0), theirs.values.view());
            append.map_err(|cause| Error::InContext {
                context: index,
                cause: CoreError::failed("feature values", cause),
            })?;
            mine.left_out += theirs.left_out;
            mine.drawn.samples.append(&mut theirs.drawn.samples);
            mine.drawn.log_base.append(&mut theirs.drawn.log_base);
            mine.drawn.log_proposal.append(&mut theirs.drawn.log_proposal);
        }
        for (by, count) in other.skipped {
            *self.skipped.entry(by).or_default() += count;
        }
        Ok(())
    }

    /// The names of the features, in the order of the columns of [`values`](Self::values).
    pub fn feature_names(&self) -> &[String] {
        &self.names
    }

    /// The columns of features.
    pub(crate) fn columns_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<usize>> {
        let column = |name: &str| {
            self.names
                .iter()
                .position(|found| found == name)
                .ok_or_else(|| Error::NotMeasured { feature: name.into(), measured: self.names.clone() })
        };
        names.into_iter().map(column).collect()
    }

    /// The number of contexts.
    pub fn contexts(&self) -> usize {
        self.contexts.len()
    }

    /// The number of samples that were evaluated, in all contexts.
    pub fn samples(&self) -> usize {
        self.contexts.iter().map(|context| context.values.nrows()).sum()
    }

    /// A context and its evaluated samples, with their log-probabilities.
    pub fn context(&self, context: usize) -> Option<&ContextSamples<C, X>> {
        self.contexts.get(context).map(|evaluated| &evaluated.drawn)
    }

    /// The feature values of a context's samples: `[samples, features]`.
    pub fn values(&self, context: usize) -> Option<ArrayView2<'_, f64>> {
        self.contexts.get(context).map(|evaluated| evaluated.values.view())
    }

    /// The number of samples that could not be evaluated, by the name of the feature or scorer that skipped them.
    pub fn skipped(&self) -> &BTreeMap<String, usize> {
        &self.skipped
    }

    /// Whether the samples are all outcomes of a finite space, so that sums have no sampling error.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The mean of each feature under the base, from these samples: nothing is evaluated again.
    ///
    /// # Errors
    /// [`disco_core::Error::ZeroWeights`], in the context where no sample is possible under the base.
    pub fn base_moments(&self, errors: ContextErrors) -> Result<Vec<Estimate>> {
        Ok(self.base_means(errors)?.into_iter().map(|mean| mean.estimate).collect())
    }

    pub(crate) fn base_means(&self, errors: ContextErrors) -> Result<Vec<Mean>> {
        let mut weights = Vec::with_capacity(self.contexts.len());
        let possible: Vec<usize> =
            (0..self.contexts.len()).filter(|&context| self.shares[context] > 0.0).collect();
        for &context in &possible {
            let found = ImportanceWeights::from_log(self.contexts[context].log_weights());
            weights.push(found.map_err(|cause| Error::InContext { context, cause })?);
        }
        let left_out = possible.iter().map(|&context| self.contexts[context].left_out).collect();
        let shares = possible.iter().map(|&context| self.shares[context]).collect();
        let strata = Strata::new(shares, weights, left_out, self.exact, errors);
        let columns: Vec<usize> = (0..self.names.len()).collect();
        Ok(strata.means(&columns, |context, point| self.contexts[possible[context]].values.row(point)))
    }
}
