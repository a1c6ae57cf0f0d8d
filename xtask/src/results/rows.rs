//! The parts of a record side by side: a row per feature and per divergence, with a value for each stage that there was.

use disco_core::Estimate;
use serde::Serialize;

use super::{
    distances::DISTANCES,
    numbers::{Shown, shown, shown_share},
    qrs_record::QrsRecord,
    record::{BaseRecord, FittedFeature, PolicyRecord, RunRecord, SampleRecord, TargetRecord},
    unknown::known,
};
use crate::spec::Measure;

/// One feature, or one label of a category, at every stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureRow {
    /// Its name.
    pub name: String,
    /// Whether its values are 0 and 1.
    #[serde(skip)]
    pub is_binary: bool,
    /// Whether it holds always or never: exactly so under the target and in accepted proposals.
    #[serde(skip)]
    pub is_hard: bool,
    /// The mean that was asked for; over contexts, where it differs by context. `None` if nothing was asked.
    pub asked: Option<f64>,
    /// How far from what was asked the mean may be.
    #[serde(skip_serializing_if = "is_zero")]
    pub tolerance: f64,
    /// The feature under whose condition the means are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// Whether the mean was asked for in every context by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_context: bool,
    /// Its mean under the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Estimate>,
    /// Its mean under the tuned policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Estimate>,
    /// Its mean over accepted proposals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrs: Option<Estimate>,
    /// The same, predicted by the samples that chose beta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Estimate>,
    /// Its coefficient and its means under the target.
    #[serde(flatten)]
    pub fitted: Option<FittedFeature>,
}

impl FeatureRow {
    /// The range in which the mean was asked for.
    pub(crate) fn range(&self) -> Option<AskedRange> {
        self.asked.map(|mean| AskedRange::around(mean, self.tolerance))
    }

    /// A mean of it in words.
    pub(crate) fn words(&self, mean: &Estimate) -> Shown {
        if self.is_binary { shown_share(mean) } else { shown(mean) }
    }

    /// A mean of it under the target or in accepted proposals: without an error where these keep exactly to what always or never is to
    /// hold.
    pub(crate) fn of_target(&self, mean: Estimate) -> Estimate {
        let ess = if self.is_hard && mean.std_error == 0.0 { f64::INFINITY } else { mean.ess };
        Estimate { ess, ..mean }
    }

    /// The same in words.
    pub(crate) fn words_of_target(&self, mean: &Estimate) -> Shown {
        self.words(&self.of_target(*mean))
    }
}

/// The range in which a mean was asked for: both ends are the same number, unless there is a tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AskedRange {
    low: f64,
    high: f64,
}

impl AskedRange {
    pub(crate) fn around(mean: f64, tolerance: f64) -> Self {
        Self { low: mean - tolerance, high: mean + tolerance }
    }

    pub(crate) fn ends(self) -> [f64; 2] {
        [self.low, self.high]
    }

    /// The range in words, each end written by `words`: one number where the ends are the same.
    pub(crate) fn in_words(self, words: impl Fn(f64) -> String) -> String {
        if self.low < self.high {
            format!("{} to {}", words(self.low), words(self.high))
        } else {
            words(self.low)
        }
    }
}

fn is_zero(tolerance: &f64) -> bool {
    *tolerance == 0.0
}

/// One divergence to the target, from base, tuned policy and quasi-rejection sampling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DistanceRow {
    /// Its name.
    pub name: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// From the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Estimate>,
    /// From the tuned policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Estimate>,
    /// From quasi-rejection sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrs: Option<Estimate>,
}

/// KL divergences to the base, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FromBase {
    /// `KL(p || base)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Estimate>,
    /// `KL(policy || base)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Estimate>,
    /// `KL(p_beta || base)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrs: Option<Estimate>,
}

/// The samples of one stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StageSamples<'a> {
    /// The stage, in files and as a class of the report.
    pub(crate) stage: &'static str,
    /// The stage as a heading of the report.
    pub(crate) heading: &'static str,
    pub(crate) samples: &'a [SampleRecord],
    /// The number of samples that a text scorer skipped.
    pub(crate) skipped: usize,
}

