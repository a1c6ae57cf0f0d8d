//! Estimates of a context's normalising constant `Z`, never from the sample they are applied to.

use disco_core::numerics::{log_add_exp, log_sum_exp};
use serde::{Deserialize, Serialize};

/// A running estimate of `Z`, the mean of importance weights `P/q`: the logarithm of their sum, and their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ZEstimate {
    pub(crate) log_sum: f64,
    pub(crate) count: u64,
}

/// Log-scores in JSON, which has no `-inf`: `null` stands for it.
pub(crate) mod or_minus_infinity {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(scores: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let finite = |score: &f64| (*score != f64::NEG_INFINITY).then_some(*score);
        scores.iter().map(finite).collect::<Vec<_>>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let scores = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)).collect())
    }
}

/// An estimate in JSON: its log-sum as above, and its count.
impl Serialize for ZEstimate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let log_sum = (self.log_sum != f64::NEG_INFINITY).then_some(self.log_sum);
        (log_sum, self.count).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ZEstimate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (log_sum, count) = <(Option<f64>, u64)>::deserialize(deserializer)?;
        Ok(Self { log_sum: log_sum.unwrap_or(f64::NEG_INFINITY), count })
    }
}

impl ZEstimate {
    /// No weights.
    pub(crate) const NONE: Self = Self { log_sum: f64::NEG_INFINITY, count: 0 };

    /// The constant of a normalised target: `Z` is 1, whatever samples are added.
    pub(crate) const NORMALISED: Self = Self { log_sum: 0.0, count: u64::MAX };

    /// The estimate from some log-weights.
    pub(crate) fn of(log_weights: &[f64]) -> Self {
        Self { log_sum: log_sum_exp(log_weights), count: log_weights.len() as u64 }
    }

    /// The estimate from the samples of both.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::NORMALISED || other == Self::NORMALISED {
            return Self::NORMALISED;
        }
        Self { log_sum: log_add_exp(self.log_sum, other.log_sum), count: self.count + other.count }
    }

    /// `ln Z`; `-inf` if no sample has a weight above zero.
    pub(crate) fn log_z(self) -> f64 {
        match self {
            Self::NORMALISED => 0.0,
            Self { count: 0, .. } => f64::NEG_INFINITY,
            Self { log_sum, count } => log_sum - (count as f64).ln(),
        }
    }
}

/// `ln Z` for each sample, from the others and `outside`.
///
/// The sums of the weights before and after a sample are added. Subtracting its own weight from the total would leave
/// nothing but rounding where that weight is most of the total.
pub(crate) fn log_z_without_each(log_weights: &[f64], outside: ZEstimate) -> Vec<f64> {
    if outside == ZEstimate::NORMALISED {
        return vec![0.0; log_weights.len()];
    }
    let mut after = vec![f64::NEG_INFINITY; log_weights.len()];
    for at in (0..log_weights.len().saturating_sub(1)).rev() {
        after[at] = log_add_exp(after[at + 1], log_weights[at + 1]);
    }
    let count = log_weights.len() as u64 - u64::from(!log_weights.is_empty());
    let mut before = outside.log_sum;
    let mut without = Vec::with_capacity(log_weights.len());
    for (&log_weight, &after) in log_weights.iter().zip(&after) {
        let others = ZEstimate { log_sum: log_add_exp(before, after), count: outside.count + count };
        without.push(others.log_z());
        before = log_add_exp(before, log_weight);
    }
    without
}

#[cfg(test)]
mod tests {
    use super::{ZEstimate, log_z_without_each};

    #[test]
    fn the_constant_of_each_sample_is_estimated_from_the_others() {
        // One weight is e^800 times the others: a difference of sums could not see them.
        let weights = [0.5, 800.0, f64::NEG_INFINITY, -1.0];
        let outside = ZEstimate::of(&[2.0, 0.0]);
        for (at, found) in log_z_without_each(&weights, outside).into_iter().enumerate() {
            let others: Vec<f64> =
                weights.iter().enumerate().filter(|(other, _)| *other != at).map(|pair| *pair.1).collect();
            let expected = ZEstimate::of(&others).and(outside).log_z();
            assert!((found - expected).abs() < 1e-13, "{at}: {found} is not {expected}");
        }
        assert_eq!(log_z_without_each(&[1.0], ZEstimate::NONE), [f64::NEG_INFINITY]);
        assert!(log_z_without_each(&[], outside).is_empty());
    }

    #[test]
    fn a_normalised_target_stays_so() {
        assert_eq!(log_z_without_each(&[700.0, -3.0], ZEstimate::NORMALISED), [0.0, 0.0]);
        assert_eq!(ZEstimate::of(&[700.0]).and(ZEstimate::NORMALISED).log_z(), 0.0);
    }

    #[test]
    fn an_empty_sum_survives_json() {
        for estimate in
            [ZEstimate::NONE, ZEstimate { log_sum: f64::NEG_INFINITY, count: 7 }, ZEstimate::of(&[0.1, 0.7])]
        {
            let stored = serde_json::to_string(&estimate).unwrap();
            assert_eq!(serde_json::from_str::<ZEstimate>(&stored).unwrap(), estimate);
        }
    }
}
