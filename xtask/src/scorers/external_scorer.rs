//! Features whose values come from outside, batch by batch.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use disco_core::Score;

use super::{
    ScoredSample,
    cache::{Cache, Key},
    protocol::BatchFault,
};
use crate::{Error, Result, http::in_order, terminal::beginning};

/// The scores of a batch: a row per sample, a score per feature.
pub(super) type Rows = Vec<Vec<Score>>;

/// A program or server that gives the values of a batch of samples.
pub(super) trait BatchSource: fmt::Debug + Send + Sync {
    /// The scores of `samples`, asked over connection number `connection`; each connection is used by one thread at a time.
    ///
    /// # Errors
    /// The reason why there are none.
    fn ask(
        &self,
        connection: usize,
        features: &[String],
        samples: &[ScoredSample<'_>],
    ) -> std::result::Result<Rows, BatchFault>;
}

/// Gives the values of one or more features by asking a program or a server.
///
/// Batches are cut in the order of the samples, whatever the number of connections is, and a sample that was asked before is
/// answered from memory: so no value depends on the number of connections, and a sample has the same values whenever it is asked.
#[derive(Debug)]
pub struct ExternalScorer {
    name: String,
    features: Vec<String>,
    source: Box<dyn BatchSource>,
    connections: Connections,
    batch: usize,
    known: Mutex<Cache>,
}

/// The samples of a batch with their keys.
type Batch<'a> = &'a [(Key, ScoredSample<'a>)];

impl ExternalScorer {
    /// A scorer called `name` in messages, with at least one connection and batches of at least one sample.
    pub(super) fn new(
        name: String,
        features: Vec<String>,
        source: Box<dyn BatchSource>,
        connections: usize,
        batch: usize,
    ) -> Self {
        let connections = Connections::new(connections.max(1));
        Self { name, features, source, connections, batch: batch.max(1), known: Mutex::default() }
    }

    /// The command, or the address of the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The features, in the order of the scores of a row.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Asks each connection for the scores of no samples, all at the same time.
    ///
    /// # Errors
    /// [`Error::Scorer`].
    pub(super) fn probe(&self) -> Result<()> {
        let ask = |connection| {
            let answer = self.source.ask(connection, &self.features, &[]);
            answer.map(drop).map_err(|fault| self.failed(format!("at its start: {}", fault.problem)))
        };
        thread::scope(|scope| {
            let others: Vec<_> =
                (1..self.connections.count).map(|connection| scope.spawn(move || ask(connection))).collect();
            let first = ask(0);
            others.into_iter().map(joined).fold(first, |all, other| all.and(other))
        })
    }

    /// Per sample one score per feature.
    ///
    /// # Errors
    /// [`Error::Scorer`] names the program or server, the batch and the sample.
    pub fn rows(&self, samples: &[ScoredSample<'_>]) -> Result<Vec<Vec<Score>>> {
        let keys: Vec<Key> = samples.iter().map(Cache::key).collect();
        let mut rows: HashMap<Key, Vec<Score>> = HashMap::new();
        let mut asked = Vec::new();
        {
            let known = locked(&self.known);
            for (key, sample) in keys.iter().zip(samples) {
                if let Entry::Vacant(place) = rows.entry(*key) {
                    if let Some(row) = known.get(key) {
                        place.insert(row.to_vec());
                    } else {
                        place.insert(Vec::new());
                        asked.push((*key, *sample));
                    }
                }
            }
        }
        let batches: Vec<Batch<'_>> = asked.chunks(self.batch).collect();
        let answers = self.answers(&batches)?;
        let mut known = locked(&self.known);
        for (batch, answer) in batches.iter().zip(answers) {
            for ((key, _), row) in batch.iter().zip(answer) {
                known.insert(*key, row.clone());
                rows.insert(*key, row);
            }
        }
        Ok(keys.iter().map(|key| rows[key].clone()).collect())
    }

    /// The rows of each batch.
    fn answers(&self, batches: &[Batch<'_>]) -> Result<Vec<Rows>> {
        in_order(batches, self.connections.count, |index, batch| {
            let samples: Vec<_> = batch.iter().map(|(_, sample)| *sample).collect();
            let answer = {
                let connection = self.connections.take();
                self.source.ask(connection.number, &self.features, &samples)
            };
            answer.map_err(|fault| self.batch_failed(index, batches.len(), &samples, fault))
        })
    }

    /// The error of a batch, which names the sample where the fault is one sample's.
    fn batch_failed(
        &self,
        index: usize,
        count: usize,
        samples: &[ScoredSample<'_>],
        fault: BatchFault,
    ) -> Error {
        let batch = format!("batch {} of {count} ({} samples)", index + 1, samples.len());
        let sample =
            fault.sample.and_then(|number| Some(format!(", {}", place(number, samples.get(number)?))));
        self.failed(format!("{batch}{}: {}", sample.unwrap_or_default(), fault.problem))
    }

    fn failed(&self, problem: String) -> Error {
        Error::Scorer { scorer: self.name.clone(), problem }
    }
}

/// A sample for messages: its number, and the beginnings of its context and text.
pub(super) fn place(number: usize, sample: &ScoredSample<'_>) -> String {
    let (context, text) = (beginning(sample.context.as_bytes()), beginning(sample.text.as_bytes()));
    format!("sample {number} (context {context}, text {text})")
}

/// The numbers of the connections that no thread uses.
#[derive(Debug)]
struct Connections {
    count: usize,
    free: Mutex<Vec<usize>>,
    freed: Condvar,
}

/// A connection that this thread uses until it is dropped.
struct Taken<'a> {
    number: usize,
    of: &'a Connections,
}

impl Connections {
    fn new(count: usize) -> Self {
        Self { count, free: Mutex::new((0..count).collect()), freed: Condvar::new() }
    }

    /// Waits for a free connection.
    fn take(&self) -> Taken<'_> {
        let mut free = locked(&self.free);
        loop {
            match free.pop() {
                Some(number) => return Taken { number, of: self },
                None => free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        locked(&self.of.free).push(self.number);
        self.of.freed.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a thread; its panic is this thread's.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
