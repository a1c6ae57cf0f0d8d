//! Draws that several threads ask for at the same time, drawn in one batch.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use disco_core::{Distribution, Error, Result, Sampled, Score, Scorer, Streams};

/// A distribution that draws together what is asked for while it draws: requests share batches. The samples are those of the
/// distribution itself, since each has its own random stream.
///
/// The first thread that asks while nothing is drawn draws for all that have asked.
pub(super) struct JointDraws<'a, C, X, D> {
    distribution: &'a D,
    state: Mutex<State<C, X>>,
    answered: Condvar,
}

type Samples<X> = Vec<Vec<Sampled<X>>>;

struct State<C, X> {
    asked: Vec<Asked<C>>,
    answers: BTreeMap<u64, Result<Samples<X>>>,
    next: u64,
    is_drawing: bool,
}

struct Asked<C> {
    number: u64,
    contexts: Vec<C>,
    streams: Vec<Streams>,
}

impl<'a, C, X, D> JointDraws<'a, C, X, D> {
    pub(super) fn new(distribution: &'a D) -> Self {
        let state = State { asked: Vec::new(), answers: BTreeMap::new(), next: 0, is_drawing: false };
        Self { distribution, state: Mutex::new(state), answered: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<C, X>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One batch. Its end gives every thread its answer, also where the distribution panics.
struct Batch<'b, 'a, C, X, D> {
    draws: &'b JointDraws<'a, C, X, D>,
    numbers: Vec<u64>,
    answers: Vec<Result<Samples<X>>>,
}

impl<C, X, D> Drop for Batch<'_, '_, C, X, D> {
    fn drop(&mut self) {
        let mut state = self.draws.lock();
        let mut answers = self.answers.drain(..);
        for number in &self.numbers {
            let lost = || Err(Error::Empty { what: "batch of samples".into() });
            state.answers.insert(*number, answers.next().unwrap_or_else(lost));
        }
        state.is_drawing = false;
        self.draws.answered.notify_all();
    }
}

impl<C: Clone + Send + Sync, X: Send, D: Distribution<C, X>> JointDraws<'_, C, X, D> {
    /// The samples that each has asked for. Where drawing them together fails, each is drawn alone, so that an error stays with
    /// the one who asked for it.
    fn draw(&self, asked: &[Asked<C>]) -> Vec<Result<Samples<X>>> {
        let contexts: Vec<&C> = asked.iter().flat_map(|asked| &asked.contexts).collect();
        let streams: Vec<Streams> = asked.iter().flat_map(|asked| asked.streams.iter().cloned()).collect();
        if let Ok(samples) = self.distribution.sample_each(&contexts, &streams)
            && samples.len() == contexts.len()
        {
            let mut samples = samples.into_iter();
            return asked
                .iter()
                .map(|asked| Ok(samples.by_ref().take(asked.contexts.len()).collect()))
                .collect();
        }
        let alone = |asked: &Asked<C>| {
            let contexts: Vec<&C> = asked.contexts.iter().collect();
            self.distribution.sample_each(&contexts, &asked.streams)
        };
        asked.iter().map(alone).collect()
    }
}

impl<C: Clone + Send + Sync, X: Send, D: Scorer<C, X>> Scorer<C, X> for JointDraws<'_, C, X, D> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        self.distribution.log_scores(context, samples)
    }

    fn has_hard_constraints(&self) -> bool {
        self.distribution.has_hard_constraints()
    }
}

impl<C: Clone + Send + Sync, X: Send, D: Distribution<C, X>> Distribution<C, X> for JointDraws<'_, C, X, D> {
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        let samples = self.sample_each(&[context], std::slice::from_ref(streams))?;
        Ok(samples.into_iter().flatten().collect())
    }

    fn sample_each(&self, contexts: &[&C], streams: &[Streams]) -> Result<Samples<X>> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let contexts = contexts.iter().map(|context| (*context).clone()).collect();
        state.asked.push(Asked { number, contexts, streams: streams.to_vec() });
        loop {
            if let Some(answer) = state.answers.remove(&number) {
                return answer;
            }
            if state.is_drawing {
                state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_drawing = true;
            let asked = mem::take(&mut state.asked);
            drop(state);
            let numbers = asked.iter().map(|asked| asked.number).collect();
            let mut batch = Batch { draws: self, numbers, answers: Vec::new() };
            batch.answers = self.draw(&asked);
            drop(batch);
            state = self.lock();
        }
    }

    fn supply(&self, context: &C) -> Result<Option<u64>> {
        self.distribution.supply(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::*;

    /// Gives the number of its context and of its stream; slowly, and not in context 3.
    #[derive(Default)]
    struct Slow {
        calls: AtomicUsize,
    }

    impl Scorer<u64, u64> for Slow {
        fn log_scores(&self, _: &u64, samples: &[&u64]) -> Result<Vec<Score>> {
            Ok(samples.iter().map(|_| Ok(0.0)).collect())
        }
    }

    impl Distribution<u64, u64> for Slow {
        fn sample(&self, context: &u64, streams: &Streams) -> Result<Vec<Sampled<u64>>> {
            if *context == 3 {
                return Err(Error::Empty { what: "context 3".into() });
            }
            let value = |index| Sampled { value: context * 100 + index as u64, log_prob: 0.0 };
            Ok((0..streams.len()).map(value).collect())
        }

        fn sample_each(&self, contexts: &[&u64], streams: &[Streams]) -> Result<Samples<u64>> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(30));
            contexts.iter().zip(streams).map(|(context, streams)| self.sample(context, streams)).collect()
        }
    }

    fn values(draws: &JointDraws<'_, u64, u64, Slow>, context: u64) -> Result<Vec<u64>> {
        let samples = draws.sample(&context, &Streams::numbered(7, 0..context))?;
        Ok(samples.into_iter().map(|sample| sample.value).collect())
    }

    #[test]
    fn threads_share_batches_and_each_gets_its_own_samples() {
        let slow = Slow::default();
        let draws = JointDraws::new(&slow);
        let begin = Barrier::new(8);
        thread::scope(|scope| {
            for context in [1, 2, 4, 5, 6, 7, 8, 9] {
                let (draws, begin) = (&draws, &begin);
                let expected: Vec<u64> = (0..context).map(|index| context * 100 + index).collect();
                scope.spawn(move || {
                    begin.wait();
                    assert_eq!(values(draws, context).unwrap(), expected);
                });
            }
        });
        // The first draws for itself, and the next for all that have asked meanwhile.
        assert!(slow.calls.load(Ordering::Relaxed) < 8);
    }

    #[test]
    fn an_error_stays_with_the_thread_that_asked_for_it() {
        let slow = Slow::default();
        let draws = JointDraws::new(&slow);
        thread::scope(|scope| {
            for context in 1..6 {
                let draws = &draws;
                scope.spawn(move || assert_eq!(values(draws, context).is_err(), context == 3));
            }
        });
    }
}
