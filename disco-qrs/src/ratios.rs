//! The importance ratios of a set of proposals, sorted once.

use disco_core::{
    Error, Estimate,
    numerics::{check_log_scores, log_add_exp, log_ratio},
};
use rayon::prelude::*;

use crate::{
    Result,
    bounds::{check_bound, check_log_bound},
    proposal_masses::ProposalMasses,
    sums::{log_running_sums, log_sums_from, not_negative},
};

/// A proposal with a `ln P` (of samples, `ln(P/q)`) by so much below the largest counts as one with P = 0: a scorer's soft
/// "minus infinity". Its weight is zero in `f64` by far, and no `ln beta` is allowed that would be as small.
pub(crate) const NEGLIGIBLE: f64 = 1e9;

/// The largest `|ln(P/q)|`: sums of weights keep six digits there.
const FARTHEST: f64 = 1e10;

/// The ratios `w = P/q` of proposals in one context, sorted, with running sums: every diagnostic of
/// quasi-rejection sampling, for any beta, follows from them.
///
/// # Numerics
/// All sums are kept as logarithms: neither ratios nor the masses of outcomes over- or underflow, whatever their
/// spread. A proposal whose weight is by `e^1e9` below the largest counts as one with P = 0.
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
    // 1 / count for samples, q(x) for outcomes.
    pub(crate) masses: ProposalMasses,
    count: usize,
    // log_below[k] = ln sum_{i <= k} g_i exp(r_i); for squares, of g_i exp(2 r_i).
    log_below: Vec<f64>,
    pub(crate) log_below_squares: Vec<f64>,
    // log_above[k] = ln sum_{i >= k} g_i exp(r_i); one entry more, -inf, at the end.
    pub(crate) log_above: Vec<f64>,
    pub(crate) features: Vec<FeatureColumn>,
    /// A number that no `ln(P/q)` exceeds, where it is known.
    pub(crate) log_bound: Option<f64>,
}

/// The values of one feature, in the order of the sorted ratios, less `centre`.
#[derive(Clone, Debug)]
pub(crate) struct FeatureColumn {
    pub(crate) name: String,
    pub(crate) centre: f64,
    pub(crate) deviations: Vec<f64>,
}

impl Ratios {
    /// From `ln P(x_i)` and `ln q(x_i)` (nats) of proposals `x_i ~ q`, in one context.
    ///
    /// # Errors
    /// No proposals, lengths that differ, NaN or `+inf`, a proposal with `ln q = -inf`, no proposal with P > 0,
    /// a `ln(P/q)` beyond 1e10 in size, and more than `2^32` proposals.
    pub fn new(log_target: &[f64], log_proposal: &[f64]) -> Result<Self> {
        Self::sort(log_target, log_proposal, false)
    }

