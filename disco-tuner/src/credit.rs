//! From log-probabilities to gradient weights: pseudo-rewards, baselines and limits.

use disco_divergence::Divergence;

use crate::{
    Baseline,
    group::Group,
    partition::{Mass, log_z_without_each},
};

/// Leave-one-out baselines are formed for so many parts of a context's samples: exactly leave-one-out up to so
/// many samples, and `PARTS` derivatives per sample, not one per pair of samples, beyond.
const PARTS: usize = 16;

/// How samples are turned into weights of their score functions.
#[derive(Clone, Debug)]
pub(crate) struct Credit<'a> {
    pub(crate) divergence: &'a dyn Divergence,
    pub(crate) baseline: Baseline,
    /// `ln` of the largest importance ratio; `+inf` without a limit.
    pub(crate) max_log_ratio: f64,
    /// `+inf` without a limit.
    pub(crate) max_pseudo_reward: f64,
}

/// What one sample contributes to the gradient, `weight * grad log pi`, before the mean is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Term {
    /// `-pi/q f'(pi/p)`, what the literature maximises; after limits.
    pub(crate) pseudo_reward: f64,
    /// `pi/q (f'(pi/p) - b)`: what is descended.
    pub(crate) weight: f64,
    /// How much of the weight's magnitude the limits took.
    pub(crate) cut: f64,
}

/// What is known of a group before its log-probabilities under the policy are.
#[derive(Clone, Debug)]
pub(crate) struct Prior {
    /// `ln Z` for each sample, from others.
    pub(crate) log_z: Vec<f64>,
    /// How many samples have a target score but no `Z`: they are left out of the gradient.
    pub(crate) unnormalised: usize,
    /// The weights of other samples in the same context.
    pub(crate) outside: Mass,
}

impl Prior {
    pub(crate) fn new<X>(group: &Group<X>, outside: Mass) -> Self {
        let log_z = log_z_without_each(&group.log_weights, outside);
        let lacking =
            |(score, log_z): &(&f64, &f64)| **score != f64::NEG_INFINITY && **log_z == f64::NEG_INFINITY;
        let unnormalised = group.log_target.iter().zip(&log_z).filter(lacking).count();
        Self { log_z, unnormalised, outside }
    }
}

impl Credit<'_> {
    /// Whether the weight of a sample needs nothing but its own log-probability.
    pub(crate) fn is_local(&self) -> bool {
        self.baseline != Baseline::LeaveOneOut
    }

    /// The baseline where weights are local.
    pub(crate) fn constant(&self) -> f64 {
        if self.baseline == Baseline::ForwardKl { -1.0 } else { 0.0 }
    }

    /// Whether a sample's weight is zero whatever the policy gives it.
    pub(crate) fn is_zero<X>(&self, group: &Group<X>, prior: &Prior, at: usize) -> bool {
        if group.log_target[at] == f64::NEG_INFINITY {
            self.baseline == Baseline::None && self.divergence.derivative_at_infinity() == 0.0
        } else {
            prior.log_z[at] == f64::NEG_INFINITY
        }
    }

    /// `exp(log_ratio) f'(pi/p)` with `p = P/Z`. Only called where `P = 0` or `Z` is known.
    fn slope(&self, log_policy: f64, log_target: f64, log_z: f64, log_ratio: f64) -> f64 {
        if log_target == f64::NEG_INFINITY {
            let slope = self.divergence.derivative_at_infinity();
            if slope == 0.0 { 0.0 } else { log_ratio.exp() * slope }
        } else {
            self.divergence.weighted_derivative(log_policy - log_target + log_z, log_ratio)
        }
    }

    /// The term of sample `at` of a group, given its log-probability and the baseline.
    pub(crate) fn term<X>(
        &self,
        group: &Group<X>,
        prior: &Prior,
        at: usize,
        log_policy: f64,
        baseline: f64,
    ) -> Term {
        let (log_target, log_z) = (group.log_target[at], prior.log_z[at]);
        // A policy that cannot produce the sample has no score function there.
        let unreachable = log_policy == f64::NEG_INFINITY;
        if unreachable || (log_target != f64::NEG_INFINITY && log_z == f64::NEG_INFINITY) {
            return Term::default();
        }
        let log_ratio = log_policy - group.log_proposal[at];
        let full = self.slope(log_policy, log_target, log_z, log_ratio);
        let kept = log_ratio.min(self.max_log_ratio);
        let mut slope =
            if kept == log_ratio { full } else { self.slope(log_policy, log_target, log_z, kept) };
        slope = slope.clamp(-self.max_pseudo_reward, self.max_pseudo_reward);
        let weight = weigh(slope, kept.exp(), baseline);
        let cut = if slope == full && kept == log_ratio {
            0.0
        } else {
            (weigh(full, log_ratio.exp(), baseline).abs() - weight.abs()).max(0.0)
        };
        Term { pseudo_reward: -slope, weight, cut }
    }

    /// The baseline of each sample.
    pub(crate) fn baselines<X>(&self, group: &Group<X>, prior: &Prior, log_policy: &[f64]) -> Vec<f64> {
        let n = group.len();
        match self.baseline {
            Baseline::None | Baseline::ForwardKl => vec![self.constant(); n],
            Baseline::LeaveOneOut => {
                let parts = PARTS.min(n);
                let mut baselines = Vec::with_capacity(n);
                for part in 0..parts {
                    let own = part * n / parts..(part + 1) * n / parts;
                    let value = self.baseline_without(group, prior, log_policy, own.clone());
                    baselines.extend(own.map(|_| value));
                }
                baselines
            }
        }
    }

    /// `sum pi/q f'(pi/p) / sum pi/q` over the samples that are not in `own`, with a `Z` from them too: it is
    /// independent of those in `own`, so that subtracting it from theirs changes no mean.
    fn baseline_without<X>(
        &self,
        group: &Group<X>,
        prior: &Prior,
        log_policy: &[f64],
        own: std::ops::Range<usize>,
    ) -> f64 {
        let others = (0..own.start).chain(own.end..group.len());
        let log_weights: Vec<f64> = others.clone().map(|at| group.log_weights[at]).collect();
        let log_z = Mass::of(&log_weights).and(prior.outside).log_mean();
        // Sums are of differences from f'(inf), so that samples which all lie outside the support get that and
        // no rounding: their weights are then exactly zero, and nothing is left for Adam to blow up.
        let infinity = self.divergence.derivative_at_infinity();
        let origin = if infinity == f64::INFINITY { 0.0 } else { infinity };
        let (mut slopes, mut ratios) = (0.0, 0.0);
        for at in others {
            let log_target = group.log_target[at];
            let log_ratio = (log_policy[at] - group.log_proposal[at]).min(self.max_log_ratio);
            if log_ratio > f64::NEG_INFINITY {
                let slope = self.slope(log_policy[at], log_target, log_z, log_ratio);
                let ratio = log_ratio.exp();
                slopes += weigh(slope.clamp(-self.max_pseudo_reward, self.max_pseudo_reward), ratio, origin);
                ratios += ratio;
            }
        }
        if ratios > 0.0 { origin + slopes / ratios } else { 0.0 }
    }
}

/// `slope - ratio * baseline`, also for an infinite ratio where there is no baseline.
fn weigh(slope: f64, ratio: f64, baseline: f64) -> f64 {
    if baseline == 0.0 { slope } else { slope - ratio * baseline }
}
