//! Adam, AdamW and gradient descent on tensors, as PyTorch computes them.

use std::path::Path;

use burn::tensor::Tensor;
use disco_tuner::{Adam, Optimizer, Update, Updated};

use crate::{
    Error, Precision, Result,
    slots::Slot,
    token_model::{download, upload},
    weights::{self, Shard},
};

/// The file of an optimiser's state.
const FILE: &str = "optimizer.safetensors";

/// What an optimiser remembers, per parameter. Empty before the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct OptimizerState {
    steps: u64,
    /// Running mean of the gradient; the velocity of gradient descent.
    first: Vec<Tensor<2>>,
    /// Running mean of its square; not used by gradient descent.
    second: Vec<Tensor<2>>,
}

/// One gradient per parameter; none is zero.
pub(crate) type Gradient = Vec<Option<Tensor<2>>>;

impl OptimizerState {
    /// Descends `gradient` by one step and returns the new parameters.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the gradient's norm is not finite; the state is then untouched.
    pub(crate) fn step(
        &mut self,
        slots: &[Slot],
        tensors: &[Tensor<2>],
        gradient: &Gradient,
        update: &Update,
    ) -> Result<(Vec<Tensor<2>>, Updated)> {
        let norm = norm(gradient)?;
        if !norm.is_finite() {
            return Err(Error::NotFinite { what: "the norm of the gradient".into(), value: norm });
        }
        let scale = update.clip_scale(norm);
        let zeros = || tensors.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        if self.first.is_empty() {
            self.first = zeros();
        }
        if self.second.is_empty() && !matches!(update.optimizer, Optimizer::Sgd { .. }) {
            self.second = zeros();
        }
        self.steps += 1;
        let updated = slots.iter().enumerate().map(|(index, slot)| {
            let old = tensors[index].clone();
            let gradient = match &gradient[index] {
                Some(gradient) => gradient.clone().mul_scalar(scale),
                None => old.zeros_like(),
            };
            let decay = |weight_decay: f64| if slot.role.is_matrix() { weight_decay } else { 0.0 };
            let rate = update.learning_rate;
            match &update.optimizer {
                Optimizer::Adam(adam) => {
                    let gradient = penalised(gradient, &old, decay(adam.weight_decay));
                    let moved = self.moved(index, gradient, adam);
                    old - moved.mul_scalar(rate)
                }
                Optimizer::AdamW(adam) => {
                    let moved = self.moved(index, gradient, adam);
                    old.mul_scalar(1.0 - rate * decay(adam.weight_decay)) - moved.mul_scalar(rate)
                }
                Optimizer::Sgd { momentum, weight_decay } => {
                    let gradient = penalised(gradient, &old, decay(*weight_decay));
                    let velocity = self.first[index].clone().mul_scalar(*momentum) + gradient;
                    self.first[index] = velocity.clone();
                    old - velocity.mul_scalar(rate)
                }
                other => unreachable!("{other:?} is not known to this version"),
            }
        });
        Ok((updated.collect(), Updated { gradient_norm: norm }))
    }

    /// Adam's direction: the mean gradient over the root of its mean square, both corrected for their start.
    fn moved(&mut self, index: usize, gradient: Tensor<2>, adam: &Adam) -> Tensor<2> {
        let corrected = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let [first_correction, second_correction] = [corrected(adam.beta1), corrected(adam.beta2)];
        let square = gradient.clone() * gradient.clone();
        let first = self.first[index].clone().mul_scalar(adam.beta1) + gradient.mul_scalar(1.0 - adam.beta1);
        let second = self.second[index].clone().mul_scalar(adam.beta2) + square.mul_scalar(1.0 - adam.beta2);
        self.first[index] = first.clone();
        self.second[index] = second.clone();
        let root = second.sqrt().mul_scalar(second_correction.sqrt().recip()) + adam.epsilon;
        first.mul_scalar(first_correction.recip()) / root
    }

    /// Writes the state into `folder`.
    pub(crate) fn save(&self, folder: &Path, slots: &[Slot]) -> Result<()> {
        // The step count as two exact f32: a safetensors file holds one kind of number here.
        let [high, low] = [(self.steps >> 20) as f32, (self.steps & 0xF_FFFF) as f32];
        let mut tensors = vec![("steps".to_string(), vec![2], vec![high, low])];
        for (kind, state) in [("first", &self.first), ("second", &self.second)] {
            for (slot, tensor) in slots.iter().zip(state) {
                tensors.push((
                    format!("{kind}.{}", slot.name),
                    slot.shape.to_vec(),
                    download(tensor.clone())?,
                ));
            }
        }
        weights::write(&folder.join(FILE), tensors, Precision::F32)
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(folder: &Path, slots: &[Slot], like: &[Tensor<2>]) -> Result<Self> {
        let path = folder.join(FILE);
        let file = Shard::open(path.clone())?;
        let steps = file.read("steps")?;
        let [high, low] = steps[..] else { return Err(Error::format(&path, "`steps` has not two numbers")) };
        let read = |kind: &str| -> Result<Vec<Tensor<2>>> {
            if !slots.iter().any(|slot| file.contains(&format!("{kind}.{}", slot.name))) {
                return Ok(Vec::new());
            }
            let state = slots.iter().zip(like).map(|(slot, like)| {
                let values = file.read(&format!("{kind}.{}", slot.name))?;
                if values.len() != slot.shape[0] * slot.shape[1] {
                    return Err(Error::format(&path, format!("`{kind}.{}` is of another size", slot.name)));
                }
                Ok(upload(values, slot.shape, &like.device()))
            });
            state.collect()
        };
        Ok(Self { steps: ((high as u64) << 20) + low as u64, first: read("first")?, second: read("second")? })
    }
}

/// The gradient of the loss plus `weight_decay / 2 * |parameter|^2`.
fn penalised(gradient: Tensor<2>, parameter: &Tensor<2>, weight_decay: f64) -> Tensor<2> {
    if weight_decay == 0.0 { gradient } else { gradient + parameter.clone().mul_scalar(weight_decay) }
}

/// The L2 norm over all parameters.
fn norm(gradient: &Gradient) -> Result<f64> {
    let mut squares = 0.0;
    for tensor in gradient.iter().flatten() {
        let sum = download((tensor.clone() * tensor.clone()).sum())?;
        squares += f64::from(sum[0]);
    }
    Ok(squares.sqrt())
}
