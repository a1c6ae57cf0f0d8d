//! From contexts and sequences to the hidden states that predict each token.

use burn::tensor::{Device, Tensor};

use crate::{
    attention::{Causal, Prefix},
    decoder::{Decoder, indices},
    layer::Branch,
    memory::Memory,
    spec::Spec,
};

/// A token that a row predicts, and the sequence it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) sequence: usize,
    pub(crate) token: u32,
}

/// Hidden states that each predict the next token of one or more sequences.
///
/// The row behind a context predicts the first token of every sequence that has this context; every other
/// row predicts one token. For each sequence, its rows are in the order of its tokens.
pub(crate) struct Rows {
    /// `[rows, width]`.
    pub(crate) hidden: Tensor<2>,
    /// What each row predicts; none for a context without sequences.
    pub(crate) targets: Vec<Vec<Target>>,
}

/// Contexts that have been read, and the hidden state at the end of each.
pub(crate) struct Read {
    pub(crate) prefix: Prefix,
    /// `[contexts, width]`.
    pub(crate) last: Tensor<2>,
}

/// Reads contexts, none of which is empty. Padding on the right is seen by nobody: attention is causal, or
/// masked in an encoder.
pub(crate) fn read(decoder: &Decoder, spec: &Spec, contexts: &[&[u32]], device: &Device) -> Read {
    let lengths: Vec<usize> = contexts.iter().map(|context| context.len()).collect();
    let time = lengths.iter().copied().max().unwrap_or(0);
    let (ids, places) = padded(contexts, time, |_| 0);
    if let Some(encoder) = spec.encoder {
        let memory = decoder.encode(&ids, &lengths, time);
        return start(decoder, spec, encoder.start, contexts.len(), memory, device);
    }
    let mut attention = Causal::new(spec, contexts.len(), time, None, true, device);
    let hidden = decoder.hidden(&ids, &places, &mut attention, &mut identity());
    let ends = lengths.iter().enumerate().map(|(row, length)| row * time + length - 1);
    let last = hidden.select(0, indices(ends, device));
    Read { prefix: Prefix { first_layer: 0, layers: attention.into_kept(), lengths, memory: None }, last }
}

/// Runs the start token of a decoder that sees contexts through an encoder. It is not the same for all
/// contexts: from the first attention to the encoder on, its hidden state depends on them.
fn start(
    decoder: &Decoder,
    spec: &Spec,
    token: u32,
    contexts: usize,
    memory: Option<Memory>,
    device: &Device,
) -> Read {
    let nothing = Prefix { first_layer: 0, layers: Vec::new(), lengths: vec![0; contexts], memory };
    let mut attention = Causal::new(spec, contexts, 1, Some(&nothing), true, device);
    let tokens = vec![token; contexts];
    let last = decoder.hidden(&tokens, &vec![0; contexts], &mut attention, &mut identity());
    let layers = attention.into_kept();
    Read { prefix: Prefix { layers, lengths: vec![1; contexts], ..nothing }, last }
}

/// The hidden state behind every token of one sequence, `[tokens, width]`.
pub(crate) fn hidden(decoder: &Decoder, spec: &Spec, ids: &[u32], device: &Device) -> Tensor<2> {
    let places: Vec<usize> = (0..ids.len()).collect();
    let mut attention = Causal::new(spec, 1, ids.len(), None, false, device);
    decoder.hidden(ids, &places, &mut attention, &mut identity())
}

/// Runs sequences after their contexts: `which[i]` is the context of `sequences[i]`, none of which is empty.
pub(crate) fn run(
    decoder: &Decoder,
    spec: &Spec,
    read: &Read,
    which: &[usize],
    sequences: &[&[u32]],
    device: &Device,
) -> Rows {
    let mut targets = vec![Vec::new(); read.prefix.lengths.len()];
    for (sequence, (&context, tokens)) in which.iter().zip(sequences).enumerate() {
        targets[context].push(Target { sequence, token: tokens[0] });
    }
    // The last token is predicted but predicts nothing.
    let inputs: Vec<&[u32]> = sequences.iter().map(|tokens| &tokens[..tokens.len() - 1]).collect();
    let time = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    if time == 0 {
        return Rows { hidden: read.last.clone(), targets };
    }
    let (ids, places) = padded(&inputs, time, |row| read.prefix.lengths[which[row]]);
    let prefix = read.prefix.rows(which);
    let mut attention = Causal::new(spec, inputs.len(), time, Some(&prefix), false, device);
    let hidden = decoder.hidden(&ids, &places, &mut attention, &mut identity());
    let mut kept = Vec::new();
    for (sequence, tokens) in sequences.iter().enumerate() {
        for (step, &token) in tokens[1..].iter().enumerate() {
            kept.push(sequence * time + step);
            targets.push(vec![Target { sequence, token }]);
        }
    }
    let hidden = Tensor::cat(vec![read.last.clone(), hidden.select(0, indices(kept, device))], 0);
    Rows { hidden, targets }
}

/// Nothing is done to the residual branches.
pub(crate) fn identity() -> Box<Branch<'static>> {
    Box::new(|x| x)
}

/// Ids and places of sequences padded with token 0 on the right; sequence `i` begins at place `start(i)`.
pub(crate) fn padded(
    sequences: &[&[u32]],
    time: usize,
    start: impl Fn(usize) -> usize,
) -> (Vec<u32>, Vec<usize>) {
    let mut ids = Vec::with_capacity(sequences.len() * time);
    let mut places = Vec::with_capacity(sequences.len() * time);
    for (row, sequence) in sequences.iter().enumerate() {
        ids.extend(sequence.iter().copied().chain(std::iter::repeat(0)).take(time));
        // Padding keeps to the last place, which is certain to exist.
        places.extend((0..time).map(|t| start(row) + t.min(sequence.len().saturating_sub(1))));
    }
    (ids, places)
}
