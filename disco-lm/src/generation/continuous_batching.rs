//! Continuous batching: a place in a batch whose sequence has ended goes to one that waits.
//!
//! Sequences wait in a [`Queue`], behind their contexts, which are read in groups. Each worker has a cache with a row for each of
//! its places, draws a token for every row, and changes the rows whenever some have ended.

use std::{collections::VecDeque, sync::Mutex};

use burn::tensor::Tensor;

use crate::{
    Result, TokenModel,
    attention::kv_cache::{KvCache, is_by_row},
    decoding::History,
    device::workers::{on_workers, workers},
    generation::{
        queue::{LOCK_IS_SOUND, Queue},
        sequence::{Sequence, choose},
    },
    layers::{block::Mode, transformer::Transformer},
    model::{forward::prefill, lm_head::LmHead},
};

/// At most this many tokens of contexts are read together, padding included; more only of a single one. What is a group depends on
/// nothing but the contexts that have sequences: how they are padded may show in the last bit of what is read.
const PREFILL_TOKENS: usize = 512;

/// So many tokens of contexts are held at once, by all workers together, each context being as long as the longest; more only of a
/// single one. That is 1.5 GB of SmolLM2-135M's keys and values.
const KV_BUDGET_TOKENS: usize = 32 << 10;

/// A context and the sequences that follow it.
type ContextSequences<'a> = (&'a [u32], Vec<Sequence>);

/// A sequence that has tokens.
struct ActiveSequence<'a> {
    sequence: Sequence,
    /// What is seen before it: its context, or the start token if an encoder has read that.
    before: &'a [u32],
    /// The length of its context.
    read: usize,
}

/// A sequence whose context has been read, and what its row in a cache begins with.
type ReadySequence<'a, G> = (ActiveSequence<'a>, <G as KvCache>::Context);

struct Scheduler<'a, G: KvCache> {
    model: &'a TokenModel,
    transformer: Transformer,
    head: LmHead<'a>,
    queue: Queue<Vec<ContextSequences<'a>>, ReadySequence<'a, G>>,
    ended: Mutex<Vec<Sequence>>,
}

/// Draws all sequences, none of which has a token yet; in no order.
pub(crate) fn draw_all<'a, G: KvCache>(
    model: &'a TokenModel,
    waiting: Vec<ContextSequences<'a>>,
) -> Result<Vec<Sequence>> {
    let (config, device) = (&model.shared.config, &model.shared.device);
    let drawing: Scheduler<'_, G> = Scheduler {
        model,
        transformer: model.transformer(),
        head: model.lm_head(),
        queue: Queue::new(groups(waiting)),
        ended: Mutex::new(Vec::new()),
    };
    // The first contexts are read by all threads together.
    let batch = model.generation.batch;
    let enough = |ready: &VecDeque<ReadySequence<'a, G>>| {
        let mut held = KvBudget::new(KV_BUDGET_TOKENS);
        ready.len() >= batch || !ready.iter().all(|(row, _)| held.add(row))
    };
    let prepared = drawing.queue.prefill_ahead(enough, |group| drawing.read_group(group))?;
    let at_once = if prepared.is_all { batch.min(prepared.ready) } else { batch };
    // PredictionRows that are computed together would depend on which worker comes first.
    let workers = if is_by_row(config, device) { workers(device, at_once) } else { 1 };
    on_workers(workers, |worker| {
        let slots = at_once / workers + usize::from(worker < at_once % workers);
        drawing.queue.serve(|| drawing.draw(slots, KV_BUDGET_TOKENS / workers))
    })?;
    Ok(drawing.ended.into_inner().expect(LOCK_IS_SOUND))
}

