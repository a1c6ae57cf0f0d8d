//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`.
//!
//! The gradient of a layer comes from Burn's automatic differentiation, that of the output layer is formed by hand: it
//! is known in closed form, and this way no tensor over all tokens and the whole vocabulary exists. Each layer is a
//! graph of its own, begun at its input. As many layers, from the last, as fit into [`GRAPH_BYTES`] keep the graph
//! of the forward pass; of the others only the input is kept, and the layer is run again when its turn comes
//! (gradient checkpointing: Chen et al. 2016). The gradient differs in rounding only. A narrow model, or one with an
//! encoder, is one graph ([`whole`]).

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{IndexingUpdateOp, Tensor};
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    decoder::{Decoder, indices},
    optimizer::{Gradient, add},
    rows::{Row, Sequence, Target, add_up},
    strand::{Grow, KeyValue, Strand},
    whole,
};

/// How many bytes the graphs that wait for the backward pass may take, roughly.
const GRAPH_BYTES: usize = 512 << 20;

/// Into how many strands the sequences of a batch are cut. Burn's `flex` shares matrix products among threads, and
/// element-wise work never, so strands are worked on side by side; their number is fixed, for the sums
/// over them not to depend on the machine.
const STRANDS: usize = 4;

/// A forward pass that waits for the weights of its sequences.
struct Pass<'a> {
    model: &'a TokenModel,
    decoder: Decoder,
    contexts: Strand,
    strands: Vec<Strand>,
    /// The states that predict tokens, before the last norm: those of the contexts, then those of each strand.
    states: Tensor<2>,
    rows: Vec<Row<'a>>,
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
        // A narrow model's graphs are small, and its layers so short that going from one to the next costs more than
        // they do: the demo's ninety steps took 101 s in one graph, and 149 and 168 s layer by layer (with other work on
        // the machine).
        if self.frame.spec.encoder.is_some() || self.is_narrow() {
            return whole::accumulate(self, sequences, weigh, gradient);
        }
        self.accumulate_within(GRAPH_BYTES, sequences, weigh, gradient)
    }

    /// The same for a decoder, with graphs of about `graph_bytes` kept.
    fn accumulate_within(
        &self,
        graph_bytes: usize,
        sequences: &[Sequence<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let pass = Pass::forward(self, sequences, graph_bytes);
        let mut log_probs = vec![0.0; sequences.len()];
        let of_rows = self.head().log_probs(&pass.decoder.finish(pass.states.clone()), &pass.rows)?;
        add_up(&mut log_probs, &pass.rows, of_rows);
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
        if weights.iter().all(|weight| *weight == 0.0) {
            return Ok(());
        }
        pass.backward(&weights, gradient)
    }

    /// The lowest layer with an adapter: nothing below it is trained. None if everything is.
    fn lowest_layer(&self) -> Option<usize> {
        let modules = &self.adapter.as_ref()?.modules;
        modules.iter().filter_map(|module| self.frame.slots[module.slot].layer()).min()
    }

    /// Whether the gradient has to go through the input of `layer`, because something below is trained.
    pub(crate) fn is_reached(&self, layer: usize) -> bool {
        self.lowest_layer().is_none_or(|lowest| layer > lowest)
    }

    /// A decoder in which what is trained of the `wanted` layers (None is what is in no layer) is tracked, each as a leaf
    /// of a new graph; and those leaves, by index of the trained slot, in order.
    pub(crate) fn tracked(
        &self,
        wanted: impl Fn(Option<usize>) -> bool,
    ) -> (Decoder, Vec<(usize, Tensor<2>)>) {
        let slots = &self.frame.slots;
        let is_wanted = |slot: usize| wanted(slots[slot].layer());
        let mut tensors = self.trained().1.to_vec();
        let mut leaves = Vec::new();
        for (at, tensor) in tensors.iter_mut().enumerate() {
            // An adapter has two tensors per module.
            let slot = self.adapter.as_ref().map_or(at, |adapter| adapter.modules[at / 2].slot);
            if is_wanted(slot) {
                *tensor = tensor.clone().autodiff().require_grad();
                leaves.push((at, tensor.clone()));
            }
        }
        let decoder = match &self.adapter {
            Some(adapter) => self.decoder_with(&self.tensors, &adapter.sides(slots, &tensors, is_wanted)),
            None => self.decoder_with(&tensors, &BTreeMap::new()),
        };
        (decoder, leaves)
    }

    /// About how many bytes the graph of one layer holds per token.
    fn graph_bytes(&self) -> usize {
        let spec = &self.frame.spec;
        let heads = (spec.heads + 2 * spec.kv_heads) * spec.head_width;
        // Counted on the operations of a layer, each of which keeps its operands.
        size_of::<f32>() * (8 * spec.width + 4 * heads + 5 * spec.feed_forward_width)
    }
}

