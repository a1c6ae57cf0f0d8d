//! Continuous batching: a batch slot whose sequence has finished is refilled with a sequence that waits.
//!
//! Sequences wait in a [`Queue`] together with their contexts, which are prefilled in groups. Each worker has a KV cache with one
//! row per batch slot. It fills its slots from the queue, samples one token per slot and step, and refills the slots of
//! finished sequences. A budget bounds the tokens of prefilled contexts that the workers hold.
//!
//! The queue is closed when a call draws samples ([`draw_all`]), and open in a service ([`serve`]).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenLogProb, TokenModel,
    attention::kv_cache::{KvCache, is_by_row},
    decoding::History,
    device::workers::{on_workers, workers},
    generation::{
        group::{ContextSequences, Group, OpenRequest, prefill_groups},
        kv_budget::{KV_BUDGET_TOKENS, KvBudget},
        queue::{LOCK_IS_SOUND, Queue},
        sequence::{Sequence, choose},
    },
    grammar::mask::Mask,
    layers::{block::Mode, transformer::Transformer},
    model::{
        forward::{hidden_states, prefill},
        lm_head::LmHead,
    },
};

/// A sequence that has tokens: one row of a batch.
struct ActiveSequence {
    sequence: Sequence,
    /// The tokens that the decoder sees before the sequence: the context, or the start token if an encoder has read the context.
    decoder_context: Arc<[u32]>,
    context_length: usize,
}

/// A sequence whose context has been prefilled, and the handle of that context with which its cache row begins.
pub(crate) struct ReadySequence<G: KvCache>(ActiveSequence, G::Context);

/// The queue of a scheduler.
pub(crate) type SequenceQueue<G> = Queue<Group, ReadySequence<G>>;

struct Scheduler<'a, G: KvCache> {
    model: &'a TokenModel,
    transformer: Transformer,
    head: LmHead<'a>,
    queue: &'a SequenceQueue<G>,
    /// The most tokens that a sequence may have.
    max_new_tokens: usize,
    /// `None` if each sequence has a listener of its own.
    finished: Option<Mutex<Vec<Sequence>>>,
}

/// Draws all sequences, none of which has a token yet. The result is in no particular order.
pub(crate) fn draw_all<G: KvCache>(
    model: &TokenModel,
    waiting: Vec<ContextSequences>,
) -> Result<Vec<Sequence>> {
    let queue = Queue::new(prefill_groups(waiting));
    let finished = Some(Mutex::new(Vec::new()));
    let scheduler: Scheduler<'_, G> =
        Scheduler { finished, ..Scheduler::new(model, &queue, model.generation.max_new_tokens) };
    // All threads together prefill the contexts that fill the first batch.
    let batch = model.generation.batch;
    let is_enough = |ready: &VecDeque<ReadySequence<G>>| {
        let mut budget = KvBudget::new(KV_BUDGET_TOKENS);
        ready.len() >= batch || !ready.iter().all(|ReadySequence(row, _)| row.fits(&mut budget))
    };
    let prepared = queue.prefill_ahead(is_enough, |group| scheduler.prefill_group(group))?;
    let slots = if prepared.is_all { batch.min(prepared.ready) } else { batch };
    scheduler.on_workers(slots, |slots, kv_budget| scheduler.decode(&mut Vec::new(), slots, kv_budget))?;
    let finished = scheduler.finished.map(|finished| finished.into_inner().expect(LOCK_IS_SOUND));
    Ok(finished.unwrap_or_default())
}

/// Draws the sequences of an open queue, each of at most `max_new_tokens`, until it is closed and exhausted, or has stopped. An error ends
/// the sequences that it concerns: those of a group that is prefilled, or of a batch.
pub(crate) fn serve<G: KvCache>(
    model: &TokenModel,
    queue: &SequenceQueue<G>,
    max_new_tokens: usize,
) -> Result<()> {
    let scheduler = Scheduler::new(model, queue, max_new_tokens);
    scheduler.on_workers(model.generation.batch, |slots, kv_budget| {
        let mut rows = Vec::new();
        while let Err(error) = scheduler.decode(&mut rows, slots, kv_budget) {
            rows.drain(..).for_each(|row| row.sequence.fail(&error));
        }
        Ok(())
    })
}

impl ActiveSequence {
    /// Counts its context against a budget; returns whether it fits.
    fn fits(&self, budget: &mut KvBudget) -> bool {
        budget.add(self.sequence.index[0], self.context_length)
    }
}

impl<'a, G: KvCache> Scheduler<'a, G> {
    fn new(model: &'a TokenModel, queue: &'a SequenceQueue<G>, max_new_tokens: usize) -> Self {
        let (transformer, head) = (model.transformer(), model.lm_head());
        Self { model, transformer, head, queue, max_new_tokens, finished: None }
    }

