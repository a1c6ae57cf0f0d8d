//! An observer on a thread of its own, so that a slow one delays no step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Control, Observer, ObserverError, Outcome, StepReport};
use crate::config::TunerConfig;

/// How long the run waits at its beginning and end, by default.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which the run looks whether a full queue has space again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Runs a slow observer on a thread of its own, so that it never holds up the run.
///
/// Reports wait in a queue. If the queue is full, a report is dropped, which counts as a failure of the observer in
/// [`Outcome::observer_failures`]. Failures of the observer itself become known with the next step. At the end of the
/// run the observer has a minute to handle the reports that still wait; the rest is given up, which counts as a failure
/// too. The observer cannot stop the run. A process that is killed loses the waiting reports.
#[derive(Debug)]
pub struct Background {
    // Invariant: both are `Some` until the run is over.
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    failures: Receiver<ObserverError>,
    /// Disconnects when the thread has ended.
    ended: Receiver<()>,
    /// Tells the thread to drop the messages that still wait.
    given_up: Arc<AtomicBool>,
    patience: Duration,
}

enum Message {
    Start(Box<TunerConfig>, u64, SyncSender<Result<(), ObserverError>>),
    Step(Box<StepReport>),
    Finish(Box<Outcome>),
    Fail(u64, String),
}

impl Background {
    /// An observer for which at most `capacity` reports wait. With zero, a report is dropped unless the observer is idle.
    pub fn new(mut observer: impl Observer + Send + 'static, capacity: usize) -> Self {
        let (queue, messages) = sync_channel::<Message>(capacity);
        // As many failures as messages can be on their way.
        let (failed, failures) = sync_channel(capacity + 2);
        let (ending, ended) = sync_channel(0);
        let given_up = Arc::new(AtomicBool::new(false));
        let told = given_up.clone();
        let thread = std::thread::spawn(move || {
            // Dropped with the thread, also by a panic.
            let _ending: SyncSender<()> = ending;
            for message in messages {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let done = match message {
                    Message::Start(config, step, answer) => {
                        // The receiver is gone only if the run's thread is dying.
                        let _ = answer.send(observer.start(&config, step));
                        Ok(())
                    }
                    Message::Step(report) => observer.step(&report).map(drop),
                    Message::Finish(outcome) => observer.finish(&outcome),
                    Message::Fail(step, error) => observer.fail(step, &error),
                };
                if let Err(failure) = done {
                    let _ = failed.try_send(failure);
                }
            }
        });
        let (queue, thread) = (Some(queue), Some(thread));
        Self { queue, thread, failures, ended, given_up, patience: PATIENCE }
    }

    /// Sets how long the run waits for the observer to start, and for the waiting reports at the end.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn queue(&self) -> Result<&SyncSender<Message>, ObserverError> {
        self.queue.as_ref().ok_or_else(|| "the observer's thread has ended".into())
    }

    /// Sends a message as soon as the queue has space for it.
    fn send(&self, mut message: Message, until: Instant) -> Result<(), ObserverError> {
        loop {
            match self.queue()?.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err("the observer's thread has died".into()),
                Err(TrySendError::Full(_)) if Instant::now() >= until => return Err(self.too_slow()),
                Err(TrySendError::Full(back)) => message = back,
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Lets the thread handle the waiting messages and end.
    fn end(&mut self, until: Instant) -> Result<(), ObserverError> {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            // The thread ends by itself after its current call.
            self.given_up.store(true, Ordering::Relaxed);
            return Err(self.too_slow());
        }
        thread.join().map_err(|_| "the observer's thread has died".into())
    }

    fn last(&mut self, message: Message) -> Result<(), ObserverError> {
        let until = Instant::now() + self.patience;
        let sent = self.send(message, until);
        self.end(until).and(sent)?;
        self.failures.try_recv().map_or(Ok(()), Err)
    }

    fn too_slow(&self) -> ObserverError {
        format!("the observer has not answered for {:?}: given up", self.patience).into()
    }
}

impl Observer for Background {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        let (answer, answered) = sync_channel(1);
        let until = Instant::now() + self.patience;
        self.send(Message::Start(Box::new(config.clone()), step, answer), until)?;
        match answered.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(started) => started,
            Err(RecvTimeoutError::Timeout) => Err(self.too_slow()),
            Err(RecvTimeoutError::Disconnected) => Err("the observer's thread has died".into()),
        }
    }

    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        match self.queue()?.try_send(Message::Step(Box::new(report.clone()))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(format!("the observer is too slow: dropped step {}", report.step).into());
            }
            Err(TrySendError::Disconnected(_)) => return Err("the observer's thread has died".into()),
        }
        self.failures.try_recv().map_or(Ok(Control::Continue), Err)
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<(), ObserverError> {
        self.last(Message::Finish(Box::new(outcome.clone())))
    }

    fn fail(&mut self, step: u64, error: &str) -> Result<(), ObserverError> {
        self.last(Message::Fail(step, error.to_owned()))
    }
}

/// The waiting reports of a run that was dropped before its end are still handled.
impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.end(Instant::now() + self.patience);
    }
}
