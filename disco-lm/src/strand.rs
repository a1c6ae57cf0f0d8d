//! Tokens on their way through the layers, forwards and back.

use burn::tensor::{Device, Tensor};

use crate::{
    TokenModel,
    attention::{Causal, Prefix},
    decoder::{Decoder, indices},
    rope::Angles,
    rows::{identity, padded},
};

/// The keys and values of one layer, `[contexts, kv_heads, time, head_width]` each.
pub(crate) type KeyValue = [Tensor<4>; 2];

/// Sequences of one length, padded on the right, that go through the layers together: contexts, or what
/// follows them.
pub(crate) struct Strand {
    pub(crate) ids: Vec<u32>,
    pub(crate) places: Vec<usize>,
    angles: Option<Angles>,
    /// The number of tokens of each sequence, without padding.
    pub(crate) lengths: Vec<usize>,
    time: usize,
    /// The context of each sequence; nothing for contexts.
    which: Option<Vec<usize>>,
    /// The tokens that predict something.
    pub(crate) rows: Vec<usize>,
    /// What leaves the last layer that was run.
    x: Tensor<2>,
    /// What entered each layer.
    inputs: Vec<Tensor<2>>,
    /// The graphs of some layers.
    graphs: Vec<Option<Graph>>,
    /// That of what leaves the layer that is next on the way back.
    pub(crate) gradient: Option<Tensor<2>>,
}

/// How a layer is to be run.
pub(crate) struct Grow<'a> {
    pub(crate) model: &'a TokenModel,
    /// Of plain tensors.
    pub(crate) decoder: &'a Decoder,
    pub(crate) layer: usize,
    /// Whether its graph is kept.
    pub(crate) keep: bool,
}

/// A layer's computation, as a graph that begins at its input.
pub(crate) struct Graph {
    x: Tensor<2>,
    before: Option<KeyValue>,
    /// Parameters by index of their trained slot.
    leaves: Vec<(usize, Tensor<2>)>,
    out: Tensor<2>,
    kept: Option<KeyValue>,
}

impl Graph {
    /// The keys and values that contexts leave for what follows them, outside of the graph.
    pub(crate) fn kept(&self) -> Option<KeyValue> {
        self.kept.clone().map(|pair| pair.map(Tensor::inner))
    }
}

/// What the way back through a layer gives.
pub(crate) struct Shrunk {
    /// By index of the trained slot.
    pub(crate) leaves: Vec<(usize, Option<Tensor<2>>)>,
    /// Of the contexts' keys and values.
    pub(crate) before: Option<KeyValue>,
}

/// A context's keys and values of one layer alone.
type Before<'a> = Option<(&'a KeyValue, &'a [usize])>;

impl Strand {
    /// Sequences that follow contexts: number `i` follows context `which[i]` and begins at place `starts[i]`.
    pub(crate) fn new(decoder: &Decoder, sequences: &[&[u32]], starts: &[usize], which: Vec<usize>) -> Self {
        let mut strand = Self::begin(decoder, sequences, starts, Some(which));
        let time = strand.time;
        let rows = sequences.iter().enumerate();
        strand.rows = rows.flat_map(|(i, sequence)| i * time..i * time + sequence.len()).collect();
        strand
    }

    /// Contexts, each of which predicts what follows it.
    pub(crate) fn of_contexts(decoder: &Decoder, contexts: &[&[u32]]) -> Self {
        let mut strand = Self::begin(decoder, contexts, &vec![0; contexts.len()], None);
        let time = strand.time;
        strand.rows = contexts.iter().enumerate().map(|(i, context)| i * time + context.len() - 1).collect();
        strand
    }

    fn begin(decoder: &Decoder, sequences: &[&[u32]], starts: &[usize], which: Option<Vec<usize>>) -> Self {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let (ids, places) = padded(sequences, time, |row| starts[row]);
        let (x, angles) = decoder.embed(&ids, &places);
        Self {
            ids,
            places,
            angles,
            lengths,
            time,
            which,
            rows: Vec::new(),
            x,
            inputs: Vec::new(),
            graphs: Vec::new(),
            gradient: None,
        }
    }

    /// The number of tokens, padding included.
    pub(crate) fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// What leaves the last layer, of the tokens that predict something.
    pub(crate) fn ends(&self) -> Tensor<2> {
        self.x.clone().select(0, indices(self.rows.iter().copied(), &self.x.device()))
    }

