//! The importance ratios of a set of proposals, sorted once.

use disco_core::{Error, Estimate, numerics::check_log_scores};
use rayon::prelude::*;

use crate::{Result, features::FeatureColumn};

/// The ratios `w = P/q` of proposals in one context, sorted, with running sums: every diagnostic of
/// quasi-rejection sampling, for any beta, follows from them.
///
/// # Numerics
/// Sums of ratios up to position k are kept in units of the k-th ratio, sums from k on in units of the
/// largest: neither over- nor underflows, whatever the spread of `ln(P/q)`.
///
/// # Cost
/// One sort, O(n log n), and 36 bytes per proposal; then an acceptance rate or total variation costs a binary
/// search.
///
/// ```
/// use disco_qrs::Ratios;
/// // Four proposals of a fair coin; P = 3 for heads and 1 for tails.
/// let ratios = Ratios::new(&[3f64.ln(), 0.0, 0.0, 3f64.ln()], &[0.5f64.ln(); 4])?;
/// assert!((ratios.log_z().value - 4f64.ln()).abs() < 1e-12);
/// // With beta = 4, heads (ratio 6) are always accepted, tails (ratio 2) half of the time.
/// assert!((ratios.acceptance_rate(4f64.ln())?.value - 0.75).abs() < 1e-12);
/// # Ok::<(), disco_qrs::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ratios {
    // Invariant: finite, ascending, at least one. Proposals with P = 0 are not here, but in `count`.
    pub(crate) sorted: Vec<f64>,
    // Invariant: order[k] is the place of sorted[k] among the proposals as given.
    pub(crate) order: Vec<u32>,
    // The mass of each sorted ratio: 1 / count for samples, q(x) for outcomes.
    masses: Masses,
    count: usize,
    // below[k] = sum_{i <= k} g_i exp(r_i - r_k), and the same of squares: g_i exp(2 (r_i - r_k)).
    below: Vec<f64>,
    below_squares: Vec<f64>,
    // above[k] = sum_{i >= k} g_i exp(r_i - r_max); one entry more, 0, at the end.
    above: Vec<f64>,
    pub(crate) features: Vec<FeatureColumn>,
}

#[derive(Clone, Debug)]
enum Masses {
    Equal(f64),
    // The masses, and their sums from k on; one entry more, 0, at the end of the sums.
    Own { masses: Vec<f64>, from: Vec<f64> },
}

impl Ratios {
    /// From `ln P(x_i)` and `ln q(x_i)` (nats) of proposals `x_i ~ q`, in one context.
    ///
    /// # Errors
    /// No proposals, lengths that differ, NaN or `+inf`, a proposal with `ln q = -inf`, no proposal with P > 0,
    /// and more than `2^32` proposals.
    pub fn new(log_target: &[f64], log_proposal: &[f64]) -> Result<Self> {
        Self::sort(log_target, log_proposal, false)
    }

    /// From `ln P(x)` and `ln q(x)` at every outcome `x` of an enumerated space: diagnostics are then exact
    /// sums, and have no error.
    ///
    /// # Errors
    /// As [`new`](Self::new), except that outcomes with `q = 0` may be there if they have P = 0 too; and
    /// [`Error::Invalid`] if the `q(x)` do not sum to 1 within 1e-6.
    pub fn exact(log_target: &[f64], log_proposal: &[f64]) -> Result<Self> {
        let mass: f64 = log_proposal.iter().map(|log_prob| log_prob.exp()).sum();
        if !((mass - 1.0).abs() <= 1e-6) {
            return Err(Error::invalid("sum of the proposal's probabilities", mass, "1, within 1e-6").into());
        }
        Self::sort(log_target, log_proposal, true)
    }

