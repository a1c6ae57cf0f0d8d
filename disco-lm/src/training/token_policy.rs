//! The policy over token ids: a token model with a pending gradient and an optimizer state.

use std::{fs, path::Path};

use disco_core::{Distribution, Error as CoreError, Sampled, Score, Scorer, Streams};
use disco_tuner::{BatchItem, Checkpointed, PendingGradient, Policy, Tensors, Update, UpdateStats, WeightFn};

use crate::{
    Error, Lora, Precision, Result, TokenModel,
    device::transfer::{download, upload},
    layers::gradients::Gradient,
    model::forward::SequenceInContext,
    training::optimizer::OptimizerState,
    weights::{self, Shard},
};

/// The file of a policy's parameters.
const FILE: &str = "parameters.safetensors";

/// A token model with a pending gradient and an optimizer state.
///
/// If the model has an adapter ([`TokenModel::with_lora`]), only the adapter is tuned: gradient, optimizer state and checkpoints
/// are of the adapter alone, and the frozen weights are shared with the model that the policy was made from. Otherwise every
/// parameter is tuned.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    pub(super) model: TokenModel,
    // Invariant: one entry per trained parameter.
    pending: Gradient,
    optimizer: OptimizerState,
}

impl TokenPolicy {
    /// A policy that starts as `model`.
    pub fn new(model: TokenModel) -> Self {
        let pending = vec![None; model.trained_parameters().len()];
        Self { model, pending, optimizer: OptimizerState::default() }
    }

    /// A policy that starts as `model` and tunes a new adapter.
    ///
    /// # Errors
    /// As [`TokenModel::with_lora`].
    pub fn lora(model: &TokenModel, lora: &Lora) -> Result<Self> {
        Ok(Self::new(model.with_lora(lora)?))
    }

    /// The model with its current parameters.
    pub fn model(&self) -> &TokenModel {
        &self.model
    }

    /// Makes one optimizer step with `gradient`, which need not be the pending gradient.
    pub(crate) fn follow(&mut self, gradient: Gradient, update: &Update) -> Result<UpdateStats> {
        let (parameters, tensors) = self.model.trained_mut();
        self.optimizer.step(&parameters, tensors, gradient, update)
    }
}

impl<C, X> Scorer<C, X> for TokenPolicy
where
    C: AsRef<[u32]> + ?Sized,
    X: AsRef<[u32]> + ?Sized,
{
    fn log_scores(&self, context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        self.model.log_scores(context, samples)
    }
}

impl<C> Distribution<C, Vec<u32>> for TokenPolicy
where
    C: AsRef<[u32]> + ?Sized,
{
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Vec<u32>>>> {
        self.model.sample(context, streams)
    }

    fn sample_each(
        &self,
        contexts: &[&C],
        streams: &[Streams],
    ) -> disco_core::Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        self.model.sample_each(contexts, streams)
    }
}

