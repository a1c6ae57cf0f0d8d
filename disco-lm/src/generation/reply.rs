//! The way back from a sequence to whoever asked for it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{Error, FinishReason, GenerationEvent, RequestProblem, Result, TokenLogProb};

/// A function that is called with each event of a request.
type OnEvent = Box<dyn FnMut(Result<GenerationEvent>) + Send>;

/// The sequences of a request that nobody waits for any more, by their indices.
#[derive(Clone, Debug)]
pub(crate) struct Cancelled(Arc<[AtomicBool]>);

impl Cancelled {
    pub(crate) fn none_of(sequences: usize) -> Self {
        // A request without a sequence can be cancelled too.
        Self((0..sequences.max(1)).map(|_| AtomicBool::new(false)).collect())
    }

    pub(crate) fn cancel(&self, sequence: usize) {
        if let Some(cancelled) = self.0.get(sequence) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn cancel_all(&self) {
        (0..self.0.len()).for_each(|sequence| self.cancel(sequence));
    }

    fn has(&self, sequence: usize) -> bool {
        self.0.get(sequence).is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
    }

    pub(crate) fn has_all(&self) -> bool {
        (0..self.0.len()).all(|sequence| self.has(sequence))
    }
}

/// The answer to a request, which its sequences share. When the last of them is gone, the answer has ended: with an error, if a
/// sequence had not.
pub(crate) struct Reply {
    on_event: Mutex<OnEvent>,
    cancelled: Cancelled,
    /// Parts of the answer that are still to come: sequences, and the log-probabilities of the context.
    unfinished: AtomicUsize,
    failure: OnceLock<String>,
    /// How many requests there are, this one among them.
    requests: Arc<AtomicUsize>,
}

impl Reply {
    pub(crate) fn new(
        on_event: OnEvent,
        cancelled: Cancelled,
        parts: usize,
        requests: Arc<AtomicUsize>,
    ) -> Self {
        requests.fetch_add(1, Ordering::Relaxed);
        let unfinished = AtomicUsize::new(parts);
        Self { on_event: Mutex::new(on_event), cancelled, unfinished, failure: OnceLock::new(), requests }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.has_all()
    }

    /// Sends the log-probabilities of the context.
    pub(crate) fn score(&self, tokens: Vec<TokenLogProb>) {
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
        self.send(Ok(GenerationEvent::Context(tokens)));
    }

    /// Ends the answer with this error when the last sequence is gone. The first error counts.
    pub(crate) fn fail(&self, error: &Error) {
        self.failure.get_or_init(|| error.to_string());
    }

    fn send(&self, event: Result<GenerationEvent>) {
        // A function that has panicked once stopped the service, and is not called again by it.
        self.on_event.lock().unwrap_or_else(PoisonError::into_inner)(event);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
        if self.unfinished.load(Ordering::Relaxed) > 0 && !self.is_cancelled() && !std::thread::panicking() {
            let problem = match self.failure.take() {
                Some(message) => RequestProblem::Failed { message },
                None => RequestProblem::Stopped,
            };
            self.send(Err(Error::Request { problem }));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("unfinished", &self.unfinished).finish_non_exhaustive()
    }
}

/// The part of a [`Reply`] that is about one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) reply: Arc<Reply>,
    pub(crate) sequence: usize,
}

impl Listener {
    pub(crate) fn hear(&self, token: TokenLogProb) {
        if !self.has_left() {
            self.reply.send(Ok(GenerationEvent::Token { sequence: self.sequence, token }));
        }
    }

    /// Whether the sequence has been cancelled.
    pub(crate) fn has_left(&self) -> bool {
        self.reply.cancelled.has(self.sequence)
    }

    pub(crate) fn finish(self, reason: FinishReason) {
        self.reply.unfinished.fetch_sub(1, Ordering::Relaxed);
        if !self.reply.is_cancelled() {
            self.reply.send(Ok(GenerationEvent::Finished { sequence: self.sequence, reason }));
        }
    }

    pub(crate) fn fail(self, error: &Error) {
        self.reply.fail(error);
    }
}
