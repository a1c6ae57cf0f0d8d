//! Errors of fitting constraints and of saved targets.

use std::path::PathBuf;

use crate::messages::{combination, list, moments, short, told_apart};

/// A result whose error is disco-ebm's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why constraints could not be fitted, or a saved target not be read.
///
/// The message of an error is complete: it contains the messages of the errors behind it (`cause`), which
/// [`source`](std::error::Error::source) therefore does not return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is out of range, or a model, scorer or feature failed.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// Sampling or scoring failed in one of several contexts.
    #[error("context {context}: {cause}")]
    InContext {
        /// The position of the context in the list.
        context: usize,
        /// The error there.
        cause: disco_core::Error,
    },
    /// Two features or constraints have the same name.
    #[error("two features are named `{feature}`; a name stands for one feature")]
    DuplicateFeature {
        /// The name.
        feature: String,
    },
    /// A constraint is on a feature that was not evaluated on the samples.
    #[error("feature `{feature}` was not measured; measured: {}", list(.measured))]
    NotMeasured {
        /// The feature of the constraint.
        feature: String,
        /// The features that were evaluated.
        measured: Vec<String>,
    },
    /// A pointwise constraint is on a feature that is not binary.
    #[error("feature `{feature}` has a pointwise constraint but is {value} for a sample; allowed: 0 or 1")]
    NotBinary {
        /// The feature.
        feature: String,
        /// Its value.
        value: f64,
    },
    /// Every sample of a context was skipped.
    #[error("context {context}: all {skipped} samples were skipped")]
    AllSkipped {
        /// The position of the context in the list.
        context: usize,
        /// How many samples there were.
        skipped: usize,
    },
    /// No sample of a context satisfies the pointwise constraints with positive probability.
    #[error(
        "context {context}: none of {samples} samples is possible under the base and satisfies the pointwise \
         constraints (never satisfied by any: {}); draw more samples, use a proposal that satisfies them, or \
         leave such contexts out", list(.never)
    )]
    NoSupport {
        /// The position of the context in the list.
        context: usize,
        /// How many samples it has.
        samples: usize,
        /// The features whose pointwise constraint no sample of the context satisfies, if each is taken
        /// alone.
        never: Vec<String>,
    },
    /// The target of one feature is outside the range of its sampled values.
    #[error(
        "feature `{feature}`: target {target} with tolerance {tolerance} is out of reach: the samples that \
         satisfy the pointwise constraints reach from {low} to {high}, ends excluded"
    )]
    OutOfReach {
        /// The feature.
        feature: String,
        /// Its target moment.
        target: f64,
        /// The half-width of the accepted interval around the target.
        tolerance: f64,
        /// The mean over contexts of the smallest value on the support.
        low: f64,
        /// The mean over contexts of the largest value on the support.
        high: f64,
    },
    /// A feature is constant on the support (and equal to its target): its coefficient is arbitrary.
    #[error(
        "feature `{feature}` has no variation within any context among the samples that satisfy the pointwise \
         constraints (mean {value}); its coefficient is arbitrary: drop the constraint"
    )]
    ConstantFeature {
        /// The feature.
        feature: String,
        /// The mean it always has.
        value: f64,
    },
    /// A feature is so nearly a linear combination of others on the support that `f64` cannot tell their coefficients
    /// apart.
    #[error(
        "feature `{feature}` is so near to {} up to a constant on the samples that their coefficients cannot be told \
         apart; drop one of these constraints or give a ridge", combination(.equals)
    )]
    Unidentified {
        /// The dependent feature: up to a constant, the sum of the others times their factors.
        feature: String,
        /// The others, each with its factor.
        equals: Vec<(String, f64)>,
    },
    /// Each target is within reach, but not all of them together: they lie outside, or on the boundary, of
    /// the convex hull of the sampled feature values. Nearer to the boundary than 1e-12 of the ranges counts as on it.
    #[error(
        "the targets cannot hold together: they ask for {} = {}, but the samples that satisfy the \
         pointwise constraints stay below {} (the targets are {:.3e} beyond, and must be inside by 1e-12 of the ranges); the \
         nearest moments within reach are {}",
        combination(.direction), short(*.target), told_apart(*.reachable, *.target), target - reachable,
        moments(.nearest)
    )]
    OutsideHull {
        /// A linear combination of the features, each with its factor, whose target is too high. The largest absolute factor
        /// is 1.
        direction: Vec<(String, f64)>,
        /// The mean of the combination that the targets ask for (the least that their tolerances allow).
        target: f64,
        /// The largest mean of the combination on the samples; no finite coefficients attain it.
        reachable: f64,
        /// The moments within reach that are nearest to the targets, where the distance is measured in ranges of the
        /// features; empty if they were not found.
        nearest: Vec<(String, f64)>,
    },
    /// Some contexts cannot have the moments that are asked of each: all of these contexts are here.
    #[error(
        "what is asked cannot be had in {} of {contexts} contexts; for these, draw more samples, use another context, or give \
         a tolerance:{}", .faults.len(), .faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>()
    )]
    InContexts {
        /// How many contexts are fitted.
        contexts: usize,
        /// The contexts, in order.
        faults: Vec<ContextFault>,
    },
    /// The fit of a context's own coefficients failed while shared ones were looked for.
    #[error("context {context}: {cause}")]
    InOneContext {
        /// The position of the context in the list.
        context: usize,
        /// The error there.
        cause: Box<Error>,
    },
    /// The condition of a conditional mean never holds.
    #[error(
        "`{feature}` given `{condition}`: `{condition}` is 0 for all of the {samples} samples that satisfy the pointwise \
         constraints, so that there is no such mean; draw more samples, or drop the constraint"
    )]
    NeverGiven {
        /// The feature.
        feature: String,
        /// The feature that is its condition.
        condition: String,
        /// The samples that were looked at.
        samples: usize,
    },
    /// The condition of a constraint is not binary.
    #[error(
        "feature `{feature}` is the condition of a constraint but is {value} for a sample; allowed: 0 or 1"
    )]
    ConditionNotBinary {
        /// The feature.
        feature: String,
        /// Its value.
        value: f64,
    },
    /// The value of a category is not the position of a label.
    #[error("category `{feature}` is {value} for a sample; allowed: the position of a label, from 0: {}", list(.labels))]
    NotALabel {
        /// The feature of the category.
        feature: String,
        /// Its value.
        value: f64,
        /// The labels.
        labels: Vec<String>,
    },
    /// A value lies outside of the range that was given as known.
    #[error("feature `{feature}` is {value} for a sample, outside of its known range from {low} to {high}")]
    OutOfRange {
        /// The feature.
        feature: String,
        /// Its value.
        value: f64,
        /// The least that was said to be possible.
        low: f64,
        /// The largest that was said to be possible.
        high: f64,
    },
    /// Two contexts are equal, so that they cannot have coefficients of their own.
    #[error(
        "contexts {first} and {second} are both {context}: contexts with coefficients of their own must differ"
    )]
    DuplicateContext {
        /// The context as JSON, shortened.
        context: String,
        /// The position of the first.
        first: usize,
        /// The position of the other.
        second: usize,
    },
    /// A context has no coefficients of its own.
    #[error("context {context} was not fitted: {known} contexts have coefficients of their own")]
    UnknownContext {
        /// The context as JSON, shortened.
        context: String,
        /// How many contexts have coefficients.
        known: usize,
    },
    /// No coefficients were found that give the moments that were asked for.
    #[error(
        "after {iterations} steps the mean of `{feature}` is {achieved}, asked: {target} (missed by {missed:.3e} \
         beyond tolerance and ridge); allow more steps, give a ridge or a tolerance, or use samples that show more of \
         what is asked for"
    )]
    NotSolved {
        /// The feature that misses its target most, in units of its range.
        feature: String,
        /// Its target moment.
        target: f64,
        /// The moment at the last coefficients.
        achieved: f64,
        /// The distance of the moment from its target, beyond tolerance and ridge.
        missed: f64,
        /// The steps that were made.
        iterations: usize,
    },
    /// The samples carry too little information at the fitted coefficients.
    #[error(
        "the effective sample size at the fitted coefficients is {ess:.2}, needed: {needed}; draw more samples, \
         or use a proposal nearer to the target"
    )]
    TooFewEffectiveSamples {
        /// The effective sample size.
        ess: f64,
        /// The least that is allowed.
        needed: f64,
    },
    /// The adaptive loop used all its rounds.
    #[error(
        "after {rounds} rounds the effective sample size is {ess:.2}, wanted: {wanted}; allow more rounds or \
         more samples, or propose from distributions nearer to the target"
    )]
    NotReached {
        /// How many rounds were done.
        rounds: usize,
        /// The largest effective sample size of a fit to all of the targets; 0 if no such fit succeeded.
        ess: f64,
        /// The effective sample size that was wanted.
        wanted: f64,
    },
    /// A file could not be read or written.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The file is not a saved target in the format of this version.
    #[error("{}: {cause}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The reason, with line and column.
        cause: serde_json::Error,
    },
    /// A saved target has another version of the format.
    #[error("{}: format version {found}; this program reads versions up to {expected}", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The latest version that can be read.
        expected: u32,
    },
    /// A saved target needs a feature that was not given.
    #[error("the saved target needs feature `{feature}`; given: {}", list(.given))]
    MissingFeature {
        /// The name in the file.
        feature: String,
        /// The names that were given.
        given: Vec<String>,
    },
    /// A feature was given that the saved target does not have.
    #[error("feature `{feature}` is not in the saved target, which has: {}", list(.known))]
    UnknownFeature {
        /// The name that was given.
        feature: String,
        /// The names in the file.
        known: Vec<String>,
    },
}

/// A context in which what is asked cannot be had: one of the list in [`Error::InContexts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ContextFault {
    /// The position of the context among those that were measured.
    pub context: usize,
    /// The context as JSON, shortened.
    pub name: String,
    /// The samples of the context.
    pub samples: usize,
    /// Those that are possible under the base and satisfy the pointwise constraints.
    pub in_support: usize,
    /// The constraint that cannot hold, where it is one.
    pub constraint: Option<String>,
    /// The samples in the support for which its feature is not 0: of a binary feature, those that have it.
    pub having: Option<usize>,
    /// The mean that is asked for.
    pub target: Option<f64>,
    /// The least and the largest value of the feature in the support (where its condition holds): the mean must lie between.
    pub reach: Option<(f64, f64)>,
    /// The error of the context's fit.
    pub cause: Box<Error>,
}
