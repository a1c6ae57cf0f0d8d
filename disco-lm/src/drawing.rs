//! Continuous batching: a place in a batch whose sequence has ended goes to one that waits.
//!
//! Sequences wait in a [`Queue`], behind their contexts, which are read in groups. Each strand has a cache with a row for each of
//! its places, draws a token for every row, and changes the rows whenever some have ended.

use std::sync::Mutex;

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
    queue::Queue,
    rows::read,
};

/// At most this many tokens of contexts are read together, padding included; more only of a single one. What is a group depends on
/// nothing but the contexts: how they are padded may show in the last bit of what is read.
const TOGETHER: usize = 512;

/// A context and the sequences that follow it.
type Waiting<'a> = (&'a [u32], Vec<Sequence>);

/// A sequence that has tokens.
struct Row<'a> {
    sequence: Sequence,
    /// What is seen before it: its context, or the start token if an encoder has read that.
    context: &'a [u32],
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
    let sequences = waiting.iter().map(|(_, sequences)| sequences.len()).sum::<usize>();
    let at_once = sequences.min(model.generation.batch);
    // Rows that are computed together would depend on which strand comes first.
    let strands = if is_by_row(spec, device) { strands(device, at_once) } else { 1 };
    let drawing: Drawing<'_, G> = Drawing {
        model,
        decoder: model.decoder(),
        head: model.head(),
        queue: Queue::new(groups(waiting)),
        ended: Mutex::new(Vec::with_capacity(sequences)),
    };
    // The first contexts are read by all threads together.
    drawing.queue.prepare(at_once, |group| drawing.open(group))?;
    on_strands(strands, || {
        let drawn = drawing.draw(at_once.div_ceil(strands));
        if drawn.is_err() {
            drawing.queue.stop();
        }
        drawn
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

const UNBROKEN: &str = "nobody panics with the lock in hand";

impl<'a, G: Growing> Drawing<'a, G> {
    /// Reads contexts, and draws the first token of every sequence from the one distribution behind its context.
    fn open(&self, group: Vec<Waiting<'a>>) -> Result<Vec<Ready<'a, G>>> {
        let frame = &self.model.frame;
        let (contexts, mut sequences): (Vec<&[u32]>, Vec<Vec<Sequence>>) = group.into_iter().unzip();
        let read = read(&self.decoder, &frame.spec, &contexts, &frame.device);
        let uniforms: Vec<Vec<Option<f64>>> =
            sequences.iter_mut().map(|of_one| of_one.iter_mut().map(Sequence::uniform).collect()).collect();
        let first = self.head.each(
            &mut self.head.logits(read.last)?,
            |row| History { context: read.contexts[row], generated: &[] },
            |row, next| uniforms[row].iter().map(|uniform| choose(&next, *uniform)).collect::<Vec<_>>(),
        )?;
        let begun = G::contexts(read.prefix);
        let mut ready = Vec::new();
        for (which, (sequences, first)) in sequences.into_iter().zip(first).enumerate() {
            for (mut sequence, token) in sequences.into_iter().zip(first) {
                sequence.push(token);
                let row = Row { sequence, context: read.contexts[which] };
                ready.extend(self.open_row(row).map(|row| (row, begun[which].clone())));
            }
        }
        Ok(ready)
    }

    /// The row, unless its sequence has ended.
    fn open_row(&self, row: Row<'a>) -> Option<Row<'a>> {
        if !self.has_ended(&row) {
            return Some(row);
        }
        self.ended.lock().expect(UNBROKEN).push(row.sequence);
        None
    }

    fn has_ended(&self, row: &Row<'_>) -> bool {
        self.model.is_complete(&row.sequence.tokens)
    }

    /// Draws what the queue gives, in so many places, until it gives no more.
    fn draw(&self, places: usize) -> Result<()> {
        let frame = &self.model.frame;
        let steps = self.model.generation.max_new_tokens - 1;
        let mut cache = G::new(&frame.spec, steps, &frame.device);
        let mut rows: Vec<Row<'a>> = Vec::new();
        loop {
            let ended = rows.iter().filter(|row| self.has_ended(row)).count();
            if rows.is_empty() || ended > 0 && ended as f64 >= G::PATIENCE * rows.len() as f64 {
                self.change(&mut cache, &mut rows, places)?;
            }
            if rows.is_empty() {
                return Ok(());
            }
            let last = |row: &Row<'_>| row.sequence.tokens[row.sequence.tokens.len() - 1];
            // A row that has ended stays where it is, so that its place exists.
            let place = |row: &Row<'_>| row.context.len() + row.sequence.tokens.len() - 1;
            let ids: Vec<u32> = rows.iter().map(last).collect();
            let at: Vec<usize> = rows.iter().map(place).collect();
            let hidden = self.decoder.hidden(&ids, &at, &mut cache, &mut Mode::Plain);
            self.extend(hidden, &mut rows)?;
        }
    }

    /// Gives the places of sequences that have ended to others, as far as there are any.
    fn change(&self, cache: &mut G, rows: &mut Vec<Row<'a>>, places: usize) -> Result<()> {
        let open: Vec<usize> = (0..rows.len()).filter(|&row| !self.has_ended(&rows[row])).collect();
        *rows = rows.drain(..).filter_map(|row| self.open_row(row)).collect();
        let new = self.queue.take(places - open.len(), places, |group| self.open(group))?;
        let (new, begun): (Vec<Row<'a>>, Vec<G::Context>) = new.into_iter().unzip();
        rows.extend(new);
        cache.change(&open, begun);
        Ok(())
    }

    /// Adds a token to every sequence that has not ended, by one hidden state each.
    fn extend(&self, hidden: Tensor<2>, rows: &mut [Row<'a>]) -> Result<()> {
        // None for a sequence that has ended.
        let uniforms: Vec<Option<Option<f64>>> =
            rows.iter_mut().map(|row| (!self.has_ended(row)).then(|| row.sequence.uniform())).collect();
        let chosen = self.head.each(
            &mut self.head.logits(hidden)?,
            |row| rows[row].sequence.history(rows[row].context),
            |row, next| uniforms[row].map(|uniform| choose(&next, uniform)),
        )?;
        for (row, chosen) in rows.iter_mut().zip(chosen) {
            if let Some(chosen) = chosen {
                row.sequence.push(chosen);
            }
        }
        Ok(())
    }
}
