//! Adam, AdamW and gradient descent on tensors, as PyTorch computes them: the optimizer state and its step.

use std::path::Path;

use burn::tensor::Tensor;
use disco_tuner::{Optimizer, Update, UpdateStats};
use rayon::prelude::*;

use crate::{
    Error, Precision, Result,
    architecture::parameters::Parameter,
    device::{
        host::is_in_cpu_memory,
        transfer::{download, take, upload},
    },
    kernels::{adam::AdamStep, square_sum},
    layers::gradients::Gradient,
    training::adam::{apply, penalised},
    weights::{self, Shard},
};

/// The file of the optimizer state.
const FILE: &str = "optimizer.safetensors";

/// The optimizer state: one tensor per parameter in each list. The lists are empty before the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct OptimizerState {
    steps: u64,
    /// Running mean of the gradient; the velocity of gradient descent.
    first: Vec<Tensor<2>>,
    /// Running mean of the squared gradient; not used by gradient descent.
    second: Vec<Tensor<2>>,
}

impl OptimizerState {
    /// Moves `tensors` by one step against `gradient`. Each tensor is replaced as soon as it is computed, so that old and
    /// new values exist side by side only for the parameters that are being updated.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the gradient's norm is not finite; state and tensors are then untouched.
    pub(crate) fn step(
        &mut self,
        parameters: &[Parameter],
        tensors: Vec<&mut Tensor<2>>,
        mut gradient: Gradient,
        update: &Update,
    ) -> Result<UpdateStats> {
        let norm = norm(&mut gradient)?;
        if !norm.is_finite() {
            return Err(Error::NotFinite { what: "the norm of the gradient".into(), value: norm });
        }
        let scale = update.clip_scale(norm);
        let zeros = || tensors.iter().map(|tensor| tensor.zeros_like()).collect::<Vec<_>>();
        if self.first.is_empty() {
            self.first = zeros();
        }
        if self.second.is_empty() && !matches!(update.optimizer, Optimizer::Sgd { .. }) {
            self.second = zeros();
        }
        self.steps += 1;
        let steps = self.steps;
        let mut second: Vec<Option<&mut Tensor<2>>> = self.second.iter_mut().map(Some).collect();
        second.resize_with(tensors.len(), || None);
        let parameters = parameters.par_iter().zip(tensors).zip(gradient).zip(&mut self.first).zip(second);
        parameters.for_each(|((((parameter, tensor), gradient), first), second)| {
            let gradient = gradient.unwrap_or_else(|| tensor.zeros_like());
            let old = take(tensor);
            let decay = |weight_decay: f64| if parameter.kind.is_matrix() { weight_decay } else { 0.0 };
            *tensor = match (&update.optimizer, second) {
                (Optimizer::Adam(adam), Some(second)) => {
                    let step = AdamStep::new(adam, update, scale, steps).penalised(decay(adam.weight_decay));
                    apply(&step, old, gradient, first, second)
                }
                (Optimizer::AdamW(adam), Some(second)) => {
                    let step = AdamStep::new(adam, update, scale, steps).decayed(decay(adam.weight_decay));
                    apply(&step, old, gradient, first, second)
                }
                (Optimizer::Sgd { momentum, weight_decay }, _) => {
                    let gradient = penalised(gradient.mul_scalar(scale), &old, decay(*weight_decay));
                    *first = take(first).mul_scalar(*momentum) + gradient;
                    old - first.clone().mul_scalar(update.learning_rate)
                }
                (other, _) => unreachable!("{other:?} is not known to this version"),
            };
        });
        Ok(UpdateStats { gradient_norm: norm })
    }

    /// Writes the state to a file of `folder`.
    pub(crate) fn save(&self, folder: &Path, parameters: &[Parameter]) -> Result<()> {
        // The step count as two exact f32: a safetensors file holds one kind of number here.
        let [high, low] = [(self.steps >> 20) as f32, (self.steps & 0xF_FFFF) as f32];
        let mut tensors = vec![("steps".to_string(), vec![2], vec![high, low])];
        for (kind, state) in [("first", &self.first), ("second", &self.second)] {
            for (parameter, tensor) in parameters.iter().zip(state) {
                tensors.push((
                    format!("{kind}.{}", parameter.name),
                    parameter.shape.to_vec(),
                    download(tensor.clone())?,
                ));
            }
        }
        weights::write(&folder.join(FILE), tensors, Precision::F32)
    }

    /// Reads a state that [`save`](Self::save) has written; `like` are the parameters' tensors, which tell the device.
    pub(crate) fn load(folder: &Path, parameters: &[Parameter], like: &[Tensor<2>]) -> Result<Self> {
        let path = folder.join(FILE);
        let file = Shard::open(path.clone())?;
        let steps = file.read("steps")?;
        let [high, low] = steps[..] else { return Err(Error::format(&path, "`steps` has not two numbers")) };
        let read = |kind: &str| -> Result<Vec<Tensor<2>>> {
            if !parameters.iter().any(|parameter| file.contains(&format!("{kind}.{}", parameter.name))) {
                return Ok(Vec::new());
            }
            let state = parameters.iter().zip(like).map(|(parameter, like)| {
                let values = file.read_shaped(&format!("{kind}.{}", parameter.name), parameter.shape)?;
                Ok(upload(values, parameter.shape, &like.device()))
            });
            state.collect()
        };
        Ok(Self { steps: ((high as u64) << 20) + low as u64, first: read("first")?, second: read("second")? })
    }
}

/// The L2 norm over all parameters.
fn norm(gradient: &mut Gradient) -> Result<f64> {
    let square = |entry: &mut Option<Tensor<2>>| -> Result<f64> {
        let Some(tensor) = entry.take() else { return Ok(0.0) };
        if is_in_cpu_memory(&tensor) {
            let (square, tensor) = square_sum(tensor);
            *entry = Some(tensor);
            return Ok(square);
        }
        *entry = Some(tensor.clone());
        Ok(f64::from(download((tensor.clone() * tensor).sum())?[0]))
    };
    let squares: Vec<f64> = gradient.par_iter_mut().map(square).collect::<Result<_>>()?;
    Ok(squares.iter().sum::<f64>().sqrt())
}
