//! Estimates that are means over contexts, each with its own importance weights.

use disco_core::{Estimate, ImportanceWeights};
use ndarray::ArrayView1;

use crate::{ContextErrors, inference::LONELY};

/// The importance weights of each context's points.
pub(crate) struct Strata {
    /// Invariant: as many as weights, at least one, positive, sum to 1.
    shares: Vec<f64>,
    weights: Vec<ImportanceWeights>,
    /// The number of further samples of each context that have weight zero because they could not be evaluated.
    left_out: Vec<usize>,
    exact: bool,
    errors: ContextErrors,
}

/// An error smaller than this share of the largest distance between values is rounding: the values do not vary.
const ROUNDING: f64 = 1e-14;

/// A mean over contexts.
#[derive(Clone)]
pub(crate) struct Mean {
    pub(crate) estimate: Estimate,
    /// The skewness of the estimate: see [`Strata::skewness`].
    pub(crate) skewness: Option<f64>,
}

impl Strata {
    /// Weights with the shares of their contexts, which are normalised.
    pub(crate) fn new(
        shares: Vec<f64>,
        weights: Vec<ImportanceWeights>,
        left_out: Vec<usize>,
        exact: bool,
        errors: ContextErrors,
    ) -> Self {
        let sum: f64 = shares.iter().sum();
        let shares = shares.into_iter().map(|share| share / sum).collect();
        Self { shares, weights, left_out, exact, errors }
    }

    /// The stratum of one context alone: its errors are those of its own samples.
    pub(crate) fn single(&self, context: usize) -> Self {
        Self {
            shares: vec![1.0],
            weights: vec![self.weights[context].clone()],
            left_out: vec![self.left_out[context]],
            exact: self.exact,
            errors: ContextErrors::Fixed,
        }
    }

    /// The normalised weights of a context's points.
    pub(crate) fn normalised_of(&self, context: usize) -> &[f64] {
        self.weights[context].normalised()
    }

