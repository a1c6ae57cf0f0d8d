//! The arithmetic of the optimizers on `f64` slices.

use disco_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Adam, Optimizer, Update};

/// Whether an update applies the optimizer's weight decay to a block of parameters.
///
/// Networks usually exempt norms and biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDecay {
    /// The decay of the [`Optimizer`] is applied.
    Apply,
    /// These parameters are not decayed.
    Skip,
}

/// The state of an [`Optimizer`] for one block of parameters: the step count, and the first and second moments of the
/// gradient (for SGD, the velocity).
///
/// The arithmetic is PyTorch's, operation by operation: Adam's bias corrections are applied to the step
/// size and to the root of the second moment, `epsilon` is added after that root, AdamW shrinks the
/// parameters before the step, and SGD's velocity starts as the first gradient.
///
/// ```
/// use disco_tuner::{Adam, Optimizer, OptimizerState, Update, WeightDecay};
/// let update = Update { optimizer: Optimizer::Adam(Adam::default()), learning_rate: 0.1, max_gradient_norm: None };
/// let mut parameters = [1.0, -2.0];
/// OptimizerState::new(2).descend(&update, 1.0, WeightDecay::Apply, &mut parameters, &[3.0, -0.5])?;
/// // Adam's first step is the learning rate, against the sign of the gradient.
/// assert!((parameters[0] - 0.9).abs() < 1e-8 && (parameters[1] + 1.9).abs() < 1e-8);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerState {
    step: u64,
    // The first moment, or the velocity of SGD.
    first: Vec<f64>,
    second: Vec<f64>,
}

impl OptimizerState {
    /// The state before the first step, for `len` parameters.
    pub fn new(len: usize) -> Self {
        Self { step: 0, first: vec![0.0; len], second: vec![0.0; len] }
    }

    /// Number of steps taken.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Number of parameters that the state is for.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Whether every moment is finite, no second moment is negative, and there are equally many of both.
    pub fn is_sound(&self) -> bool {
        self.first.len() == self.second.len()
            && self.first.iter().all(|value| value.is_finite())
            && self.second.iter().all(|value| value.is_finite() && *value >= 0.0)
    }

    /// Moves `parameters` one step against `scale * gradient`; `scale` is
    /// [`Update::clip_scale`] of the norm over *all* blocks.
    ///
    /// # Errors
    /// [`Error::Length`]; parameters and state are then untouched.
    pub fn descend(
        &mut self,
        update: &Update,
        scale: f64,
        weight_decay: WeightDecay,
        parameters: &mut [f64],
        gradient: &[f64],
    ) -> Result<()> {
        Error::check_length("parameters of an optimizer", self.first.len(), parameters.len())?;
        Error::check_length("gradient of an optimizer", self.first.len(), gradient.len())?;
        self.step += 1;
        let decay = |coefficient: f64| match weight_decay {
            WeightDecay::Apply => coefficient,
            WeightDecay::Skip => 0.0,
        };
        let rate = update.learning_rate;
        match &update.optimizer {
            Optimizer::Adam(adam) => {
                let l2 = decay(adam.weight_decay);
                self.adam(adam, rate, parameters, |at, parameter| scale * gradient[at] + l2 * parameter);
            }
            Optimizer::AdamW(adam) => {
                let shrink = 1.0 - rate * decay(adam.weight_decay);
                parameters.iter_mut().for_each(|parameter| *parameter *= shrink);
                self.adam(adam, rate, parameters, |at, _| scale * gradient[at]);
            }
            Optimizer::Sgd { momentum, weight_decay: coefficient } => {
                let l2 = decay(*coefficient);
                for (at, parameter) in parameters.iter_mut().enumerate() {
                    let grad = scale * gradient[at] + l2 * *parameter;
                    self.first[at] = momentum * self.first[at] + grad;
                    *parameter -= rate * self.first[at];
                }
            }
        }
        Ok(())
    }

    fn adam(&mut self, adam: &Adam, rate: f64, parameters: &mut [f64], gradient: impl Fn(usize, f64) -> f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let (correction1, root2) = (power(adam.beta1), power(adam.beta2).sqrt());
        for (at, parameter) in parameters.iter_mut().enumerate() {
            let grad = gradient(at, *parameter);
            self.first[at] = adam.beta1 * self.first[at] + (1.0 - adam.beta1) * grad;
            self.second[at] = adam.beta2 * self.second[at] + (1.0 - adam.beta2) * grad * grad;
            let spread = self.second[at].sqrt() / root2 + adam.epsilon;
            *parameter -= rate / correction1 * self.first[at] / spread;
        }
    }
}
