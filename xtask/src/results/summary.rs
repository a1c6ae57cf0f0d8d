//! `summary.json`: the record as JSON, with features and divergences as rows.

use std::collections::BTreeMap;

use disco_core::Estimate;
use serde::Serialize;

use super::{
    context_rows::{CategoryRow, ContextRow},
    qrs_record::{QrsCount, QrsPoint, QrsRecord},
    record::{FitRecord, HeldOutRecord, MaskingRecord, ModelRecord, RunRecord, StageRecord, StepRecord},
    rows::{DistanceRow, FeatureRow, FromBase},
    unknown::known,
};
use crate::{Error, Result, spec::Spec};

/// The fields of the file, in its order. A part that is missing has no field.
#[derive(Serialize)]
struct Summary<'a> {
    version: &'a str,
    spec: &'a Spec,
    model: &'a ModelRecord,
    features: Vec<FeatureRow>,
    /// The features in each context, for runs with several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contexts: Vec<ContextRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<CategoryRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masking: Option<MaskingRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Option<&'a FitRecord>,
    /// The share of the base's samples that exact rejection accepts, where a bound is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact_rejection: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<&'a Vec<StepRecord>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    distances: Vec<DistanceRow>,
    #[serde(skip_serializing_if = "is_empty")]
    kl_from_base: FromBase,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<&'a HeldOutRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qrs: Option<QrsSummary<'a>>,
    /// The number of samples that a text scorer skipped, by stage, where there were some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    skipped: BTreeMap<&'static str, usize>,
    stages: &'a [StageRecord],
    peak_memory_bytes: Option<u64>,
}

/// Quasi-rejection sampling; its means and divergences are in the rows.
#[derive(Serialize)]
struct QrsSummary<'a> {
    #[serde(with = "disco_core::infinite")]
    log_beta: f64,
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    log_betas: &'a [f64],
    proposals: usize,
    accepted: usize,
    #[serde(skip_serializing_if = "<[QrsCount]>::is_empty")]
    by_context: &'a [QrsCount],
    acceptance_rate: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_rate: Option<Estimate>,
    total_variation: Estimate,
    curve: &'a [QrsPoint],
    warnings: &'a [String],
}

impl<'a> QrsSummary<'a> {
    fn of(qrs: &'a QrsRecord) -> Self {
        Self {
            log_beta: qrs.log_beta,
            log_betas: &qrs.log_betas,
            proposals: qrs.proposals,
            accepted: qrs.accepted,
            by_context: &qrs.by_context_counts,
            acceptance_rate: known(qrs.acceptance_rate),
            predicted_rate: qrs.predicted_rate,
            total_variation: qrs.total_variation,
            curve: &qrs.curve,
            warnings: &qrs.warnings,
        }
    }
}

fn is_empty(from_base: &FromBase) -> bool {
    *from_base == FromBase::default()
}

/// The record as indented JSON with a line end.
///
/// # Errors
/// [`Error::Json`].
pub(super) fn summary(record: &RunRecord) -> Result<Vec<u8>> {
    let stages = record.samples().into_iter().filter(|stage| stage.skipped > 0);
    let summary = Summary {
        version: &record.version,
        spec: &record.spec,
        model: &record.model,
        features: record.features(),
        contexts: record.contexts(),
        categories: record.categories(),
        masking: record.base.as_ref().and_then(|base| base.masking),
        fit: record.target.as_ref().map(|target| &target.fit),
        exact_rejection: record.target.as_ref().and_then(|target| target.exact_rejection),
        steps: record.tuning.as_ref().map(|tuning| &tuning.steps),
        distances: record.distances(),
        kl_from_base: record.kl_from_base(),
        held_out: record.held_out.as_ref(),
        qrs: record.qrs.as_ref().map(QrsSummary::of),
        skipped: stages.map(|stage| (stage.stage, stage.skipped)).collect(),
        stages: &record.stages,
        peak_memory_bytes: record.peak_memory_bytes,
    };
    let mut bytes = serde_json::to_vec_pretty(&summary).map_err(Error::Json)?;
    bytes.push(b'\n');
    Ok(bytes)
}
