//! Drawing sequences, token by token.

use disco_core::{Sampled, StreamRng, Streams};
use rand::RngExt;

use crate::{
    Result, TokenModel,
    cache::cache,
    decoder::Decoder,
    decoding::{History, NextToken},
    head::Head,
    layer::Mode,
    rows::{Read, read},
};

/// A sequence on its way.
struct Sequence {
    context: usize,
    /// None for a sequence whose every token is the most probable one.
    rng: Option<StreamRng>,
    tokens: Vec<u32>,
    log_prob: f64,
}

impl Sequence {
    fn new(context: usize, rng: Option<StreamRng>) -> Self {
        Self { context, rng, tokens: Vec::new(), log_prob: 0.0 }
    }

    /// The number that decides the next token.
    fn uniform(&mut self) -> Option<f64> {
        self.rng.as_mut().map(RngExt::random)
    }

    fn push(&mut self, (token, log_prob): (u32, f64)) {
        self.tokens.push(token);
        self.log_prob += log_prob;
    }

    fn history<'a>(&'a self, contexts: &[&'a [u32]]) -> History<'a> {
        History { context: contexts[self.context], generated: &self.tokens }
    }
}

/// The token that a number in [0, 1) decides on, or the most probable one, with its log-probability.
fn choose(next: &NextToken<'_>, uniform: Option<f64>) -> (u32, f64) {
    let token = uniform.map_or_else(|| next.mode(), |uniform| next.at(uniform));
    (token, next.log_prob(token))
}

/// The cache is packed anew once this share of its rows has finished. Packing copies the cache, so it is
/// not done for every sequence that ends.
const FINISHED_SHARE: f64 = 0.25;

/// At most this many tokens of contexts are read at once.
const CONTEXT_TOKENS: usize = 4096;

impl TokenModel {
    /// Draws one sequence per stream in each context: `streams[k]` belong to `contexts[k]`.
    ///
    /// Each context is read once and shared by its sequences. Each sequence uses one number of its stream per
    /// token, so that neither the batch nor the number of threads changes it.
    pub(crate) fn draw(
        &self,
        contexts: &[&[u32]],
        streams: &[Streams],
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        let rngs = streams.iter().map(|streams| streams.iter().map(Some).collect());
        self.complete(contexts, rngs.collect())
    }

    /// The sequence whose every token is the most probable one after those before it, in each context, with
    /// its log-probability (nats). Of tokens that are equally probable it takes the one with the smallest id.
    ///
    /// It is not always the most probable sequence: see [`beam_search`](Self::beam_search).
    ///
    /// # Errors
    /// Of a context ([`Error::EmptyContext`](crate::Error::EmptyContext),
    /// [`Error::TooLong`](crate::Error::TooLong), [`Error::TokenId`](crate::Error::TokenId)), or
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a model that gives NaN.
    ///
    /// # Cost
    /// That of drawing one sample per context.
    pub fn greedy(&self, contexts: &[&[u32]]) -> Result<Vec<Sampled<Vec<u32>>>> {
        let completed = self.complete(contexts, contexts.iter().map(|_| vec![None]).collect())?;
        Ok(completed.into_iter().flatten().collect())
    }

    /// Completes each context as often as there are generators for it.
    fn complete(
        &self,
        contexts: &[&[u32]],
        rngs: Vec<Vec<Option<StreamRng>>>,
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        for context in contexts {
            self.check_context(context)?;
        }
        let decoder = self.decoder();
        let longest = contexts.iter().map(|context| context.len()).max().unwrap_or(1);
        let at_once = (CONTEXT_TOKENS / longest).max(1);
        let mut rngs = rngs.into_iter();
        let mut completed = Vec::with_capacity(contexts.len());
        for contexts in contexts.chunks(at_once) {
            let mut sequences = Vec::new();
            for (context, rngs) in rngs.by_ref().take(contexts.len()).enumerate() {
                sequences.extend(rngs.into_iter().map(|rng| Sequence::new(context, rng)));
            }
            self.complete_read(&decoder, contexts, &mut sequences)?;
            let start = completed.len();
            completed.resize_with(start + contexts.len(), Vec::new);
            for sequence in sequences {
                let sampled = Sampled { value: sequence.tokens, log_prob: sequence.log_prob };
                completed[start + sequence.context].push(sampled);
            }
        }
        Ok(completed)
    }