impl RunRecord {
    /// One row per measure of the spec, in its order.
    pub fn features(&self) -> Vec<FeatureRow> {
        let of =
            |means: Option<&Vec<Estimate>>, index: usize| known(*means.and_then(|means| means.get(index))?);
        let row = |(index, measure): (usize, Measure<'_>)| FeatureRow {
            is_binary: measure.is_binary(),
            is_hard: measure.is_hard(),
            asked: measure.asked(&self.spec.contexts),
            tolerance: measure.tolerance(),
            given: measure.feature.given.clone(),
            per_context: measure.feature.per_context,
            name: measure.name,
            base: of(self.base.as_ref().map(|BaseRecord { means, .. }| means), index),
            tuned: of(self.policy.as_ref().map(|PolicyRecord { means, .. }| means), index),
            qrs: of(self.qrs.as_ref().map(|QrsRecord { means, .. }| means), index),
            predicted: of(self.qrs.as_ref().map(|QrsRecord { predicted_means, .. }| predicted_means), index),
            fitted: self.target.as_ref().and_then(|target| target.features.get(index)).copied(),
        };
        self.spec.measures().into_iter().enumerate().map(row).collect()
    }

    /// One row per divergence; no row where no stage has estimated any.
    pub fn distances(&self) -> Vec<DistanceRow> {
        let base = self.target.as_ref().map(|TargetRecord { base_distances, .. }| base_distances);
        let tuned = self.policy.as_ref().map(|PolicyRecord { distances, .. }| distances);
        let qrs = self.qrs.as_ref().map(|QrsRecord { distances, .. }| distances);
        let of =
            |found: Option<&Vec<Estimate>>, index: usize| found.and_then(|found| found.get(index)).copied();
        let rows = DISTANCES.iter().enumerate().map(|(index, distance)| DistanceRow {
            name: distance.name,
            formula: distance.formula,
            base: of(base, index),
            tuned: of(tuned, index),
            qrs: of(qrs, index),
        });
        rows.filter(|row| [row.base, row.tuned, row.qrs].iter().any(Option::is_some)).collect()
    }

    /// The KL divergences to the base.
    pub fn kl_from_base(&self) -> FromBase {
        FromBase {
            target: self.target.as_ref().map(|target| target.fit.kl),
            tuned: self.policy.as_ref().map(|policy| policy.kl_from_base),
            qrs: self.qrs.as_ref().map(|qrs| qrs.kl_from_base),
        }
    }

    /// Whether the policy was tuned; otherwise it is the base, whose samples are drawn anew.
    pub(crate) fn is_tuned(&self) -> bool {
        self.tuning.as_ref().is_some_and(|tuning| !tuning.steps.is_empty())
    }

    /// The samples of each stage that drew some.
    pub(crate) fn samples(&self) -> Vec<StageSamples<'_>> {
        let base = self.base.as_ref().map(|base| ("base", "Base", &base.samples, base.skipped));
        let heading = if self.is_tuned() { "Tuned" } else { "Policy" };
        let tuned = self.policy.as_ref().map(|policy| ("tuned", heading, &policy.samples, policy.skipped));
        let qrs = self.qrs.as_ref().map(|qrs| ("qrs", "QRS", &qrs.samples, qrs.skipped));
        let stages = [base, tuned, qrs].into_iter().flatten();
        stages
            .map(|(stage, heading, samples, skipped)| StageSamples { stage, heading, samples, skipped })
            .collect()
    }

    /// A sentence per stage in which a text scorer skipped samples.
    pub(crate) fn skipped_notes(&self) -> Vec<String> {
        let stages = self.samples().into_iter().filter(|stage| stage.skipped > 0);
        let note = |stage: StageSamples<'_>| {
            let of = match stage.stage {
                "base" => "samples of the base",
                "tuned" => "samples of the tuned policy",
                _ => "proposals",
            };
            format!(
                "{} {of} were skipped by a text scorer: they count as forbidden by the target, and means are over the others.",
                stage.skipped
            )
        };
        stages.map(note).collect()
    }
}
