//! Samples with everything that is known of them, each computed once.

use disco_core::{Distribution, Error as CoreError, Estimate, Sampled, Scorer, StreamRng, Streams};
use disco_divergence::{Estimator, FDivergence, LogZ};
use disco_ebm::Tilt;
use rand::SeedableRng;

use crate::{
    Progress, Result,
    record::SampleRecord,
    text::{TextFeature, TextSample},
};

/// How many samples are drawn or scored between two signs of progress.
const CHUNK: usize = 256;

/// What is measured between two distributions: KL(p‖π), KL(π‖p), total variation, Jensen-Shannon.
pub(super) const DIVERGENCES: [FDivergence; 4] =
    [FDivergence::KlForward, FDivergence::KlReverse, FDivergence::TotalVariation, FDivergence::JensenShannon];

/// Samples of one context. All logarithms are natural, one per sample.
#[derive(Clone, Debug)]
pub(super) struct Scored<X> {
    pub(super) samples: Vec<X>,
    /// `ln` of the probability with which they were drawn.
    pub(super) log_prob: Vec<f64>,
    /// `ln a(x|c)`.
    pub(super) log_base: Vec<f64>,
    /// `ln P(x|c)`.
    pub(super) log_target: Vec<f64>,
}

/// Draws `count` samples in each context, in chunks; the samples do not depend on the chunks.
pub(crate) fn draw<X, D: Distribution<String, X>>(
    distribution: &D,
    contexts: &[String],
    count: usize,
    key: u64,
    progress: &mut Progress,
) -> Result<Vec<Vec<Sampled<X>>>> {
    let mut rng = StreamRng::seed_from_u64(key);
    let streams: Vec<Streams> = contexts.iter().map(|_| Streams::from_rng(&mut rng, count)).collect();
    let contexts: Vec<&String> = contexts.iter().collect();
    let size = CHUNK.div_ceil(contexts.len());
    let mut chunks: Vec<_> = streams.iter().map(|streams| streams.chunks(size)).collect();
    let mut drawn: Vec<Vec<Sampled<X>>> = contexts.iter().map(|_| Vec::new()).collect();
    loop {
        let now: Vec<Streams> = chunks.iter_mut().filter_map(Iterator::next).collect();
        if now.is_empty() {
            return Ok(drawn);
        }
        let samples = distribution.sample_each(&contexts, &now)?;
        CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
        progress.advance(samples.iter().map(Vec::len).sum(), String::new);
        drawn.iter_mut().zip(samples).for_each(|(drawn, samples)| drawn.extend(samples));
    }
}

/// Scores samples under base and target; `base` is none if it drew them itself.
pub(super) fn score<X: TextSample, B: Distribution<String, X>>(
    contexts: &[String],
    drawn: Vec<Vec<Sampled<X>>>,
    base: Option<&B>,
    tilt: &Tilt<String, X>,
    progress: &mut Progress,
) -> Result<Vec<Scored<X>>> {
    let score = |(context, drawn): (&String, Vec<Sampled<X>>)| {
        let (samples, log_prob): (Vec<X>, Vec<f64>) =
            drawn.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip();
        let mut log_base = Vec::with_capacity(samples.len());
        let mut log_target = Vec::with_capacity(samples.len());
        for (chunk, own) in samples.chunks(CHUNK).zip(log_prob.chunks(CHUNK)) {
            let chunk: Vec<&X> = chunk.iter().collect();
            let scores = match base {
                Some(base) => base.log_probs(context, &chunk)?,
                None => own.to_vec(),
            };
            for (factor, log_base) in tilt.log_scores(context, &chunk)?.into_iter().zip(&scores) {
                let factor = factor.map_err(|skipped| CoreError::failed("target", skipped))?;
                log_target.push(factor + log_base);
            }
            log_base.extend(scores);
            progress.advance(chunk.len(), String::new);
        }
        Ok(Scored { samples, log_prob, log_base, log_target })
    };
    contexts.iter().zip(drawn).map(score).collect()
}

impl<X: TextSample> Scored<X> {
    /// The divergences [`DIVERGENCES`] of what drew the samples from the target.
    pub(super) fn distances_to_target(&self) -> Result<Vec<Estimate>> {
        let estimator = Estimator::new(&self.log_target, &self.log_prob, &self.log_prob)?;
        let found = estimator.target_log_z(LogZ::Estimated)?.estimate(&DIVERGENCES)?;
        Ok(found.divergences.into_iter().map(|divergence| divergence.estimate).collect())
    }

