//! The softmax over a vocabulary, without its normalisation: the innermost loop outside of matmuls.

use crate::kernels::{
    exp::{LOWEST, exp},
    vectorised,
};

/// The interval of logits that truncation keeps, and the weights of these logits: `exp((logit - reference) / temperature)`.
///
/// The weight of a logit is computed in f32 by one polynomial, in the same way everywhere; sums are f64. The
/// relative error of a weight is some 2e-7. Logits more than 87 temperatures below `reference` have weight zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    /// The largest logit that is kept.
    pub(crate) reference: f32,
    /// The smallest logit that is kept.
    pub(crate) least: f32,
    pub(crate) inverse_temperature: f64,
}

/// The number of weights that are added in f32, in lanes, before their sum is added in f64.
pub(crate) const BLOCK: usize = 512;

const LANES: usize = 16;

impl Weights {
    /// Whether a logit is kept.
    pub(crate) fn keeps(&self, logit: f32) -> bool {
        logit >= self.least && logit <= self.reference && logit > f32::NEG_INFINITY
    }

    /// The logarithm of the weight of a logit; `-inf` if the logit is not kept.
    pub(crate) fn log(&self, logit: f32) -> f64 {
        if self.keeps(logit) {
            f64::from(logit - self.reference) * self.inverse_temperature
        } else {
            f64::NEG_INFINITY
        }
    }

    /// The weight of a logit; 0 if it is not kept. Written without branches, so that loops over a vocabulary become vector
    /// instructions.
    #[inline(always)]
    pub(crate) fn of(&self, logit: f32) -> f32 {
        let x = (logit - self.reference) * self.inverse_temperature as f32;
        let kept = (logit >= self.least) & (logit <= self.reference) & (x > LOWEST);
        let bounded = if x > LOWEST { x } else { LOWEST };
        let bounded = if bounded < 0.0 { bounded } else { 0.0 };
        let weight = exp(bounded);
        if kept { weight } else { 0.0 }
    }

    /// The sum of the weights of every [`BLOCK`] logits.
    pub(crate) fn sums(&self, logits: &[f32]) -> Vec<f64> {
        vectorised(
            #[inline(always)]
            || logits.chunks(BLOCK).map(|block| self.sum(block)).collect(),
        )
    }

    #[inline(always)]
    fn sum(&self, block: &[f32]) -> f64 {
        let (lanes, rest) = block.as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for lane in lanes {
            for (sum, logit) in sums.iter_mut().zip(lane) {
                *sum += self.of(*logit);
            }
        }
        let rest: f64 = rest.iter().map(|logit| f64::from(self.of(*logit))).sum();
        sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + rest
    }
}

/// The largest of some logits, and whether all of them are finite.
pub(crate) fn largest(logits: &[f32]) -> (f32, bool) {
    vectorised(
        #[inline(always)]
        || largest_of(logits),
    )
}

#[inline(always)]
fn largest_of(logits: &[f32]) -> (f32, bool) {
    let (lanes, rest) = logits.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut finite = [true; LANES];
    for lane in lanes {
        for ((largest, finite), logit) in largest.iter_mut().zip(&mut finite).zip(lane) {
            *largest = if *logit > *largest { *logit } else { *largest };
            *finite &= logit.is_finite();
        }
    }
    let largest = largest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    (largest, finite.iter().all(|finite| *finite) && rest.iter().all(|logit| logit.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_weighs_nothing() {
        let weights = Weights { reference: 2.0, least: -1.0, inverse_temperature: 2.0 };
        for logit in [2.5, -1.5, f32::NEG_INFINITY, 1e38] {
            assert_eq!((weights.of(logit), weights.log(logit)), (0.0, f64::NEG_INFINITY));
        }
        assert_eq!((weights.of(2.0), weights.log(2.0)), (1.0, 0.0));
        let all = Weights { least: f32::NEG_INFINITY, ..weights };
        assert_eq!((all.of(-1e30), all.of(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(all.log(f32::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn sums_are_those_of_the_weights() {
        let logits: Vec<f32> = (0..1300).map(|i| (i as f32 * 0.7).sin() * 9.0).collect();
        let (reference, finite) = largest(&logits);
        assert!(finite);
        assert_eq!(reference, logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weights = Weights { reference, least: f32::NEG_INFINITY, inverse_temperature: 0.8 };
        let sums = weights.sums(&logits);
        for (sum, block) in sums.iter().zip(logits.chunks(BLOCK)) {
            let expected: f64 = block.iter().map(|logit| weights.log(*logit).exp()).sum();
            assert!((sum / expected - 1.0).abs() < 1e-6, "{sum} for {expected}");
        }
        for index in [0, 700, 1299] {
            let mut logits = logits.clone();
            logits[index] = f32::NAN;
            assert!(!largest(&logits).1);
            logits[index] = f32::INFINITY;
            assert!(!largest(&logits).1);
        }
    }
}
