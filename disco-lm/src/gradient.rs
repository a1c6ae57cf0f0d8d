//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`.
//!
//! The way back is written by hand. The output layer's is known in closed form, so that no tensor over all tokens and the
//! whole vocabulary exists; a layer's is in [`crate::layer`]. In the host's memory a batch goes forwards and back in parts
//! ([`PART_TOKENS`]), of which as many are in work at a time, each in a strand of its own, as can be kept ([`KEPT_BYTES`]): threads that share each
//! product wait for each other, and do alone what lies between. Of what cannot be kept whole, as many
//! layers are kept, from the last, as there is room for; of the others only the input is, and the layer is run again when its
//! turn comes (gradient checkpointing: Chen et al. 2016). A model with an encoder is one graph of Burn's automatic
//! differentiation ([`whole`]).

use std::{
    collections::{BTreeMap, HashMap},
    mem::take,
};

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    decoder::{Decoder, indices},
    host,
    layer::{Kept, Mode},
    optimizer::{Gradient, add},
    rope::Angles,
    rows::{Row, Sequence, Target, add_up, padded},
    spec::NormOrder,
    strands::in_strands,
    sums::{Shared, Sums},
    together::Together,
    whole,
};

/// How many bytes of what has been computed may wait for the way back, in all parts that are in work, roughly. A token of
/// SmolLM2-135M takes 0.7 MB, and its logits 0.2 MB.
const KEPT_BYTES: usize = 192 << 20;

/// A part of a batch has about so many tokens, for its products to have rows enough.
const PART_TOKENS: usize = 84;

/// And so many times those of its longest context, which is read once in each part.
const CONTEXT_TIMES: usize = 12;

/// Into how many groups of like length the sequences of a pass are cut: each is padded to its own longest.
const GROUPS: usize = 4;

/// A forward pass that waits for the weights of its sequences.
struct Pass<'a> {
    model: &'a TokenModel,
    decoder: Decoder,
    attention: Together,
    ids: Vec<u32>,
    places: Vec<usize>,
    angles: Option<Angles>,
    /// What each layer keeps: all it needs, or what entered it.
    layers: Vec<Kept>,
    /// The tokens that predict something: one per row.
    ends: Vec<usize>,
    rows: Vec<Row<'a>>,
    /// What leaves the last layer, of those tokens.
    states: Tensor<2>,
    logits: Option<TensorData>,
    /// One per sequence.
    log_probs: Vec<f64>,
}

