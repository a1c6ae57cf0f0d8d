//! The fitted target.

use std::fmt;

use disco_core::{Error as CoreError, Product, Score, Scorer};
use ndarray::ArrayView2;

use crate::{Result, Tilt};

/// The energy-based model `P(x|c) = a(x|c) prod_j b_j(x, c) exp(sum_i lambda_i phi_i(x, c))`: an unnormalised
/// target that satisfies the constraints and is otherwise as near to the base as possible.
///
/// Its log-scores are in nats; `-inf` for samples that the base or a pointwise constraint excludes. The base scores
/// only samples that satisfy the pointwise constraints.
pub struct Ebm<B, C: ?Sized, X: ?Sized> {
    base: B,
    tilt: Tilt<C, X>,
}

// Written out, since a derive would ask for `Clone` and `Debug` of contexts and samples, which are not held.
impl<B: Clone, C: ?Sized, X: ?Sized> Clone for Ebm<B, C, X> {
    fn clone(&self) -> Self {
        Self { base: self.base.clone(), tilt: self.tilt.clone() }
    }
}

impl<B: fmt::Debug, C: ?Sized, X: ?Sized> fmt::Debug for Ebm<B, C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ebm").field("base", &self.base).field("tilt", &self.tilt).finish()
    }
}

impl<B, C: ?Sized, X: ?Sized> Ebm<B, C, X> {
    /// The product of a base and a factor.
    pub fn new(base: B, tilt: Tilt<C, X>) -> Self {
        Self { base, tilt }
    }

    /// The original model.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// The factor that the base is multiplied with.
    pub fn tilt(&self) -> &Tilt<C, X> {
        &self.tilt
    }

    /// The log-scores of samples of a context whose log-probabilities under the base and feature values are already known.
    ///
    /// # Errors
    /// As [`Tilt::log_factors`]; [`disco_core::Error`] for lengths that differ, and for log-probabilities
    /// that are NaN or `+inf`.
    ///
    /// # Shapes
    /// - log_base: `[samples]`
    /// - values: `[samples, features]`, in the order of the tilt's feature names
    /// - result: `[samples]`
    pub fn log_scores_known(
        &self,
        context: &C,
        log_base: &[f64],
        values: ArrayView2<'_, f64>,
    ) -> Result<Vec<f64>> {
        CoreError::check_length("log-probabilities under the base", values.nrows(), log_base.len())?;
        disco_core::numerics::check_log_scores("base", log_base)?;
        let mut scores = self.tilt.log_factors(context, values)?;
        scores.iter_mut().zip(log_base).for_each(|(score, log_prob)| *score += log_prob);
        Ok(scores)
    }
}

impl<B: Scorer<C, X>, C: ?Sized, X: ?Sized> Scorer<C, X> for Ebm<B, C, X> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        Product(&self.tilt, &self.base).log_scores(context, samples)
    }

    fn has_hard_constraints(&self) -> bool {
        Scorer::<C, X>::has_hard_constraints(&Product(&self.tilt, &self.base))
    }
}

disco_core::impl_product!([B, C: ?Sized, X: ?Sized] Ebm<B, C, X>);
