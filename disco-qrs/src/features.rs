//! Features of the proposals, and their means under `p_beta`.

use disco_core::{Error, Estimate};

use crate::{Ratios, Result, ratios::FeatureColumn, sums::Scaled};

impl Ratios {
    /// Adds a feature, one finite value per proposal in the order in which they were given: its mean under
    /// `p_beta` is then part of every diagnostic.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a value that is not finite where P > 0; [`Error::Invalid`]
    /// for a name that is taken, or values whose squares overflow.
    pub fn with_feature(mut self, name: impl Into<String>, values: &[f64]) -> Result<Self> {
        let name = name.into();
        Error::check_length("values of a feature", self.len(), values.len())?;
        if self.features.iter().any(|feature| feature.name == name) {
            return Err(Error::invalid("name of a feature", name, "one that is not taken").into());
        }
        let mut deviations: Vec<f64> = self.order.iter().map(|&index| values[index as usize]).collect();
        if let Some(k) = deviations.iter().position(|value| !value.is_finite()) {
            let (index, value) = (self.order[k] as usize, deviations[k]);
            return Err(Error::NotANumber { by: format!("feature `{name}`"), index, value }.into());
        }
        // The variance is a difference of second moments: centred, it loses no digits.
        let centre = deviations.iter().sum::<f64>() / deviations.len() as f64;
        deviations.iter_mut().for_each(|value| *value -= centre);
        if !(centre.is_finite() && deviations.iter().all(|deviation| (deviation * deviation).is_finite())) {
            let allowed = "values whose squares are finite numbers";
            return Err(Error::invalid(format!("feature `{name}`"), "too large", allowed).into());
        }
        self.features.push(FeatureColumn { name, centre, deviations });
        Ok(self)
    }

    /// The mean of a feature under `p_beta` at each beta: one pass up and one pass down.
    pub(crate) fn feature_means(&self, feature: &FeatureColumn, log_betas: &[f64]) -> Vec<Estimate> {
        let mut positions: Vec<(usize, usize)> =
            log_betas.iter().enumerate().map(|(i, log_beta)| (self.position(*log_beta), i)).collect();
        positions.sort_unstable();
        // Up to position k: sums of w y, w^2 y and w^2 y^2, with w = g P/q.
        let mut below = vec![Scaled::new([1, 2, 2]); log_betas.len()];
        let (mut sums, mut next) = (Scaled::new([1, 2, 2]), positions.iter().peekable());
        for k in 0..=self.sorted.len() {
            while let Some((_, i)) = next.next_if(|(position, _)| *position == k) {
                below[*i] = sums;
            }
            if next.peek().is_none() {
                break;
            }
            let value = feature.deviations[k];
            sums.add(self.sorted[k] + self.masses.log(k), [value, value, value * value]);
        }
        // From position k on: sums of g y and g y^2.
        let mut above = vec![Scaled::new([1, 1]); log_betas.len()];
        let (mut sums, mut next) = (Scaled::new([1, 1]), positions.iter().rev().peekable());
        for k in (0..=self.sorted.len()).rev() {
            while let Some((_, i)) = next.next_if(|(position, _)| *position == k) {
                above[*i] = sums;
            }
            if next.peek().is_none() {
                break;
            }
            let value = feature.deviations[k - 1];
            sums.add(self.masses.log(k - 1), [value, value * value]);
        }
        let means = log_betas.iter().zip(below.iter().zip(above)).map(|(&log_beta, (below, above))| {
            let (log_acceptance, log_square) = self.log_acceptance(log_beta);
            let unit_below = (below.unit - log_beta - log_acceptance).exp();
            let unit_above = (above.unit - log_acceptance).exp();
            let mean = below.sums[0] * unit_below + above.sums[0] * unit_above;
            // sum g (min(w, beta) / beta)^2 (y - mean)^2 over the square of the acceptance rate. Samples have one
            // mass, which the squares contain twice; exact sums have no error.
            let (unit_squares, unit_above) = (
                (2.0 * (below.unit - log_beta - log_acceptance) - self.masses.log(0)).exp(),
                (above.unit - 2.0 * log_acceptance).exp(),
            );
            let squares = (below.sums[2] - 2.0 * mean * below.sums[1]) * unit_squares
                + (above.sums[1] - 2.0 * mean * above.sums[0]) * unit_above
                + mean * mean * (log_square - 2.0 * log_acceptance).exp();
            Estimate {
                value: feature.centre + mean,
                std_error: self.error_of_mean(squares),
                ess: self.effective(log_acceptance, log_square),
            }
        });
        means.collect()
    }
}
