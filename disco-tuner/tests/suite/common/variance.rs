//! The variance of a gradient's terms `(r - b) s`, with `r = f'(pi/p)` and `s = grad log pi`, by enumeration.

use disco_divergence::Divergence;

/// The moments of one context under its policy, from which the variance with any baseline follows.
#[derive(Clone, Debug)]
pub(crate) struct Exact {
    probabilities: Vec<f64>,
    rewards: Vec<f64>,
    /// `E[r s]`, which no baseline changes.
    pub(crate) gradient: Vec<f64>,
    /// `E[r]`, which leave-one-out baselines estimate.
    pub(crate) mean: f64,
    /// `Var[r]`.
    spread: f64,
    /// `E[r^2 |s|^2]`, `E[r |s|^2]` and `E[|s|^2]`.
    moments: [f64; 3],
}

impl Exact {
    /// Both lists are normalised; the target may be `-inf` somewhere.
    pub(crate) fn of(divergence: &dyn Divergence, log_policy: &[f64], log_target: &[f64]) -> Self {
        let probabilities: Vec<f64> = log_policy.iter().map(|value| value.exp()).collect();
        let slope = |(log_policy, log_target): (&f64, &f64)| match *log_target {
            f64::NEG_INFINITY => divergence.derivative_at_infinity(),
            log_target => divergence.derivative(log_policy - log_target),
        };
        let rewards: Vec<f64> = log_policy.iter().zip(log_target).map(slope).collect();
        let square: f64 = probabilities.iter().map(|pi| pi * pi).sum();
        let mean = |value: &dyn Fn(usize) -> f64| -> f64 {
            probabilities.iter().enumerate().map(|(at, pi)| pi * value(at)).sum()
        };
        // s = e_x - pi.
        let norm = |at: usize| 1.0 - 2.0 * probabilities[at] + square;
        let moment = |power: i32| mean(&|at| rewards[at].powi(power) * norm(at));
        let (moments, average) = ([moment(2), moment(1), moment(0)], mean(&|at| rewards[at]));
        Self {
            spread: mean(&|at| (rewards[at] - average).powi(2)),
            gradient: rewards.iter().zip(&probabilities).map(|(r, pi)| pi * (r - average)).collect(),
            mean: average,
            moments,
            rewards,
            probabilities,
        }
    }

    fn gradient_norm(&self) -> f64 {
        self.gradient.iter().map(|value| value * value).sum()
    }

    /// The variance of one term, summed over the parameters: `E[r^2 |s|^2] - |E[r s]|^2 + b (b - 2 b*) E[|s|^2]`.
    pub(crate) fn variance(&self, baseline: f64) -> f64 {
        let [second, _, norm] = self.moments;
        second - self.gradient_norm() + baseline * (baseline - 2.0 * self.best()) * norm
    }

    /// The variance as `E[|(r - b) s - E[r s]|^2]`, parameter by parameter.
    pub(crate) fn variance_by_parameter(&self, baseline: f64) -> f64 {
        let outcomes = 0..self.rewards.len();
        let of = |x: usize, at: usize| {
            let score = f64::from(u8::from(x == at)) - self.probabilities[at];
            ((self.rewards[x] - baseline) * score - self.gradient[at]).powi(2)
        };
        let term = |x: usize| self.probabilities[x] * outcomes.clone().map(|at| of(x, at)).sum::<f64>();
        outcomes.clone().map(term).sum()
    }

    /// `b* = E[r |s|^2] / E[|s|^2]`, the constant with which the variance is least.
    pub(crate) fn best(&self) -> f64 {
        self.moments[1] / self.moments[2]
    }

    /// The variance of the mean of `n` terms, times `n`, where the baseline of each is the mean of the `r` of all but
    /// its own sixteenth: the variance with the exact mean, and the part that estimating it from `m = 15/16 n` samples adds.
    pub(crate) fn leave_one_out(&self, n: usize) -> f64 {
        assert!(n.is_multiple_of(16), "the tuner cuts a context's samples into sixteen parts");
        let others = (n - n / 16) as f64;
        self.variance(self.mean) + (self.spread * self.moments[2] + self.gradient_norm()) / others
    }
}
