//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`: methods of [`TokenModel`].
//!
//! Forward and backward pass are written by hand. The gradient of the output layer is known in closed form, so that no tensor over
//! all tokens and the whole vocabulary exists; the backward pass of a layer is in `layers/block_backward.rs`.
//!
//! On the CPU a batch is split into micro-batches of about [`MICRO_BATCH_TOKENS`] tokens. Each runs forward and backward on one
//! worker, and there are as many workers as can save their activations in [`SAVED_BYTES`] together. Threads that shared each
//! matmul would wait for each other instead, and one of them would do all work between the matmuls. The workers add to the
//! shared gradient in the order of the micro-batches, so that the sum does not depend on the number of workers.
//!
//! If the activations of a micro-batch do not fit, only the last layers save theirs, as many layers as fit. The other layers save
//! their input, from which the backward pass recomputes the rest (gradient checkpointing: Chen et al. 2016, arXiv:1604.06174).
//!
//! A model whose configuration does not have
//! [`has_hand_written_backward`](crate::architecture::model_config::ModelConfig::has_hand_written_backward) is differentiated by Burn
//! ([`autodiff`]).

#[cfg(test)]
mod tests;

use std::mem::take;

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::PackedAttention,
    device::{host::is_cpu, transfer::indices},
    kernels::add,
    layers::{
        block::Mode,
        gradients::{Gradient, GradientAccumulator, SharedGradient},
        rotary::Angles,
        saved::SavedActivations,
        transformer::Transformer,
    },
    model::forward::{PredictionRow, SequenceInContext, Target, add_log_probs, distinct, padded},
    training::{
        autodiff,
        micro_batches::{MICRO_BATCH_TOKENS, split_into_micro_batches},
        ordered_workers::in_ordered_workers,
    },
};

/// About how many bytes of activations and logits are saved for the backward pass, by all micro-batches in progress together.
const SAVED_BYTES: usize = 192 << 20;

/// The number of groups of similar length into which the sequences of a pass are sorted: each group is padded to its own longest.
const LENGTH_GROUPS: usize = 4;

/// A finished forward pass of a micro-batch, whose backward pass waits for the weights of the sequences.
struct ForwardPass<'a> {
    model: &'a TokenModel,
    transformer: Transformer,
    attention: PackedAttention,
    ids: Vec<u32>,
    positions: Vec<usize>,
    angles: Option<Angles>,
    /// Per layer: all activations that its backward pass needs, or only its input.
    layers: Vec<SavedActivations>,
    /// The index of the token that predicts each row.
    row_tokens: Vec<usize>,
    rows: Vec<PredictionRow<'a>>,
    /// The output of the last layer at those tokens, before the final norm: `[rows, hidden_size]`.
    states: Tensor<2>,
    /// `[rows, vocabulary]`; `None` if the backward pass has to compute them again.
    logits: Option<TensorData>,
    /// One per sequence.
    log_probs: Vec<f64>,
}