    /// Calls `work` in each worker, with its batch slots and its part of the KV budget.
    fn on_workers(&self, slots: usize, work: impl Fn(usize, usize) -> Result<()> + Sync) -> Result<()>
    where
        G::Context: Send + Sync,
    {
        let shared = &self.model.shared;
        // One worker where rows are computed together: their last bits would depend on which worker comes first.
        let is_by_row = is_by_row(&shared.config, &shared.device);
        let workers = if is_by_row { workers(&shared.device, slots) } else { 1 };
        on_workers(workers, |worker| {
            let worker_slots = slots / workers + usize::from(worker < slots % workers);
            self.queue.run_worker(|| work(worker_slots, KV_BUDGET_TOKENS / workers))
        })
    }

    /// Answers what a group asks for beside sequences, and prefills it. In an open queue, an error ends the group's request.
    fn prefill_next(&self, mut group: Group) -> Result<Vec<ReadySequence<G>>> {
        let Some(request) = group.request.take() else { return self.prefill_group(group) };
        if request.reply.is_cancelled() {
            return Ok(Vec::new());
        }
        let prefilled = self.score_context(&request).and_then(|()| self.prefill_group(group));
        prefilled.or_else(|error| {
            request.reply.fail(&error);
            Ok(Vec::new())
        })
    }

    /// Prefills contexts, and samples the first token of every sequence from the distribution behind its context.
    fn prefill_group(&self, group: Group) -> Result<Vec<ReadySequence<G>>> {
        let shared = &self.model.shared;
        let (contexts, mut sequences): (Vec<Arc<[u32]>>, Vec<Vec<Sequence>>) =
            group.contexts.into_iter().map(|waiting| (waiting.context, waiting.sequences)).unzip();
        if contexts.is_empty() {
            return Ok(Vec::new());
        }
        let slices: Vec<&[u32]> = contexts.iter().map(AsRef::as_ref).collect();
        let prefilled = prefill(&self.transformer, &shared.config, &slices, &shared.device);
        let uniforms: Vec<Vec<Option<f64>>> = sequences
            .iter_mut()
            .map(|of_context| of_context.iter_mut().map(Sequence::uniform).collect())
            .collect();
        // The sequences of a context share their settings.
        let settings: Vec<_> = sequences.iter().map(|of_context| of_context[0].settings.clone()).collect();
        let history = |row: usize| History { context: prefilled.contexts[row], generated: &[] };
        let first = self.head.each_decoded(
            prefilled.last,
            |row| (&settings[row].decoding, history(row)),
            &self.model.first_masks(contexts.len()),
            |row, next| {
                let choose = |uniform: &Option<f64>| choose(&next, *uniform, settings[row].alternatives);
                uniforms[row].iter().map(choose).collect::<Vec<TokenLogProb>>()
            },
        )?;
        let cache_contexts = G::contexts(prefilled.prefix);
        let mut ready = Vec::new();
        for (which, (sequences, first)) in sequences.into_iter().zip(first).enumerate() {
            let is_read_by_decoder = prefilled.contexts[which].len() == contexts[which].len();
            let decoder_context =
                if is_read_by_decoder { contexts[which].clone() } else { prefilled.contexts[which].into() };
            for (mut sequence, token) in sequences.into_iter().zip(first) {
                sequence.push(token, self.model);
                let row = ActiveSequence {
                    sequence,
                    decoder_context: decoder_context.clone(),
                    context_length: contexts[which].len(),
                };
                let row = self.retain_active(row);
                ready.extend(row.map(|row| ReadySequence(row, cache_contexts[which].clone())));
            }
        }
        Ok(ready)
    }

    /// Computes the log-probabilities of a context's own tokens, if they are asked for.
    fn score_context(&self, request: &OpenRequest) -> Result<()> {
        let Some(settings) = &request.scoring else { return Ok(()) };
        let (context, shared) = (&request.context, &self.model.shared);
        let (_, read) = context.split_last().unwrap_or((&0, &[]));
        let mut scored = Vec::new();
        if !read.is_empty() {
            let hidden = hidden_states(&self.transformer, &shared.config, read, &shared.device);
            let history = |row: usize| History { context: &context[..=row], generated: &[] };
            scored = self.head.each_decoded(
                hidden,
                |row| (&settings.decoding, history(row)),
                &[],
                |row, next| TokenLogProb::of(&next, context[row + 1], settings.alternatives),
            )?;
        }
        request.reply.score(scored);
        Ok(())
    }

