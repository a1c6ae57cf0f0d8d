//! Importance estimates from a stream of samples, in constant memory.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Estimate, Result,
    quantity::{Quantity, ROUNDING},
    weights::{log_z_estimate, mean_estimate},
};

/// Accumulates importance-weighted samples: `ln Z` and the means of any number of quantities, with their
/// errors, from sums alone.
///
/// The estimates agree with those of [`ImportanceWeights`](crate::ImportanceWeights) up to rounding. Two accumulators can be
/// [merged](Self::merge), also if their samples come from different proposals: each weight is relative to the proposal that
/// drew the sample.
///
/// # Numerics
/// Sums are kept relative to the largest weight so far, and values relative to an origin that follows the mean
/// where it moves away, so that neither large log-weights nor large means cost digits, whatever comes first.
///
/// ```
/// use disco_core::ImportanceAccumulator;
/// let mut accumulator = ImportanceAccumulator::new(1);
/// for (log_weight, value) in [(-1000.0, 1.0), (-1000.0, 2.0), (f64::NEG_INFINITY, 9.0)] {
///     accumulator.add(log_weight, &[value])?;
/// }
/// assert_eq!(accumulator.mean(0)?.value, 1.5);
/// assert!((accumulator.log_z()?.value - (-1000.0 + (2f64 / 3.0).ln())).abs() < 1e-12);
/// # Ok::<(), disco_core::Error>(())
/// ```
///
/// Sums that cannot have come from samples are refused when they are read by serde.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ImportanceAccumulator {
    count: usize,
    // Invariant: the largest log-weight, finite; `None` while all weights are zero: then all sums are 0.
    scale: Option<f64>,
    /// `sum w / e^scale`
    sum: f64,
    /// `sum (w / e^scale)^2`
    squares: f64,
    quantities: Vec<Quantity>,
}

/// The stored form, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    count: usize,
    scale: Option<f64>,
    sum: f64,
    squares: f64,
    quantities: Vec<Quantity>,
}

impl TryFrom<Stored> for ImportanceAccumulator {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { count, scale, sum, squares, quantities } = stored;
        let (least, most) = if scale.is_some() { (1.0, count as f64) } else { (0.0, 0.0) };
        let within = |value: f64, low: f64, high: f64| {
            value >= low * (1.0 - ROUNDING) && value <= high * (1.0 + ROUNDING)
        };
        if let Some(scale) = scale.filter(|scale| !scale.is_finite()) {
            return Err(Error::invalid("scale of an accumulator", scale, "finite, or `null`"));
        }
        if !within(sum, least, most) {
            let allowed = format!("{least} to {most}, in units of the largest of {count} weights");
            return Err(Error::invalid("sum of an accumulator", sum, allowed));
        }
        if !within(squares, least, sum) {
            let allowed = format!("{least} to {sum}, in units of the largest weight");
            return Err(Error::invalid("sum of squares of an accumulator", squares, allowed));
        }
        for (index, quantity) in quantities.iter().enumerate() {
            quantity.check(index, squares)?;
        }
        Ok(Self { count, scale, sum, squares, quantities })
    }
}

impl ImportanceAccumulator {
    /// No samples yet, of `quantities` values each.
    pub fn new(quantities: usize) -> Self {
        Self {
            count: 0,
            scale: None,
            sum: 0.0,
            squares: 0.0,
            quantities: vec![Quantity::default(); quantities],
        }
    }

