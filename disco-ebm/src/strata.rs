//! Estimates that are means over contexts, each with its own importance weights.

use disco_core::{Estimate, ImportanceWeights};
use ndarray::ArrayView1;

use crate::{ContextErrors, inference::LONELY};

/// The importance weights of each context's points.
pub(crate) struct Strata {
    /// Invariant: as many as weights, at least one, positive, sum to 1.
    shares: Vec<f64>,
    weights: Vec<ImportanceWeights>,
    exact: bool,
    errors: ContextErrors,
}

impl Strata {
    /// Weights with the shares of their contexts, which are normalised.
    pub(crate) fn new(
        shares: Vec<f64>,
        weights: Vec<ImportanceWeights>,
        exact: bool,
        errors: ContextErrors,
    ) -> Self {
        let sum: f64 = shares.iter().sum();
        Self { shares: shares.into_iter().map(|share| share / sum).collect(), weights, exact, errors }
    }

    /// Kish's effective sample size of all points together.
    pub(crate) fn ess(&self) -> f64 {
        if self.exact {
            return f64::INFINITY;
        }
        1.0 / self.shares.iter().zip(&self.weights).map(|(share, w)| share * share / w.ess()).sum::<f64>()
    }

    /// The smallest effective sample size of a context.
    pub(crate) fn least_ess(&self) -> f64 {
        if self.exact {
            return f64::INFINITY;
        }
        self.weights.iter().map(ImportanceWeights::ess).fold(f64::INFINITY, f64::min)
    }

    /// The largest share of one point in all weight.
    pub(crate) fn largest_share(&self) -> f64 {
        self.shares.iter().zip(&self.weights).map(|(share, w)| share * w.largest_share()).fold(0.0, f64::max)
    }

    /// The mean of a value of each point: `columns(context)` gives one per point.
    pub(crate) fn mean<'a>(&self, columns: impl Fn(usize) -> ArrayView1<'a, f64>) -> Estimate {
        let means: Vec<f64> = self
            .weights
            .iter()
            .enumerate()
            .map(|(c, weights)| weights.normalised().iter().zip(columns(c)).map(|(w, v)| w * v).sum())
            .collect();
        let mean: f64 = self.shares.iter().zip(&means).map(|(share, mean)| share * mean).sum();
        let variances = self.weights.iter().enumerate().map(|(c, weights)| {
            let lonely = weights.ess() < LONELY;
            if lonely && means.len() == 1 {
                return f64::INFINITY;
            }
            let (centre, factor) =
                if lonely { (mean, 1.0) } else { (means[c], weights.ess() / (weights.ess() - 1.0)) };
            let points = weights.normalised().iter().zip(columns(c));
            factor * points.map(|(weight, value)| (weight * (value - centre)).powi(2)).sum::<f64>()
        });
        self.combine(&means, variances)
    }

    /// The mean of `ln Z`, and that of each context.
    pub(crate) fn log_z(&self) -> (Estimate, Vec<Estimate>) {
        let by_context: Vec<Estimate> = self
            .weights
            .iter()
            .map(|weights| {
                let estimate = weights.log_z();
                if self.exact {
                    let value = estimate.value + (weights.log_weights().len() as f64).ln();
                    Estimate { value, std_error: 0.0, ess: f64::INFINITY }
                } else {
                    estimate
                }
            })
            .collect();
        let values: Vec<f64> = by_context.iter().map(|estimate| estimate.value).collect();
        (self.combine(&values, by_context.iter().map(|estimate| estimate.std_error.powi(2))), by_context)
    }

    /// The mean over contexts of `KL = E[e] - ln Z`, with `e(x)` the log of what the base was multiplied with:
    /// `log_factors(context)` gives one per point, `-inf` where it is zero.
    ///
    /// The error is that of the difference: a point contributes `W (e - E[e]) - (W - 1/n)`.
    pub(crate) fn kl<'a>(&self, log_factors: impl Fn(usize) -> ArrayView1<'a, f64>) -> Estimate {
        let (_, log_z) = self.log_z();
        let mut values = Vec::new();
        let mut variances = Vec::new();
        for (c, weights) in self.weights.iter().enumerate() {
            let n = weights.log_weights().len() as f64;
            let points = || {
                // A point of weight zero may have a factor of zero: 0 * -inf is nothing here.
                weights
                    .normalised()
                    .iter()
                    .zip(log_factors(c))
                    .map(|(&w, &e)| (w, if w > 0.0 { e } else { 0.0 }))
            };
            let mean: f64 = points().map(|(weight, factor)| weight * factor).sum();
            values.push(mean - log_z[c].value);
            let squares: f64 = points().map(|(w, e)| (w * (e - mean) - (w - 1.0 / n)).powi(2)).sum();
            variances.push(if n > 1.0 { squares * n / (n - 1.0) } else { f64::INFINITY });
        }
        self.combine(&values, variances.into_iter())
    }

    fn combine(&self, values: &[f64], variances: impl Iterator<Item = f64>) -> Estimate {
        let value: f64 = self.shares.iter().zip(values).map(|(share, value)| share * value).sum();
        let contexts = values.len() as f64;
        let variance: f64 = match self.errors {
            ContextErrors::Fixed if self.exact => 0.0,
            ContextErrors::Fixed => {
                self.shares.iter().zip(variances).map(|(share, variance)| share * share * variance).sum()
            }
            ContextErrors::Drawn if values.len() < 2 => f64::INFINITY,
            ContextErrors::Drawn => {
                let squares = self.shares.iter().zip(values).map(|(share, v)| (share * (v - value)).powi(2));
                squares.sum::<f64>() * contexts / (contexts - 1.0)
            }
        };
        Estimate { value, std_error: variance.sqrt(), ess: self.ess() }
    }
}