    /// Runs one layer; gives the contexts' keys and values.
    pub(crate) fn grow(&mut self, grow: &Grow<'_>, before: Before<'_>) -> Option<KeyValue> {
        self.inputs.push(self.x.clone());
        if grow.keep {
            let graph = self.run(grow, before);
            self.x = graph.out.clone().inner();
            let kept = graph.kept();
            self.graphs.push(Some(graph));
            return kept;
        }
        self.graphs.push(None);
        let prefix = before.map(|(pair, lengths)| self.prefix(grow.layer, pair.clone(), lengths));
        let (x, kept) = self.pass(grow.decoder, grow, self.x.clone(), prefix.as_ref());
        self.x = x;
        kept
    }

    /// The graph of a layer: the one that was kept, or a new one.
    pub(crate) fn graph(&mut self, grow: &Grow<'_>, before: Before<'_>) -> Graph {
        self.graphs[grow.layer].take().unwrap_or_else(|| self.run(grow, before))
    }

    fn run(&self, grow: &Grow<'_>, before: Before<'_>) -> Graph {
        let leaf = |tensor: Tensor<4>| tensor.autodiff().require_grad();
        let (decoder, leaves) = grow.model.tracked(|layer| layer == Some(grow.layer));
        let x = self.inputs[grow.layer].clone().autodiff();
        let x = if grow.model.is_reached(grow.layer) { x.require_grad() } else { x };
        let pair = before.map(|(pair, _)| pair.clone().map(leaf));
        let prefix =
            before.zip(pair.clone()).map(|((_, lengths), pair)| self.prefix(grow.layer, pair, lengths));
        let (out, kept) = self.pass(&decoder, grow, x.clone(), prefix.as_ref());
        Graph { x, before: pair, leaves, out, kept }
    }

    /// The contexts' keys and values, a row per sequence.
    fn prefix(&self, layer: usize, pair: KeyValue, lengths: &[usize]) -> Prefix {
        let which: Vec<usize> = self.which.clone().unwrap_or_else(|| (0..lengths.len()).collect());
        // Only as far as the longest of these.
        let time = which.iter().map(|&context| lengths[context]).max().unwrap_or(0);
        let pair = pair.map(|tensor| tensor.narrow(2, 0, time));
        Prefix { first_layer: layer, layers: vec![pair], lengths: lengths.to_vec(), memory: None }
            .rows(&which)
    }

    fn pass(
        &self,
        decoder: &Decoder,
        grow: &Grow<'_>,
        x: Tensor<2>,
        prefix: Option<&Prefix>,
    ) -> (Tensor<2>, Option<KeyValue>) {
        let device: &Device = &grow.model.frame.device;
        let spec = &grow.model.frame.spec;
        let keep = self.which.is_none();
        let mut attention = Causal::new(spec, self.lengths.len(), self.time, prefix, keep, device);
        let x = decoder.layer(grow.layer, x, self.angles.as_ref(), &mut attention, &mut identity());
        (x, attention.into_kept().pop())
    }

    /// The way back through the layer of `graph`: from the gradient of what leaves it, and of the keys and
    /// values that it left for others, to that of what entered it.
    pub(crate) fn shrink(&mut self, graph: Graph, of_kept: Option<KeyValue>) -> Shrunk {
        let times = |gradient: Tensor<2>| (graph.out.clone() * Tensor::from_inner(gradient)).sum();
        let mut sum = times(self.gradient.take().expect("set by the layer above"));
        if let (Some([keys, values]), Some([of_keys, of_values])) = (graph.kept.clone(), of_kept) {
            sum = sum + (keys * Tensor::from_inner(of_keys)).sum();
            sum = sum + (values * Tensor::from_inner(of_values)).sum();
        }
        let mut gradients = sum.backward();
        self.gradient = graph.x.grad_remove(&mut gradients);
        let before = graph.before.and_then(|[keys, values]| {
            Some([keys.grad_remove(&mut gradients)?, values.grad_remove(&mut gradients)?])
        });
        let leaves =
            graph.leaves.into_iter().map(|(slot, leaf)| (slot, leaf.grad_remove(&mut gradients))).collect();
        Shrunk { leaves, before }
    }
}