    /// Adds one sample: its log-weight `ln P(x) - ln q(x)` and the value of each quantity.
    ///
    /// A sample of weight zero (log-weight `-inf`) counts as a sample; its values are ignored.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a log-weight that is NaN or `+inf`, and for a value that is not finite
    /// in a sample of weight above zero; its `index` is the number of samples added before. The accumulator is then
    /// unchanged.
    pub fn add(&mut self, log_weight: f64, values: &[f64]) -> Result<()> {
        Error::check_length("values, one per quantity", self.quantities.len(), values.len())?;
        if log_weight.is_nan() || log_weight == f64::INFINITY {
            let by = "importance weight".into();
            return Err(Error::NotANumber { by, index: self.count, value: log_weight });
        }
        if log_weight == f64::NEG_INFINITY {
            self.count += 1;
            return Ok(());
        }
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotANumber { by: "value to average".into(), index: self.count, value });
        }
        self.count += 1;
        match self.scale {
            None => {
                self.scale = Some(log_weight);
                for (quantity, value) in self.quantities.iter_mut().zip(values) {
                    *quantity = Quantity::starting_at(*value);
                }
            }
            Some(scale) if log_weight > scale => self.rescale(log_weight),
            Some(_) => {}
        }
        let weight = self.scale.map_or(1.0, |scale| (log_weight - scale).exp());
        for (quantity, value) in self.quantities.iter_mut().zip(values) {
            quantity.add(weight, *value, self.sum, self.squares);
        }
        self.sum += weight;
        self.squares += weight * weight;
        Ok(())
    }

    /// Adds the samples of another accumulator of the same quantities.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of quantities.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        Error::check_length("quantities", self.quantities.len(), other.quantities.len())?;
        let count = self.count + other.count;
        match (self.scale, other.scale) {
            (_, None) => {}
            (None, Some(_)) => *self = other.clone(),
            (Some(mine), Some(theirs)) => {
                let mut other = other.clone();
                self.rescale(mine.max(theirs));
                other.rescale(mine.max(theirs));
                for (mine, theirs) in self.quantities.iter_mut().zip(&other.quantities) {
                    mine.merge(theirs, (self.sum, other.sum), (self.squares, other.squares));
                }
                self.sum += other.sum;
                self.squares += other.squares;
            }
        }
        self.count = count;
        Ok(())
    }

    fn rescale(&mut self, scale: f64) {
        let factor = self.scale.map_or(1.0, |old| (old - scale).exp());
        self.sum *= factor;
        self.squares *= factor * factor;
        self.quantities.iter_mut().for_each(|quantity| *quantity = quantity.rescaled(factor));
        self.scale = Some(scale);
    }

    /// How many samples were added.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many quantities are averaged.
    pub fn quantities(&self) -> usize {
        self.quantities.len()
    }

    /// The scale, if there is a weight above zero.
    fn weighted(&self) -> Result<f64> {
        match self.scale {
            Some(scale) => Ok(scale),
            None if self.count == 0 => Err(Error::Empty { what: "importance weights".into() }),
            None => Err(Error::ZeroWeights { count: self.count }),
        }
    }

    /// The effective sample size `(sum w)^2 / sum w^2`.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::ZeroWeights`].
    pub fn ess(&self) -> Result<f64> {
        self.weighted()?;
        Ok(self.sum * self.sum / self.squares)
    }

    /// The largest weight's share of the sum.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::ZeroWeights`].
    pub fn largest_share(&self) -> Result<f64> {
        self.weighted()?;
        Ok(1.0 / self.sum)
    }

    /// `ln Z`, with Z the mean weight.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::ZeroWeights`].
    pub fn log_z(&self) -> Result<Estimate> {
        let scale = self.weighted()?;
        Ok(log_z_estimate(self.count, scale + self.sum.ln(), self.ess()?))
    }

    /// The self-normalised mean of quantity number `quantity` (from 0), with its error, as
    /// [`ImportanceWeights::mean`](crate::ImportanceWeights::mean).
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::ZeroWeights`]; [`Error::Invalid`] for an unknown quantity, and
    /// where the sum of the values is beyond the range of `f64`.
    pub fn mean(&self, quantity: usize) -> Result<Estimate> {
        self.weighted()?;
        let Some(sums) = self.quantities.get(quantity) else {
            let allowed = format!("below {}", self.quantities.len());
            return Err(Error::invalid("quantity", quantity, allowed));
        };
        let (mean, squares) = sums.mean_and_squares(self.sum, self.squares);
        if !mean.is_finite() {
            let field = format!("mean of quantity {quantity}");
            return Err(Error::invalid(field, mean, "finite: the values are too large"));
        }
        Ok(mean_estimate(self.count, mean, squares / self.sum.powi(2), self.ess()?))
    }
}
