//! Settings named after the papers they come from.

use disco_core::{Exponential, Feature, Product, Result, Scorer};
use disco_divergence::FDivergence;

use super::{Baseline, Sampling, TunerConfig};

impl TunerConfig {
    /// Distributional policy gradients (Parshakova et al. 2019; Khalifa et al. 2021): forward KL, no baseline,
    /// samples from a frozen proposal that follows the policy. For one context.
    ///
    /// ```
    /// use disco_tuner::TunerConfig;
    /// let config = TunerConfig { steps: 200, learning_rate: 1e-4, ..TunerConfig::dpg() };
    /// assert_eq!(config.divergence.to_string(), "forward-kl");
    /// ```
    pub fn dpg() -> Self {
        Self { contexts_per_step: 1, ..Self::cdpg() }
    }

    /// Conditional DPG (Korbak et al. 2022): DPG with a `Z` for each context.
    pub fn cdpg() -> Self {
        Self {
            divergence: FDivergence::KlForward,
            sampling: Sampling::offline(),
            baseline: Baseline::None,
            ..Self::default()
        }
    }

    /// f-DPG (Go et al. 2023, eq. 4): any f-divergence, samples from the policy, a baseline. For one context.
    pub fn f_dpg(divergence: FDivergence) -> Self {
        Self { contexts_per_step: 1, ..Self::f_cdpg(divergence) }
    }

    /// f-CDPG: f-DPG with a `Z` and a baseline for each context.
    pub fn f_cdpg(divergence: FDivergence) -> Self {
        Self { divergence, sampling: Sampling::Online, baseline: Baseline::LeaveOneOut, ..Self::default() }
    }

    /// Reinforcement learning with a KL penalty, `max E[reward] - beta KL(pi||base)`: reverse KL to the target
    /// of [`rlhf_target`] (Korbak et al. 2022, *RL and distribution matching*, theorem 1).
    pub fn rlhf() -> Self {
        Self::f_cdpg(FDivergence::KlReverse)
    }
}

/// `exp(reward / beta) * base`: the distribution that maximises `E[reward] - beta KL(pi||base)`.
///
/// # Errors
/// [`disco_core::Error::Invalid`] unless `beta` is positive and finite.
///
/// ```
/// use disco_core::{Space, feature};
/// use disco_tuner::rlhf_target;
/// let space = Space::new([0u8, 1])?;
/// let reward = feature("reward", |_: &(), x: &u8| f64::from(*x));
/// let target = space.normalise(&rlhf_target(space.uniform(), reward, 0.5)?, &())?;
/// assert!((target.probabilities()[1] / target.probabilities()[0] - 2f64.exp()).abs() < 1e-12);
/// assert!(rlhf_target(space.uniform(), feature("reward", |_: &(), _: &u8| 0.0), 0.0).is_err());
/// # Ok::<(), disco_core::Error>(())
/// ```
pub fn rlhf_target<C, X, B: Scorer<C, X>, F: Feature<C, X>>(
    base: B,
    reward: F,
    beta: f64,
) -> Result<Product<Exponential<F>, B>> {
    if !(beta > 0.0 && beta.is_finite() && (1.0 / beta).is_finite()) {
        return Err(disco_core::Error::invalid("beta", beta, "positive and finite"));
    }
    Ok(Product(Exponential { feature: reward, coefficient: 1.0 / beta }, base))
}
