//! Means of all measures: in each context, and over contexts.

use disco_core::{Estimate, ImportanceWeights};

use super::{
    RunPlan,
    drawn::Drawn,
    scored::{Scored, Values, certain, is_skipped, mean_of_known},
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
    /// The values of the samples of each context, which tell of the distribution that they are to tell of.
    pub(super) fn of_drawn<'d, X: 'd>(
        values: &'a [Vec<Values>],
        drawn: impl IntoIterator<Item = &'d Drawn<X>>,
    ) -> Vec<Self> {
        let of = |(rows, drawn): (&'a Vec<Values>, &Drawn<X>)| Self {
            rows: rows.iter().collect(),
            log_weights: drawn.log_weights(),
            exact: drawn.exact,
        };
        values.iter().zip(drawn).map(of).collect()
    }

    /// The values of the samples of each context, which tell of the target.
    pub(super) fn of_target<X>(values: &'a [Vec<Values>], scored: &[Scored<X>]) -> Vec<Self> {
        let of = |(rows, scored): (&'a Vec<Values>, &Scored<X>)| Self {
            rows: rows.iter().collect(),
            log_weights: Some(scored.log_weights()),
            exact: scored.drawn.exact,
        };
        values.iter().zip(scored).map(of).collect()
    }
}

/// A mean of no sample.
const UNKNOWN: Estimate = Estimate { value: f64::NAN, std_error: f64::NAN, ess: 0.0 };

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
/// contexts' ratios, if it is asked for in each context. It is unknown (NaN) where no sample has the condition.
///
/// # Errors
/// [`disco_core::Error`] for weights that are NaN.
pub(super) fn moments(plan: &RunPlan<'_>, contexts: &[ContextValues<'_>]) -> Result<Moments> {
    let counted: Vec<Counted<'_>> = contexts.iter().map(Counted::new).collect::<Result<_>>()?;
    let (mut by_context, mut all) = (vec![Vec::new(); contexts.len()], Vec::new());
    for (index, condition) in plan.conditions.iter().enumerate() {
        let own: Vec<Option<Estimate>> =
            counted.iter().map(|context| context.mean(index, *condition)).collect::<Result<_>>()?;
        let pooled = condition.filter(|_| !plan.measures[index].feature.per_context);
        all.push(match pooled {
            Some(condition) => {
                mean_given(index, condition, |value| over_contexts(plan, &counted, value))?.unwrap_or(UNKNOWN)
            }
            None => mean_of_known(own.iter().copied(), &plan.shares),
        });
        by_context.iter_mut().zip(own).for_each(|(context, own)| context.push(own));
    }
    Ok(Moments { by_context, all })
}

/// The mean of a measure given a condition, `E[g phi] / E[g]`, from the means of functions of the values; `None` if no sample has the
/// condition. The error is that of `E[g (phi - ratio)] / E[g]`, to first order.
fn mean_given(
    measure: usize,
    condition: usize,
    mean: impl Fn(&dyn Fn(&Values) -> f64) -> Result<Estimate>,
) -> Result<Option<Estimate>> {
    let given = |row: &Values| row[condition].unwrap_or(0.0);
    let value = |row: &Values| row[measure].unwrap_or(0.0);
    let share = mean(&given)?;
    if share.value.is_nan() || share.value == 0.0 {
        return Ok(None);
    }
    let ratio = mean(&|row| given(row) * value(row))?.value / share.value;
    let residual = mean(&|row| given(row) * (value(row) - ratio))?;
    let std_error = residual.std_error / share.value;
    Ok(Some(Estimate { value: ratio, std_error, ess: share.ess * share.value }))
}

/// The mean of a function of the values over contexts that have samples, by their shares.
fn over_contexts(
    plan: &RunPlan<'_>,
    contexts: &[Counted<'_>],
    value: &dyn Fn(&Values) -> f64,
) -> Result<Estimate> {
    let of = |context: &Counted<'_>| match context.rows.is_empty() {
        true => Ok(None),
        false => context.estimate(value).map(Some),
    };
    let found: Vec<Option<Estimate>> = contexts.iter().map(of).collect::<Result<_>>()?;
    Ok(mean_of_known(found, &plan.shares))
}

/// Samples of a context with the label of each.
pub(super) struct Labelled {
    pub(super) weights: ImportanceWeights,
    /// The position of the label.
    pub(super) labels: Vec<usize>,
    /// The share of the context's samples that these are.
    pub(super) mass: f64,
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

    /// The samples of which the condition holds, with their labels, given the measures of the labels; `None` if there are none.
    pub(super) fn labelled(&self, labels: &[usize], condition: Option<usize>) -> Result<Option<Labelled>> {
        let holds = |row: &Values| condition.is_none_or(|condition| row[condition] == Some(1.0));
        let label = |row: &Values| labels.iter().position(|label| row[*label] == Some(1.0));
        let log_weights = self.weights.as_ref().map(ImportanceWeights::log_weights);
        let (mut own, mut found) = (Vec::new(), Vec::new());
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| holds(row)) {
            // Every sample has a label: the last of them is that of all others.
            found.push(label(row).unwrap_or(labels.len() - 1));
            own.push(log_weights.map_or(0.0, |weights| weights[index]));
        }
        if own.iter().all(|weight| *weight == f64::NEG_INFINITY) {
            return Ok(None);
        }
        let mass = self.estimate(&|row| f64::from(u8::from(holds(row))))?.value;
        Ok(Some(Labelled { weights: ImportanceWeights::from_log(own)?, labels: found, mass }))
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
        match condition {
            Some(condition) => mean_given(index, condition, |value| self.estimate(value)),
            None => self.estimate(&|row| row[index].unwrap_or(0.0)).map(Some),
        }
    }
}
