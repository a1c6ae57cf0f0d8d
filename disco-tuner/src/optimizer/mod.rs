//! The optimizer: its settings as PyTorch names and defaults them, its state, and the schedule of the step size.

mod schedule;
mod state;

use disco_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use schedule::{Decay, Schedule};
pub use state::{OptimizerState, WeightDecay};

/// The rule by which a policy follows its gradient. The policy holds the [`OptimizerState`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015); `weight_decay` adds to the gradient.
    Adam(Adam),
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW(Adam),
    /// Gradient descent with momentum.
    Sgd {
        /// The share of the last velocity that is kept, in [0, 1).
        #[serde(default)]
        momentum: f64,
        /// Coefficient of the L2 penalty.
        #[serde(default)]
        weight_decay: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}

impl Optimizer {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Adam(adam) | Self::AdamW(adam) => {
                check_share("optimizer.beta1", adam.beta1)?;
                check_share("optimizer.beta2", adam.beta2)?;
                if !(adam.epsilon > 0.0 && adam.epsilon.is_finite()) {
                    return Err(Error::invalid("optimizer.epsilon", adam.epsilon, "positive and finite"));
                }
                check_decay(adam.weight_decay)
            }
            Self::Sgd { momentum, weight_decay } => {
                check_share("optimizer.momentum", *momentum)?;
                check_decay(*weight_decay)
            }
        }
    }
}

fn check_share(field: &'static str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) { Ok(()) } else { Err(Error::invalid(field, value, "[0, 1)")) }
}

fn check_decay(value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::invalid("optimizer.weight_decay", value, "zero or positive, finite"))
    }
}

/// Settings of Adam and AdamW.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `beta1` | 0.9 | [0, 1) |
/// | `beta2` | 0.999 | [0, 1) |
/// | `epsilon` | 1e-8 | > 0 |
/// | `weight_decay` | 0 | >= 0 |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay; never applied to norms and biases.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// The settings of one update, an argument of [`Policy::step`](crate::Policy::step).
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The rule to follow.
    pub optimizer: Optimizer,
    /// The step size.
    pub learning_rate: f64,
    /// The gradient's global L2 norm is scaled down to this, if given.
    pub max_gradient_norm: Option<f64>,
}

/// Added to the norm before dividing by it, as PyTorch's `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;

impl Update {
    /// The factor by which every gradient is multiplied, given the global L2 norm of all of them:
    /// `min(1, max_gradient_norm / (norm + 1e-6))`, or 1 without a limit.
    pub fn clip_scale(&self, norm: f64) -> f64 {
        self.max_gradient_norm.map_or(1.0, |limit| (limit / (norm + CLIP_EPSILON)).min(1.0))
    }
}
