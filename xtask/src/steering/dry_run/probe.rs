//! The probe: seconds and memory of a few samples that are drawn, scored and differentiated.

use std::{hash::Hash, time::Instant};

use disco_core::{Distribution, Scorer};
#[cfg(feature = "lm")]
use disco_tuner::{BatchItem, Policy};

use super::super::{
    BaseModel, Drawn, Origin, RunPlan,
    scored::{feature_values, log_scores},
};
use crate::{
    Progress, ProgressTarget, Result,
    contexts::TextContext,
    features::TextSample,
    process::{forget_peak, peak_bytes},
    spec::Spec,
};

/// The numbers of samples that are tried one after the other: a run works on no more at once. The last is tried twice, since memory
/// that is used for the first time takes longer.
const SIZES: [usize; 5] = [8, 32, 128, 256, 256];
/// A size is tried if the one before took at most this many seconds: the next takes up to four times as long.
const PATIENCE: f64 = 1.0;

/// Measurements of a few samples of the base, and of a policy if there is one. Seconds are of one sample.
#[derive(Debug)]
pub(super) struct Probe<X> {
    contexts: Vec<TextContext>,
    /// The origin of samples in these contexts.
    origin: Origin<X>,
    drawn: Vec<Drawn<X>>,
    pub(super) draw: f64,
    /// Seconds of scoring by the base.
    pub(super) score: f64,
    /// Seconds of computing all features.
    pub(super) features: f64,
    /// Seconds of drawing from the policy, and of its gradient.
    pub(super) policy: Option<[f64; 2]>,
    /// The mean number of tokens.
    pub(super) tokens: f64,
    /// Bytes of memory before anything was drawn.
    pub(super) loaded: Option<u64>,
    /// The largest memory while this many samples were drawn and scored.
    pub(super) sampling: Vec<(usize, u64)>,
    /// The largest memory while this many samples were differentiated together.
    pub(super) gradient: Vec<(usize, u64)>,
}

impl<X: TextSample + Eq + Hash> Probe<X> {
    /// Draws samples of the base, more and more of them until they take a second or are as many as a run draws at once.
    ///
    /// # Errors
    /// The errors of the model and the features.
    pub(super) fn of_base(
        plan: &RunPlan<'_>,
        model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    ) -> Result<Self> {
        let BaseModel { base, proposal, origin } = model;
        let mut probe = Self {
            contexts: Vec::new(),
            origin: Origin::Base,
            drawn: Vec::new(),
            draw: 0.0,
            score: 0.0,
            features: 0.0,
            policy: None,
            tokens: 0.0,
            loaded: peak_since(|| Ok(()))?.1,
            sampling: Vec::new(),
            gradient: Vec::new(),
        };
        for size in SIZES {
            probe.choose(plan, origin, size);
            let (taken, peak) = peak_since(|| probe.draw_and_score(plan, base, proposal, size))?;
            probe.sampling.extend(peak.map(|peak| (probe.samples(), peak)));
            if taken > PATIENCE {
                break;
            }
        }
        let start = Instant::now();
        feature_values(&plan.features, &probe.contexts, &probe.drawn)?;
        probe.features = start.elapsed().as_secs_f64() / probe.samples() as f64;
        let tokens: usize = probe.each().map(|(_, sample)| sample.token_count()).sum();
        probe.tokens = tokens as f64 / probe.samples() as f64;
        Ok(probe)
    }

    /// Chooses as many contexts as a run would draw `size` samples in at once, at equal distances.
    fn choose(&mut self, plan: &RunPlan<'_>, origin: &Origin<X>, size: usize) {
        let all = &plan.spec.contexts.items;
        let in_each = match origin {
            Origin::Listed(spaces) => {
                spaces.iter().map(|space| space.outcomes().len()).sum::<usize>() / all.len()
            }
            Origin::Base | Origin::Proposal => plan.spec.per_context(plan.spec.fit.samples),
        };
        let count = (size / in_each.max(1)).clamp(1, all.len());
        let chosen: Vec<usize> = (0..count).map(|index| index * all.len() / count).collect();
        self.contexts = chosen.iter().map(|&index| all[index].clone()).collect();
        self.origin = match origin {
            Origin::Listed(spaces) => {
                Origin::Listed(chosen.iter().map(|&index| spaces[index].clone()).collect())
            }
            Origin::Proposal => Origin::Proposal,
            Origin::Base => Origin::Base,
        };
    }

