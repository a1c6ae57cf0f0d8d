//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`.
//!
//! The way back is written by hand. The output layer's is known in closed form, so that no tensor over all tokens and the
//! whole vocabulary exists; a layer's is in [`crate::layers::block`]. In the host's memory a batch goes forwards and back in parts
//! ([`PART_TOKENS`]), of which as many are in work at a time, each in a worker of its own, as can be kept ([`SAVED_BYTES`]): threads that share each
//! product wait for each other, and do alone what lies between. Of what cannot be kept whole, as many
//! layers are kept, from the last, as there is room for; of the others only the input is, and the layer is run again when its
//! turn comes (gradient checkpointing: Chen et al. 2016). A model with an encoder is one graph of Burn's automatic
//! differentiation ([`autodiff`]).

use crate::layers::weight::Weight;

use std::{collections::BTreeMap, mem::take};

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::PackedAttention,
    device::{host::is_host, transfer::indices},
    kernels::add,
    layers::{
        block::Mode,
        gradients::{Gradient, GradientAccumulator, SharedGradient},
        rotary::Angles,
        saved::SavedActivations,
        transformer::Transformer,
    },
    model::forward::{PredictionRow, SequenceInContext, Target, add_log_probs, distinct, padded},
    training::{autodiff, ordered_workers::in_ordered_workers},
};

/// How many bytes of what has been computed may wait for the way back, in all parts that are in work, roughly. A token of
/// SmolLM2-135M takes 0.7 MB, and its logits 0.2 MB.
const SAVED_BYTES: usize = 192 << 20;

/// A part of a batch has about so many tokens, for its products to have rows enough.
const PART_TOKENS: usize = 84;

/// And so many times those of its longest context, which is read once in each part.
const CONTEXT_TIMES: usize = 12;

/// Into how many groups of like length the sequences of a pass are cut: each is padded to its own longest.
const GROUPS: usize = 4;

/// A forward pass that waits for the weights of its sequences.
struct ForwardPass<'a> {
    model: &'a TokenModel,
    transformer: Transformer,
    attention: PackedAttention,
    ids: Vec<u32>,
    positions: Vec<usize>,
    angles: Option<Angles>,
    /// What each layer keeps: all it needs, or what entered it.
    layers: Vec<SavedActivations>,
    /// The tokens that predict something: one per row.
    ends: Vec<usize>,
    rows: Vec<PredictionRow<'a>>,
    /// What leaves the last layer, of those tokens.
    states: Tensor<2>,
    logits: Option<TensorData>,
    /// One per sequence.
    log_probs: Vec<f64>,
}

