//! Continuous batching: a place in a batch whose sequence has ended goes to one that waits.
//!
//! Sequences wait in a [`Queue`], behind their contexts, which are read in groups. Each strand has a cache with a row for each of
//! its places, draws a token for every row, and changes the rows whenever some have ended.

use std::{collections::VecDeque, sync::Mutex};

use burn::tensor::Tensor;

use crate::{
    Result, TokenModel,
    batches::{on_strands, strands},
    cache::{Growing, is_by_row},
    decoder::Decoder,
    decoding::History,
    generate::{Sequence, choose},
    head::Head,
    layer::Mode,
    queue::{Queue, UNBROKEN},
    rows::read,
};

/// At most this many tokens of contexts are read together, padding included; more only of a single one. What is a group depends on
/// nothing but the contexts that have sequences: how they are padded may show in the last bit of what is read.
const TOGETHER: usize = 512;

/// So many tokens of contexts are held at once, by all strands together, each context being as long as the longest; more only of a
/// single one. That is 1.5 GB of SmolLM2-135M's keys and values.
const HELD: usize = 32 << 10;

/// A context and the sequences that follow it.
type Waiting<'a> = (&'a [u32], Vec<Sequence>);

/// A sequence that has tokens.
struct Row<'a> {
    sequence: Sequence,
    /// What is seen before it: its context, or the start token if an encoder has read that.
    before: &'a [u32],
    /// The length of its context.
    read: usize,
}

/// A sequence whose context has been read, and what its row in a cache begins with.
type Ready<'a, G> = (Row<'a>, <G as Growing>::Context);

struct Drawing<'a, G: Growing> {
    model: &'a TokenModel,
    decoder: Decoder,
    head: Head<'a>,
    queue: Queue<Vec<Waiting<'a>>, Ready<'a, G>>,
    ended: Mutex<Vec<Sequence>>,
}

/// Draws all sequences, none of which has a token yet; in no order.
pub(crate) fn draw_all<'a, G: Growing>(
    model: &'a TokenModel,
    waiting: Vec<Waiting<'a>>,
) -> Result<Vec<Sequence>> {
    let (spec, device) = (&model.frame.spec, &model.frame.device);
    let drawing: Drawing<'_, G> = Drawing {
        model,
        decoder: model.decoder(),
        head: model.head(),
        queue: Queue::new(groups(waiting)),
        ended: Mutex::new(Vec::new()),
    };
    // The first contexts are read by all threads together.
    let batch = model.generation.batch;
    let enough = |ready: &VecDeque<Ready<'a, G>>| {
        let mut held = Held::new(HELD);
        ready.len() >= batch || !ready.iter().all(|(row, _)| held.add(row))
    };
    let prepared = drawing.queue.prepare(enough, |group| drawing.read_group(group))?;
    let at_once = if prepared.is_all { batch.min(prepared.ready) } else { batch };
    // Rows that are computed together would depend on which strand comes first.
    let strands = if is_by_row(spec, device) { strands(device, at_once) } else { 1 };
    on_strands(strands, |strand| {
        let places = at_once / strands + usize::from(strand < at_once % strands);
        drawing.queue.serve(|| drawing.draw(places, HELD / strands))
    })?;
    Ok(drawing.ended.into_inner().expect(UNBROKEN))
}