    fn sort(log_target: &[f64], log_proposal: &[f64], exact: bool) -> Result<Self> {
        let count = log_target.len();
        if count == 0 {
            return Err(Error::Empty { what: "proposals to judge".into() }.into());
        }
        if u32::try_from(count).is_err() {
            return Err(Error::invalid("number of proposals to judge", count, "at most 2^32 - 1").into());
        }
        Error::check_length("proposal log-probabilities", count, log_proposal.len())?;
        check_log_scores("target", log_target)?;
        check_log_scores("proposal", log_proposal)?;
        let mut pairs = Vec::with_capacity(count);
        for (index, (target, proposal)) in log_target.iter().zip(log_proposal).enumerate() {
            let log_ratio = target - proposal;
            if log_ratio.is_finite() {
                pairs.push((log_ratio, index as u32));
            } else if !(log_ratio < 0.0 || exact && *target == f64::NEG_INFINITY) {
                let field = format!("proposal log-probability {index}");
                return Err(Error::invalid(field, proposal, "above -inf: it was drawn").into());
            }
        }
        if pairs.is_empty() {
            return Err(Error::ZeroWeights { count }.into());
        }
        // Ties in the order of the proposals, so that nothing depends on the sort.
        pairs.par_sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let (sorted, order): (Vec<f64>, Vec<u32>) = pairs.into_iter().unzip();
        let masses = if exact {
            let masses: Vec<f64> = order.iter().map(|&index| log_proposal[index as usize].exp()).collect();
            let from = sums_from(masses.iter().copied());
            Masses::Own { masses, from }
        } else {
            Masses::Equal(1.0 / count as f64)
        };
        let mut ratios = Self {
            sorted,
            order,
            masses,
            count,
            below: vec![],
            below_squares: vec![],
            above: vec![],
            features: vec![],
        };
        ratios.sum();
        Ok(ratios)
    }