    /// Draws and scores; returns the seconds of both.
    fn draw_and_score(
        &mut self,
        plan: &RunPlan<'_>,
        base: &impl Scorer<TextContext, X>,
        proposal: &impl Distribution<TextContext, X>,
        size: usize,
    ) -> Result<f64> {
        let start = Instant::now();
        self.drawn = self.samples_of(plan, proposal, size)?;
        let drawn = start.elapsed().as_secs_f64();
        log_scores(base, &self.contexts, &self.drawn, &mut hidden())?;
        let all = start.elapsed().as_secs_f64();
        let count = self.samples() as f64;
        (self.draw, self.score) = (drawn / count, (all - drawn) / count);
        Ok(all)
    }

    fn samples_of(
        &self,
        plan: &RunPlan<'_>,
        distribution: &impl Distribution<TextContext, X>,
        size: usize,
    ) -> Result<Vec<Drawn<X>>> {
        let numbers = 0..size.div_ceil(self.contexts.len());
        self.origin.samples(distribution, &self.contexts, numbers, plan.seeds.base, &mut hidden())
    }

    /// Draws from a policy that starts as the base, and accumulates its gradient without making a step.
    ///
    /// # Errors
    /// The errors of the policy.
    #[cfg(feature = "lm")]
    pub(super) fn add_policy(
        &mut self,
        plan: &RunPlan<'_>,
        policy: &mut impl Policy<TextContext, X>,
    ) -> Result<()> {
        let start = Instant::now();
        let drawn = self.samples_of(plan, &policy.freeze()?, self.samples())?;
        let draw = start.elapsed().as_secs_f64() / self.samples() as f64;
        drop(drawn);
        let items: Vec<BatchItem<'_, TextContext, X>> =
            self.each().map(|(context, sample)| BatchItem { context, sample }).collect();
        let most = items.len().min(self.at_once(plan.spec));
        let (mut gradient, mut peaks) = (0.0, Vec::new());
        for size in SIZES.into_iter().filter(|size| *size < most).chain([most, most]) {
            let mut weigh = |log_probs: &[f64]| Ok(vec![1.0 / size as f64; log_probs.len()]);
            let start = Instant::now();
            let ((), peak) = peak_since(|| Ok(policy.accumulate(&items[..size], &mut weigh)?))?;
            let taken = start.elapsed().as_secs_f64();
            policy.clear();
            gradient = taken / size as f64;
            peaks.extend(peak.map(|peak| (size, peak)));
            if taken > PATIENCE {
                break;
            }
        }
        (self.policy, self.gradient) = (Some([draw, gradient]), peaks);
        Ok(())
    }
}

impl<X: TextSample> Probe<X> {
    /// The number of samples in it.
    pub(super) fn samples(&self) -> usize {
        self.drawn.iter().map(|drawn| drawn.samples.len()).sum()
    }

    /// The number of texts of each context, where they are listed.
    pub(super) fn listed(&self) -> Option<usize> {
        matches!(self.origin, Origin::Listed(_)).then(|| self.samples().div_ceil(self.contexts.len()))
    }

    /// Whether the base scores the samples of a proposal.
    pub(super) fn is_of_proposal(&self) -> bool {
        matches!(self.origin, Origin::Proposal)
    }

    /// The number of samples that a micro-batch of the run has.
    pub(super) fn at_once(&self, spec: &Spec) -> usize {
        let of_step = match self.listed() {
            Some(listed) => listed * spec.tune.contexts_per_step,
            None => spec.tune.samples_per_step,
        };
        let by_tokens =
            spec.tune.micro_batch_tokens.map(|tokens| (tokens as f64 / self.tokens.max(1.0)) as usize);
        of_step.min(spec.tune.micro_batch).min(by_tokens.unwrap_or(usize::MAX)).max(1)
    }

    /// The bytes that a sample takes in the record and the files: its text and token ids, and the values of all features.
    pub(super) fn sample_bytes(&self, spec: &Spec) -> f64 {
        const NUMBER: f64 = 24.0;
        const OTHERS: f64 = 300.0;
        let texts: usize = self.each().map(|(_, sample)| sample.text().len()).sum();
        let text = texts as f64 / self.samples() as f64;
        2.0 * text + NUMBER * (self.tokens + spec.measures().len() as f64) + OTHERS
    }

    fn each(&self) -> impl Iterator<Item = (&TextContext, &X)> {
        let pairs = self.contexts.iter().zip(&self.drawn);
        pairs.flat_map(|(context, drawn)| drawn.samples.iter().map(move |sample| (context, sample)))
    }
}

fn hidden() -> Progress {
    Progress::new(ProgressTarget::Hidden, "", "", 0)
}

/// The result of some work, and the largest memory while it was done; `None` where the system does not report it.
fn peak_since<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Option<u64>)> {
    forget_peak();
    let result = work()?;
    Ok((result, peak_bytes()))
}
