//! Stage "measure": samples of the base and the means of the features.

use std::sync::Arc;

use disco_core::{Distribution, Feature, Sampled};
use disco_ebm::{FitConfig, Measured};

use super::{
    RunPlan,
    scored::{draw, feature_values, records},
};
use crate::{Progress, Result, contexts::TextContext, features::TextSample, results::BaseRecord};

/// The base, as measured on its own samples.
#[derive(Clone, Debug)]
pub struct Measurement<X> {
    /// All samples, by context.
    pub samples: Vec<Vec<Sampled<X>>>,
    /// The samples with the values of all features, ready to be fitted.
    pub measured: Measured<TextContext, X>,
    /// This stage's part of the record.
    pub record: BaseRecord,
}

/// Draws `fit.samples` samples of the base and computes the features on them.
///
/// # Errors
/// The errors of the base and of the features; [`disco_ebm::Error::AllSkipped`] where a text scorer skips every sample of a context.
///
/// # Cost
/// `fit.samples` samples of the base; text scorers score each sample twice.
pub fn measure<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Distribution<TextContext, X>,
) -> Result<Measurement<X>> {
    let contexts = &plan.spec.contexts.items;
    let count = plan.spec.per_context(plan.spec.fit.samples);
    let mut progress = Progress::new(plan.progress, "measure base", "samples", count * contexts.len());
    let samples = draw(base, contexts, count, plan.seeds.base, &mut progress)?;
    drop(progress);

    let features: Vec<_> = plan
        .features
        .iter()
        .map(|feature| Arc::new(feature.clone()) as Arc<dyn Feature<TextContext, X>>)
        .collect();
    let measured = Measured::from_base(contexts.clone(), samples.clone(), &features)?
        .with_context_weights(&plan.shares)?;
    let pairs: Vec<Vec<(&X, f64)>> = samples
        .iter()
        .map(|samples| samples.iter().map(|sample| (&sample.value, sample.log_prob)).collect())
        .collect();
    let record = BaseRecord {
        means: measured.base_moments(FitConfig::default().context_errors)?,
        skipped: measured.skipped().values().sum(),
        samples: records(contexts, &pairs, &feature_values(&plan.features, contexts, &pairs)?),
    };
    Ok(Measurement { samples, measured, record })
}
