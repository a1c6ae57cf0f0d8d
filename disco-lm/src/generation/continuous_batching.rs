//! Continuous batching: a batch slot whose sequence has finished is refilled with a sequence that waits.
//!
//! Sequences wait in a [`Queue`] together with their contexts, which are prefilled in groups. Each worker has a KV cache with one
//! row per batch slot. It fills its slots from the queue, samples one token per slot and step, and refills the slots of
//! finished sequences. A budget bounds the tokens of prefilled contexts that the workers hold.

use std::{collections::VecDeque, sync::Mutex};

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::kv_cache::{KvCache, is_by_row},
    decoding::History,
    device::workers::{on_workers, workers},
    generation::{
        queue::{LOCK_IS_SOUND, Queue},
        sequence::{Sequence, choose},
    },
    grammar::mask::Mask,
    layers::{block::Mode, transformer::Transformer},
    model::{forward::prefill, lm_head::LmHead},
};

/// The most tokens of contexts that are prefilled together, padding included; a single context may have more. The groups depend
/// only on the contexts that have sequences: how a context is padded may show in the last bit of its keys and values.
const PREFILL_TOKENS: usize = 512;

/// The KV budget: the most tokens of contexts that all workers together hold, each context counted as long as the longest.
/// A single context may have more.
const KV_BUDGET_TOKENS: usize = 32 << 10;

/// A context and its sequences, none of which has a token yet.
type ContextSequences<'a> = (&'a [u32], Vec<Sequence>);

/// A sequence that has tokens: one row of a batch.
struct ActiveSequence<'a> {
    sequence: Sequence,
    /// The tokens that the decoder sees before the sequence: the context, or the start token if an encoder has read the context.
    decoder_context: &'a [u32],
    context_length: usize,
}

/// A sequence whose context has been prefilled, and the handle of that context with which its cache row begins.
type ReadySequence<'a, G> = (ActiveSequence<'a>, <G as KvCache>::Context);

struct Scheduler<'a, G: KvCache> {
    model: &'a TokenModel,
    transformer: Transformer,
    head: LmHead<'a>,
    queue: Queue<Vec<ContextSequences<'a>>, ReadySequence<'a, G>>,
    finished: Mutex<Vec<Sequence>>,
}

/// Draws all sequences, none of which has a token yet. The result is in no particular order.
pub(crate) fn draw_all<'a, G: KvCache>(
    model: &'a TokenModel,
    waiting: Vec<ContextSequences<'a>>,
) -> Result<Vec<Sequence>> {
    let (config, device) = (&model.shared.config, &model.shared.device);
    let scheduler: Scheduler<'_, G> = Scheduler {
        model,
        transformer: model.transformer(),
        head: model.lm_head(),
        queue: Queue::new(prefill_groups(waiting)),
        finished: Mutex::new(Vec::new()),
    };
    // All threads together prefill the contexts that fill the first batch.
    let batch = model.generation.batch;
    let is_enough = |ready: &VecDeque<ReadySequence<'a, G>>| {
        let mut budget = KvBudget::new(KV_BUDGET_TOKENS);
        ready.len() >= batch || !ready.iter().all(|(row, _)| budget.add(row))
    };
    let prepared = scheduler.queue.prefill_ahead(is_enough, |group| scheduler.prefill_group(group))?;
    let slots = if prepared.is_all { batch.min(prepared.ready) } else { batch };
    // One worker where rows are computed together: their last bits would depend on which worker comes first.
    let workers = if is_by_row(config, device) { workers(device, slots) } else { 1 };
    on_workers(workers, |worker| {
        let worker_slots = slots / workers + usize::from(worker < slots % workers);
        scheduler.queue.run_worker(|| scheduler.decode(worker_slots, KV_BUDGET_TOKENS / workers))
    })?;
    Ok(scheduler.finished.into_inner().expect(LOCK_IS_SOUND))
}