    /// The row if its sequence is active. Otherwise the sequence is moved to the finished ones, and the result is `None`.
    fn retain_active(&self, mut row: ActiveSequence) -> Option<ActiveSequence> {
        let Some(reason) = row.sequence.finish_reason(self.model) else { return Some(row) };
        row.sequence.finish(reason);
        if let Some(finished) = &self.finished {
            finished.lock().expect(LOCK_IS_SOUND).push(row.sequence);
        }
        None
    }

    fn is_active(&self, row: &ActiveSequence) -> bool {
        row.sequence.finish_reason(self.model).is_none()
    }

    /// The loop of one worker: samples sequences of the queue in `slots` batch slots until the queue is exhausted, with at most
    /// `kv_budget` tokens of contexts. The `rows`, none at first, are those that it was at when it failed.
    fn decode(&self, rows: &mut Vec<ActiveSequence>, slots: usize, kv_budget: usize) -> Result<()> {
        let shared = &self.model.shared;
        let mut cache = G::new(&shared.config, self.max_new_tokens - 1, &shared.device);
        loop {
            let finished = rows.iter().filter(|row| !self.is_active(row)).count();
            if rows.is_empty()
                || finished > 0 && finished as f64 >= G::COMPACTION_THRESHOLD * rows.len() as f64
                || rows.len() < slots && self.queue.has_arrivals()
            {
                self.refill(&mut cache, rows, slots, kv_budget)?;
            }
            if rows.is_empty() || self.queue.has_stopped() {
                return Ok(());
            }
            // A finished row keeps its last position, which exists; the next one may not.
            let position = |row: &ActiveSequence| row.decoder_context.len() + row.sequence.tokens.len() - 1;
            let ids: Vec<u32> = rows.iter().map(|row| row.sequence.last_input()).collect();
            let positions: Vec<usize> = rows.iter().map(position).collect();
            let hidden = self.transformer.hidden_states(&ids, &positions, &mut cache, &mut Mode::Plain);
            self.sample_step(hidden, rows)?;
        }
    }

    /// Removes finished rows, and fills the free slots from the queue as far as it has sequences that fit.
    fn refill(
        &self,
        cache: &mut G,
        rows: &mut Vec<ActiveSequence>,
        slots: usize,
        kv_budget: usize,
    ) -> Result<()> {
        let active: Vec<usize> = (0..rows.len()).filter(|&row| self.is_active(&rows[row])).collect();
        *rows = rows.drain(..).filter_map(|row| self.retain_active(row)).collect();
        let mut budget = KvBudget::new(kv_budget);
        for row in rows.iter() {
            row.fits(&mut budget);
        }
        let new = self.queue.take(
            slots - rows.len(),
            rows.is_empty(),
            |ReadySequence(row, _)| row.fits(&mut budget),
            |group| self.prefill_next(group),
        )?;
        let (new, cache_contexts): (Vec<ActiveSequence>, Vec<G::Context>) =
            new.into_iter().map(|ReadySequence(row, context)| (row, context)).unzip();
        rows.extend(new);
        cache.reorder(&active, cache_contexts);
        Ok(())
    }

    /// Samples one token for every active row, from `hidden`, which has one hidden state per row: `[rows, hidden_size]`.
    fn sample_step(&self, hidden: Tensor<2>, rows: &mut [ActiveSequence]) -> Result<()> {
        let active: Vec<bool> = rows.iter().map(|row| self.is_active(row)).collect();
        let uniform =
            |(row, is_active): (&mut ActiveSequence, &bool)| row.sequence.uniform().filter(|_| *is_active);
        let uniforms: Vec<Option<f64>> = rows.iter_mut().zip(&active).map(uniform).collect();
        let masks = self.masks(rows, &active)?;
        let settings = |row: usize| &*rows[row].sequence.settings;
        let history = |row: usize| rows[row].sequence.history(&rows[row].decoder_context);
        let chosen = self.head.each_decoded(
            hidden,
            |row| (&settings(row).decoding, history(row)),
            &masks,
            |row, next| active[row].then(|| choose(&next, uniforms[row], settings(row).alternatives)),
        )?;
        for (row, chosen) in rows.iter_mut().zip(chosen) {
            if let Some(chosen) = chosen {
                row.sequence.push(chosen, self.model);
            }
        }
        Ok(())
    }

    /// The mask of each row; none for a model without a grammar.
    fn masks(&self, rows: &mut [ActiveSequence], active: &[bool]) -> Result<Vec<Mask>> {
        let Some(grammar) = &self.model.grammar else { return Ok(Vec::new()) };
        let mask = |(row, is_active): (&mut ActiveSequence, &bool)| match is_active {
            true => row.sequence.mask(grammar),
            false => Ok(Mask::nothing()),
        };
        rows.par_iter_mut().zip(active).map(mask).collect()
    }
}
