//! Samples with their log-probabilities and feature values, each computed once, and the estimates from them.

use disco_core::{Error as CoreError, Estimate, Scorer};
use disco_divergence::{Estimator, FDivergence, LogZ, exact};
use disco_ebm::Tilt;
use disco_qrs::Ratios;

#[cfg(feature = "lm")]
use super::RunPlan;
use super::drawn::{CHUNK, Drawn};
use crate::{
    Progress, Result,
    contexts::TextContext,
    features::{TextFeatures, TextSample},
    results::{DISTANCES, SampleRecord},
};

/// Samples of one context with their scores. All logarithms are natural, one per sample.
#[derive(Clone, Debug)]
pub struct Scored<X> {
    /// The samples, and the log-probabilities of the distribution that they tell of.
    pub(super) drawn: Drawn<X>,
    /// `ln a(x|c)` under the base.
    pub log_base: Vec<f64>,
    /// `ln P(x|c)` under the unnormalised target; `-inf` also for a sample that a text scorer skipped.
    pub log_target: Vec<f64>,
}

/// The values of all features for one sample, in the order of the spec; `None` where a text scorer skipped the sample.
pub(crate) type Values = Vec<Option<f64>>;

/// Scores samples under the target, given `ln a(x|c)` of each under the base.
///
/// A sample that the target skips has the score `-inf`: its share counts as forbidden.
pub(super) fn score<X: TextSample>(
    contexts: &[TextContext],
    drawn: Vec<Drawn<X>>,
    log_base: Vec<Vec<f64>>,
    tilt: &Tilt<TextContext, X>,
) -> Result<Vec<Scored<X>>> {
    let score = |(context, (drawn, log_base)): (&TextContext, (Drawn<X>, Vec<f64>))| {
        let mut log_target = Vec::with_capacity(drawn.samples.len());
        for (chunk, log_base) in drawn.samples.chunks(CHUNK).zip(log_base.chunks(CHUNK)) {
            let chunk: Vec<&X> = chunk.iter().collect();
            for (factor, log_base) in tilt.log_scores(context, &chunk)?.into_iter().zip(log_base) {
                log_target.push(factor.map_or(f64::NEG_INFINITY, |factor| sum(factor, *log_base)));
            }
        }
        Ok(Scored { drawn, log_base, log_target })
    };
    contexts.iter().zip(drawn.into_iter().zip(log_base)).map(score).collect()
}

/// Some samples of a context with their numbers.
#[cfg(feature = "lm")]
pub(crate) struct ScoredChunk {
    pub(crate) log_base: Vec<f64>,
    pub(crate) log_target: Vec<f64>,
    pub(crate) values: Vec<Values>,
}

/// Scores samples of one context under a base and a target, with the values of all features.
///
/// # Errors
/// The errors of the base and of the features.
#[cfg(feature = "lm")]
pub(crate) fn score_chunk<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Scorer<TextContext, X>,
    tilt: &Tilt<TextContext, X>,
    context: &TextContext,
    samples: &[&X],
) -> Result<ScoredChunk> {
    let scores = base.log_scores(context, samples)?;
    CoreError::check_length("log-scores, one per sample", samples.len(), scores.len())?;
    let log_base: Vec<f64> = scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)).collect();
    let factors = tilt.log_scores(context, samples)?.into_iter().zip(&log_base);
    let log_target =
        factors.map(|(factor, log_base)| factor.map_or(f64::NEG_INFINITY, |factor| sum(factor, *log_base)));
    Ok(ScoredChunk {
        log_target: log_target.collect(),
        values: values(&plan.features, context, samples)?,
        log_base,
    })
}

/// The sum of two log-factors: a sample that one of them forbids is forbidden, whatever the other says.
fn sum(one: f64, other: f64) -> f64 {
    if one == f64::NEG_INFINITY || other == f64::NEG_INFINITY { f64::NEG_INFINITY } else { one + other }
}

/// The log-scores of samples, by context, in chunks; a sample that is skipped has the score `-inf`.
pub(super) fn log_scores<X>(
    scorer: &impl Scorer<TextContext, X>,
    contexts: &[TextContext],
    drawn: &[Drawn<X>],
    progress: &mut Progress,
) -> Result<Vec<Vec<f64>>> {
    contexts
        .iter()
        .zip(drawn)
        .map(|(context, drawn)| log_scores_in(scorer, context, &drawn.samples, progress))
        .collect()
}

/// As [`log_scores`], of the samples of one context.
pub(super) fn log_scores_in<X>(
    scorer: &impl Scorer<TextContext, X>,
    context: &TextContext,
    samples: &[X],
    progress: &mut Progress,
) -> Result<Vec<f64>> {
    let mut found = Vec::with_capacity(samples.len());
    for chunk in samples.chunks(CHUNK) {
        let scores = scorer.log_scores(context, &chunk.iter().collect::<Vec<_>>())?;
        CoreError::check_length("log-scores, one per sample", chunk.len(), scores.len())?;
        found.extend(scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)));
        progress.advance(chunk.len(), String::new);
    }
    Ok(found)
}

impl<X> Scored<X> {
    /// `ln` of the importance weights of the target: `ln P(x|c)` less `ln` of the probability of the draw.
    pub(super) fn log_weights(&self) -> Vec<f64> {
        self.log_target
            .iter()
            .zip(&self.drawn.log_proposal)
            .map(|(target, proposal)| target - proposal)
            .collect()
    }

    /// The importance ratios of the target, for quasi-rejection sampling.
    pub(super) fn ratios(&self) -> Result<Ratios> {
        Ok(match self.drawn.exact {
            true => Ratios::exact(&self.log_target, &self.drawn.log_policy)?,
            false => Ratios::new(&self.log_target, &self.drawn.log_policy)?,
        })
    }

