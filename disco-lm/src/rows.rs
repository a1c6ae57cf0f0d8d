//! From contexts and sequences to the hidden states that predict each token.

use burn::tensor::{Device, Tensor};

use crate::{
    attention::{Causal, Prefix},
    decoder::{Decoder, indices},
    decoding::History,
    layer::Mode,
    memory::Memory,
    spec::Spec,
};

/// A token that a row predicts, and the sequence it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) sequence: usize,
    pub(crate) token: u32,
}

/// What a row predicts, and after what.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    /// None for a context without sequences.
    pub(crate) targets: Vec<Target>,
    /// The same for all of the targets.
    pub(crate) history: History<'a>,
}

/// A sequence to be scored, in its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<'a> {
    pub(crate) context: &'a [u32],
    pub(crate) tokens: &'a [u32],
}

impl<'a> Row<'a> {
    /// The row behind a context, without targets as yet.
    pub(crate) fn behind(context: &'a [u32]) -> Self {
        Self { targets: Vec::new(), history: History { context, generated: &[] } }
    }

    /// The rows that predict the tokens of a sequence from the second on.
    pub(crate) fn within(
        index: usize,
        Sequence { context, tokens }: Sequence<'a>,
    ) -> impl Iterator<Item = Self> + 'a {
        (1..tokens.len()).map(move |step| Self {
            targets: vec![Target { sequence: index, token: tokens[step] }],
            history: History { context, generated: &tokens[..step] },
        })
    }
}

/// Adds the log-probability of every target to that of its sequence.
pub(crate) fn add_up(sums: &mut [f64], rows: &[Row<'_>], log_probs: Vec<Vec<f64>>) {
    let targets = rows.iter().flat_map(|row| &row.targets);
    for (target, log_prob) in targets.zip(log_probs.into_iter().flatten()) {
        sums[target.sequence] += log_prob;
    }
}

/// Hidden states that each predict the next token of one or more sequences.
///
/// The row behind a context predicts the first token of every sequence that has this context; every other
/// row predicts one token. For each sequence, its rows are in the order of its tokens.
pub(crate) struct Rows<'a> {
    /// `[rows, width]`.
    pub(crate) hidden: Tensor<2>,
    pub(crate) rows: Vec<Row<'a>>,
}

/// Contexts that have been read, and the hidden state at the end of each.
pub(crate) struct Read<'a> {
    /// What the decoder sees before a sequence: the context, or the start token if an encoder reads the context.
    pub(crate) contexts: Vec<&'a [u32]>,
    pub(crate) prefix: Prefix,
    /// `[contexts, width]`.
    pub(crate) last: Tensor<2>,
}

/// Reads contexts, none of which is empty. Padding on the right is seen by nobody: attention is causal, or
/// masked in an encoder.
pub(crate) fn read<'a>(
    decoder: &Decoder,
    spec: &'a Spec,
    contexts: &[&'a [u32]],
    device: &Device,
) -> Read<'a> {
    let lengths: Vec<usize> = contexts.iter().map(|context| context.len()).collect();
    let time = lengths.iter().copied().max().unwrap_or(0);
    let (ids, places) = padded(contexts, time, |_| 0);
    if let Some(encoder) = &spec.encoder {
        let memory = decoder.encode(&ids, &lengths, time);
        return start(decoder, spec, &encoder.start, contexts.len(), memory, device);
    }
    let mut attention = Causal::new(spec, contexts.len(), time, None, true, device);
    let hidden = decoder.hidden(&ids, &places, &mut attention, &mut Mode::Plain);
    let ends = lengths.iter().enumerate().map(|(row, length)| row * time + length - 1);
    let last = hidden.select(0, indices(ends, device));
    let prefix = Prefix { first_layer: 0, layers: attention.into_kept(), lengths, memory: None };
    Read { contexts: contexts.to_vec(), prefix, last }
}

/// Runs the start token of a decoder that sees contexts through an encoder. It is not the same for all
/// contexts: from the first attention to the encoder on, its hidden state depends on them.
fn start<'a>(
    decoder: &Decoder,
    spec: &Spec,
    token: &'a u32,
    contexts: usize,
    memory: Option<Memory>,
    device: &Device,
) -> Read<'a> {
    let nothing = Prefix { first_layer: 0, layers: Vec::new(), lengths: vec![0; contexts], memory };
    let mut attention = Causal::new(spec, contexts, 1, Some(&nothing), true, device);
    let tokens = vec![*token; contexts];
    let last = decoder.hidden(&tokens, &vec![0; contexts], &mut attention, &mut Mode::Plain);
    let prefix = Prefix { layers: attention.into_kept(), lengths: vec![1; contexts], ..nothing };
    Read { contexts: vec![std::slice::from_ref(token); contexts], prefix, last }
}

/// The hidden state behind every token of one sequence, `[tokens, width]`.
pub(crate) fn hidden(decoder: &Decoder, spec: &Spec, ids: &[u32], device: &Device) -> Tensor<2> {
    let places: Vec<usize> = (0..ids.len()).collect();
    let mut attention = Causal::new(spec, 1, ids.len(), None, false, device);
    decoder.hidden(ids, &places, &mut attention, &mut Mode::Plain)
}

/// Runs sequences after their contexts: `which[i]` is the context of `sequences[i]`, none of which is empty.
pub(crate) fn run<'a>(
    decoder: &Decoder,
    spec: &Spec,
    read: &Read<'a>,
    which: &[usize],
    sequences: &[&'a [u32]],
    device: &Device,
) -> Rows<'a> {
    let mut rows: Vec<Row<'a>> = read.contexts.iter().copied().map(Row::behind).collect();
    for (sequence, (&context, tokens)) in which.iter().zip(sequences).enumerate() {
        rows[context].targets.push(Target { sequence, token: tokens[0] });
    }
    // The last token is predicted but predicts nothing.
    let inputs: Vec<&[u32]> = sequences.iter().map(|tokens| &tokens[..tokens.len() - 1]).collect();
    let time = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    if time == 0 {
        return Rows { hidden: read.last.clone(), rows };
    }
    let (ids, places) = padded(&inputs, time, |row| read.prefix.lengths[which[row]]);
    let prefix = read.prefix.rows(which);
    let mut attention = Causal::new(spec, inputs.len(), time, Some(&prefix), false, device);
    let hidden = decoder.hidden(&ids, &places, &mut attention, &mut Mode::Plain);
    let mut kept = Vec::new();
    for (sequence, tokens) in sequences.iter().enumerate() {
        kept.extend((0..tokens.len() - 1).map(|step| sequence * time + step));
        rows.extend(Row::within(sequence, Sequence { context: read.contexts[which[sequence]], tokens }));
    }
    let hidden = Tensor::cat(vec![read.last.clone(), hidden.select(0, indices(kept, device))], 0);
    Rows { hidden, rows }
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