impl TokenPolicy {
    /// Adds the gradient of a batch to the pending gradient: see [`Policy::accumulate`].
    ///
    /// # Errors
    /// For a context that does not fit the model, an unknown id, or a sample that is not a sequence of the model: before anything
    /// is added. Then the errors of the forward pass and of `weigh`.
    pub(super) fn accumulate_sequences(
        &mut self,
        batch: &[SequenceInContext<'_>],
        weigh: &mut WeightFn<'_>,
    ) -> Result<()> {
        let mut events = Vec::with_capacity(batch.len());
        for (index, sequence) in batch.iter().enumerate() {
            self.model.check_context(sequence.context)?;
            self.model.check_ids(sequence.tokens)?;
            let Some(event) = self.model.event(sequence.tokens) else {
                return Err(CoreError::NotANumber {
                    by: "log-probability under the policy (not one of its sequences)".into(),
                    index,
                    value: f64::NEG_INFINITY,
                }
                .into());
            };
            events.push(event);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let events = batch.iter().zip(&events);
        let events: Vec<SequenceInContext<'_>> = events
            .map(|(sequence, tokens)| SequenceInContext { context: sequence.context, tokens })
            .collect();
        let mut weigh = |log_probs: &[f64]| weigh(log_probs).map_err(Error::from);
        self.model.accumulate(&events, &mut weigh, &mut self.pending)
    }
}

impl Policy<Vec<u32>, Vec<u32>> for TokenPolicy {
    type Frozen = TokenModel;

    fn freeze(&self) -> disco_core::Result<TokenModel> {
        Ok(self.model.clone())
    }

    fn accumulate(
        &mut self,
        batch: &[BatchItem<'_, Vec<u32>, Vec<u32>>],
        weigh: &mut WeightFn<'_>,
    ) -> disco_core::Result<()> {
        let batch: Vec<SequenceInContext<'_>> = batch
            .iter()
            .map(|item| SequenceInContext { context: item.context, tokens: item.sample })
            .collect();
        Ok(self.accumulate_sequences(&batch, weigh)?)
    }

    fn clear(&mut self) {
        self.pending.fill(None);
    }

    fn step(&mut self, update: &Update) -> disco_core::Result<UpdateStats> {
        update.optimizer.validate()?;
        let nothing = vec![None; self.pending.len()];
        let pending = std::mem::replace(&mut self.pending, nothing);
        Ok(self.follow(pending, update)?)
    }

    /// The copy shares all tensors with the policy until the next update. After it, the parameters that are tuned and their
    /// optimizer state are in memory twice.
    fn snapshot(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl PendingGradient for TokenPolicy {
    type Scalar = f32;

    fn pending(&self) -> disco_core::Result<Tensors> {
        let mut tensors = Tensors::new();
        for (parameter, pending) in self.model.trained_parameters().iter().zip(&self.pending) {
            let values = match pending {
                Some(tensor) => download(tensor.clone())?,
                None => vec![0.0; parameter.shape[0] * parameter.shape[1]],
            };
            tensors.extend(
                weights::split(parameter, &values).into_iter().map(|(part, values)| (part.name, values)),
            );
        }
        Ok(tensors)
    }

    fn replace_pending(&mut self, mut gradient: Tensors) -> disco_core::Result<()> {
        let mut replaced = Vec::with_capacity(self.pending.len());
        for parameter in self.model.trained_parameters() {
            let values = weights::join(parameter, |part, values| {
                let given = gradient.remove(&part.name).unwrap_or_default();
                CoreError::check_length("gradient of a tensor", values.len(), given.len())?;
                values.copy_from_slice(&given);
                Ok::<_, CoreError>(())
            })?;
            replaced.push(Some(upload(values, parameter.shape, &self.model.shared.device)));
        }
        if let Some(name) = gradient.into_keys().next() {
            return Err(CoreError::invalid("gradient", name, "the names that `pending` gives"));
        }
        self.pending = replaced;
        Ok(())
    }
}

impl Checkpointed for TokenPolicy {
    fn save(&self, folder: &Path) -> disco_core::Result<()> {
        fs::create_dir_all(folder)
            .map_err(|source| CoreError::failed(folder.display().to_string(), source))?;
        let (parameters, trained) = (self.model.trained_parameters(), self.model.trained_elements());
        let mut tensors = Vec::new();
        for (parameter, tensor) in parameters.iter().zip(trained) {
            tensors.push((parameter.name.clone(), parameter.shape.to_vec(), download(tensor)?));
        }
        weights::write(&folder.join(FILE), tensors, Precision::F32)?;
        Ok(self.optimizer.save(folder, parameters)?)
    }

    fn load(&mut self, folder: &Path) -> disco_core::Result<()> {
        let file = Shard::open(folder.join(FILE))?;
        let (parameters, trained) = self.model.trained_mut();
        let mut tensors = Vec::new();
        for (parameter, old) in parameters.iter().zip(trained.iter()) {
            tensors.push(upload(
                file.read_shaped(&parameter.name, parameter.shape)?,
                parameter.shape,
                &old.device(),
            ));
        }
        self.optimizer = OptimizerState::load(folder, &parameters, &tensors)?;
        for (old, new) in trained.into_iter().zip(tensors) {
            *old = new;
        }
        self.clear();
        Ok(())
    }
}