impl TokenModel {
    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, one entry per trained slot, where `weigh` gives the `w_i`
    /// once it knows the log-probabilities. Every sequence must be an event of the model.
    pub(crate) fn accumulate(
        &self,
        sequences: &[Sequence<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        if self.frame.spec.encoder.is_some() || self.frame.spec.norm_order == NormOrder::After {
            return whole::accumulate(self, sequences, weigh, gradient);
        }
        self.accumulate_within(KEPT_BYTES, sequences, weigh, gradient)
    }

    /// The same for a decoder, with about `kept_bytes` kept.
    fn accumulate_within(
        &self,
        kept_bytes: usize,
        sequences: &[Sequence<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let size = self.part(sequences.len());
        if size == sequences.len() {
            // Other devices have memory of their own, and want larger products.
            let is_host = host::is_host(&self.frame.device);
            let parts = cut(sequences, if is_host { PART_TOKENS } else { usize::MAX });
            let strands = if is_host { self.gradient_strands(kept_bytes, &parts) } else { 1 };
            return self.accumulate_cut(strands, kept_bytes / strands, &parts, weigh, gradient);
        }
        let passes: Vec<Pass<'_>> = sequences
            .par_chunks(size)
            .map(|part| Pass::forward(self, part, kept_bytes))
            .collect::<Result<_>>()?;
        let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
        let passes = passes.into_par_iter().zip(weights.par_chunks(size));
        let passes = passes.filter(|(_, weights)| weights.iter().any(|weight| *weight != 0.0));
        let parts: Vec<Gradient> = passes
            .map(|(pass, weights)| {
                let sums = Shared::new(self, vec![None; self.trained().0.len()], 1);
                let embedded = pass.backward(weights, sums.part(0))?;
                embedded.backward(&self.decoder(), &mut sums.part(0));
                Ok(sums.into_gradient())
            })
            .collect::<Result<_>>()?;
        // In order, so that the sum does not depend on who was first.
        for (slot, part) in parts.into_iter().flat_map(|part| part.into_iter().enumerate()) {
            add(&mut gradient[slot], part);
        }
        Ok(())
    }

    /// The same of a batch in parts, with `kept_bytes` each. In the host's memory as many are in work as there are strands.
    fn accumulate_cut(
        &self,
        strands: usize,
        kept_bytes: usize,
        parts: &[&[Sequence<'_>]],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let sums = Shared::new(self, take(gradient), parts.len());
        let there_and_back = |index: usize, weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>| {
            let part: &[Sequence<'_>] = parts[index];
            let sums = sums.part(index);
            let pass = Pass::forward(self, part, kept_bytes)?;
            let weights = weigh(&pass.log_probs)?;
            disco_core::Error::check_length("weights of a batch", part.len(), weights.len())?;
            let is_wanted = weights.iter().any(|weight| *weight != 0.0);
            if is_wanted { pass.backward(&weights, sums).map(Some) } else { Ok(None) }
        };
        let embedded: Result<Vec<Option<Embedded>>> = if host::is_host(&self.frame.device) {
            in_strands(strands, parts.len(), weigh, there_and_back)
        } else {
            (0..parts.len()).map(|index| there_and_back(index, weigh)).collect()
        };
        *gradient = sums.into_gradient();
        let embedded = embedded?;
        let sums = Shared::new(self, take(gradient), 1);
        for embedded in embedded.into_iter().flatten() {
            embedded.backward(&self.decoder(), &mut sums.part(0));
        }
        *gradient = sums.into_gradient();
        Ok(())
    }

    /// How many parts of a batch may be in work at a time.
    fn gradient_strands(&self, kept_bytes: usize, parts: &[&[Sequence<'_>]]) -> usize {
        let tokens =
            |part: &&[Sequence<'_>]| part.iter().map(|sequence| sequence.tokens.len()).sum::<usize>();
        let most = parts.iter().map(tokens).max().unwrap_or(1).max(1);
        let kept = kept_bytes / (most * self.bytes_per_token());
        kept.min(rayon::current_num_threads()).min(parts.len()).max(1)
    }

    /// What a token takes that is kept for the way back, in all layers and as logits.
    fn bytes_per_token(&self) -> usize {
        let spec = &self.frame.spec;
        (spec.layers * Kept::numbers(spec) + self.vocabulary()) * size_of::<f32>()
    }

    /// The lowest layer with an adapter: nothing below it is trained. The first if everything is.
    fn lowest_layer(&self) -> usize {
        let Some(adapter) = &self.adapter else { return 0 };
        let layers = adapter.modules.iter().filter_map(|module| self.frame.slots[module.slot].layer());
        layers.min().unwrap_or(0)
    }

    /// A decoder in which what is trained is tracked, each as a leaf of a new graph; and those leaves, by index of the
    /// trained slot, in order.
    pub(crate) fn tracked(&self) -> (Decoder, Vec<Tensor<2>>) {
        let leaves: Vec<Tensor<2>> =
            self.trained().1.iter().map(|tensor| tensor.clone().autodiff().require_grad()).collect();
        let decoder = match &self.adapter {
            Some(adapter) => self.decoder_with(&self.tensors, &adapter.sides(&self.frame.slots, &leaves)),
            None => self.decoder_with(&leaves, &BTreeMap::new()),
        };
        (decoder, leaves)
    }
}

impl<'a> Pass<'a> {
    fn forward(model: &'a TokenModel, sequences: &[Sequence<'a>], kept_bytes: usize) -> Result<Self> {
        let (contexts, which) = distinct(sequences);
        let (frame, decoder) = (&model.frame, model.decoder());
        let spec = &frame.spec;
        let lengths: Vec<usize> = contexts.iter().map(|context| context.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (mut ids, mut places) = padded(&contexts, longest, |_| 0);
        let mut ends: Vec<usize> =
            lengths.iter().enumerate().map(|(i, length)| i * longest + length - 1).collect();
        let mut rows: Vec<Row<'a>> = contexts.iter().copied().map(Row::behind).collect();
        for (sequence, &context) in which.iter().enumerate() {
            rows[context].targets.push(Target { sequence, token: sequences[sequence].tokens[0] });
        }
        let mut attention = Together::new(spec, &lengths, &frame.device);
        // The last token is predicted but predicts nothing.
        let mut order: Vec<usize> = (0..sequences.len()).filter(|&i| sequences[i].tokens.len() > 1).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(sequences[i].tokens.len()));
        for part in order.chunks(order.len().div_ceil(GROUPS).max(1)) {
            let inputs: Vec<&[u32]> =
                part.iter().map(|&i| &sequences[i].tokens[..sequences[i].tokens.len() - 1]).collect();
            let time = inputs[0].len();
            for (at, (&sequence, input)) in part.iter().zip(&inputs).enumerate() {
                let start = ids.len() + at * time;
                ends.extend(start..start + input.len());
                rows.extend(Row::within(sequence, sequences[sequence]));
            }
            let (more_ids, more_places) = padded(&inputs, time, |i| lengths[which[part[i]]]);
            ids.extend(more_ids);
            places.extend(more_places);
            attention.follow(part.iter().map(|&i| which[i]).collect(), &lengths, time, &frame.device);
        }

        let (mut x, angles) = decoder.embed(&ids, &places);
        let logits = rows.len() * model.vocabulary() * size_of::<f32>();
        let of_layer = ids.len() * Kept::numbers(spec) * size_of::<f32>();
        let first_kept = spec.layers.saturating_sub(kept_bytes.saturating_sub(logits) / of_layer);
        let mut layers = Vec::with_capacity(spec.layers);
        for layer in 0..spec.layers {
            let mut mode = if layer < first_kept { Mode::Plain } else { Mode::Keep(Box::default()) };
            let input = x.clone();
            x = decoder.layer(layer, x, angles.as_ref(), &mut attention, &mut mode);
            layers.push(match mode {
                Mode::Keep(kept) => *kept,
                _ => Kept::input_alone(input),
            });
        }
        let states = x.select(0, indices(ends.iter().copied(), &frame.device));
        let mut log_probs = vec![0.0; sequences.len()];
        let (of_rows, logits) = model.head().log_probs_and_logits(&decoder.finish(states.clone()), &rows)?;
        add_up(&mut log_probs, &rows, of_rows);
        Ok(Self {
            model,
            decoder,
            attention,
            ids,
            places,
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
    fn backward(mut self, weights: &[f64], mut sums: Sums<'_>) -> Result<Embedded> {
        let model = self.model;
        let hidden = self.decoder.finish(self.states.clone());
        let logits = self.logits.take();
        let of_hidden = model.head().gradient(&hidden, &self.rows, weights, logits, &mut sums)?;
        let of_states = self.decoder.finish_backward(self.states, of_hidden, &mut sums);
        sums.end_stage();
        let device = &model.frame.device;
        let nothing = Tensor::zeros([self.ids.len(), of_states.dims()[1]], device);
        let ends = indices(self.ends.iter().copied(), device);
        let mut of_x = nothing.select_assign(0, ends, of_states, IndexingUpdateOp::Add);
        for layer in (model.lowest_layer()..self.layers.len()).rev() {
            let mut kept = self.layers.pop().expect("a layer per layer");
            if let Some(input) = kept.to_run_again() {
                let mut mode = Mode::Keep(Box::default());
                self.decoder.layer(layer, input, self.angles.as_ref(), &mut self.attention, &mut mode);
                let Mode::Keep(again) = mode else { unreachable!("the mode does not change") };
                kept = *again;
            }
            let angles = self.angles.as_ref();
            of_x = self.decoder.layer_backward(layer, kept, angles, &self.attention, of_x, &mut sums);
            sums.end_stage();
        }
        Ok(Embedded { ids: self.ids, places: self.places, of_x })
    }
}

/// The gradient of what entered the first layer, which is that of the embeddings too. It is kept until all parts of a batch are done: an
/// output matrix may be the same sum.
struct Embedded {
    ids: Vec<u32>,
    places: Vec<usize>,
    of_x: Tensor<2>,
}

impl Embedded {
    fn backward(self, decoder: &Decoder, sums: &mut Sums<'_>) {
        if sums.wants_weights() {
            decoder.embed_backward(&self.ids, &self.places, self.of_x, sums);
        }
    }
}

/// Cuts sequences, in their order, into parts of about as many tokens each: of no more than about `most`, contexts included, unless
/// a context is long.
fn cut<'s, 'a>(sequences: &'s [Sequence<'a>], most: usize) -> Vec<&'s [Sequence<'a>]> {
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

/// The contexts that there are, each once, and which of them each sequence has.
pub(crate) fn distinct<'a>(sequences: &[Sequence<'a>]) -> (Vec<&'a [u32]>, Vec<usize>) {
    let mut contexts: Vec<&[u32]> = Vec::new();
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    let which = sequences.iter().map(|sequence| {
        *known.entry(sequence.context).or_insert_with(|| {
            contexts.push(sequence.context);
            contexts.len() - 1
        })
    });
    let which = which.collect();
    (contexts, which)
}

#[cfg(test)]
mod tests;