    /// Completes sequences that have no token yet, which are in the order of their contexts.
    fn complete_read(
        &self,
        decoder: &Decoder,
        contexts: &[&[u32]],
        sequences: &mut [Sequence],
    ) -> Result<()> {
        let head = self.head();
        let read = read(decoder, &self.frame.spec, contexts, &self.frame.device);
        // The first token of every sequence comes from the one distribution behind its context.
        let mut uniforms = vec![Vec::new(); contexts.len()];
        for sequence in sequences.iter_mut() {
            uniforms[sequence.context].push(sequence.uniform());
        }
        let first = head.each(
            &mut head.logits(read.last.clone())?,
            |row| History { context: read.contexts[row], generated: &[] },
            |row, next| uniforms[row].iter().map(|uniform| choose(&next, *uniform)).collect::<Vec<_>>(),
        )?;
        for (sequence, chosen) in sequences.iter_mut().zip(first.into_iter().flatten()) {
            sequence.push(chosen);
        }
        let mut open: Vec<&mut Sequence> =
            sequences.iter_mut().filter(|sequence| !self.is_finished(sequence)).collect();
        self.in_batches(&mut open, usize::MAX, |batch| self.complete_batch(decoder, &head, &read, batch))?;
        Ok(())
    }

    fn complete_batch(
        &self,
        decoder: &Decoder,
        head: &Head<'_>,
        read: &Read<'_>,
        batch: &mut [&mut Sequence],
    ) -> Result<()> {
        // rows[r] is the sequence that row r of the cache belongs to.
        let mut rows: Vec<usize> = (0..batch.len()).collect();
        let steps = self.generation.max_new_tokens - 1;
        let which: Vec<usize> = batch.iter().map(|sequence| sequence.context).collect();
        let frame = &self.frame;
        let mut cache = cache(&read.prefix, which, steps, &frame.spec, &frame.device);
        loop {
            let open: Vec<usize> = (0..rows.len()).filter(|&r| !self.is_finished(batch[rows[r]])).collect();
            if open.is_empty() {
                return Ok(());
            }
            if ((rows.len() - open.len()) as f64) >= FINISHED_SHARE * rows.len() as f64 {
                cache.keep(&open);
                rows = open.iter().map(|&r| rows[r]).collect();
            }
            let ids: Vec<u32> = rows.iter().map(|&i| batch[i].tokens[batch[i].tokens.len() - 1]).collect();
            // A finished row stays where it ended, so that its place exists.
            let place =
                |sequence: &Sequence| read.prefix.lengths[sequence.context] + sequence.tokens.len() - 1;
            let places: Vec<usize> = rows.iter().map(|&i| place(batch[i])).collect();
            let hidden = decoder.hidden(&ids, &places, &mut *cache, &mut Mode::Plain);
            cache.advance();
            self.extend(head, hidden, &rows, read, batch)?;
        }
    }

    /// Whether a sequence has ended, or is as long as one may be.
    pub(crate) fn is_complete(&self, tokens: &[u32]) -> bool {
        tokens.len() == self.generation.max_new_tokens
            || tokens.last().is_some_and(|token| self.is_end(*token))
    }

    fn is_finished(&self, sequence: &Sequence) -> bool {
        self.is_complete(&sequence.tokens)
    }

    /// Adds a token to every open sequence among `rows`, by one hidden state each.
    fn extend(
        &self,
        head: &Head<'_>,
        hidden: burn::tensor::Tensor<2>,
        rows: &[usize],
        read: &Read<'_>,
        batch: &mut [&mut Sequence],
    ) -> Result<()> {
        let finished: Vec<bool> = rows.iter().map(|&i| self.is_finished(batch[i])).collect();
        let uniforms: Vec<Option<f64>> = rows
            .iter()
            .zip(&finished)
            .map(|(&i, finished)| if *finished { None } else { batch[i].uniform() })
            .collect();
        let chosen = head.each(
            &mut head.logits(hidden)?,
            |row| batch[rows[row]].history(&read.contexts),
            |row, next| (!finished[row]).then(|| choose(&next, uniforms[row])),
        )?;
        for (&i, chosen) in rows.iter().zip(chosen) {
            if let Some(chosen) = chosen {
                batch[i].push(chosen);
            }
        }
        Ok(())
    }
}
