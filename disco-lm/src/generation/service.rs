//! The generation service: continuous batching for requests that come and go.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use disco_core::{Error as CoreError, Sampled};

use crate::{
    Decoding, Error, GenerationEvent, GenerationRequest, RequestProblem, Result, TokenModel,
    attention::kv_cache::{DeviceCache, HostCache, KvCache, is_by_row},
    generation::{
        continuous_batching::{SequenceQueue, serve},
        group::{ContextSequences, Group, OpenRequest},
        queue::{Entrance, Queue},
        reply::{Cancelled, Listener, Reply},
        sequence::{Sequence, SequenceSettings},
    },
};

/// Limits of a [`GenerationService`].
///
/// | parameter | default | range |
/// |---|---|---|
/// | `waiting` | 1024 | at least 1 |
/// | `max_new_tokens` | 1024 | at least 1 |
/// | `sequences` | 128 | at least 1 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// The most requests that may wait for a place in a batch.
    pub waiting: usize,
    /// The most tokens that a sequence may ask for. On devices other than the CPU, each place in a batch has memory for as many.
    pub max_new_tokens: usize,
    /// The most sequences of a request.
    pub sequences: usize,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self { waiting: 1024, max_new_tokens: 1024, sequences: 128 }
    }
}

/// The requests of a [`GenerationService`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceLoad {
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that have a place in a batch, or are about to have one.
    pub running: usize,
}

