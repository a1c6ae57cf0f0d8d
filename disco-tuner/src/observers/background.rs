//! An observer on a thread of its own, so that a slow one delays no step.

use std::{
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
};

use crate::{Control, Observer, ObserverError, Outcome, Report, TunerConfig};

/// Runs a slow observer on a thread of its own, so that it never holds up the run.
///
/// Reports wait in a queue. Where it is full, a report is dropped and the drop is a failure of the observer, as
/// [`Outcome::observer_failures`] counts them; so are the observer's own, which become known with the next step.
/// At the end of the run all that waits is written. The observer cannot stop the run.
#[derive(Debug)]
pub struct Background {
    // Invariant: both are there until the run is over.
    queue: Option<SyncSender<Message>>,
    failures: Receiver<ObserverError>,
    worker: Option<JoinHandle<()>>,
}

enum Message {
    Start(Box<TunerConfig>, u64, SyncSender<Result<(), ObserverError>>),
    Step(Box<Report>),
    Finish(Box<Outcome>),
}

impl Background {
    /// At most `capacity` reports wait; with zero, a report is dropped unless the observer is idle.
    pub fn new(mut observer: impl Observer + Send + 'static, capacity: usize) -> Self {
        let (queue, messages) = sync_channel::<Message>(capacity);
        // As many failures as can be on their way; further ones repeat what is known.
        let (failed, failures) = sync_channel(capacity + 2);
        let worker = std::thread::spawn(move || {
            for message in messages {
                let done = match message {
                    Message::Start(config, step, answer) => {
                        // Who asked has gone only if the run's thread is dying.
                        let _ = answer.send(observer.start(&config, step));
                        Ok(())
                    }
                    Message::Step(report) => observer.step(&report).map(drop),
                    Message::Finish(outcome) => observer.finish(&outcome),
                };
                if let Err(failure) = done {
                    let _ = failed.try_send(failure);
                }
            }
        });
        Self { queue: Some(queue), failures, worker: Some(worker) }
    }

    fn queue(&self) -> Result<&SyncSender<Message>, ObserverError> {
        self.queue.as_ref().ok_or_else(|| "the observer's thread has ended".into())
    }
}

impl Observer for Background {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        let (answer, answered) = sync_channel(1);
        self.queue()?.send(Message::Start(Box::new(config.clone()), step, answer))?;
        answered.recv()?
    }

    fn step(&mut self, report: &Report) -> Result<Control, ObserverError> {
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
        self.queue()?.send(Message::Finish(Box::new(outcome.clone())))?;
        self.queue = None;
        if self.worker.take().is_some_and(|worker| worker.join().is_err()) {
            return Err("the observer's thread has died".into());
        }
        self.failures.try_recv().map_or(Ok(()), Err)
    }
}

/// A run that ended in an error still writes what waits.
impl Drop for Background {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}