impl<'a> Pass<'a> {
    fn forward(model: &'a TokenModel, sequences: &[Sequence<'a>], graph_bytes: usize) -> Self {
        let (contexts, which) = distinct(sequences);
        let decoder = model.decoder();
        let mut rows: Vec<Row<'a>> = contexts.iter().copied().map(Row::behind).collect();
        for (sequence, &context) in which.iter().enumerate() {
            rows[context].targets.push(Target { sequence, token: sequences[sequence].tokens[0] });
        }
        // The last token is predicted but predicts nothing. Longest first, so that a strand has little padding.
        let mut order: Vec<usize> = (0..sequences.len()).filter(|&i| sequences[i].tokens.len() > 1).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(sequences[i].tokens.len()));
        let mut strands = Vec::new();
        for part in order.chunks(order.len().div_ceil(STRANDS).max(1)) {
            let inputs: Vec<&[u32]> =
                part.iter().map(|&i| &sequences[i].tokens[..sequences[i].tokens.len() - 1]).collect();
            let starts: Vec<usize> = part.iter().map(|&i| contexts[which[i]].len()).collect();
            let which = part.iter().map(|&i| which[i]).collect();
            let strand = Strand::new(&decoder, &inputs, &starts, which);
            for &sequence in part {
                rows.extend(Row::within(sequence, sequences[sequence]));
            }
            strands.push(strand);
        }
        let mut contexts = Strand::of_contexts(&decoder, &contexts);

        let tokens = contexts.tokens() + strands.iter().map(Strand::tokens).sum::<usize>();
        let first_kept =
            model.frame.spec.layers.saturating_sub(graph_bytes / (tokens * model.graph_bytes()).max(1));
        for layer in 0..model.frame.spec.layers {
            let grow = Grow { model, decoder: &decoder, layer, keep: layer >= first_kept };
            let before = contexts.grow(&grow, None).expect("contexts keep their keys and values");
            let lengths = contexts.lengths.clone();
            strands.par_iter_mut().for_each(|strand| {
                strand.grow(&grow, Some((&before, &lengths)));
            });
        }
        let mut states = vec![contexts.ends()];
        states.extend(strands.iter().map(Strand::ends));
        Self { model, decoder, contexts, strands, states: Tensor::cat(states, 0), rows }
    }

    /// Adds the gradient of `sum_i weights[i] * log_probs[i]`.
    fn backward(mut self, weights: &[f64], gradient: &mut Gradient) -> Result<()> {
        self.through_head(weights, gradient)?;
        let model = self.model;
        let lowest = model.lowest_layer();
        for layer in (lowest.unwrap_or(0)..model.frame.spec.layers).rev() {
            let grow = Grow { model, decoder: &self.decoder, layer, keep: true };
            let graph = self.contexts.graph(&grow, None);
            let before: KeyValue = graph.kept().expect("contexts keep their keys and values");
            let lengths = &self.contexts.lengths;
            let of_strands: Vec<_> = self
                .strands
                .par_iter_mut()
                .map(|strand| {
                    let graph = strand.graph(&grow, Some((&before, lengths)));
                    strand.shrink(graph, None)
                })
                .collect();
            // In order, so that the sum does not depend on who was first.
            let mut of_before: Option<KeyValue> = None;
            for of in of_strands {
                of.leaves.into_iter().for_each(|(slot, part)| add(&mut gradient[slot], part));
                of_before = match (of_before, of.before) {
                    (Some(sum), Some(part)) => {
                        let [keys, values] = sum;
                        let [more_keys, more_values] = part;
                        Some([keys + more_keys, values + more_values])
                    }
                    (sum, part) => sum.or(part),
                };
            }
            let of = self.contexts.shrink(graph, of_before);
            of.leaves.into_iter().for_each(|(slot, part)| add(&mut gradient[slot], part));
        }
        if model.adapter.is_none() {
            self.through_embedding(gradient);
        }
        Ok(())
    }

    /// From the log-probabilities to what leaves the last layer.
    fn through_head(&mut self, weights: &[f64], gradient: &mut Gradient) -> Result<()> {
        let model = self.model;
        let (decoder, leaves) = model.tracked(|layer| layer.is_none());
        let states = self.states.clone().autodiff().require_grad();
        let hidden = decoder.finish(states.clone());
        let head =
            model.head().gradient(&hidden.clone().inner(), &self.rows, weights, model.adapter.is_none())?;
        if head.of_weight.is_some() {
            add(&mut gradient[model.head_slot()], head.of_weight);
        }
        let gradients = (hidden * Tensor::from_inner(head.of_hidden)).sum().backward();
        for (slot, leaf) in leaves {
            add(&mut gradient[slot], leaf.grad(&gradients));
        }
        let of_states = states.grad(&gradients).expect("the states are a leaf");
        let mut start = 0;
        for strand in std::iter::once(&mut self.contexts).chain(&mut self.strands) {
            let count = strand.rows.len();
            let zeros = Tensor::zeros([strand.tokens(), of_states.dims()[1]], &of_states.device());
            let at = indices(strand.rows.iter().copied(), &of_states.device());
            let mine = of_states.clone().narrow(0, start, count);
            strand.gradient = Some(zeros.select_assign(0, at, mine, IndexingUpdateOp::Add));
            start += count;
        }
        Ok(())
    }

    /// From what enters the first layer to the embeddings.
    fn through_embedding(self, gradient: &mut Gradient) {
        let (decoder, leaves) = self.model.tracked(|layer| layer.is_none());
        let (mut ids, mut places, mut of) = (Vec::new(), Vec::new(), Vec::new());
        for strand in std::iter::once(self.contexts).chain(self.strands) {
            ids.extend(strand.ids);
            places.extend(strand.places);
            of.extend(strand.gradient);
        }
        let (x, _) = decoder.embed(&ids, &places);
        let gradients = (x * Tensor::from_inner(Tensor::cat(of, 0))).sum().backward();
        for (slot, leaf) in leaves {
            add(&mut gradient[slot], leaf.grad(&gradients));
        }
    }
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
mod tests {
    use std::path::Path;

