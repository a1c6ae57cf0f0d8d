//! The values that all stages of a run share.

use disco_core::StreamRng;
use rand::{Rng, SeedableRng};

use crate::{
    ProgressTarget, Result,
    features::{TextFeatures, TextScorers},
    spec::{Measure, Spec},
};

/// A spec that is ready to be run: its features can be computed, and each stage has its seed.
#[derive(Clone, Debug)]
pub struct RunPlan<'a> {
    pub(crate) spec: &'a Spec,
    /// The measures of the spec.
    pub(crate) measures: Vec<Measure<'a>>,
    /// The features that compute them, one per measure.
    pub(crate) features: TextFeatures,
    /// For each measure the measure under whose condition its mean is taken, if there is one.
    pub(super) conditions: Vec<Option<usize>>,
    /// The weight of each context of the spec in means over contexts; their sum is 1.
    pub(crate) shares: Vec<f64>,
    pub(crate) seeds: Seeds,
    /// The place for progress of every stage.
    pub(crate) progress: ProgressTarget,
}

impl<'a> RunPlan<'a> {
    /// A plan for `spec`, whose classifiers are among `scorers` by the names of their features.
    ///
    /// # Errors
    /// As [`TextFeatures::new`].
    pub fn new(spec: &'a Spec, scorers: &TextScorers, progress: ProgressTarget) -> Result<Self> {
        let measures = spec.measures();
        let position = |name: &String| measures.iter().position(|measure| measure.name == *name);
        let conditions = measures.iter().map(|measure| position(measure.feature.given.as_ref()?));
        let weights = spec.contexts.weights();
        let sum: f64 = weights.iter().sum();
        Ok(Self {
            spec,
            features: TextFeatures::new(&spec.features, scorers)?,
            conditions: conditions.collect(),
            measures,
            shares: weights.iter().map(|weight| weight / sum).collect(),
            seeds: Seeds::new(spec.seed),
            progress,
        })
    }
}

impl RunPlan<'_> {
    /// The plan of a spec that differs from this one in its contexts alone.
    pub(super) fn on<'b>(&self, spec: &'b Spec) -> RunPlan<'b> {
        let count = spec.contexts.items.len();
        RunPlan {
            spec,
            measures: spec.measures(),
            features: self.features.clone(),
            conditions: self.conditions.clone(),
            shares: vec![1.0 / count as f64; count],
            seeds: self.seeds,
            progress: self.progress,
        }
    }

    /// The position of the first measure of a feature of the spec: the only one, unless it is a category.
    pub(super) fn first_measure(&self, feature: usize) -> usize {
        self.measures.iter().position(|measure| measure.index == feature).unwrap_or(0)
    }
}

/// The seed of each stage, so that the samples of no stage depend on how many another stage has drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    pub(crate) base: u64,
    pub(crate) tune: u64,
    pub(crate) sample: u64,
    pub(crate) reject: u64,
}

impl Seeds {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StreamRng::seed_from_u64(seed);
        let mut next = || rng.next_u64();
        Self { base: next(), tune: next(), sample: next(), reject: next() }
    }
}
