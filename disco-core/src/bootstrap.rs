//! Errors by resampling.

use rand::RngExt;
use rayon::prelude::*;

use crate::{Error, Estimate, ImportanceWeights, Result, Streams};

/// The distribution of an estimate over resampled data.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// The estimate from the data themselves; its error is the standard deviation over the replicates.
    pub estimate: Estimate,
    // Invariant: at least two, ascending, no NaN.
    replicates: Vec<f64>,
}

impl Bootstrap {
    fn new(value: f64, ess: f64, mut replicates: Vec<f64>) -> Self {
        let std_error = if replicates.iter().all(|replicate| replicate.is_finite()) {
            let spread = Estimate::mean(&replicates);
            spread.std_error * (replicates.len() as f64).sqrt()
        } else {
            f64::INFINITY
        };
        replicates.sort_unstable_by(f64::total_cmp);
        Self { estimate: Estimate { value, std_error, ess }, replicates }
    }

    /// The estimates from the resampled data, ascending.
    pub fn replicates(&self) -> &[f64] {
        &self.replicates
    }

    /// The percentile interval of a level between 0 and 1: between the quantiles `(1 -+ level) / 2` of
    /// the replicates. The k-th smallest of B replicates is the quantile `k / (B + 1)`, so that one more replicate
    /// would fall into the interval with probability `level`. With too few replicates for a level, the interval is
    /// their whole range.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `0 < level < 1`.
    pub fn interval(&self, level: f64) -> Result<(f64, f64)> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::invalid("level", level, "above 0 and below 1"));
        }
        let last = (self.replicates.len() - 1) as f64;
        let quantile = |probability: f64| {
            let place = (probability * (last + 2.0) - 1.0).clamp(0.0, last);
            let (low, high) =
                (self.replicates[place.floor() as usize], self.replicates[place.ceil() as usize]);
            // No interpolation from an infinite replicate, whether or not the next one is infinite too.
            if low == high || low.is_infinite() { low } else { low + place.fract() * (high - low) }
        };
        Ok((quantile((1.0 - level) / 2.0), quantile((1.0 + level) / 2.0)))
    }
}

impl ImportanceWeights {
    /// `ln Z` with its error by the bootstrap[^efron]: each stream draws one replicate, n samples
    /// with replacement.
    ///
    /// A replicate that catches only weights of zero is `-inf`, and makes the standard error infinite. So does a single sample, which says
    /// nothing of the error.
    ///
    /// # Performance
    /// n draws per replicate; replicates are spread over rayon's threads, and the result does not depend
    /// on their number.
    ///
    /// [^efron]: Efron (1979), *Bootstrap methods: another look at the jackknife*,
    ///   <https://doi.org/10.1214/aos/1176344552>
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than two replicates.
    pub fn bootstrap_log_z(&self, replicates: &Streams) -> Result<Bootstrap> {
        let estimate = self.log_z();
        let replicates = resampled(self.normalised(), replicates, |drawn| {
            Some(estimate.value + (drawn.map(|i| self.normalised()[i]).sum::<f64>()).ln())
        })?;
        let mut bootstrap = Bootstrap::new(estimate.value, estimate.ess, replicates);
        if self.normalised().len() < 2 {
            bootstrap.estimate.std_error = f64::INFINITY;
        }
        Ok(bootstrap)
    }

    /// The self-normalised [`mean`](Self::mean) with its error by the bootstrap: one replicate per stream, at the cost of
    /// [`bootstrap_log_z`](Self::bootstrap_log_z).
    ///
    /// A replicate that catches only weights of zero has no mean, and is drawn again from the same stream: the replicates
    /// have the distribution of the bootstrap given that the mean exists. With m samples of weight above zero, the share of
    /// the others is near `e^-m`.
    ///
    /// # Errors
    /// As [`mean`](Self::mean); [`Error::Invalid`] for fewer than two replicates, and for fewer than two samples with weight
    /// above zero, relative to the largest, in `f64`: then all replicates have the same mean, and say nothing of the error.
    pub fn bootstrap_mean(&self, values: &[f64], replicates: &Streams) -> Result<Bootstrap> {
        let estimate = self.mean(values)?;
        let weights = self.normalised();
        let positive = weights.iter().filter(|weight| **weight > 0.0).count();
        if positive < 2 {
            let field = "number of samples with weight above zero";
            return Err(Error::invalid(field, positive, "at least 2, for the bootstrap of a mean"));
        }
        let replicates = resampled(weights, replicates, |drawn| {
            let (mut sum, mut weighted) = (0.0, 0.0);
            for i in drawn.filter(|i| weights[*i] > 0.0) {
                sum += weights[i];
                weighted += weights[i] * values[i];
            }
            (sum > 0.0).then(|| weighted / sum)
        })?;
        Ok(Bootstrap::new(estimate.value, estimate.ess, replicates))
    }
}

/// One statistic of n positions, drawn with replacement, per stream; drawn again where it is `None`.
fn resampled(
    weights: &[f64],
    streams: &Streams,
    statistic: impl Fn(&mut dyn Iterator<Item = usize>) -> Option<f64> + Sync,
) -> Result<Vec<f64>> {
    if streams.len() < 2 {
        return Err(Error::invalid("number of bootstrap replicates", streams.len(), "at least 2"));
    }
    let n = weights.len();
    let replicate = |stream: usize| {
        let mut rng = streams.rng(stream);
        loop {
            if let Some(value) = statistic(&mut (0..n).map(|_| rng.random_range(0..n))) {
                return value;
            }
        }
    };
    Ok((0..streams.len()).into_par_iter().map(replicate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_one_more_replicate() {
        let bootstrap = |count: i32| Bootstrap::new(0.0, 1.0, (1..=count).map(f64::from).collect());
        // Of 40 gaps that are equally probable, one is cut off on either side.
        let (low, high) = bootstrap(39).interval(0.95).unwrap();
        assert!((low - 1.0).abs() < 1e-9 && (high - 39.0).abs() < 1e-9);
        let (low, high) = bootstrap(300).interval(0.95).unwrap();
        assert!((low - 0.025 * 301.0).abs() < 1e-9 && (high - 0.975 * 301.0).abs() < 1e-9);
        assert_eq!(bootstrap(10).interval(0.95).unwrap(), (1.0, 10.0));
        // A quantile between a replicate of -inf and a finite one.
        let some_infinite = Bootstrap::new(0.0, 1.0, vec![f64::NEG_INFINITY, 1.0, 2.0]);
        let (low, high) = some_infinite.interval(0.4).unwrap();
        assert!(low == f64::NEG_INFINITY && (high - 1.8).abs() < 1e-12);
        let (low, high) = bootstrap(10).interval(1e-12).unwrap();
        assert!((low - 5.5).abs() < 1e-9 && (high - 5.5).abs() < 1e-9);
    }
}
