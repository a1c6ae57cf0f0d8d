//! Evaluation of features on samples. Samples that cannot be evaluated are left out and counted.

use std::{collections::BTreeMap, sync::Arc};

use disco_core::{Error as CoreError, Feature, Sampled, Score, Scorer, numerics::check_log_scores};
use ndarray::{Array2, Axis};

use crate::{ContextSamples, Error, Result, context_samples::Evaluated};

/// The samples of all contexts with the values of the features.
pub(crate) struct EvaluatedContexts<C, X> {
    pub(crate) contexts: Vec<Evaluated<C, X>>,
    /// How many samples each feature skipped.
    pub(crate) skipped: BTreeMap<String, usize>,
}

/// Evaluates each feature once on each sample.
///
/// With `exact`, a skipped sample is an error.
pub(crate) fn evaluate_contexts<C, X>(
    stored: Vec<ContextSamples<C, X>>,
    features: &[Arc<dyn Feature<C, X>>],
    exact: bool,
) -> Result<EvaluatedContexts<C, X>> {
    let mut skipped = BTreeMap::new();
    let mut contexts = Vec::with_capacity(stored.len());
    for (index, drawn) in stored.into_iter().enumerate() {
        let before: usize = skipped.values().sum();
        let count = drawn.samples.len();
        check_stored(&drawn, index)?;
        let evaluated = evaluate(drawn, features, index, &mut skipped)?;
        if evaluated.values.nrows() == 0 {
            return Err(Error::AllSkipped { context: index, skipped: count });
        }
        if exact && skipped.values().sum::<usize>() > before {
            let by = skipped.into_keys().collect::<Vec<_>>().join(", ");
            let cause = CoreError::invalid("outcomes of a space", format!("skipped by {by}"), "none skipped");
            return Err(Error::InContext { context: index, cause });
        }
        contexts.push(evaluated);
    }
    Ok(EvaluatedContexts { contexts, skipped })
}

/// Scores a context's samples with the base; those it skips are left out, and their number is returned.
pub(crate) fn score_base<C, X>(
    base: &impl Scorer<C, X>,
    index: usize,
    context: C,
    samples: Vec<Sampled<X>>,
    skipped: &mut BTreeMap<String, usize>,
) -> Result<(ContextSamples<C, X>, usize)> {
    let in_context = |cause| Error::InContext { context: index, cause };
    let references: Vec<&X> = samples.iter().map(|sample| &sample.value).collect();
    let scores = base.log_scores(&context, &references).map_err(in_context)?;
    CoreError::check_length("log-scores of the base", samples.len(), scores.len()).map_err(in_context)?;
    let count = samples.len();
    let mut scored =
        ContextSamples { context, samples: Vec::new(), log_base: Vec::new(), log_proposal: Vec::new() };
    for (sample, score) in samples.into_iter().zip(scores) {
        match score {
            Ok(score) => {
                scored.samples.push(sample.value);
                scored.log_base.push(score);
                scored.log_proposal.push(sample.log_prob);
            }
            Err(reason) => *skipped.entry(reason.by().into()).or_default() += 1,
        }
    }
    if scored.samples.is_empty() && count > 0 {
        return Err(Error::AllSkipped { context: index, skipped: count });
    }
    let left_out = count - scored.samples.len();
    Ok((scored, left_out))
}

fn check_stored<C, X>(drawn: &ContextSamples<C, X>, context: usize) -> Result<()> {
    let check = || {
        if drawn.samples.is_empty() {
            return Err(CoreError::Empty { what: "list of samples".into() });
        }
        CoreError::check_length(
            "log-probabilities under the base",
            drawn.samples.len(),
            drawn.log_base.len(),
        )?;
        let proposals = drawn.log_proposal.len();
        CoreError::check_length("log-probabilities under the proposal", drawn.samples.len(), proposals)?;
        check_log_scores("base", &drawn.log_base)?;
        check_log_scores("proposal", &drawn.log_proposal)?;
        match drawn.log_proposal.iter().position(|log_prob| *log_prob == f64::NEG_INFINITY) {
            None => Ok(()),
            Some(index) => Err(CoreError::invalid(
                format!("log-probability of sample {index} under the proposal it was drawn from"),
                "-inf",
                "finite",
            )),
        }
    };
    check().map_err(|cause| Error::InContext { context, cause })
}

fn evaluate<C, X>(
    mut drawn: ContextSamples<C, X>,
    features: &[Arc<dyn Feature<C, X>>],
    context: usize,
    skipped: &mut BTreeMap<String, usize>,
) -> Result<Evaluated<C, X>> {
    let n = drawn.samples.len();
    let mut values = Array2::zeros((n, features.len()));
    let mut kept = vec![true; n];
    let references: Vec<&X> = drawn.samples.iter().collect();
    for (column, feature) in features.iter().enumerate() {
        let found = feature_values(feature.as_ref(), &drawn.context, &references)
            .map_err(|cause| Error::InContext { context, cause })?;
        for (row, value) in found.into_iter().enumerate() {
            match value {
                Ok(value) => values[[row, column]] = value,
                // A sample that several features skip counts once, for the first of them.
                Err(reason) if kept[row] => {
                    kept[row] = false;
                    *skipped.entry(reason.by().into()).or_default() += 1;
                }
                Err(_) => {}
            }
        }
    }
    if kept.contains(&false) {
        let rows: Vec<usize> = (0..n).filter(|&row| kept[row]).collect();
        values = values.select(Axis(0), &rows);
        retain(&mut drawn.samples, &kept);
        retain(&mut drawn.log_base, &kept);
        retain(&mut drawn.log_proposal, &kept);
    }
    let left_out = n - drawn.samples.len();
    Ok(Evaluated { drawn, values, left_out })
}

/// The values of one feature, of the right number and finite.
fn feature_values<C, X>(
    feature: &dyn Feature<C, X>,
    context: &C,
    samples: &[&X],
) -> disco_core::Result<Vec<Score>> {
    let values = feature.values(context, samples)?;
    if values.len() != samples.len() {
        let what = format!("values of feature `{}`", feature.name()).into();
        return Err(CoreError::Length { what, expected: samples.len(), actual: values.len() });
    }
    for (index, value) in values.iter().enumerate() {
        if let Ok(value) = value
            && !value.is_finite()
        {
            return Err(CoreError::NotANumber { by: feature.name().into(), index, value: *value });
        }
    }
    Ok(values)
}

fn retain<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| *kept.next().expect("one flag per sample"));
}