    /// From `ln P(x)` and `ln q(x)` (nats) at every outcome `x` of an enumerated space: diagnostics are then exact
    /// sums, with standard errors of 0.
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
            let log_ratio = log_ratio(*target, *proposal);
            if log_ratio.is_finite() {
                pairs.push((log_ratio, index as u32));
            } else if !(log_ratio < 0.0 || exact && *target == f64::NEG_INFINITY) {
                let field = format!("proposal log-probability {index}");
                return Err(Error::invalid(field, proposal, "above -inf: it was drawn").into());
            }
        }
        // The mass of a proposal under P, up to a constant.
        let log_mass =
            |(log_ratio, index): &(f64, u32)| if exact { log_target[*index as usize] } else { *log_ratio };
        let largest = pairs.iter().map(log_mass).fold(f64::NEG_INFINITY, f64::max);
        pairs.retain(|pair| log_mass(pair) >= largest - NEGLIGIBLE);
        if pairs.is_empty() {
            return Err(Error::ZeroWeights { count }.into());
        }
        if let Some((log_ratio, index)) = pairs.iter().find(|(log_ratio, _)| log_ratio.abs() > FARTHEST) {
            let allowed = format!(
                "at most {FARTHEST:e} in size, so that digits are left: subtract a constant from ln P, or use a proposal \
                 that has probability where the target has"
            );
            return Err(Error::invalid(format!("ln(P/q) of proposal {index}"), log_ratio, allowed).into());
        }
        // Ties in the order of the proposals, so that nothing depends on the sort.
        pairs.par_sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let (sorted, order): (Vec<f64>, Vec<u32>) = pairs.into_iter().unzip();
        let masses = if exact {
            ProposalMasses::own(order.iter().map(|&index| log_proposal[index as usize]).collect())
        } else {
            ProposalMasses::equal(sorted.len(), count)
        };
        let (sorted_ref, masses_ref) = (&sorted, &masses);
        let terms =
            |power: f64| (0..sorted_ref.len()).map(move |k| power * sorted_ref[k] + masses_ref.log(k));
        let ((log_below, log_below_squares), log_above) = rayon::join(
            || (log_running_sums(terms(1.0)), log_running_sums(terms(2.0))),
            || log_sums_from(terms(1.0)),
        );
        Ok(Self {
            sorted,
            order,
            masses,
            count,
            log_below,
            log_below_squares,
            log_above,
            features: vec![],
            log_bound: None,
        })
    }

    /// Says that no `ln(P/q)` is above `log_bound`: at a beta from there on, diagnostics are [certified](crate::Point::certified).
    /// The error names `context`, the position of these proposals' context.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bound that is not finite; [`BoundExceeded`](crate::Error::BoundExceeded) for a ratio above it.
    pub fn with_bound(mut self, context: usize, log_bound: f64) -> Result<Self> {
        check_log_bound(log_bound)?;
        let last = self.sorted.len() - 1;
        check_bound(context, u64::from(self.order[last]), self.sorted[last], log_bound)?;
        self.log_bound = Some(log_bound);
        Ok(self)
    }

    /// The acceptance rate `Z / exp(log_bound)` that rejection sampling has at a known bound of P/q, from these proposals of `q`;
    /// its error is that of `Z`, by the delta method. It may be 0 in `f64`, where no sampler would ever accept.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bound that is not finite.
    pub fn rejection_rate(&self, log_bound: f64) -> Result<Estimate> {
        check_log_bound(log_bound)?;
        let log_z = self.log_z();
        let value = (log_z.value - log_bound).exp();
        // A rate of 0 with an error that is unknown.
        let std_error = if value == 0.0 { 0.0 } else { value * log_z.std_error };
        Ok(Estimate { value, std_error, ess: log_z.ess })
    }

    /// The number of proposals, those with P = 0 included.
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether these are all outcomes of a space, so that diagnostics have no error.
    pub fn is_exact(&self) -> bool {
        matches!(self.masses, ProposalMasses::Own { .. })
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
        let last = self.sorted.len() - 1;
        (self.sorted[last] + self.masses.log(last) - self.log_z_value()).exp()
    }

    /// The effective sample size of the weights, `(sum w)^2 / sum w^2`; infinite for exact sums.
    pub fn ess(&self) -> f64 {
        let last = self.sorted.len() - 1;
        self.effective(self.log_below[last], self.log_below_squares[last])
    }

    /// `ln Z`, `Z = E_q[P/q]`, with its error by the delta method.
    pub fn log_z(&self) -> Estimate {
        let (value, last) = (self.log_z_value(), self.sorted.len() - 1);
        let relative_variance = (self.log_below_squares[last] - 2.0 * value).exp() - 1.0;
        Estimate { value, std_error: self.error_of_mean(relative_variance), ess: self.ess() }
    }

    /// The acceptance rate `Z_beta / beta = E_q[min(1, w / beta)]` at `ln beta`.
    ///
    /// Its error shows as 0, and is unknown, where no ratio lies below beta: [`Point::below_at_most`](crate::Point)
    /// bounds the distance of the rate from 1.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `ln beta` that is not finite, or more than 700 above the largest `ln(P/q)`: the
    /// rate is then zero in `f64`.
    pub fn acceptance_rate(&self, log_beta: f64) -> Result<Estimate> {
        let log_beta = self.check_log_beta(log_beta)?;
        let (log_value, log_square) = self.log_acceptance(log_beta);
        let (value, square) = (log_value.exp(), log_square.exp());
        Ok(Estimate { value, std_error: self.error_of_mean(square - value * value), ess: self.samples() })
    }

    /// The logarithms of the means of `min(1, w / beta)` and of its square: finite.
    pub(crate) fn log_acceptance(&self, log_beta: f64) -> (f64, f64) {
        let k = self.position(log_beta);
        let above = self.masses.log_from(k);
        let (below, squares) = match k.checked_sub(1) {
            None => (f64::NEG_INFINITY, f64::NEG_INFINITY),
            Some(k) => (self.log_below[k] - log_beta, self.log_below_squares[k] - 2.0 * log_beta),
        };
        // Rounding can lift a mean of numbers up to 1 above it.
        (log_add_exp(below, above).min(0.0), log_add_exp(squares, above).min(0.0))
    }

    /// The acceptance rate's value.
    pub(crate) fn acceptance(&self, log_beta: f64) -> f64 {
        self.log_acceptance(log_beta).0.exp()
    }

    /// The total variation of `p_beta` from `p` at `ln beta`: a binary search.
    pub(crate) fn total_variation_at(&self, log_beta: f64) -> f64 {
        let (log_acceptance, _) = self.log_acceptance(log_beta);
        // p > p_beta exactly where w exceeds beta Z / Z_beta.
        let j = self.position(self.log_z_value() - log_acceptance);
        let of_target = (self.log_above[j] - self.log_z_value()).exp();
        not_negative(of_target - (self.masses.log_from(j) - log_acceptance).exp()).min(1.0)
    }

    /// `d TV / d ln beta`.
    pub(crate) fn total_variation_slope(&self, log_beta: f64) -> f64 {
        let (log_acceptance, _) = self.log_acceptance(log_beta);
        let share = |k: usize| (self.masses.log_from(k) - log_acceptance).exp();
        let j = self.position(self.log_z_value() - log_acceptance);
        -share(j) * (1.0 - share(self.position(log_beta)))
    }

    pub(crate) fn log_z_value(&self) -> f64 {
        self.log_below[self.sorted.len() - 1]
    }

    /// The number of sorted ratios up to `log_beta`.
    pub(crate) fn position(&self, log_beta: f64) -> usize {
        self.sorted.partition_point(|log_ratio| *log_ratio <= log_beta)
    }

    /// `ln` of the sum of the first `k` ratios, and the sum of their squares relative to the square of that sum.
    pub(crate) fn log_below(&self, k: usize) -> (f64, f64) {
        match k.checked_sub(1) {
            None => (f64::NEG_INFINITY, 0.0),
            Some(k) => (self.log_below[k], (self.log_below_squares[k] - 2.0 * self.log_below[k]).exp()),
        }
    }

    /// The effective sample size of weights, from the logarithms of their mean and of the mean of their squares.
    pub(crate) fn effective(&self, log_mean: f64, log_square: f64) -> f64 {
        if self.is_exact() { f64::INFINITY } else { self.samples() * (2.0 * log_mean - log_square).exp() }
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
            // Rounding can leave a variance of zero slightly negative. If it has overflowed, the error is unknown.
            let variance = if variance.is_nan() { f64::INFINITY } else { variance.max(0.0) };
            (variance / (self.count - 1) as f64).sqrt()
        }
    }
}
