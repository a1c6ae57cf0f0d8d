//! Means of all measures: in each context, and over contexts.

use disco_core::{Estimate, ImportanceWeights};

use super::{
    RunPlan,
    scored::{Scored, Values, certain, is_skipped, mean},
};
use crate::Result;

/// The values of samples of one context, and `ln` of their importance weights if they count unequally.
#[derive(Clone, Debug, Default)]
pub(super) struct ContextValues<'a> {
    pub(super) rows: Vec<&'a Values>,
    pub(super) log_weights: Option<Vec<f64>>,
    /// Whether the samples are all texts that there are, each once.
    pub(super) exact: bool,
}

impl<'a> ContextValues<'a> {
    /// The values of the samples of each context, with their weights.
    pub(super) fn new<X>(
        values: &'a [Vec<Values>],
        scored: &[Scored<X>],
        weights: impl Fn(&Scored<X>) -> Option<Vec<f64>>,
    ) -> Vec<Self> {
        let of = |(rows, scored): (&'a Vec<Values>, &Scored<X>)| Self {
            rows: rows.iter().collect(),
            log_weights: weights(scored),
            exact: scored.exact,
        };
        values.iter().zip(scored).map(of).collect()
    }
}

/// The means of all measures.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// In each context; `None` where it has no sample that counts.
    pub(super) by_context: Vec<Vec<Option<Estimate>>>,
    /// Over contexts, by their shares.
    pub(super) all: Vec<Estimate>,
}

/// The means of all measures over samples, of which one that some feature skips counts for none.
///
/// The mean of a measure with a condition `g` is `E[g phi] / E[g]`. Over contexts it is the ratio of the two means; but the mean of the
/// contexts' ratios, if it is asked for in each context.
///
/// # Errors
/// [`disco_core::Error`] for weights that are NaN.
pub(super) fn moments(plan: &RunPlan<'_>, contexts: &[ContextValues<'_>]) -> Result<Moments> {
    let counted: Vec<Counted<'_>> = contexts.iter().map(Counted::new).collect::<Result<_>>()?;
    let (mut by_context, mut all) = (vec![Vec::new(); contexts.len()], Vec::new());
    for (index, condition) in plan.conditions.iter().enumerate() {
        let own: Vec<Option<Estimate>> =
            counted.iter().map(|context| context.mean(index, *condition)).collect::<Result<_>>()?;
        let is_pooled = condition.is_some() && !plan.measures[index].feature.per_context;
        all.push(match condition {
            Some(condition) if is_pooled => pooled(plan, &counted, index, *condition)?,
            _ => {
                let known = own.iter().zip(&plan.shares).filter_map(|(own, share)| Some(((*own)?, *share)));
                let (known, shares): (Vec<Estimate>, Vec<f64>) = known.unzip();
                mean(&known, &shares)
            }
        });
        by_context.iter_mut().zip(own).for_each(|(context, own)| context.push(own));
    }
    Ok(Moments { by_context, all })
}

/// `E[g phi] / E[g]`, both over contexts. The error is that of `E[g (phi - ratio)] / E[g]`, to first order.
fn pooled(plan: &RunPlan<'_>, contexts: &[Counted<'_>], index: usize, condition: usize) -> Result<Estimate> {
    let group: Vec<usize> = (0..contexts.len()).collect();
    let over = |value: &dyn Fn(&Values) -> f64| over_contexts(plan, contexts, &group, value);
    let given = |row: &Values| row[condition].unwrap_or(0.0);
    let share = over(&given)?;
    let ratio = over(&|row| given(row) * row[index].unwrap_or(0.0))?.value / share.value;
    let residual = over(&|row| given(row) * (row[index].unwrap_or(0.0) - ratio))?;
    Ok(Estimate { value: ratio, std_error: residual.std_error / share.value, ess: share.ess * share.value })
}

/// The mean of a function of the values over some contexts that have samples, by their shares.
pub(super) fn over_contexts(
    plan: &RunPlan<'_>,
    contexts: &[Counted<'_>],
    group: &[usize],
    value: &dyn Fn(&Values) -> f64,
) -> Result<Estimate> {
    let mut found = Vec::new();
    let mut shares = Vec::new();
    for &context in group.iter().filter(|&&context| !contexts[context].is_empty()) {
        found.push(contexts[context].estimate(value)?);
        shares.push(plan.shares[context]);
    }
    Ok(mean(&found, &shares))
}

/// The samples of a context that count.
pub(super) struct Counted<'a> {
    rows: Vec<&'a Values>,
    weights: Option<ImportanceWeights>,
    exact: bool,
}

impl<'a> Counted<'a> {
    pub(super) fn new(context: &ContextValues<'a>) -> Result<Self> {
        let is_whole = |index: &usize| !is_skipped(context.rows[*index]);
        let kept: Vec<usize> = (0..context.rows.len()).filter(is_whole).collect();
        let rows: Vec<&Values> = kept.iter().map(|&index| context.rows[index]).collect();
        let exact = context.exact;
        let Some(log_weights) = &context.log_weights else { return Ok(Self { rows, weights: None, exact }) };
        let log_weights: Vec<f64> = kept.iter().map(|&index| log_weights[index]).collect();
        if log_weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
            return Ok(Self { rows: Vec::new(), weights: None, exact });
        }
        Ok(Self { rows, weights: Some(ImportanceWeights::from_log(log_weights)?), exact })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn estimate(&self, value: &dyn Fn(&Values) -> f64) -> Result<Estimate> {
        let values: Vec<f64> = self.rows.iter().map(|row| value(row)).collect();
        let found = match &self.weights {
            None => Estimate::mean(&values),
            Some(weights) => weights.mean(&values)?,
        };
        Ok(if self.exact { certain(found.value) } else { found })
    }

    /// The mean of a measure among the samples of which the condition holds; `None` if there is no such sample.
    fn mean(&self, index: usize, condition: Option<usize>) -> Result<Option<Estimate>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let value = |row: &Values| row[index].unwrap_or(0.0);
        let Some(condition) = condition else { return self.estimate(&value).map(Some) };
        let given = |row: &Values| row[condition].unwrap_or(0.0);
        let share = self.estimate(&given)?;
        if share.value == 0.0 {
            return Ok(None);
        }
        let ratio = self.estimate(&|row| given(row) * value(row))?.value / share.value;
        let residual = self.estimate(&|row| given(row) * (value(row) - ratio))?;
        Ok(Some(Estimate {
            value: ratio,
            std_error: residual.std_error / share.value,
            ess: share.ess * share.value,
        }))
    }
}
