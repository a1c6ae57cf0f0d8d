//! The sums from which an accumulator finds the mean of one quantity, with its error.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The relative error that sums may have: far more than the rounding of any practical number of additions in `f64`.
pub(crate) const ROUNDING: f64 = 1e-6;

/// The origin moves where more than this share of the squares about it comes from its distance to the mean.
const ORIGIN_SHARE: f64 = 0.5;

/// The sums of one quantity `v`, with `u = w / e^scale` and `d = v - origin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantity {
    origin: f64,
    /// `sum u d`
    first: f64,
    /// `sum u^2 d`
    square_first: f64,
    /// `sum u^2 d^2`
    square_second: f64,
}

impl Quantity {
    /// No values yet, and the first is expected to be this.
    pub(crate) fn starting_at(origin: f64) -> Self {
        Self { origin, ..Self::default() }
    }

    /// Refuses sums that no values have, with `squares` the sum of squared weights.
    pub(crate) fn check(&self, index: usize, squares: f64) -> Result<()> {
        let refuse = |field: &str, value: f64, allowed: String| {
            Err(Error::invalid(format!("{field} of quantity {index} of an accumulator"), value, allowed))
        };
        for (field, value) in [
            ("origin", self.origin),
            ("first", self.first),
            ("square_first", self.square_first),
            ("square_second", self.square_second),
        ] {
            if !value.is_finite() {
                return refuse(field, value, "finite".into());
            }
            if squares == 0.0 && value != 0.0 {
                return refuse(field, value, "0 while no sample has weight".into());
            }
        }
        if !(self.square_second >= 0.0) {
            return refuse("square_second", self.square_second, "0 or more".into());
        }
        // Cauchy and Schwarz. Roots first: the product may overflow.
        let most = squares.sqrt() * self.square_second.sqrt();
        if !(self.square_first.abs() <= most * (1.0 + ROUNDING)) {
            return refuse("square_first", self.square_first, format!("at most {most} in size"));
        }
        Ok(())
    }

    /// Adds a value with its weight, given the sums of weights and of their squares before.
    pub(crate) fn add(&mut self, weight: f64, value: f64, sum: f64, squares: f64) {
        let distance = value - self.origin;
        let square = weight * weight;
        let (first, sum_after) = (self.first + weight * distance, sum + weight);
        // Squares about the mean are found from those about the origin. Where half of these come from the origin's
        // distance to the mean, it moves there before the value is added, whose own square would hide the others.
        let about_mean = sum_after * sum_after * (self.square_second + square * distance * distance);
        if first * first * (squares + square) > ORIGIN_SHARE * about_mean {
            *self = self.moved_to(self.origin + first / sum_after, sum, squares);
        }
        let distance = value - self.origin;
        self.first += weight * distance;
        self.square_first += square * distance;
        self.square_second += square * distance * distance;
    }

    /// Adds the sums of other values, given the sums of weights and of squared weights of both.
    pub(crate) fn merge(&mut self, other: &Self, sums: (f64, f64), squares: (f64, f64)) {
        let between = other.origin - self.origin;
        let step = (self.first + other.first + between * sums.1) / (sums.0 + sums.1);
        let mean = self.origin + step;
        *self = self.moved_to(mean, sums.0, squares.0);
        let other = other.moved_to(mean, sums.1, squares.1);
        self.first += other.first;
        self.square_first += other.square_first;
        self.square_second += other.square_second;
    }

    /// These sums about another origin: `d` becomes `d - shift`.
    fn moved_to(&self, origin: f64, sum: f64, squares: f64) -> Self {
        let shift = origin - self.origin;
        Self {
            origin,
            first: self.first - shift * sum,
            square_first: self.square_first - shift * squares,
            square_second: self.square_second - 2.0 * shift * self.square_first + shift * shift * squares,
        }
    }

    /// These sums in units of weight that are `1/factor` as large.
    pub(crate) fn rescaled(&self, factor: f64) -> Self {
        Self {
            origin: self.origin,
            first: self.first * factor,
            square_first: self.square_first * factor * factor,
            square_second: self.square_second * factor * factor,
        }
    }

    /// The mean of the values, and `sum u^2 (v - mean)^2`.
    pub(crate) fn mean_and_squares(&self, sum: f64, squares: f64) -> (f64, f64) {
        let mean = self.origin + self.first / sum;
        (mean, self.moved_to(mean, sum, squares).square_second)
    }
}