    use super::{GRAPH_BYTES, Sequence, whole};
    use crate::{Backend, Generation, Lora, TokenModel, optimizer::Gradient, token_model::download};

    /// Of the largest entry of a tensor, in f32: Burn's operations outside of a graph round in other ways than in it.
    const ROUNDING: f32 = 1e-6;

    /// The same, where the sums are in another order too.
    const ORDER: f32 = 1e-5;

    /// As the goldens hold the gradients of one graph to PyTorch's, this holds the others to that of one graph.
    #[test]
    fn layer_by_layer_and_in_one_graph_the_gradient_is_the_same() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/llama-gqa-tied");
        let generation = Generation { max_new_tokens: 3, ..Generation::default() };
        let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("a backend");
        let full = TokenModel::load(&folder, &device, generation).expect("a golden model");
        let adapted = full.with_lora(&Lora::default()).expect("an adapter");
        let sequences = [
            Sequence { context: &[5, 6, 7], tokens: &[9, 10, 2] },
            Sequence { context: &[8], tokens: &[11, 12, 13] },
            Sequence { context: &[8], tokens: &[2] },
        ];
        for model in [full, adapted] {
            let gradient_of = |graph_bytes: Option<usize>| {
                let mut gradient: Gradient = vec![None; model.trained().0.len()];
                let mut weigh = |_: &[f64]| Ok(vec![0.7, -1.3, 2.0]);
                match graph_bytes {
                    Some(bytes) => model.accumulate_within(bytes, &sequences, &mut weigh, &mut gradient),
                    None => whole::accumulate(&model, &sequences, &mut weigh, &mut gradient),
                }
                .expect("a gradient");
                let tensors = gradient.into_iter().map(|tensor| download(tensor.expect("of every slot")));
                tensors.collect::<crate::Result<Vec<_>>>().expect("readable")
            };
            let [one, kept, again] = [None, Some(GRAPH_BYTES), Some(0)].map(gradient_of);
            assert!(one.iter().flatten().any(|value| *value != 0.0));
            assert_close(&kept, &again, ROUNDING);
            assert_close(&one, &kept, ORDER);
        }
    }

    fn assert_close(one: &[Vec<f32>], other: &[Vec<f32>], tolerance: f32) {
        assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(other) {
            let largest = one.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            let apart = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(apart <= tolerance * largest, "{apart} apart, of at most {largest}");
        }
    }
}
