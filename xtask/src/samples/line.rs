//! A line as it is written.

use std::collections::BTreeMap;

use disco_core::infinite;
use serde::Serialize;

use crate::contexts::TextContext;

/// A sample with its numbers, in nats.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SampleLine<'a, X> {
    pub(crate) context: &'a TextContext,
    /// The number of the sample among those of its context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    pub(crate) sample: &'a X,
    /// `ln` of the probability with which it was drawn.
    #[serde(with = "infinite")]
    pub(crate) log_prob: f64,
    /// Its log-score under the base, where another distribution drew it.
    #[serde(with = "infinite::option", skip_serializing_if = "Option::is_none")]
    pub(crate) log_base: Option<f64>,
    /// Its log-score under the target, which is not normalised.
    #[serde(with = "infinite::option", skip_serializing_if = "Option::is_none")]
    pub(crate) log_target: Option<f64>,
    /// The values of features by name; `None` where the sample is skipped.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) features: BTreeMap<&'a str, Option<f64>>,
}