    /// The points of a context that are in the support.
    pub(crate) fn in_support(&self, context: usize) -> impl Iterator<Item = usize> + '_ {
        let weights = self.weights[context].log_weights().iter().enumerate();
        weights.filter(|(_, weight)| **weight > f64::NEG_INFINITY).map(|(point, _)| point)
    }

    /// Whether sums run over a whole space.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// The randomness that errors include.
    pub(crate) fn errors(&self) -> ContextErrors {
        self.errors
    }

    /// The share of each context.
    pub(crate) fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// The logarithms of the weights of each context's points.
    pub(crate) fn log_weights(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.iter().map(ImportanceWeights::log_weights)
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

    /// The largest Pareto shape of a context's weights, where they have a tail; `None` where sums are exact.
    pub(crate) fn largest_pareto_k(&self) -> Option<f64> {
        if self.exact {
            return None;
        }
        self.weights.iter().filter_map(|weights| weights.pareto_tail()).map(|tail| tail.k).reduce(f64::max)
    }

    /// The means of several values of each point: `row(context, point)` has one for each of `columns`.
    pub(crate) fn means<'a>(
        &self,
        columns: &[usize],
        row: impl Fn(usize, usize) -> ArrayView1<'a, f64>,
    ) -> Vec<Mean> {
        let contexts = 0..self.weights.len();
        // Sums are over distances from a value, in units of the largest: an offset costs no digits, and squares
        // stay in the range of `f64`.
        let units = self.units(columns, &row);
        let scaled = |i: usize, value: f64| (value - units[i].0) / units[i].1;
        let means: Vec<Vec<f64>> = contexts
            .clone()
            .map(|c| {
                let sums = self.sums(c, columns, &row, |i, weight, value| [weight * scaled(i, value)]);
                sums.into_iter().map(|[sum]| sum).collect()
            })
            .collect();
        let mut overall = vec![0.0; columns.len()];
        for (share, means) in self.shares.iter().zip(&means) {
            overall.iter_mut().zip(means).for_each(|(overall, mean)| *overall += share * mean);
        }
        // Of each context: the variance of its mean, and the sums of squares and cubes of the points' terms.
        let powers: Vec<Vec<[f64; 3]>> = contexts
            .map(|c| {
                let ess = self.weights[c].ess();
                let lonely = ess < LONELY;
                if lonely && means.len() == 1 {
                    return vec![[f64::INFINITY, f64::INFINITY, f64::NAN]; columns.len()];
                }
                let (centres, factor) = if lonely { (&overall, 1.0) } else { (&means[c], ess / (ess - 1.0)) };
                let sums = self.sums(c, columns, &row, |i, weight, value| {
                    let term = weight * (scaled(i, value) - centres[i]);
                    [term * term, term * term * term]
                });
                sums.into_iter().map(|[square, cube]| [factor * square, square, cube]).collect()
            })
            .collect();
        (0..columns.len())
            .map(|i| {
                let values: Vec<f64> = means.iter().map(|means| means[i]).collect();
                let of_context = || powers.iter().map(|powers| powers[i]);
                let estimate = self.combine(&values, of_context().map(|[variance, ..]| variance));
                let within = of_context().map(|[_, square, cube]| (square, cube));
                let skewness = self.skewness(&values, estimate.value, within);
                let (origin, unit) = units[i];
                let (value, std_error) = (origin + unit * estimate.value, unit * estimate.std_error);
                Mean { estimate: Estimate { value, std_error, ..estimate }, skewness }
            })
            .collect()
    }

    /// The value of each column at the point of the largest weight in the first context, and the largest distance of the
    /// others from it (1 if there is none). Where nearly all weight is at one value, the mean is near it.
    fn units<'a>(
        &self,
        columns: &[usize],
        row: &impl Fn(usize, usize) -> ArrayView1<'a, f64>,
    ) -> Vec<(f64, f64)> {
        let first = self.weights[0].normalised();
        let heaviest =
            (0..first.len()).fold(0, |best, point| if first[point] > first[best] { point } else { best });
        let origin = row(0, heaviest);
        let mut units: Vec<(f64, f64)> = columns.iter().map(|&column| (origin[column], 0.0)).collect();
        for (context, weights) in self.weights.iter().enumerate() {
            for (point, _) in weights.normalised().iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let row = row(context, point);
                for ((origin, unit), &column) in units.iter_mut().zip(columns) {
                    *unit = unit.max((row[column] - *origin).abs());
                }
            }
        }
        units.into_iter().map(|(origin, unit)| (origin, if unit > 0.0 { unit } else { 1.0 })).collect()
    }

    /// Whether sums have no error: they run over a whole space, in contexts that are all there are.
    pub(crate) fn is_certain(&self) -> bool {
        self.exact && self.errors == ContextErrors::Fixed
    }

    /// Sums of `term` over a context's points; it is given the position of the column, the weight and the value.
    fn sums<'a, const N: usize>(
        &self,
        context: usize,
        columns: &[usize],
        row: &impl Fn(usize, usize) -> ArrayView1<'a, f64>,
        term: impl Fn(usize, f64, f64) -> [f64; N],
    ) -> Vec<[f64; N]> {
        // Row by row: the values of a point lie together in memory.
        let mut sums = vec![[0.0; N]; columns.len()];
        for (point, &weight) in self.weights[context].normalised().iter().enumerate() {
            if weight > 0.0 {
                let row = row(context, point);
                for (i, (sums, &column)) in sums.iter_mut().zip(columns).enumerate() {
                    let terms = term(i, weight, row[column]);
                    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                }
            }
        }
        sums
    }

    /// The skewness of a mean over contexts: the third moment of the sum of its independent terms over their
    /// variance to the power 3/2, given the sums of squares and cubes within each context. `None` where nothing varies,
    /// and where sums are exact or leave `f64`.
    fn skewness(&self, values: &[f64], value: f64, within: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
        if self.exact {
            return None;
        }
        let (mut squares, mut cubes) = (0.0, 0.0);
        for ((share, of_context), (square, cube)) in self.shares.iter().zip(values).zip(within) {
            let between = share * (of_context - value);
            let (square, cube) = match self.errors {
                ContextErrors::Fixed => (share.powi(2) * square, share.powi(3) * cube),
                ContextErrors::Drawn => (between.powi(2), between.powi(3)),
            };
            squares += square;
            cubes += cube;
        }
        let skewness = cubes / (squares * squares.sqrt());
        (skewness.is_finite() && squares.sqrt() > ROUNDING).then_some(skewness)
    }

    /// The mean of `ln Z`, and the `ln Z` of each context.
    pub(crate) fn log_z(&self) -> (Estimate, Vec<Estimate>) {
        let by_context: Vec<Estimate> = self
            .weights
            .iter()
            .zip(&self.left_out)
            .map(|(weights, &left_out)| {
                let estimate = weights.log_z();
                let kept = weights.log_weights().len() as f64;
                if self.exact {
                    Estimate { value: estimate.value + kept.ln(), std_error: 0.0, ess: f64::INFINITY }
                } else if left_out == 0 {
                    estimate
                } else {
                    // As `ImportanceWeights::log_z` of all n weights, of which those of the samples left out are zero.
                    let n = kept + left_out as f64;
                    let variance = (n / weights.ess() - 1.0) / (n - 1.0);
                    let value = estimate.value + (kept / n).ln();
                    Estimate { value, std_error: variance.sqrt(), ess: weights.ess() }
                }
            })
            .collect();
        let values: Vec<f64> = by_context.iter().map(|estimate| estimate.value).collect();
        (self.combine(&values, by_context.iter().map(|estimate| estimate.std_error.powi(2))), by_context)
    }

    /// The mean over contexts of `KL = E[e] - ln Z`, with `e(x)` the log of the factor of the base:
    /// `log_factors(context)` gives one per point, `-inf` where it is zero.
    pub(crate) fn kl<'a>(&self, log_factors: impl Fn(usize) -> ArrayView1<'a, f64>) -> Estimate {
        self.with_log_z(-1.0, log_factors, |_, _| 1.0)
    }

    /// The mean over contexts of `E[e] + sign ln Z`, with the error of the sum: a point contributes
    /// `a W (e - E[e]) + sign (W - 1/n)`.
    ///
    /// `exponents(context)` gives `e` for each point; it does not matter where the weight is zero.
    /// `inflation(context, point)` is `a`.
    pub(crate) fn with_log_z<'a>(
        &self,
        sign: f64,
        exponents: impl Fn(usize) -> ArrayView1<'a, f64>,
        inflation: impl Fn(usize, usize) -> f64,
    ) -> Estimate {
        let (_, log_z) = self.log_z();
        let mut values = Vec::new();
        let mut variances = Vec::new();
        for (c, weights) in self.weights.iter().enumerate() {
            let left_out = self.left_out[c] as f64;
            let n = weights.log_weights().len() as f64 + left_out;
            let points = || {
                // A forbidden point has weight zero and exponent -inf: 0 * -inf is nothing here.
                weights
                    .normalised()
                    .iter()
                    .zip(exponents(c))
                    .map(|(&w, &e)| (w, if w > 0.0 { e } else { 0.0 }))
            };
            let mean: f64 = points().map(|(weight, exponent)| weight * exponent).sum();
            values.push(mean + sign * log_z[c].value);
            let term = |(point, (w, e)): (usize, (f64, f64))| {
                inflation(c, point) * w * (e - mean) + sign * (w - 1.0 / n)
            };
            let squares: f64 = points().enumerate().map(|point| term(point).powi(2)).sum();
            let squares = squares + left_out / (n * n);
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