    /// The divergences [`DISTANCES`] to the target from the distribution that the samples tell of, whose `ln Z` is given.
    pub(super) fn distances_to_target(&self, policy_log_z: LogZ) -> Result<Vec<Estimate>> {
        let divergences = DISTANCES.map(|distance| distance.divergence);
        if self.drawn.exact {
            let of = |divergence: &FDivergence| {
                Ok(certain(exact(divergence, &self.log_target, &self.drawn.log_policy)?))
            };
            return divergences.iter().map(of).collect();
        }
        let estimator = Estimator::new(&self.log_target, &self.drawn.log_policy, &self.drawn.log_proposal)?;
        let estimator = estimator.target_log_z(LogZ::Estimated)?.policy_log_z(policy_log_z)?;
        let found = estimator.estimate(&divergences)?;
        Ok(found.divergences.into_iter().map(|divergence| divergence.estimate).collect())
    }

    /// KL to the base of the distribution with these unnormalised log-scores.
    pub(super) fn kl_to_base(&self, log_scores: &[f64], log_z: LogZ) -> Result<Estimate> {
        if self.drawn.exact {
            return Ok(certain(exact(&FDivergence::KlReverse, &self.log_base, log_scores)?));
        }
        let estimator = Estimator::new(&self.log_base, log_scores, &self.drawn.log_proposal)?;
        let estimator = estimator.target_log_z(LogZ::Known(0.0))?.policy_log_z(log_z)?;
        Ok(estimator.estimate(&[FDivergence::KlReverse])?.divergences[0].estimate)
    }
}

/// A number without sampling error.
pub(super) fn certain(value: f64) -> Estimate {
    Estimate { value, std_error: 0.0, ess: f64::INFINITY }
}

/// The [`mean`] of the estimates that there are, by the shares of their contexts; an unknown number (NaN) where there are none.
pub(super) fn mean_of_known(
    estimates: impl IntoIterator<Item = Option<Estimate>>,
    shares: &[f64],
) -> Estimate {
    let known = estimates.into_iter().zip(shares).filter_map(|(estimate, share)| Some((estimate?, *share)));
    let (known, shares): (Vec<Estimate>, Vec<f64>) = known.unzip();
    mean(&known, &shares)
}

/// The mean of estimates from independent samples, one per context, by the contexts' shares. A context of share 0 counts for nothing.
pub(super) fn mean(estimates: &[Estimate], shares: &[f64]) -> Estimate {
    let sum: f64 = shares.iter().sum();
    let counted = || estimates.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    let value = counted().map(|(estimate, share)| share * estimate.value).sum::<f64>() / sum;
    let variance: f64 = counted().map(|(estimate, share)| (share * estimate.std_error).powi(2)).sum();
    let ess = counted().map(|(estimate, _)| estimate.ess).sum();
    Estimate { value, std_error: variance.sqrt() / sum, ess }
}

/// The mean over contexts of each of several estimates; every context has the same number of them.
pub(super) fn means(contexts: &[Vec<Estimate>], shares: &[f64]) -> Vec<Estimate> {
    let columns = contexts.first().map_or(0, Vec::len);
    let column = |index| contexts.iter().map(|estimates| estimates[index]).collect::<Vec<_>>();
    (0..columns).map(|index| mean(&column(index), shares)).collect()
}

/// The values of all features for some samples of a context.
pub(crate) fn values<X: TextSample>(
    features: &TextFeatures,
    context: &TextContext,
    samples: &[&X],
) -> Result<Vec<Values>> {
    let columns = features.scores_of_all(context, samples)?;
    let row = |index: usize| columns.iter().map(|column| column[index].as_ref().ok().copied()).collect();
    Ok((0..samples.len()).map(row).collect())
}

/// The values of all features for all samples, by context.
pub(super) fn feature_values<'d, X: TextSample + 'd>(
    features: &TextFeatures,
    contexts: &[TextContext],
    drawn: impl IntoIterator<Item = &'d Drawn<X>>,
) -> Result<Vec<Vec<Values>>> {
    let of = |(context, drawn): (&TextContext, &Drawn<X>)| {
        values(features, context, &drawn.samples.iter().collect::<Vec<_>>())
    };
    contexts.iter().zip(drawn).map(of).collect()
}

/// Whether some feature skipped the sample.
pub(super) fn is_skipped(values: &Values) -> bool {
    values.contains(&None)
}

/// A sample in the form of the record.
pub(super) fn record<X: TextSample>(
    context: &TextContext,
    sample: &X,
    log_prob: f64,
    features: Values,
) -> SampleRecord {
    SampleRecord {
        context: context.text().into(),
        text: sample.text().into(),
        log_prob,
        tokens: sample.token_count(),
        finished: sample.finished(),
        features,
    }
}

/// Samples in the form of the record: the first of every context, the second of every context, and so on.
pub(super) fn records<'d, X: TextSample + 'd>(
    contexts: &[TextContext],
    drawn: impl IntoIterator<Item = &'d Drawn<X>>,
    values: &[Vec<Values>],
) -> Vec<SampleRecord> {
    let samples: Vec<Vec<(&X, f64)>> = drawn.into_iter().map(|drawn| drawn.pairs().collect()).collect();
    let most = samples.iter().map(Vec::len).max().unwrap_or(0);
    let of = |index: usize| {
        contexts.iter().zip(&samples).zip(values).filter_map(move |((context, samples), values)| {
            let (sample, log_prob) = *samples.get(index)?;
            Some(record(context, sample, log_prob, values[index].clone()))
        })
    };
    (0..most).flat_map(of).collect()
}

/// The text with a capital letter and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