/// Groups contexts in their order, as many together as [`PREFILL_TOKENS`] allows. Contexts without sequences are left out.
fn prefill_groups(waiting: Vec<ContextSequences<'_>>) -> Vec<Vec<ContextSequences<'_>>> {
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

/// Counts the context tokens of some rows against a limit. Neighbouring rows of one context share its tokens.
struct KvBudget {
    limit: usize,
    contexts: usize,
    longest: usize,
    /// The index of the last row's context.
    last_context: Option<usize>,
}

impl KvBudget {
    fn new(limit: usize) -> Self {
        Self { limit, contexts: 0, longest: 0, last_context: None }
    }

    /// Adds a row if its context fits, or is the only one; returns whether it has.
    fn add(&mut self, row: &ActiveSequence<'_>) -> bool {
        let context = row.sequence.index[0];
        let contexts = self.contexts + usize::from(self.last_context != Some(context));
        let longest = self.longest.max(row.context_length);
        let fits = contexts <= 1 || contexts * longest <= self.limit;
        if fits {
            (self.contexts, self.longest, self.last_context) = (contexts, longest, Some(context));
        }
        fits
    }
}

impl<'a, G: KvCache> Scheduler<'a, G> {
    /// Prefills contexts, and samples the first token of every sequence from the distribution behind its context.
    fn prefill_group(&self, group: Vec<ContextSequences<'a>>) -> Result<Vec<ReadySequence<'a, G>>> {
        let shared = &self.model.shared;
        let (contexts, mut sequences): (Vec<&[u32]>, Vec<Vec<Sequence>>) = group.into_iter().unzip();
        let prefilled = prefill(&self.transformer, &shared.config, &contexts, &shared.device);
        let uniforms: Vec<Vec<Option<f64>>> = sequences
            .iter_mut()
            .map(|of_context| of_context.iter_mut().map(Sequence::uniform).collect())
            .collect();
        let first = self.head.each_next(
            prefilled.last,
            |row| History { context: prefilled.contexts[row], generated: &[] },
            &self.model.first_masks(contexts.len()),
            |row, next| uniforms[row].iter().map(|uniform| choose(&next, *uniform)).collect::<Vec<_>>(),
        )?;
        let cache_contexts = G::contexts(prefilled.prefix);
        let mut ready = Vec::new();
        for (which, (sequences, first)) in sequences.into_iter().zip(first).enumerate() {
            for (mut sequence, token) in sequences.into_iter().zip(first) {
                sequence.push(token);
                let row = ActiveSequence {
                    sequence,
                    decoder_context: prefilled.contexts[which],
                    context_length: contexts[which].len(),
                };
                ready.extend(self.retain_active(row).map(|row| (row, cache_contexts[which].clone())));
            }
        }
        Ok(ready)
    }

    /// The row if its sequence is active. Otherwise the sequence is moved to the finished ones, and the result is `None`.
    fn retain_active(&self, mut row: ActiveSequence<'a>) -> Option<ActiveSequence<'a>> {
        if self.is_active(&row) {
            return Some(row);
        }
        row.sequence.finish();
        self.finished.lock().expect(LOCK_IS_SOUND).push(row.sequence);
        None
    }

    fn is_active(&self, row: &ActiveSequence<'_>) -> bool {
        !self.model.is_complete(&row.sequence.tokens)
    }

    /// The loop of one worker: samples sequences of the queue in `slots` batch slots until the queue is exhausted, with at most
    /// `kv_budget` tokens of contexts.
    fn decode(&self, slots: usize, kv_budget: usize) -> Result<()> {
        let shared = &self.model.shared;
        let steps = self.model.generation.max_new_tokens - 1;
        let mut cache = G::new(&shared.config, steps, &shared.device);
        let mut rows: Vec<ActiveSequence<'a>> = Vec::new();
        loop {
            let finished = rows.iter().filter(|row| !self.is_active(row)).count();
            if rows.is_empty()
                || finished > 0 && finished as f64 >= G::COMPACTION_THRESHOLD * rows.len() as f64
            {
                self.refill(&mut cache, &mut rows, slots, kv_budget)?;
            }
            if rows.is_empty() || self.queue.has_stopped() {
                return Ok(());
            }
            // A finished row keeps its last position, which exists; the next one may not.
            let position =
                |row: &ActiveSequence<'_>| row.decoder_context.len() + row.sequence.tokens.len() - 1;
            let ids: Vec<u32> = rows.iter().map(|row| row.sequence.last_input()).collect();
            let positions: Vec<usize> = rows.iter().map(position).collect();
            let hidden = self.transformer.hidden_states(&ids, &positions, &mut cache, &mut Mode::Plain);
            self.sample_step(hidden, &mut rows)?;
        }
    }

    /// Removes finished rows, and fills the free slots from the queue as far as it has sequences that fit.
    fn refill(
        &self,
        cache: &mut G,
        rows: &mut Vec<ActiveSequence<'a>>,
        slots: usize,
        kv_budget: usize,
    ) -> Result<()> {
        let active: Vec<usize> = (0..rows.len()).filter(|&row| self.is_active(&rows[row])).collect();
        *rows = rows.drain(..).filter_map(|row| self.retain_active(row)).collect();
        let mut budget = KvBudget::new(kv_budget);
        for row in rows.iter() {
            budget.add(row);
        }
        let new = self.queue.take(
            slots - rows.len(),
            rows.is_empty(),
            |(row, _)| budget.add(row),
            |group| self.prefill_group(group),
        )?;
        let (new, cache_contexts): (Vec<ActiveSequence<'a>>, Vec<G::Context>) = new.into_iter().unzip();
        rows.extend(new);
        cache.reorder(&active, cache_contexts);
        Ok(())
    }

    /// Samples one token for every active row, from `hidden`, which has one hidden state per row: `[rows, hidden_size]`.
    fn sample_step(&self, hidden: Tensor<2>, rows: &mut [ActiveSequence<'a>]) -> Result<()> {
        let active: Vec<bool> = rows.iter().map(|row| self.is_active(row)).collect();
        let uniform = |(row, is_active): (&mut ActiveSequence<'_>, &bool)| {
            row.sequence.uniform().filter(|_| *is_active)
        };
        let uniforms: Vec<Option<f64>> = rows.iter_mut().zip(&active).map(uniform).collect();
        let masks = self.masks(rows, &active)?;
        let chosen = self.head.each_next(
            hidden,
            |row| rows[row].sequence.history(rows[row].decoder_context),
            &masks,
            |row, next| active[row].then(|| choose(&next, uniforms[row])),
        )?;
        for (row, chosen) in rows.iter_mut().zip(chosen) {
            if let Some(chosen) = chosen {
                row.sequence.push(chosen);
            }
        }
        Ok(())
    }

    /// The mask of each row; none for a model without a grammar.
    fn masks(&self, rows: &mut [ActiveSequence<'a>], active: &[bool]) -> Result<Vec<Mask>> {
        let Some(grammar) = &self.model.grammar else { return Ok(Vec::new()) };
        let mask = |(row, is_active): (&mut ActiveSequence<'_>, &bool)| match is_active {
            true => row.sequence.mask(grammar),
            false => Ok(Mask::nothing()),
        };
        rows.par_iter_mut().zip(active).map(mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_counts_once_and_as_long_as_the_longest() {
        let row = |context, context_length| ActiveSequence {
            sequence: Sequence::new([context, 0], None),
            decoder_context: &[],
            context_length,
        };
        // Any number of rows may share a single context, and it may have any length.
        assert!(KvBudget::new(100).add(&row(0, 5000)));
        let mut budget = KvBudget::new(100);
        assert!((0..50).all(|_| budget.add(&row(0, 30))));
        assert!(budget.add(&row(1, 20)) && budget.add(&row(2, 33)));
        assert!(!budget.add(&row(3, 1)), "the fourth counts 33");
        assert!(budget.add(&row(2, 33)), "a row that does not fit is not counted");
        assert!(!budget.add(&row(2, 34)));
    }

    #[test]
    fn prefill_groups_are_full_and_in_order() {
        let contexts = [200, 100, 100, 600, 1, 1].map(|length| vec![1u32; length]);
        let waiting = contexts.iter().enumerate().map(|(context, ids)| {
            let count = usize::from(context != 4);
            let sequences = (0..count).map(|_| Sequence::new([context, 0], None)).collect();
            (ids.as_slice(), sequences)
        });
        let sizes = prefill_groups(waiting.collect())
            .iter()
            .map(|group| group.iter().map(|(ids, _)| ids.len()).collect())
            .collect::<Vec<Vec<usize>>>();
        assert_eq!(sizes, [vec![200, 100], vec![100], vec![600], vec![1]]);
    }
}