/// Contexts in their order, as many together as [`PREFILL_TOKENS`] allows. Those without sequences are left out.
fn groups(waiting: Vec<ContextSequences<'_>>) -> Vec<Vec<ContextSequences<'_>>> {
    let mut groups: Vec<Vec<ContextSequences<'_>>> = Vec::new();
    let mut longest = 0;
    for waiting in waiting.into_iter().filter(|(_, sequences)| !sequences.is_empty()) {
        longest = longest.max(waiting.0.len());
        match groups.last_mut() {
            Some(group) if (group.len() + 1) * longest <= PREFILL_TOKENS => group.push(waiting),
            _ => {
                longest = waiting.0.len();
                groups.push(vec![waiting]);
            }
        }
    }
    groups
}

/// What the contexts of some rows come to.
struct KvBudget {
    most: usize,
    contexts: usize,
    longest: usize,
    /// The context of the last row.
    last: Option<usize>,
}

impl KvBudget {
    fn new(most: usize) -> Self {
        Self { most, contexts: 0, longest: 0, last: None }
    }

    /// Adds a row, if it is the first or its context fits.
    fn add(&mut self, row: &ActiveSequence<'_>) -> bool {
        let context = row.sequence.index[0];
        let contexts = self.contexts + usize::from(self.last != Some(context));
        let longest = self.longest.max(row.read);
        let fits = contexts <= 1 || contexts * longest <= self.most;
        if fits {
            (self.contexts, self.longest, self.last) = (contexts, longest, Some(context));
        }
        fits
    }
}

impl<'a, G: KvCache> Scheduler<'a, G> {
    /// Reads contexts, and draws the first token of every sequence from the one distribution behind its context.
    fn read_group(&self, group: Vec<ContextSequences<'a>>) -> Result<Vec<ReadySequence<'a, G>>> {
        let shared = &self.model.shared;
        let (contexts, mut sequences): (Vec<&[u32]>, Vec<Vec<Sequence>>) = group.into_iter().unzip();
        let read = prefill(&self.transformer, &shared.config, &contexts, &shared.device);
        let uniforms: Vec<Vec<Option<f64>>> = sequences
            .iter_mut()
            .map(|of_context| of_context.iter_mut().map(Sequence::uniform).collect())
            .collect();
        let first = self.head.each_next(
            read.last,
            |row| History { context: read.contexts[row], generated: &[] },
            |row, next| uniforms[row].iter().map(|uniform| choose(&next, *uniform)).collect::<Vec<_>>(),
        )?;
        let begun = G::contexts(read.prefix);
        let mut ready = Vec::new();
        for (which, (sequences, first)) in sequences.into_iter().zip(first).enumerate() {
            for (mut sequence, token) in sequences.into_iter().zip(first) {
                sequence.push(token);
                let row =
                    ActiveSequence { sequence, before: read.contexts[which], read: contexts[which].len() };
                ready.extend(self.unless_ended(row).map(|row| (row, begun[which].clone())));
            }
        }
        Ok(ready)
    }

    /// The row; nothing if its sequence has ended, which is then put with the others that have.
    fn unless_ended(&self, row: ActiveSequence<'a>) -> Option<ActiveSequence<'a>> {
        if self.is_active(&row) {
            return Some(row);
        }
        self.ended.lock().expect(LOCK_IS_SOUND).push(row.sequence);
        None
    }

    fn is_active(&self, row: &ActiveSequence<'_>) -> bool {
        !self.model.is_complete(&row.sequence.tokens)
    }

    /// Draws what the queue gives, in so many places and with so many tokens of contexts, until it gives no more.
    fn draw(&self, slots: usize, tokens: usize) -> Result<()> {
        let shared = &self.model.shared;
        let steps = self.model.generation.max_new_tokens - 1;
        let mut cache = G::new(&shared.config, steps, &shared.device);
        let mut rows: Vec<ActiveSequence<'a>> = Vec::new();
        loop {
            let ended = rows.iter().filter(|row| !self.is_active(row)).count();
            if rows.is_empty() || ended > 0 && ended as f64 >= G::COMPACTION_THRESHOLD * rows.len() as f64 {
                self.refill(&mut cache, &mut rows, slots, tokens)?;
            }
            if rows.is_empty() || self.queue.has_stopped() {
                return Ok(());
            }
            let last = |row: &ActiveSequence<'_>| row.sequence.tokens[row.sequence.tokens.len() - 1];
            // A row that has ended stays where it is, so that its place exists.
            let position = |row: &ActiveSequence<'_>| row.before.len() + row.sequence.tokens.len() - 1;
            let ids: Vec<u32> = rows.iter().map(last).collect();
            let at: Vec<usize> = rows.iter().map(position).collect();
            let hidden = self.transformer.hidden(&ids, &at, &mut cache, &mut Mode::Plain);
            self.extend(hidden, &mut rows)?;
        }
    }

    /// Gives the places of sequences that have ended to others, as far as there are any.
    fn refill(
        &self,
        cache: &mut G,
        rows: &mut Vec<ActiveSequence<'a>>,
        slots: usize,
        tokens: usize,
    ) -> Result<()> {
        let active: Vec<usize> = (0..rows.len()).filter(|&row| self.is_active(&rows[row])).collect();
        *rows = rows.drain(..).filter_map(|row| self.unless_ended(row)).collect();
        let mut held = KvBudget::new(tokens);
        for row in rows.iter() {
            held.add(row);
        }
        let new = self.queue.take(
            slots - rows.len(),
            rows.is_empty(),
            |(row, _)| held.add(row),
            |group| self.read_group(group),
        )?;
        let (new, begun): (Vec<ActiveSequence<'a>>, Vec<G::Context>) = new.into_iter().unzip();
        rows.extend(new);
        cache.reorder(&active, begun);
        Ok(())
    }

    /// Adds a token to every sequence that has not ended, by one hidden state each.
    fn extend(&self, hidden: Tensor<2>, rows: &mut [ActiveSequence<'a>]) -> Result<()> {
        let active: Vec<bool> = rows.iter().map(|row| self.is_active(row)).collect();
        let uniform = |(row, is_active): (&mut ActiveSequence<'_>, &bool)| {
            row.sequence.uniform().filter(|_| *is_active)
        };
        let uniforms: Vec<Option<f64>> = rows.iter_mut().zip(&active).map(uniform).collect();
        let chosen = self.head.each_next(
            hidden,
            |row| rows[row].sequence.history(rows[row].before),
            |row, next| active[row].then(|| choose(&next, uniforms[row])),
        )?;
        for (row, chosen) in rows.iter_mut().zip(chosen) {
            if let Some(chosen) = chosen {
                row.sequence.push(chosen);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_held_once_and_as_long_as_the_longest() {
        let row =
            |context, read| ActiveSequence { sequence: Sequence::new([context, 0], None), before: &[], read };
        // Of one context there may be any number, and it may have any length.
        assert!(KvBudget::new(100).add(&row(0, 5000)));
        let mut held = KvBudget::new(100);
        assert!((0..50).all(|_| held.add(&row(0, 30))));
        assert!(held.add(&row(1, 20)) && held.add(&row(2, 33)));
        assert!(!held.add(&row(3, 1)), "the fourth counts 33");
        assert!(held.add(&row(2, 33)), "what does not fit is not there");
        assert!(!held.add(&row(2, 34)));
    }

    #[test]
    fn groups_are_full_and_in_order() {
        let contexts = [200, 100, 100, 600, 1, 1].map(|length| vec![1u32; length]);
        let waiting = contexts.iter().enumerate().map(|(context, ids)| {
            let count = usize::from(context != 4);
            let sequences = (0..count).map(|_| Sequence::new([context, 0], None)).collect();
            (ids.as_slice(), sequences)
        });
        let sizes = groups(waiting.collect())
            .iter()
            .map(|group| group.iter().map(|(ids, _)| ids.len()).collect())
            .collect::<Vec<Vec<usize>>>();
        assert_eq!(sizes, [vec![200, 100], vec![100], vec![600], vec![1]]);
    }
}