impl TokenModel {
    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, one entry per trained parameter, where `weigh` gives the `w_i`
    /// once it knows the log-probabilities. Every sequence must be an event of the model.
    pub(crate) fn accumulate(
        &self,
        sequences: &[SequenceInContext<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        if !self.shared.config.has_hand_written_backward() {
            return autodiff::accumulate(self, sequences, weigh, gradient);
        }
        self.accumulate_within(SAVED_BYTES, sequences, weigh, gradient)
    }

    /// The same for a decoder, with about `saved_bytes` kept.
    fn accumulate_within(
        &self,
        saved_bytes: usize,
        sequences: &[SequenceInContext<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let size = self.part(sequences.len());
        if size == sequences.len() {
            // Other devices have memory of their own, and want larger products.
            let is_host = is_host(&self.shared.device);
            let parts = cut(sequences, if is_host { PART_TOKENS } else { usize::MAX });
            let workers = if is_host { self.gradient_workers(saved_bytes, &parts) } else { 1 };
            return self.accumulate_cut(workers, saved_bytes / workers, &parts, weigh, gradient);
        }
        let passes: Vec<ForwardPass<'_>> = sequences
            .par_chunks(size)
            .map(|part| ForwardPass::forward(self, part, saved_bytes))
            .collect::<Result<_>>()?;
        let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
        let passes = passes.into_par_iter().zip(weights.par_chunks(size));
        let passes = passes.filter(|(_, weights)| weights.iter().any(|weight| *weight != 0.0));
        let parts: Vec<Gradient> = passes
            .map(|(pass, weights)| {
                let gradients =
                    SharedGradient::new(self.adapter_layout(), vec![None; self.trained().0.len()], 1);
                let embedded = pass.backward(weights, gradients.part(0))?;
                embedded.backward(&self.transformer(), &mut gradients.part(0));
                Ok(gradients.into_gradient())
            })
            .collect::<Result<_>>()?;
        // In order, so that the sum does not depend on who was first.
        for (parameter, part) in parts.into_iter().flat_map(|part| part.into_iter().enumerate()) {
            add(&mut gradient[parameter], part);
        }
        Ok(())
    }

    /// The same of a batch in parts, with `saved_bytes` each. In the host's memory as many are in work as there are workers.
    fn accumulate_cut(
        &self,
        workers: usize,
        saved_bytes: usize,
        parts: &[&[SequenceInContext<'_>]],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let gradients = SharedGradient::new(self.adapter_layout(), take(gradient), parts.len());
        let forward_and_backward = |index: usize, weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>| {
            let part: &[SequenceInContext<'_>] = parts[index];
            let gradients = gradients.part(index);
            let pass = ForwardPass::forward(self, part, saved_bytes)?;
            let weights = weigh(&pass.log_probs)?;
            disco_core::Error::check_length("weights of a batch", part.len(), weights.len())?;
            let is_wanted = weights.iter().any(|weight| *weight != 0.0);
            if is_wanted { pass.backward(&weights, gradients).map(Some) } else { Ok(None) }
        };
        let embedded: Result<Vec<Option<EmbeddingGradient>>> = if is_host(&self.shared.device) {
            in_ordered_workers(workers, parts.len(), weigh, forward_and_backward)
        } else {
            (0..parts.len()).map(|index| forward_and_backward(index, weigh)).collect()
        };
        *gradient = gradients.into_gradient();
        let embedded = embedded?;
        let gradients = SharedGradient::new(self.adapter_layout(), take(gradient), 1);
        for embedded in embedded.into_iter().flatten() {
            embedded.backward(&self.transformer(), &mut gradients.part(0));
        }
        *gradient = gradients.into_gradient();
        Ok(())
    }

    /// How many parts of a batch may be in work at a time.
    fn gradient_workers(&self, saved_bytes: usize, parts: &[&[SequenceInContext<'_>]]) -> usize {
        let tokens = |part: &&[SequenceInContext<'_>]| {
            part.iter().map(|sequence| sequence.tokens.len()).sum::<usize>()
        };
        let most = parts.iter().map(tokens).max().unwrap_or(1).max(1);
        let saved = saved_bytes / (most * self.bytes_per_token());
        saved.min(rayon::current_num_threads()).min(parts.len()).max(1)
    }

    /// What a token takes that is kept for the way back, in all layers and as logits.
    fn bytes_per_token(&self) -> usize {
        let config = &self.shared.config;
        (config.layers * SavedActivations::elements_per_token(config) + self.vocabulary()) * size_of::<f32>()
    }

    /// The lowest layer with an adapter: nothing below it is trained. The first if everything is.
    fn lowest_layer(&self) -> usize {
        let Some(adapter) = &self.adapter else { return 0 };
        let layers = adapter
            .layout
            .modules
            .iter()
            .filter_map(|module| self.shared.parameters[module.parameter].layer());
        layers.min().unwrap_or(0)
    }

    /// A decoder in which what is trained is tracked, each as a leaf of a new graph; and those leaves, by index of the
    /// trained parameter, in order.
    pub(crate) fn tracked(&self) -> (Transformer, Vec<Tensor<2>>) {
        let leaves: Vec<Tensor<2>> =
            self.trained().1.iter().map(|tensor| tensor.clone().autodiff().require_grad()).collect();
        let transformer = match &self.adapter {
            Some(adapter) => self
                .transformer_with(&self.weights, &adapter.layout.updates(&self.shared.parameters, &leaves)),
            None => {
                let weights: Vec<Weight> = leaves.iter().cloned().map(Weight::F32).collect();
                self.transformer_with(&weights, &BTreeMap::new())
            }
        };
        (transformer, leaves)
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
        let mut ends: Vec<usize> =
            lengths.iter().enumerate().map(|(i, length)| i * longest + length - 1).collect();
        let mut rows: Vec<PredictionRow<'a>> = contexts.iter().copied().map(PredictionRow::behind).collect();
        for (sequence, &context) in which.iter().enumerate() {
            rows[context].targets.push(Target { sequence, token: sequences[sequence].tokens[0] });
        }
        let mut attention = PackedAttention::new(config, &lengths, &shared.device);
        // The last token is predicted but predicts nothing.
        let mut order: Vec<usize> = (0..sequences.len()).filter(|&i| sequences[i].tokens.len() > 1).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(sequences[i].tokens.len()));
        for part in order.chunks(order.len().div_ceil(GROUPS).max(1)) {
            let inputs: Vec<&[u32]> =
                part.iter().map(|&i| &sequences[i].tokens[..sequences[i].tokens.len() - 1]).collect();
            let seq_len = inputs[0].len();
            for (at, (&sequence, input)) in part.iter().zip(&inputs).enumerate() {
                let start = ids.len() + at * seq_len;
                ends.extend(start..start + input.len());
                rows.extend(PredictionRow::within(sequence, sequences[sequence]));
            }
            let (more_ids, more_places) = padded(&inputs, seq_len, |i| lengths[which[part[i]]]);
            ids.extend(more_ids);
            positions.extend(more_places);
            attention.follow(part.iter().map(|&i| which[i]).collect(), &lengths, seq_len, &shared.device);
        }

        let (mut x, angles) = transformer.embed(&ids, &positions);
        let logits = rows.len() * model.vocabulary() * size_of::<f32>();
        let layer_bytes = ids.len() * SavedActivations::elements_per_token(config) * size_of::<f32>();
        let first_saved = config.layers.saturating_sub(saved_bytes.saturating_sub(logits) / layer_bytes);
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
        let states = x.select(0, indices(ends.iter().copied(), &shared.device));
        let mut log_probs = vec![0.0; sequences.len()];
        let (row_log_probs, logits) =
            model.lm_head().log_probs_and_logits(&transformer.finish(states.clone()), &rows)?;
        add_log_probs(&mut log_probs, &rows, row_log_probs);
        Ok(Self {
            model,
            transformer,
            attention,
            ids,
            positions,
            angles,
            layers,
            ends,
            rows,
            states,
            logits,
            log_probs,
        })
    }

    /// Adds the gradient of `sum_i weights[i] * log_probs[i]`, but for that of the embeddings, which is left to the caller.
    fn backward(
        mut self,
        weights: &[f64],
        mut gradients: GradientAccumulator<'_>,
    ) -> Result<EmbeddingGradient> {
        let model = self.model;
        let hidden = self.transformer.finish(self.states.clone());
        let logits = self.logits.take();
        let grad_hidden = model.lm_head().gradient(&hidden, &self.rows, weights, logits, &mut gradients)?;
        let grad_states = self.transformer.finish_backward(self.states, grad_hidden, &mut gradients);
        gradients.end_stage();
        let device = &model.shared.device;
        let nothing = Tensor::zeros([self.ids.len(), grad_states.dims()[1]], device);
        let ends = indices(self.ends.iter().copied(), device);
        let mut grad_x = nothing.select_assign(0, ends, grad_states, IndexingUpdateOp::Add);
        for layer in (model.lowest_layer()..self.layers.len()).rev() {
            let mut saved = self.layers.pop().expect("a layer per layer");
            if let Some(input) = saved.input_to_recompute() {
                let mut mode = Mode::Save(Box::default());
                self.transformer.layer(layer, input, self.angles.as_ref(), &mut self.attention, &mut mode);
                let Mode::Save(again) = mode else { unreachable!("the mode does not change") };
                saved = *again;
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

/// The gradient of what entered the first layer, which is that of the embeddings too. It is kept until all parts of a batch are done: an
/// output matrix may be the same sum.
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

/// Cuts sequences, in their order, into parts of about as many tokens each: of no more than about `most`, contexts included, unless
/// a context is long.
fn cut<'s, 'a>(sequences: &'s [SequenceInContext<'a>], most: usize) -> Vec<&'s [SequenceInContext<'a>]> {
    let longest = sequences.iter().map(|sequence| sequence.context.len()).max().unwrap_or(0);
    let most = most.max(CONTEXT_TIMES * longest) - longest;
    let all: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
    let even = all.div_ceil(all.div_ceil(most).max(1)).max(1);
    let mut parts = Vec::new();
    let (mut start, mut before) = (0, 0);
    for (at, sequence) in sequences.iter().enumerate() {
        let middle = before + sequence.tokens.len() / 2;
        if middle / even > parts.len() && at > start {
            parts.push(&sequences[start..at]);
            start = at;
        }
        before += sequence.tokens.len();
    }
    parts.push(&sequences[start..]);
    parts
}

#[cfg(test)]
mod tests;