    /// The running sums.
    fn sum(&mut self) {
        let n = self.sorted.len();
        (self.below, self.below_squares) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut sum, mut squares, mut last) = (0.0, 0.0, self.sorted[0]);
        for (k, &log_ratio) in self.sorted.iter().enumerate() {
            let shrink = (last - log_ratio).exp();
            let mass = self.mass(k);
            sum = sum * shrink + mass;
            squares = squares * (shrink * shrink) + mass;
            self.below.push(sum);
            self.below_squares.push(squares);
            last = log_ratio;
        }
        let most = self.largest_log_ratio();
        self.above = sums_from(
            self.sorted.iter().enumerate().map(|(k, log_ratio)| self.mass(k) * (log_ratio - most).exp()),
        );
    }

    /// How many proposals there are, those with P = 0 included.
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether these are all outcomes of a space, so that diagnostics have no error.
    pub fn is_exact(&self) -> bool {
        matches!(self.masses, Masses::Own { .. })
    }

    /// The largest `ln(P/q)`.
    pub fn largest_log_ratio(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The smallest `ln(P/q)` where P > 0.
    pub fn smallest_log_ratio(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest weight's share of all weights, between 1/n and 1.
    pub fn largest_share(&self) -> f64 {
        let n = self.sorted.len();
        self.mass(n - 1) / self.below[n - 1]
    }

    /// The effective sample size of the weights, `(sum w)^2 / sum w^2`; infinite for exact sums.
    pub fn ess(&self) -> f64 {
        let last = self.sorted.len() - 1;
        self.samples() * self.below[last].powi(2) / self.below_squares[last]
    }

    /// `ln Z`, `Z = E_q[P/q]`, with its error by the delta method.
    pub fn log_z(&self) -> Estimate {
        let relative_variance = self.samples() / self.ess() - 1.0;
        let value = self.largest_log_ratio() + self.below[self.sorted.len() - 1].ln();
        let std_error = if self.is_exact() { 0.0 } else { self.error_of_mean(relative_variance) };
        Estimate { value, std_error, ess: self.ess() }
    }

    /// The acceptance rate `Z_beta / beta = E_q[min(1, w / beta)]` at `ln beta`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `ln beta` that is not finite, or more than 700 above the largest `ln(P/q)`: the
    /// rate is then zero in `f64`.
    pub fn acceptance_rate(&self, log_beta: f64) -> Result<Estimate> {
        let log_beta = self.check_log_beta(log_beta)?;
        let (value, square) = self.acceptance_moments(log_beta);
        Ok(Estimate { value, std_error: self.error_of_mean(square - value * value), ess: self.samples() })
    }

    /// The mean of `min(1, w / beta)` and of its square.
    pub(crate) fn acceptance_moments(&self, log_beta: f64) -> (f64, f64) {
        let k = self.position(log_beta);
        let (below, squares) = self.below_in_units(k, log_beta);
        let above = self.mass_from(k);
        (below + above, squares + above)
    }

    /// The total variation of `p_beta` from `p` at `ln beta`: a binary search.
    pub(crate) fn total_variation_at(&self, log_beta: f64) -> f64 {
        let (acceptance, _) = self.acceptance_moments(log_beta);
        // p > p_beta exactly where w exceeds beta Z / Z_beta.
        let j = self.position(self.log_z_value() - acceptance.ln());
        (self.above[j] / self.below[self.sorted.len() - 1] - self.mass_from(j) / acceptance).max(0.0)
    }

    /// `d TV / d ln beta`.
    pub(crate) fn total_variation_slope(&self, log_beta: f64) -> f64 {
        let (acceptance, _) = self.acceptance_moments(log_beta);
        let j = self.position(self.log_z_value() - acceptance.ln());
        -self.mass_from(j) / acceptance * (1.0 - self.mass_from(self.position(log_beta)) / acceptance)
    }

    pub(crate) fn log_z_value(&self) -> f64 {
        self.largest_log_ratio() + self.below[self.sorted.len() - 1].ln()
    }

    /// The number of sorted ratios up to `log_beta`.
    pub(crate) fn position(&self, log_beta: f64) -> usize {
        self.sorted.partition_point(|log_ratio| *log_ratio <= log_beta)
    }

    /// The mass of the sorted ratio `k` under q.
    pub(crate) fn mass(&self, k: usize) -> f64 {
        match &self.masses {
            Masses::Equal(mass) => *mass,
            Masses::Own { masses, .. } => masses[k],
        }
    }

    /// The mass of the sorted ratios from `k` on under q.
    pub(crate) fn mass_from(&self, k: usize) -> f64 {
        match &self.masses {
            Masses::Equal(_) => (self.sorted.len() - k) as f64 / self.count as f64,
            Masses::Own { from, .. } => from[k],
        }
    }

    /// The sums of the first `k` ratios and of their squares, in units of `exp(log_unit)` and its square.
    pub(crate) fn below_in_units(&self, k: usize, log_unit: f64) -> (f64, f64) {
        if k == 0 {
            return (0.0, 0.0);
        }
        let unit = (self.sorted[k - 1] - log_unit).exp();
        (self.below[k - 1] * unit, self.below_squares[k - 1] * (unit * unit))
    }

    /// `ln` of the sum of the first `k` ratios, and the sum of their squares relative to the square of that sum.
    pub(crate) fn log_below(&self, k: usize) -> (f64, f64) {
        if k == 0 {
            return (f64::NEG_INFINITY, 0.0);
        }
        let sum = self.below[k - 1];
        (self.sorted[k - 1] + sum.ln(), self.below_squares[k - 1] / (sum * sum))
    }

    /// The number of samples that errors are computed with: infinite for exact sums.
    pub(crate) fn samples(&self) -> f64 {
        if self.is_exact() { f64::INFINITY } else { self.count as f64 }
    }

    /// The standard error of a mean with this (biased) variance per sample.
    pub(crate) fn error_of_mean(&self, variance: f64) -> f64 {
        if self.is_exact() {
            0.0
        } else if self.count == 1 {
            f64::INFINITY
        } else {
            // Rounding can leave a variance of zero below it. One that has overflowed says nothing of the error.
            let variance = if variance.is_nan() { f64::INFINITY } else { variance.max(0.0) };
            (variance / (self.count - 1) as f64).sqrt()
        }
    }
}

/// The sums from each position on, and 0 at the end.
fn sums_from(values: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> Vec<f64> {
    let mut sums = vec![0.0; values.len() + 1];
    let mut sum = 0.0;
    for (k, value) in values.enumerate().rev() {
        sum += value;
        sums[k] = sum;
    }
    sums
}