    /// KL to the base of the distribution with these unnormalised log-scores.
    pub(super) fn kl_to_base(&self, log_scores: &[f64], log_z: LogZ) -> Result<Estimate> {
        let estimator = Estimator::new(&self.log_base, log_scores, &self.log_prob)?;
        let estimator = estimator.target_log_z(LogZ::Known(0.0))?.policy_log_z(log_z)?;
        Ok(estimator.estimate(&[FDivergence::KlReverse])?.divergences[0].estimate)
    }

    /// How many tokens there are.
    pub(super) fn tokens(&self) -> usize {
        self.samples.iter().map(TextSample::token_count).sum()
    }
}

/// How many samples and tokens there are in all contexts.
pub(super) fn size<X: TextSample>(scored: &[Scored<X>]) -> (usize, usize) {
    (scored.iter().map(|scored| scored.samples.len()).sum(), scored.iter().map(Scored::tokens).sum())
}

/// The mean of estimates from independent samples, such as those of each context.
pub(super) fn mean(estimates: &[Estimate]) -> Estimate {
    let count = estimates.len() as f64;
    let value = estimates.iter().map(|estimate| estimate.value).sum::<f64>() / count;
    let variance: f64 = estimates.iter().map(|estimate| estimate.std_error.powi(2)).sum();
    let ess = estimates.iter().map(|estimate| estimate.ess).sum();
    Estimate { value, std_error: variance.sqrt() / count, ess }
}

/// The mean over contexts of each of several estimates; every context has the same ones.
pub(super) fn means(contexts: &[Vec<Estimate>]) -> Vec<Estimate> {
    let columns = contexts.first().map_or(0, Vec::len);
    let column = |index| contexts.iter().map(|estimates| estimates[index]).collect::<Vec<_>>();
    (0..columns).map(|index| mean(&column(index))).collect()
}

/// The mean of a feature over samples, and over contexts that have some.
pub(super) fn feature_mean<'a, X: TextSample + 'a>(
    feature: &TextFeature,
    contexts: impl Iterator<Item = &'a [X]>,
) -> Result<Estimate> {
    let means = contexts
        .filter(|samples| !samples.is_empty())
        .map(|samples| Ok(Estimate::mean(&feature.values_of(&samples.iter().collect::<Vec<_>>())?)));
    Ok(mean(&means.collect::<Result<Vec<_>>>()?))
}

/// Every feature of every sample: a list per sample.
pub(super) fn values<X: TextSample>(features: &[TextFeature], samples: &[&X]) -> Result<Vec<Vec<f64>>> {
    let columns: Vec<Vec<f64>> =
        features.iter().map(|feature| feature.values_of(samples)).collect::<disco_core::Result<_>>()?;
    Ok((0..samples.len()).map(|index| columns.iter().map(|column| column[index]).collect()).collect())
}

/// A sample as it is written down.
pub(super) fn record<X: TextSample>(
    context: &str,
    sample: &X,
    log_prob: f64,
    features: Vec<f64>,
) -> SampleRecord {
    SampleRecord {
        context: context.into(),
        text: sample.text().into(),
        log_prob,
        tokens: sample.token_count(),
        finished: sample.finished(),
        features,
    }
}

/// Samples as they are written down: the first of every context, the second of every context, and so on.
pub(super) fn records<X: TextSample>(
    contexts: &[String],
    scored: &[Scored<X>],
    features: &[TextFeature],
) -> Result<Vec<SampleRecord>> {
    let values: Vec<Vec<Vec<f64>>> = scored
        .iter()
        .map(|scored| values(features, &scored.samples.iter().collect::<Vec<_>>()))
        .collect::<Result<_>>()?;
    let most = scored.iter().map(|scored| scored.samples.len()).max().unwrap_or(0);
    let of = |index: usize| {
        contexts.iter().zip(scored).zip(&values).filter_map(move |((context, scored), values)| {
            let sample = scored.samples.get(index)?;
            Some(record(context, sample, scored.log_prob[index], values[index].clone()))
        })
    };
    Ok((0..most).flat_map(of).collect())
}