/// Contexts in their order, as many together as [`TOGETHER`] allows. Those without sequences are left out.
fn groups(waiting: Vec<Waiting<'_>>) -> Vec<Vec<Waiting<'_>>> {
    let mut groups: Vec<Vec<Waiting<'_>>> = Vec::new();
    let mut longest = 0;
    for waiting in waiting.into_iter().filter(|(_, sequences)| !sequences.is_empty()) {
        longest = longest.max(waiting.0.len());
        match groups.last_mut() {
            Some(group) if (group.len() + 1) * longest <= TOGETHER => group.push(waiting),
            _ => {
                longest = waiting.0.len();
                groups.push(vec![waiting]);
            }
        }
    }
    groups
}

/// What the contexts of some rows come to.
struct Held {
    most: usize,
    contexts: usize,
    longest: usize,
    /// The context of the last row.
    last: Option<usize>,
}

impl Held {
    fn new(most: usize) -> Self {
        Self { most, contexts: 0, longest: 0, last: None }
    }

    /// Adds a row, if it is the first or its context fits.
    fn add(&mut self, row: &Row<'_>) -> bool {
        let context = row.sequence.place[0];
        let contexts = self.contexts + usize::from(self.last != Some(context));
        let longest = self.longest.max(row.read);
        let fits = contexts <= 1 || contexts * longest <= self.most;
        if fits {
            (self.contexts, self.longest, self.last) = (contexts, longest, Some(context));
        }
        fits
    }
}

impl<'a, G: Growing> Drawing<'a, G> {
    /// Reads contexts, and draws the first token of every sequence from the one distribution behind its context.
    fn read_group(&self, group: Vec<Waiting<'a>>) -> Result<Vec<Ready<'a, G>>> {
        let frame = &self.model.frame;
        let (contexts, mut sequences): (Vec<&[u32]>, Vec<Vec<Sequence>>) = group.into_iter().unzip();
        let read = read(&self.decoder, &frame.spec, &contexts, &frame.device);
        let uniforms: Vec<Vec<Option<f64>>> =
            sequences.iter_mut().map(|of_one| of_one.iter_mut().map(Sequence::uniform).collect()).collect();
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
                let row = Row { sequence, before: read.contexts[which], read: contexts[which].len() };
                ready.extend(self.unless_ended(row).map(|row| (row, begun[which].clone())));
            }
        }
        Ok(ready)
    }

    /// The row; nothing if its sequence has ended, which is then put with the others that have.
    fn unless_ended(&self, row: Row<'a>) -> Option<Row<'a>> {
        if self.goes_on(&row) {
            return Some(row);
        }
        self.ended.lock().expect(UNBROKEN).push(row.sequence);
        None
    }

    fn goes_on(&self, row: &Row<'_>) -> bool {
        !self.model.is_complete(&row.sequence.tokens)
    }

    /// Draws what the queue gives, in so many places and with so many tokens of contexts, until it gives no more.
    fn draw(&self, places: usize, tokens: usize) -> Result<()> {
        let frame = &self.model.frame;
        let steps = self.model.generation.max_new_tokens - 1;
        let mut cache = G::new(&frame.spec, steps, &frame.device);
        let mut rows: Vec<Row<'a>> = Vec::new();
        loop {
            let ended = rows.iter().filter(|row| !self.goes_on(row)).count();
            if rows.is_empty() || ended > 0 && ended as f64 >= G::PATIENCE * rows.len() as f64 {
                self.change(&mut cache, &mut rows, places, tokens)?;
            }
            if rows.is_empty() || self.queue.has_stopped() {
                return Ok(());
            }
            let last = |row: &Row<'_>| row.sequence.tokens[row.sequence.tokens.len() - 1];
            // A row that has ended stays where it is, so that its place exists.
            let place = |row: &Row<'_>| row.before.len() + row.sequence.tokens.len() - 1;
            let ids: Vec<u32> = rows.iter().map(last).collect();
            let at: Vec<usize> = rows.iter().map(place).collect();
            let hidden = self.decoder.hidden(&ids, &at, &mut cache, &mut Mode::Plain);
            self.extend(hidden, &mut rows)?;
        }
    }

    /// Gives the places of sequences that have ended to others, as far as there are any.
    fn change(&self, cache: &mut G, rows: &mut Vec<Row<'a>>, places: usize, tokens: usize) -> Result<()> {
        let going_on: Vec<usize> = (0..rows.len()).filter(|&row| self.goes_on(&rows[row])).collect();
        *rows = rows.drain(..).filter_map(|row| self.unless_ended(row)).collect();
        let mut held = Held::new(tokens);
        for row in rows.iter() {
            held.add(row);
        }
        let new = self.queue.take(
            places - rows.len(),
            rows.is_empty(),
            |(row, _)| held.add(row),
            |group| self.read_group(group),
        )?;
        let (new, begun): (Vec<Row<'a>>, Vec<G::Context>) = new.into_iter().unzip();
        rows.extend(new);
        cache.change(&going_on, begun);
        Ok(())
    }

    /// Adds a token to every sequence that has not ended, by one hidden state each.
    fn extend(&self, hidden: Tensor<2>, rows: &mut [Row<'a>]) -> Result<()> {
        let going_on: Vec<bool> = rows.iter().map(|row| self.goes_on(row)).collect();
        let uniform = |(row, goes_on): (&mut Row<'_>, &bool)| row.sequence.uniform().filter(|_| *goes_on);
        let uniforms: Vec<Option<f64>> = rows.iter_mut().zip(&going_on).map(uniform).collect();
        let chosen = self.head.each_next(
            hidden,
            |row| rows[row].sequence.history(rows[row].before),
            |row, next| going_on[row].then(|| choose(&next, uniforms[row])),
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
        let row = |context, read| Row { sequence: Sequence::new([context, 0], None), before: &[], read };
        // Of one context there may be any number, and it may have any length.
        assert!(Held::new(100).add(&row(0, 5000)));
        let mut held = Held::new(100);
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
