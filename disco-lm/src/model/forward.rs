//! The forward pass: from contexts and sequences to the hidden states that predict each token.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{CausalAttention, EncoderOutput, Prefix},
    decoding::History,
    device::transfer::indices,
    layers::{block::Mode, transformer::Transformer},
};

/// A token that a row predicts, and the sequence that the token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The index of the sequence.
    pub(crate) sequence: usize,
    pub(crate) token: u32,
}

/// The tokens that a row of hidden states predicts, and the history after which it predicts them.
#[derive(Clone, Debug)]
pub(crate) struct PredictionRow<'a> {
    /// Empty for a context without sequences.
    pub(crate) targets: Vec<Target>,
    /// All targets have the same history.
    pub(crate) history: History<'a>,
}

/// A sequence to be scored, in its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceInContext<'a> {
    pub(crate) context: &'a [u32],
    pub(crate) tokens: &'a [u32],
}

impl<'a> PredictionRow<'a> {
    /// The row at the last token of a context, without targets for now.
    pub(crate) fn after_context(context: &'a [u32]) -> Self {
        Self { targets: Vec::new(), history: History { context, generated: &[] } }
    }

    /// The rows that predict the tokens of a sequence, from its second token on.
    pub(crate) fn of_sequence(
        index: usize,
        SequenceInContext { context, tokens }: SequenceInContext<'a>,
    ) -> impl Iterator<Item = Self> + 'a {
        (1..tokens.len()).map(move |step| Self {
            targets: vec![Target { sequence: index, token: tokens[step] }],
            history: History { context, generated: &tokens[..step] },
        })
    }
}

/// Adds the log-probability (nats) of every target to the log-probability of its sequence.
pub(crate) fn add_log_probs(of_sequences: &mut [f64], rows: &[PredictionRow<'_>], log_probs: Vec<Vec<f64>>) {
    let targets = rows.iter().flat_map(|row| &row.targets);
    for (target, log_prob) in targets.zip(log_probs.into_iter().flatten()) {
        of_sequences[target.sequence] += log_prob;
    }
}

/// Hidden states that each predict the next token of one or more sequences.
///
/// The row at the last token of a context predicts the first token of every sequence that has this context; every other
/// row predicts one token. For each sequence, its rows are in the order of its tokens.
pub(crate) struct PredictionRows<'a> {
    /// `[rows, hidden_size]`.
    pub(crate) hidden: Tensor<2>,
    pub(crate) rows: Vec<PredictionRow<'a>>,
}

/// Contexts that have been prefilled, and the hidden state at the end of each.
pub(crate) struct Prefilled<'a> {
    /// The tokens that the decoder sees before a sequence: the context, or the start token if an encoder reads the context.
    pub(crate) contexts: Vec<&'a [u32]>,
    /// The keys and values of these tokens, and the encoder output if there is an encoder.
    pub(crate) prefix: Prefix,
    /// The hidden state at the last of these tokens: `[contexts, hidden_size]`.
    pub(crate) last: Tensor<2>,
}

/// Prefills contexts, none of which is empty. No token attends to the padding on the right: attention is causal in a decoder, and
/// masked in an encoder.
pub(crate) fn prefill<'a>(
    transformer: &Transformer,
    config: &'a ModelConfig,
    contexts: &[&'a [u32]],
    device: &Device,
) -> Prefilled<'a> {
    let lengths: Vec<usize> = contexts.iter().map(|context| context.len()).collect();
    let seq_len = lengths.iter().copied().max().unwrap_or(0);
    let (ids, positions) = padded(contexts, seq_len, |_| 0);
    if let Some(encoder) = &config.encoder {
        let encoder_output = transformer.encode(&ids, &lengths, seq_len);
        return prefill_start_token(
            transformer,
            config,
            &encoder.start,
            contexts.len(),
            encoder_output,
            device,
        );
    }
    let mut attention = CausalAttention::new(config, contexts.len(), seq_len, None, true, device);
    let hidden = transformer.hidden_states(&ids, &positions, &mut attention, &mut Mode::Plain);
    let ends = lengths.iter().enumerate().map(|(row, length)| row * seq_len + length - 1);
    let last = hidden.select(0, indices(ends, device));
    let prefix =
        Prefix { first_layer: 0, layers: attention.into_key_values(), lengths, encoder_output: None };
    Prefilled { contexts: contexts.to_vec(), prefix, last }
}

