//! From log-probabilities to gradient weights: pseudo-rewards, baselines and limits.

use disco_divergence::Divergence;

use super::{
    log_z::{ZEstimate, log_z_without_each},
    samples::ContextSamples,
};
use crate::config::{Baseline, Sampling, TunerConfig};

/// Number of parts into which a context's samples are cut for leave-one-out baselines. Up to this many samples each is
/// a part of its own, which is exactly leave-one-out; beyond, a sample costs this many derivatives, not one per pair.
const PARTS: usize = 16;

/// The rule that turns log-probabilities into the weights of the samples' score functions.
#[derive(Clone, Debug)]
pub(crate) struct WeightRule<'a> {
    divergence: &'a dyn Divergence,
    /// The baseline that is the same for all samples; `None` for the mean over other samples.
    constant: Option<f64>,
    /// `ln` of the largest importance ratio; `+inf` without a limit.
    max_log_ratio: f64,
    /// `+inf` without a limit.
    max_pseudo_reward: f64,
}

/// The weight of one sample: it contributes `weight * grad log pi` to the gradient, before the mean is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SampleWeight {
    /// `-pi/q f'(pi/p)`, the pseudo-reward of the literature; after limits.
    pub(crate) pseudo_reward: f64,
    /// `pi/q (f'(pi/p) - b)`, the weight in the gradient that is descended.
    pub(crate) weight: f64,
    /// The part of the weight's magnitude that the limits clipped.
    pub(crate) cut: f64,
}

/// The normalising constants of a group of samples; they are known before the log-probabilities under the policy are.
#[derive(Clone, Debug)]
pub(crate) struct Normaliser {
    /// `ln Z` for each sample, from others.
    pub(crate) log_z: Vec<f64>,
    /// Number of samples with a target score but without a `Z`: they are left out of the gradient.
    pub(crate) unnormalised: usize,
    /// The estimate from other samples in the same context.
    pub(crate) outside: ZEstimate,
}

impl Normaliser {
    pub(crate) fn new<X>(group: &ContextSamples<X>, outside: ZEstimate) -> Self {
        let log_z = log_z_without_each(&group.log_weights, outside);
        let lacking =
            |(score, log_z): &(&f64, &f64)| **score != f64::NEG_INFINITY && **log_z == f64::NEG_INFINITY;
        let unnormalised = group.log_target.iter().zip(&log_z).filter(lacking).count();
        Self { log_z, unnormalised, outside }
    }

    /// The constant of a group that is the whole space, each outcome once.
    pub(crate) fn exact<X>(group: &ContextSamples<X>) -> Self {
        let log_z = group.z_estimate().log_z();
        Self { log_z: vec![log_z; group.len()], unnormalised: 0, outside: ZEstimate::NONE }
    }
}

impl<'a> WeightRule<'a> {
    /// The rule that `config` asks for, with a divergence that may be the caller's own.
    pub(crate) fn new(config: &TunerConfig, divergence: &'a dyn Divergence) -> Self {
        let constant = match config.baseline {
            _ if config.sampling == Sampling::Enumerated => Some(divergence.derivative(0.0)),
            Baseline::None => Some(0.0),
            // The exact mean of the derivative.
            Baseline::ForwardKl => Some(-1.0),
            Baseline::LeaveOneOut => None,
        };
        Self {
            divergence,
            constant,
            max_log_ratio: config.max_importance_ratio.map_or(f64::INFINITY, f64::ln),
            max_pseudo_reward: config.max_pseudo_reward.unwrap_or(f64::INFINITY),
        }
    }

    /// Whether the weight of a sample depends on no other log-probability than its own.
    pub(crate) fn is_local(&self) -> bool {
        self.constant.is_some()
    }

    /// The baseline where weights are local.
    pub(crate) fn constant(&self) -> f64 {
        self.constant.unwrap_or(0.0)
    }

    /// Whether a sample's weight is zero for every log-probability under the policy.
    pub(crate) fn is_zero<X>(&self, group: &ContextSamples<X>, normaliser: &Normaliser, at: usize) -> bool {
        if group.log_target[at] == f64::NEG_INFINITY {
            self.constant == Some(self.divergence.derivative_at_infinity())
        } else {
            normaliser.log_z[at] == f64::NEG_INFINITY
        }
    }

    /// `exp(log_ratio) f'(pi/p)` with `p = P/Z`. Only called where `P = 0` or `Z` is known.
    fn derivative(&self, log_policy: f64, log_target: f64, log_z: f64, log_ratio: f64) -> f64 {
        if log_target == f64::NEG_INFINITY {
            let derivative = self.divergence.derivative_at_infinity();
            if derivative == 0.0 { 0.0 } else { log_ratio.exp() * derivative }
        } else {
            self.divergence.weighted_derivative(log_policy - log_target + log_z, log_ratio)
        }
    }

