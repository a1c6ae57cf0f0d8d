//! Drawing sequences, token by token.

use disco_core::{Sampled, StreamRng, Streams};
use rand::RngExt;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::Cache,
    decoder::Decoder,
    head::Head,
    rows::{Read, identity, read},
};

/// A sequence on its way.
struct Sequence {
    context: usize,
    rng: StreamRng,
    tokens: Vec<u32>,
    log_prob: f64,
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
        for context in contexts {
            self.check_context(context)?;
        }
        let decoder = self.decoder();
        let longest = contexts.iter().map(|context| context.len()).max().unwrap_or(1);
        let mut drawn = Vec::with_capacity(contexts.len());
        let at_once = (CONTEXT_TOKENS / longest).max(1);
        for (contexts, streams) in contexts.chunks(at_once).zip(streams.chunks(at_once)) {
            drawn.extend(self.draw_read(&decoder, contexts, streams)?);
        }
        Ok(drawn)
    }

    fn draw_read(
        &self,
        decoder: &Decoder,
        contexts: &[&[u32]],
        streams: &[Streams],
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        let frame = &self.frame;
        let head = Head::new(decoder.head().clone(), &self.generation.decoding);
        let read = read(decoder, &frame.spec, contexts, &frame.device);
        // The first token of every sequence comes from the logits behind its context.
        let first = head.logits(read.last.clone())?;
        let mut sequences: Vec<Sequence> = Vec::new();
        for (context, streams) in streams.iter().enumerate() {
            let rngs = streams.iter();
            sequences.extend(rngs.map(|rng| Sequence { context, rng, tokens: Vec::new(), log_prob: 0.0 }));
        }
        let size = self.part(sequences.len()).min(self.generation.batch);
        let draw = |batch: &mut [Sequence]| self.draw_batch(decoder, &head, &read, &first, batch);
        if self.is_narrow() {
            sequences.par_chunks_mut(size).try_for_each(draw)?;
        } else {
            sequences.chunks_mut(size).try_for_each(draw)?;
        }
        let mut drawn: Vec<Vec<_>> = contexts.iter().map(|_| Vec::new()).collect();
        for sequence in sequences {
            drawn[sequence.context].push(Sampled { value: sequence.tokens, log_prob: sequence.log_prob });
        }
        Ok(drawn)
    }

    fn draw_batch(
        &self,
        decoder: &Decoder,
        head: &Head<'_>,
        read: &Read,
        first: &[f32],
        batch: &mut [Sequence],
    ) -> Result<()> {
        let vocabulary = self.vocabulary();
        let starts = batch.iter().map(|sequence| &first[sequence.context * vocabulary..][..vocabulary]);
        let logits: Vec<f32> = starts.flatten().copied().collect();
        // rows[r] is the sequence that row r of the cache belongs to.
        let mut rows: Vec<usize> = (0..batch.len()).collect();
        self.extend(head, &logits, &rows, batch)?;

        let steps = self.generation.max_new_tokens - 1;
        let which: Vec<usize> = batch.iter().map(|sequence| sequence.context).collect();
        let frame = &self.frame;
        let mut cache = Cache::new(&read.prefix.rows(&which), steps, &frame.spec, &frame.device);
        for _ in 0..steps {
            let open: Vec<usize> = (0..rows.len()).filter(|&r| !self.is_finished(&batch[rows[r]])).collect();
            if open.is_empty() {
                break;
            }
            if ((rows.len() - open.len()) as f64) >= FINISHED_SHARE * rows.len() as f64 {
                cache.keep(&open);
                rows = open.iter().map(|&r| rows[r]).collect();
            }
            let ids: Vec<u32> = rows.iter().map(|&i| batch[i].tokens[batch[i].tokens.len() - 1]).collect();
            // A finished row stays where it ended, so that its place exists.
            let place =
                |sequence: &Sequence| read.prefix.lengths[sequence.context] + sequence.tokens.len() - 1;
            let places: Vec<usize> = rows.iter().map(|&i| place(&batch[i])).collect();
            let hidden = decoder.hidden(&ids, &places, &mut cache, &mut identity());
            cache.advance();
            let logits = head.logits(hidden)?;
            self.extend(head, &logits, &rows, batch)?;
        }
        Ok(())
    }

    fn is_finished(&self, sequence: &Sequence) -> bool {
        sequence.tokens.last().is_some_and(|token| self.is_end(*token))
    }

    /// Adds a token to every open sequence among `rows`, by one row of logits each.
    fn extend(&self, head: &Head<'_>, logits: &[f32], rows: &[usize], batch: &mut [Sequence]) -> Result<()> {
        let finished: Vec<bool> = rows.iter().map(|&i| self.is_finished(&batch[i])).collect();
        let uniforms: Vec<f64> = rows
            .iter()
            .zip(&finished)
            .map(|(&i, finished)| if *finished { 0.0 } else { batch[i].rng.random() })
            .collect();
        let drawn = head.draw(logits, &uniforms)?;
        for ((&i, finished), (token, log_prob)) in rows.iter().zip(finished).zip(drawn) {
            if !finished {
                batch[i].tokens.push(token);
                batch[i].log_prob += log_prob;
            }
        }
        Ok(())
    }
}