/// Prefills the start token of a decoder whose contexts are read by an encoder, once for each context: from the first
/// cross-attention on, the hidden state of the start token depends on the context.
fn prefill_start_token<'a>(
    transformer: &Transformer,
    config: &ModelConfig,
    token: &'a u32,
    contexts: usize,
    encoder_output: Option<EncoderOutput>,
    device: &Device,
) -> Prefilled<'a> {
    let encoder_only =
        Prefix { first_layer: 0, layers: Vec::new(), lengths: vec![0; contexts], encoder_output };
    let mut attention = CausalAttention::new(config, contexts, 1, Some(&encoder_only), true, device);
    let tokens = vec![*token; contexts];
    let last = transformer.hidden_states(&tokens, &vec![0; contexts], &mut attention, &mut Mode::Plain);
    let prefix = Prefix { layers: attention.into_key_values(), lengths: vec![1; contexts], ..encoder_only };
    Prefilled { contexts: vec![std::slice::from_ref(token); contexts], prefix, last }
}

/// The last hidden state at every token of one sequence, `[tokens, hidden_size]`.
pub(crate) fn hidden_states(
    transformer: &Transformer,
    config: &ModelConfig,
    ids: &[u32],
    device: &Device,
) -> Tensor<2> {
    let positions: Vec<usize> = (0..ids.len()).collect();
    let mut attention = CausalAttention::new(config, 1, ids.len(), None, false, device);
    transformer.hidden_states(ids, &positions, &mut attention, &mut Mode::Plain)
}

/// Runs sequences after their contexts: `context_of[i]` is the index of the context of `sequences[i]`. No sequence is empty.
pub(crate) fn forward_sequences<'a>(
    transformer: &Transformer,
    config: &ModelConfig,
    prefilled: &Prefilled<'a>,
    context_of: &[usize],
    sequences: &[&'a [u32]],
    device: &Device,
) -> PredictionRows<'a> {
    let mut rows: Vec<PredictionRow<'a>> =
        prefilled.contexts.iter().copied().map(PredictionRow::after_context).collect();
    for (sequence, (&context, tokens)) in context_of.iter().zip(sequences).enumerate() {
        rows[context].targets.push(Target { sequence, token: tokens[0] });
    }
    // The last token is predicted but predicts nothing.
    let inputs: Vec<&[u32]> = sequences.iter().map(|tokens| &tokens[..tokens.len() - 1]).collect();
    let seq_len = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    if seq_len == 0 {
        return PredictionRows { hidden: prefilled.last.clone(), rows };
    }
    let (ids, positions) = padded(&inputs, seq_len, |row| prefilled.prefix.lengths[context_of[row]]);
    let prefix = prefilled.prefix.rows(context_of);
    let mut attention = CausalAttention::new(config, inputs.len(), seq_len, Some(&prefix), false, device);
    let hidden = transformer.hidden_states(&ids, &positions, &mut attention, &mut Mode::Plain);
    let mut predicting = Vec::new();
    for (sequence, tokens) in sequences.iter().enumerate() {
        predicting.extend((0..tokens.len() - 1).map(|step| sequence * seq_len + step));
        rows.extend(PredictionRow::of_sequence(
            sequence,
            SequenceInContext { context: prefilled.contexts[context_of[sequence]], tokens },
        ));
    }
    let hidden = Tensor::cat(vec![prefilled.last.clone(), hidden.select(0, indices(predicting, device))], 0);
    PredictionRows { hidden, rows }
}

/// Ids and positions of sequences padded with token 0 on the right to `seq_len`; sequence `i` begins at position `start(i)`.
pub(crate) fn padded(
    sequences: &[&[u32]],
    seq_len: usize,
    start: impl Fn(usize) -> usize,
) -> (Vec<u32>, Vec<usize>) {
    let mut ids = Vec::with_capacity(sequences.len() * seq_len);
    let mut positions = Vec::with_capacity(sequences.len() * seq_len);
    for (row, sequence) in sequences.iter().enumerate() {
        ids.extend(sequence.iter().copied().chain(std::iter::repeat(0)).take(seq_len));
        // Padding repeats the last position of its sequence, which is certain to be within the model's positions.
        positions.extend((0..seq_len).map(|t| start(row) + t.min(sequence.len().saturating_sub(1))));
    }
    (ids, positions)
}

/// The distinct contexts, each once, and for each sequence the index of its context.
pub(crate) fn distinct<'a>(sequences: &[SequenceInContext<'a>]) -> (Vec<&'a [u32]>, Vec<usize>) {
    let mut contexts: Vec<&[u32]> = Vec::new();
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    let context_of = sequences.iter().map(|sequence| {
        *known.entry(sequence.context).or_insert_with(|| {
            contexts.push(sequence.context);
            contexts.len() - 1
        })
    });
    let context_of = context_of.collect();
    (contexts, context_of)
}