    /// The weight of sample `at` of a group, given its log-probability and the baseline.
    pub(crate) fn weight<X>(
        &self,
        group: &ContextSamples<X>,
        normaliser: &Normaliser,
        at: usize,
        log_policy: f64,
        baseline: f64,
    ) -> SampleWeight {
        let (log_target, log_z) = (group.log_target[at], normaliser.log_z[at]);
        // A policy that cannot produce the sample has no score function there.
        let unreachable = log_policy == f64::NEG_INFINITY;
        if unreachable || (log_target != f64::NEG_INFINITY && log_z == f64::NEG_INFINITY) {
            return SampleWeight::default();
        }
        let log_ratio = log_policy - group.log_proposal[at];
        let full = self.derivative(log_policy, log_target, log_z, log_ratio);
        let kept = log_ratio.min(self.max_log_ratio);
        let mut derivative =
            if kept == log_ratio { full } else { self.derivative(log_policy, log_target, log_z, kept) };
        derivative = derivative.clamp(-self.max_pseudo_reward, self.max_pseudo_reward);
        let weight = without_baseline(derivative, kept.exp(), baseline);
        let cut = if derivative == full && kept == log_ratio {
            0.0
        } else {
            (without_baseline(full, log_ratio.exp(), baseline).abs() - weight.abs()).max(0.0)
        };
        SampleWeight { pseudo_reward: -derivative, weight, cut }
    }

    /// The baseline of each sample.
    pub(crate) fn baselines<X>(
        &self,
        group: &ContextSamples<X>,
        normaliser: &Normaliser,
        log_policy: &[f64],
    ) -> Vec<f64> {
        let n = group.len();
        if let Some(constant) = self.constant {
            return vec![constant; n];
        }
        let parts = PARTS.min(n);
        let mut baselines = Vec::with_capacity(n);
        for part in 0..parts {
            let own = part * n / parts..(part + 1) * n / parts;
            let value = self.baseline_without(group, normaliser, log_policy, own.clone());
            baselines.extend(own.map(|_| value));
        }
        baselines
    }

    /// The sample of a group whose own pseudo-reward, without a baseline, is the largest in size: the cause where a baseline is
    /// not finite, which is then part of the weights of all the others.
    pub(crate) fn most_extreme<X>(
        &self,
        group: &ContextSamples<X>,
        normaliser: &Normaliser,
        log_policy: &[f64],
    ) -> usize {
        let size = |at: usize| {
            let size = self.weight(group, normaliser, at, log_policy[at], 0.0).pseudo_reward.abs();
            if size.is_nan() { f64::INFINITY } else { size }
        };
        (1..group.len()).fold(0, |most, at| if size(at) > size(most) { at } else { most })
    }

    /// `sum pi/q f'(pi/p) / sum pi/q` over the samples that are not in `own`, with a `Z` from them too. It is
    /// independent of the samples in `own`, so that subtracting it from their derivatives changes no mean.
    fn baseline_without<X>(
        &self,
        group: &ContextSamples<X>,
        normaliser: &Normaliser,
        log_policy: &[f64],
        own: std::ops::Range<usize>,
    ) -> f64 {
        let others = (0..own.start).chain(own.end..group.len());
        let log_weights: Vec<f64> = others.clone().map(|at| group.log_weights[at]).collect();
        let log_z = ZEstimate::of(&log_weights).and(normaliser.outside).log_z();
        // Differences from f'(inf) are summed: if all samples lie outside the support, the baseline is then f'(inf)
        // without rounding, and their weights are exactly zero. Adam would scale a rest of rounding up to a full step.
        let infinity = self.divergence.derivative_at_infinity();
        let origin = if infinity == f64::INFINITY { 0.0 } else { infinity };
        let (mut sum, mut ratios) = (0.0, 0.0);
        for at in others {
            let log_target = group.log_target[at];
            let log_ratio = (log_policy[at] - group.log_proposal[at]).min(self.max_log_ratio);
            if log_ratio > f64::NEG_INFINITY {
                let derivative = self.derivative(log_policy[at], log_target, log_z, log_ratio);
                let ratio = log_ratio.exp();
                sum += without_baseline(
                    derivative.clamp(-self.max_pseudo_reward, self.max_pseudo_reward),
                    ratio,
                    origin,
                );
                ratios += ratio;
            }
        }
        if ratios > 0.0 { origin + sum / ratios } else { 0.0 }
    }
}

/// `derivative - ratio * baseline`; for an infinite ratio too, if the baseline is zero.
fn without_baseline(derivative: f64, ratio: f64, baseline: f64) -> f64 {
    if baseline == 0.0 { derivative } else { derivative - ratio * baseline }
}