/// Continuous batching for requests that come and go: a request joins the sequences that are being drawn at their next token, and one
/// that nobody waits for any more leaves its places to others. At most [`Generation::batch`](crate::Generation::batch) sequences are
/// drawn at a time; requests that find no place wait in the order in which they came.
///
/// A sequence is the sample that the model draws with the same stream, `max_new_tokens` and decoding. On the CPU with `flex`, for
/// decoder-only models, this holds to the bit, whatever else the service does; elsewhere neighbours may change it by rounding.
///
/// ```no_run
/// use disco_core::Streams;
/// use disco_lm::{Backend, Generation, GenerationEvent, GenerationRequest, GenerationService, LanguageModel, ServiceLimits};
/// let model = LanguageModel::load("model", &Backend::Flex.device()?, Generation::default())?;
/// let service = GenerationService::start(model.tokens(), ServiceLimits::default())?;
/// let request = GenerationRequest::new(model.encode("Once upon a time")?, Streams::new(7, 2));
/// for event in service.submit(&request)? {
///     if let GenerationEvent::Token { sequence, token } = event? {
///         println!("{sequence}: {} with probability {}", token.id, token.log_prob.exp());
///     }
/// }
/// # Ok::<(), disco_lm::Error>(())
/// ```
///
/// Dropping the service ends it at once: requests that are not finished get an error. [`finish`](Self::finish) waits for them.
pub struct GenerationService {
    model: TokenModel,
    limits: ServiceLimits,
    queue: Arc<dyn Entrance<Group>>,
    requests: Arc<AtomicUsize>,
    /// The number of the next request.
    next: AtomicUsize,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Stops a queue when the thread that serves it ends, on a panic too: nobody waits for what will not come.
struct Stop<G: KvCache>(Arc<SequenceQueue<G>>);

impl<G: KvCache> Drop for Stop<G> {
    fn drop(&mut self) {
        self.0.stop();
        self.0.clear();
    }
}

impl GenerationService {
    /// Starts the service. It has the model's weights as they are now, and its grammar.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a limit; [`Error::Core`] if the system refuses a thread.
    pub fn start(model: &TokenModel, limits: ServiceLimits) -> Result<Self> {
        let fields = [
            ("waiting", limits.waiting),
            ("max_new_tokens", limits.max_new_tokens),
            ("sequences", limits.sequences),
        ];
        if let Some((field, value)) = fields.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(field, value, "at least 1"));
        }
        match is_by_row(&model.shared.config, &model.shared.device) {
            true => Self::run::<HostCache>(model, limits),
            false => Self::run::<DeviceCache>(model, limits),
        }
    }

    fn run<G: KvCache + 'static>(model: &TokenModel, limits: ServiceLimits) -> Result<Self> {
        let queue: Arc<SequenceQueue<G>> = Arc::new(Queue::open());
        let (served, stop) = (model.clone(), Stop(queue.clone()));
        let work = move || serve(&served, &stop.0, limits.max_new_tokens);
        let thread = thread::Builder::new().name("generation".into()).spawn(work);
        let thread = thread.map_err(|source| CoreError::failed("starting a thread", source))?;
        Ok(Self {
            model: model.clone(),
            limits,
            queue,
            requests: Arc::default(),
            next: AtomicUsize::new(0),
            thread: Some(thread),
        })
    }

    /// The limits.
    pub fn limits(&self) -> ServiceLimits {
        self.limits
    }

    /// The requests at this moment.
    pub fn load(&self) -> ServiceLoad {
        let waiting = self.queue.waiting();
        ServiceLoad { waiting, running: self.requests.load(Ordering::Relaxed).saturating_sub(waiting) }
    }

    /// Adds a request; the handle gives its events as they come. Dropping the handle cancels the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a field; [`Error::EmptyContext`], [`Error::TokenId`] or [`Error::TooLong`] for the context;
    /// [`Error::Request`] if too many requests wait, or the service has ended.
    pub fn submit(&self, request: &GenerationRequest) -> Result<GenerationHandle> {
        let (sender, events) = mpsc::channel();
        let sequences = request.sequences();
        // The handle may be gone; the request is cancelled then.
        let guard = self.submit_to(request, move |event| sender.send(event).unwrap_or_default())?;
        Ok(GenerationHandle { guard, events, sequences })
    }

    /// As [`submit`](Self::submit), where `on_event` is called with each event. Dropping the guard cancels the request.
    ///
    /// The calls come from the threads that draw, one after the other for a request: the function should return at once. After the end
    /// of all sequences, or an error, it is called no more, and dropped.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_to(
        &self,
        request: &GenerationRequest,
        on_event: impl FnMut(Result<GenerationEvent>) + Send + 'static,
    ) -> Result<RequestGuard> {
        self.check(request)?;
        let count = request.sequences();
        let context: Arc<[u32]> = request.context.as_slice().into();
        let cancelled = Cancelled::none_of(count);
        let parts = count + usize::from(request.context_log_probs);
        let reply = Reply::new(Box::new(on_event), cancelled.clone(), parts, self.requests.clone());
        let reply = Arc::new(reply);
        let settings = |decoding: Decoding| {
            let (max_new_tokens, alternatives) = (request.max_new_tokens, request.alternatives);
            Arc::new(SequenceSettings { decoding, max_new_tokens, alternatives })
        };
        let scoring = request.context_log_probs.then(|| {
            // No token of the context is a new one.
            settings(Decoding { min_new_tokens: 0, ..request.decoding.clone() })
        });
        let drawing = settings(request.decoding.clone());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let sequence = |index: usize| {
            let rng = (!request.greedy).then(|| request.streams.rng(index));
            let listener = Listener { reply: reply.clone(), sequence: index };
            Sequence::new([number, index], rng, drawing.clone()).heard_by(listener)
        };
        let sequences: Vec<Sequence> = (0..count).map(sequence).collect();
        let contexts = match sequences.is_empty() {
            true => Vec::new(),
            false => vec![ContextSequences { context: context.clone(), sequences }],
        };
        let group = Group { contexts, request: Some(OpenRequest { reply: reply.clone(), context, scoring }) };
        let added = self.queue.add(group, self.limits.waiting);
        if let Err(problem) = added {
            // The caller hears of it here.
            cancelled.cancel_all();
            return Err(Error::Request { problem });
        }
        Ok(RequestGuard { cancelled, queue: self.queue.clone() })
    }

    fn check(&self, request: &GenerationRequest) -> Result<()> {
        let limits = [
            ("max_new_tokens", request.max_new_tokens, self.limits.max_new_tokens),
            ("streams", request.streams.len(), self.limits.sequences),
        ];
        if let Some((field, value, most)) = limits.into_iter().find(|(_, value, most)| value > most) {
            return Err(Error::invalid(field, value, format!("at most {most}, the service's limit")));
        }
        request.validate_for(&self.model)
    }

    /// Takes no more requests. Those that there are will be finished.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Takes no more requests, and waits for those that there are.
    ///
    /// # Errors
    /// [`Error::Core`] if the system refused a thread.
    ///
    /// # Panics
    /// If a function that was given to [`submit_to`](Self::submit_to) panicked.
    pub fn finish(mut self) -> Result<()> {
        self.close();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(served)) => served,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for GenerationService {
    fn drop(&mut self) {
        self.queue.abandon();
        if let Some(thread) = self.thread.take() {
            // A panic of a caller's function has been shown by its thread.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for GenerationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limits, load) = (self.limits, self.load());
        f.debug_struct("GenerationService")
            .field("limits", &limits)
            .field("load", &load)
            .finish_non_exhaustive()
    }
}

/// Cancels a request when it is dropped: its sequences give their places in the batch to others at the next token.
pub struct RequestGuard {
    cancelled: Cancelled,
    queue: Arc<dyn Entrance<Group>>,
}

impl RequestGuard {
    /// Cancels one sequence of the request, which has no further event but its end.
    pub fn cancel(&self, sequence: usize) {
        self.cancelled.cancel(sequence);
        if self.cancelled.has_all() {
            self.queue.retain(&|group| !group.is_cancelled());
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.cancelled.cancel_all();
        self.queue.retain(&|group| !group.is_cancelled());
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestGuard").field(&self.cancelled).finish()
    }
}

/// The events of a request as they come: an iterator that blocks until the next one. Dropping it cancels the request.
///
/// After an error, and after the end of all sequences, there is no further event.
#[derive(Debug)]
pub struct GenerationHandle {
    guard: RequestGuard,
    events: mpsc::Receiver<Result<GenerationEvent>>,
    sequences: usize,
}

impl GenerationHandle {
    /// Cancels one sequence: see [`RequestGuard::cancel`].
    pub fn cancel(&self, sequence: usize) {
        self.guard.cancel(sequence);
    }

    /// Waits for all sequences, with their log-probabilities (nats).
    ///
    /// # Errors
    /// [`Error::Request`] if the service ended or the model failed.
    pub fn samples(self) -> Result<Vec<Sampled<Vec<u32>>>> {
        let mut samples = vec![Sampled { value: Vec::new(), log_prob: 0.0 }; self.sequences];
        let mut finished = 0;
        for event in self.events.iter() {
            match event? {
                GenerationEvent::Token { sequence, token } => {
                    samples[sequence].value.push(token.id);
                    samples[sequence].log_prob += token.log_prob;
                }
                GenerationEvent::Finished { .. } => finished += 1,
                GenerationEvent::Context(_) => {}
            }
        }
        // A thread that panicked says nothing.
        let stopped = Error::Request { problem: RequestProblem::Stopped };
        if finished == self.sequences { Ok(samples) } else { Err(stopped) }
    }
}

impl Iterator for GenerationHandle {
    type Item = Result<GenerationEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.events.recv().ok()
    }
}
