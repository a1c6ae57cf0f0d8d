//! The policy over text: a language model with a pending gradient and an optimizer state.

use std::path::Path;

use disco_core::{Distribution, Sampled, Score, Scorer, Streams};
use disco_tuner::{BatchItem, Checkpointed, PendingGradient, Policy, Tensors, Update, UpdateStats, WeightFn};

use crate::{Completion, LanguageModel, Lora, Result, TokenPolicy, model::forward::SequenceInContext};

/// A language model that can be tuned towards a target: text contexts, completions as samples.
#[derive(Clone, Debug)]
pub struct LmPolicy {
    /// The model that tuning started from. Its tokenizer, files and templates are used; its parameters are not.
    base: LanguageModel,
    tokens: TokenPolicy,
}

impl LmPolicy {
    /// A policy that starts as `model`. The parameters are shared until the first step.
    pub fn new(model: LanguageModel) -> Self {
        Self { tokens: TokenPolicy::new(model.tokens().clone()), base: model }
    }

    /// A policy that starts as `model` and tunes a new adapter; the weights of `model` are not changed, and shared with the
    /// policy.
    ///
    /// # Errors
    /// As [`TokenModel::with_lora`](crate::TokenModel::with_lora).
    pub fn lora(model: &LanguageModel, lora: &Lora) -> Result<Self> {
        Ok(Self::new(model.with_lora(lora)?))
    }

    /// Adds the gradient of sequences of the same model with another `max_new_tokens` to the pending gradient: of sequences that it
    /// would cut there, for example. The context is given as token ids.
    ///
    /// # Errors
    /// As [`TokenPolicy::accumulate_sequences`].
    pub(crate) fn accumulate_up_to(
        &mut self,
        max_new_tokens: usize,
        batch: &[SequenceInContext<'_>],
        weigh: &mut WeightFn<'_>,
    ) -> Result<()> {
        let own = std::mem::replace(&mut self.tokens.model.generation.max_new_tokens, max_new_tokens);
        let done = self.tokens.accumulate_sequences(batch, weigh);
        self.tokens.model.generation.max_new_tokens = own;
        done
    }

    /// A language model with the policy's current parameters, which can be saved.
    pub fn model(&self) -> LanguageModel {
        self.base.with_tokens(self.tokens.model.clone())
    }
}

impl<C: AsRef<str> + ?Sized> Scorer<C, Completion> for LmPolicy {
    fn log_scores(&self, context: &C, samples: &[&Completion]) -> disco_core::Result<Vec<Score>> {
        self.model().log_scores(context, samples)
    }
}

impl<C: AsRef<str> + ?Sized> Distribution<C, Completion> for LmPolicy {
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Completion>>> {
        self.model().sample(context, streams)
    }

    fn sample_each(
        &self,
        contexts: &[&C],
        streams: &[Streams],
    ) -> disco_core::Result<Vec<Vec<Sampled<Completion>>>> {
        self.model().sample_each(contexts, streams)
    }
}

impl<C: AsRef<str>> Policy<C, Completion> for LmPolicy {
    type Frozen = LanguageModel;

    fn freeze(&self) -> disco_core::Result<LanguageModel> {
        Ok(self.model())
    }

    fn accumulate(
        &mut self,
        batch: &[BatchItem<'_, C, Completion>],
        weigh: &mut WeightFn<'_>,
    ) -> disco_core::Result<()> {
        let contexts: Vec<Vec<u32>> =
            batch.iter().map(|item| self.base.encode(item.context.as_ref())).collect::<Result<_>>()?;
        let sequences: Vec<SequenceInContext<'_>> = batch
            .iter()
            .zip(&contexts)
            .map(|(item, context)| SequenceInContext { context, tokens: &item.sample.tokens })
            .collect();
        Ok(self.tokens.accumulate_sequences(&sequences, weigh)?)
    }

    fn clear(&mut self) {
        self.tokens.clear();
    }

    fn step(&mut self, update: &Update) -> disco_core::Result<UpdateStats> {
        self.tokens.step(update)
    }

    /// As [`TokenPolicy::snapshot`].
    fn snapshot(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl PendingGradient for LmPolicy {
    type Scalar = f32;

    fn pending(&self) -> disco_core::Result<Tensors> {
        self.tokens.pending()
    }

    fn replace_pending(&mut self, gradient: Tensors) -> disco_core::Result<()> {
        self.tokens.replace_pending(gradient)
    }
}

impl Checkpointed for LmPolicy {
    fn save(&self, folder: &Path) -> disco_core::Result<()> {
        self.tokens.save(folder)
    }

    fn load(&mut self, folder: &Path) -> disco_core::Result<()> {
        self.tokens.load(folder)
    }
}
