//! Interrupts: the effect of Ctrl-C and SIGTERM on a run.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use disco_tuner::StopFlag;
use signal_hook::{consts, flag};

use crate::{Error, Result, results::remove_staging, scorers::kill_process_groups, terminal::say};

/// The exit code of a run that was interrupted: the one that shells report for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The signals that ask a run to end.
#[cfg(unix)]
const SIGNALS: &[i32] = &[consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: &[i32] = &[consts::SIGINT, consts::SIGTERM];

/// The longest time until a signal is noticed: a handler itself may do no more than raise a flag.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of attempts to remove a folder to which another thread still writes.
const ATTEMPTS: usize = 20;

/// Lets a run end in good order after a signal.
///
/// While the policy is tuned, the current step is finished, a checkpoint is written, and the run ends with
/// [`Error::Interrupted`]. At any other time, and at a second signal, the process ends at once; the
/// results under construction are removed first, and the programs that score samples are ended. Without
/// [`install`](Self::install), signals have their usual effect.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: StopFlag,
    tuning: AtomicBool,
    asked: AtomicBool,
    /// The staging folder and the files to be removed. Locked while they are made or moved to their place.
    unfinished: Mutex<Vec<PathBuf>>,
}

impl Interrupt {
    /// An interrupt that SIGINT, SIGTERM and SIGHUP raise from now on.
    ///
    /// # Errors
    /// [`Error::Signals`] if the system refuses a handler or a thread.
    pub fn install() -> Result<Self> {
        let interrupt = Self::default();
        let (asked, signalled) = (interrupt.clone(), Arc::new(AtomicBool::new(false)));
        for signal in SIGNALS {
            flag::register(*signal, Arc::clone(&signalled)).map_err(Error::Signals)?;
        }
        let watch = move || {
            loop {
                if signalled.swap(false, Ordering::SeqCst) {
                    asked.ask();
                }
                thread::sleep(PAUSE);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(watch).map_err(Error::Signals)?;
        Ok(interrupt)
    }

    fn ask(&self) {
        let again = self.0.asked.swap(true, Ordering::SeqCst);
        if self.0.tuning.load(Ordering::SeqCst) && !again {
            self.0.stop.raise();
            say("interrupted: this step is finished and a checkpoint written; once more ends at once");
            return;
        }
        // Another thread may be writing to the folder until the process ends.
        let unfinished = self.unfinished();
        for path in &*unfinished {
            for _ in 0..ATTEMPTS {
                let removed = if path.is_dir() { remove_staging(path) } else { fs::remove_file(path) };
                if removed.is_ok() || !path.exists() {
                    break;
                }
            }
        }
        say("interrupted");
        kill_process_groups();
        std::process::exit(INTERRUPTED.into());
    }

    fn unfinished(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `make`, whose result has a folder and files that are removed if the process is interrupted before
    /// [`finish`](Self::finish).
    pub(crate) fn begin<T>(
        &self,
        make: impl FnOnce() -> Result<T>,
        temporary: impl FnOnce(&T) -> Vec<PathBuf>,
    ) -> Result<T> {
        let mut unfinished = self.unfinished();
        let made = make()?;
        *unfinished = temporary(&made);
        Ok(made)
    }

    /// Calls `finish`, which moves what [`begin`](Self::begin) made to its place, without interruption.
    pub(crate) fn finish<T>(&self, finish: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut unfinished = self.unfinished();
        unfinished.clear();
        finish()
    }

    /// Calls `tune`; returns its result, and whether a signal came meanwhile.
    pub(crate) fn while_tuning<T>(&self, tune: impl FnOnce(StopFlag) -> T) -> (T, bool) {
        self.0.tuning.store(true, Ordering::SeqCst);
        let tuned = tune(self.0.stop.clone());
        self.0.tuning.store(false, Ordering::SeqCst);
        (tuned, self.0.asked.load(Ordering::SeqCst))
    }
}