impl TokenModel {
    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, one entry per trained parameter. `weigh` is given the
    /// log-probabilities (nats) of some sequences and returns their weights `w_i`; it is called once or several times, in the
    /// order of the sequences. Every sequence must be an event of the model.
    pub(crate) fn accumulate(
        &self,
        sequences: &[SequenceInContext<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        if !self.shared.config.has_hand_written_backward() {
            return autodiff::accumulate(self, sequences, weigh, gradient);
        }
        self.accumulate_by_hand(SAVED_BYTES, sequences, weigh, gradient)
    }

    /// [`accumulate`](Self::accumulate) for models with a hand-written backward pass, which saves about `saved_bytes`.
    fn accumulate_by_hand(
        &self,
        saved_bytes: usize,
        sequences: &[SequenceInContext<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let size = self.sequences_per_pass(sequences.len());
        if size == sequences.len() {
            // Other devices have memory of their own, and are efficient with larger matmuls.
            let is_cpu = is_cpu(&self.shared.device);
            let most = if is_cpu { MICRO_BATCH_TOKENS } else { usize::MAX };
            let micro_batches = split_into_micro_batches(sequences, most);
            let workers = if is_cpu { self.gradient_workers(saved_bytes, &micro_batches) } else { 1 };
            let worker_bytes = saved_bytes / workers;
            return self.accumulate_micro_batches(workers, worker_bytes, &micro_batches, weigh, gradient);
        }
        // A narrow model: its batch is cut into a few chunks of sequences, which run at once on rayon's threads.
        let passes: Vec<ForwardPass<'_>> = sequences
            .par_chunks(size)
            .map(|micro_batch| ForwardPass::forward(self, micro_batch, saved_bytes))
            .collect::<Result<_>>()?;
        let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
        let passes = passes.into_par_iter().zip(weights.par_chunks(size));
        let passes = passes.filter(|(_, weights)| weights.iter().any(|weight| *weight != 0.0));
        let micro_gradients: Vec<Gradient> = passes
            .map(|(pass, weights)| {
                let gradients = SharedGradient::new(
                    self.adapter_layout(),
                    vec![None; self.trained_parameters().len()],
                    1,
                );
                let embedding_gradient = pass.backward(weights, gradients.accumulator(0))?;
                embedding_gradient.backward(&self.transformer(), &mut gradients.accumulator(0));
                Ok(gradients.into_gradient())
            })
            .collect::<Result<_>>()?;
        // In order, so that the sum does not depend on which micro-batch came first.
        let summands = micro_gradients.into_iter().flat_map(|gradient| gradient.into_iter().enumerate());
        for (parameter, summand) in summands {
            add(&mut gradient[parameter], summand);
        }
        Ok(())
    }

    /// Runs each micro-batch forward and backward; each saves about `saved_bytes`. On the CPU each of `workers` workers has one
    /// micro-batch in progress at a time; on other devices one micro-batch follows the other.
    fn accumulate_micro_batches(
        &self,
        workers: usize,
        saved_bytes: usize,
        micro_batches: &[&[SequenceInContext<'_>]],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let gradients = SharedGradient::new(self.adapter_layout(), take(gradient), micro_batches.len());
        let forward_and_backward = |index: usize, weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>| {
            let micro_batch: &[SequenceInContext<'_>] = micro_batches[index];
            let gradients = gradients.accumulator(index);
            let pass = ForwardPass::forward(self, micro_batch, saved_bytes)?;
            let weights = weigh(&pass.log_probs)?;
            disco_core::Error::check_length("weights of a batch", micro_batch.len(), weights.len())?;
            let is_wanted = weights.iter().any(|weight| *weight != 0.0);
            if is_wanted { pass.backward(&weights, gradients).map(Some) } else { Ok(None) }
        };
        let embedding_gradients: Result<Vec<Option<EmbeddingGradient>>> = if is_cpu(&self.shared.device) {
            in_ordered_workers(workers, micro_batches.len(), weigh, forward_and_backward)
        } else {
            (0..micro_batches.len()).map(|index| forward_and_backward(index, weigh)).collect()
        };
        *gradient = gradients.into_gradient();
        let embedding_gradients = embedding_gradients?;
        let gradients = SharedGradient::new(self.adapter_layout(), take(gradient), 1);
        for embedding_gradient in embedding_gradients.into_iter().flatten() {
            embedding_gradient.backward(&self.transformer(), &mut gradients.accumulator(0));
        }
        *gradient = gradients.into_gradient();
        Ok(())
    }

    /// The number of workers, each with one micro-batch in progress: as many as save at most `saved_bytes` together, but no more
    /// than there are threads or micro-batches.
    fn gradient_workers(&self, saved_bytes: usize, micro_batches: &[&[SequenceInContext<'_>]]) -> usize {
        let tokens = |micro_batch: &&[SequenceInContext<'_>]| {
            micro_batch.iter().map(|sequence| sequence.tokens.len()).sum::<usize>()
        };
        let most = micro_batches.iter().map(tokens).max().unwrap_or(1).max(1);
        let fitting = saved_bytes / (most * self.bytes_per_token());
        fitting.min(rayon::current_num_threads()).min(micro_batches.len()).max(1)
    }

    /// The bytes that a token takes if the activations of all layers and its logits are saved for the backward pass.
    fn bytes_per_token(&self) -> usize {
        let config = &self.shared.config;
        (config.layers * SavedActivations::elements_per_token(config) + self.vocabulary()) * size_of::<f32>()
    }

    /// The lowest layer with a trained parameter, at which the backward pass ends: the lowest one with an adapter, or the first
    /// if there is no adapter.
    fn lowest_layer(&self) -> usize {
        let Some(adapter) = &self.adapter else { return 0 };
        let layers = adapter
            .layout
            .modules
            .iter()
            .filter_map(|module| self.shared.parameters[module.parameter].layer());
        layers.min().unwrap_or(0)
    }
}

impl<'a> ForwardPass<'a> {
    fn forward(
        model: &'a TokenModel,
        sequences: &[SequenceInContext<'a>],
        saved_bytes: usize,
    ) -> Result<Self> {
        let (contexts, which) = distinct(sequences);
        let (shared, transformer) = (&model.shared, model.transformer());
        let config = &shared.config;
        let lengths: Vec<usize> = contexts.iter().map(|context| context.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (mut ids, mut positions) = padded(&contexts, longest, |_| 0);
        let mut row_tokens: Vec<usize> =
            lengths.iter().enumerate().map(|(i, length)| i * longest + length - 1).collect();
        let mut rows: Vec<PredictionRow<'a>> =
            contexts.iter().copied().map(PredictionRow::after_context).collect();
        for (sequence, &context) in which.iter().enumerate() {
            rows[context].targets.push(Target { sequence, token: sequences[sequence].tokens[0] });
        }
        let mut attention = PackedAttention::new(config, &lengths, &shared.device);
        // The last token is predicted but predicts nothing.
        let mut order: Vec<usize> = (0..sequences.len()).filter(|&i| sequences[i].tokens.len() > 1).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(sequences[i].tokens.len()));
        for group in order.chunks(order.len().div_ceil(LENGTH_GROUPS).max(1)) {
            let inputs: Vec<&[u32]> =
                group.iter().map(|&i| &sequences[i].tokens[..sequences[i].tokens.len() - 1]).collect();
            let seq_len = inputs[0].len();
            for (at, (&sequence, input)) in group.iter().zip(&inputs).enumerate() {
                let start = ids.len() + at * seq_len;
                row_tokens.extend(start..start + input.len());
                rows.extend(PredictionRow::of_sequence(sequence, sequences[sequence]));
            }
            let (more_ids, more_positions) = padded(&inputs, seq_len, |i| lengths[which[group[i]]]);
            ids.extend(more_ids);
            positions.extend(more_positions);
            attention.add_group(group.iter().map(|&i| which[i]).collect(), &lengths, seq_len, &shared.device);
        }

        let (mut x, angles) = transformer.embed(&ids, &positions);
        let logit_bytes = rows.len() * model.vocabulary() * size_of::<f32>();
        let layer_bytes = ids.len() * SavedActivations::elements_per_token(config) * size_of::<f32>();
        let first_saved = config.layers.saturating_sub(saved_bytes.saturating_sub(logit_bytes) / layer_bytes);
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let mut mode = if layer < first_saved { Mode::Plain } else { Mode::Save(Box::default()) };
            let input = x.clone();
            x = transformer.layer(layer, x, angles.as_ref(), &mut attention, &mut mode);
            layers.push(match mode {
                Mode::Save(saved) => *saved,
                _ => SavedActivations::input_only(input),
            });
        }
        let states = x.select(0, indices(row_tokens.iter().copied(), &shared.device));
        let mut log_probs = vec![0.0; sequences.len()];
        let (row_log_probs, logits) =
            model.lm_head().log_probs_and_logits(&transformer.final_norm(states.clone()), &rows)?;
        add_log_probs(&mut log_probs, &rows, row_log_probs);
        Ok(Self {
            model,
            transformer,
            attention,
            ids,
            positions,
            angles,
            layers,
            row_tokens,
            rows,
            states,
            logits,
            log_probs,
        })
    }

    /// Adds the gradient of `sum_i weights[i] * log_probs[i]` by all parameters but the embeddings, whose gradient is left to the
    /// caller.
    fn backward(
        mut self,
        weights: &[f64],
        mut gradients: GradientAccumulator<'_>,
    ) -> Result<EmbeddingGradient> {
        let model = self.model;
        let hidden = self.transformer.final_norm(self.states.clone());
        let logits = self.logits.take();
        let grad_hidden = model.lm_head().gradient(&hidden, &self.rows, weights, logits, &mut gradients)?;
        let grad_states = self.transformer.final_norm_backward(self.states, grad_hidden, &mut gradients);
        gradients.end_stage();
        let device = &model.shared.device;
        let zeros = Tensor::zeros([self.ids.len(), grad_states.dims()[1]], device);
        let row_tokens = indices(self.row_tokens.iter().copied(), device);
        let mut grad_x = zeros.select_assign(0, row_tokens, grad_states, IndexingUpdateOp::Add);
        for layer in (model.lowest_layer()..self.layers.len()).rev() {
            let mut saved = self.layers.pop().expect("an entry per layer");
            if let Some(input) = saved.input_to_recompute() {
                let mut mode = Mode::Save(Box::default());
                self.transformer.layer(layer, input, self.angles.as_ref(), &mut self.attention, &mut mode);
                let Mode::Save(recomputed) = mode else { unreachable!("the mode does not change") };
                saved = *recomputed;
            }
            let angles = self.angles.as_ref();
            grad_x = self.transformer.layer_backward(
                layer,
                saved,
                angles,
                &self.attention,
                grad_x,
                &mut gradients,
            );
            gradients.end_stage();
        }
        Ok(EmbeddingGradient { ids: self.ids, positions: self.positions, grad_x })
    }
}

/// The gradient of the embedding output, which enters the first layer. It is applied after all micro-batches, because a tied
/// output matrix accumulates into the same tensor.
struct EmbeddingGradient {
    ids: Vec<u32>,
    positions: Vec<usize>,
    grad_x: Tensor<2>,
}

impl EmbeddingGradient {
    fn backward(self, transformer: &Transformer, gradients: &mut GradientAccumulator<'_>) {
        if gradients.wants_weights() {
            transformer.embed_backward(&self.ids, &self.positions, self.grad_x, gradients);
        }
    }
}
