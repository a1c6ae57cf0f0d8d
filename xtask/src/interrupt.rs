//! What Ctrl-C and SIGTERM do to a run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use disco_tuner::StopFlag;
use signal_hook::{consts, flag};

use crate::{Error, Result};

/// The exit code of a run that was interrupted: what shells report for SIGINT.
pub const INTERRUPTED: u8 = 130;

/// What asks a run to end.
#[cfg(unix)]
const SIGNALS: &[i32] = &[consts::SIGINT, consts::SIGTERM, consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: &[i32] = &[consts::SIGINT, consts::SIGTERM];

/// How long after a signal it is noticed at most: a handler itself may do no more than raise a flag.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a folder is removed that another thread still writes to.
const ATTEMPTS: usize = 20;

/// Lets a run end in good order when it is asked to.
///
/// While the policy is tuned, the step that is being made is finished, a checkpoint is written, and the run ends
/// with [`Error::Interrupted`]. At any other time, and when it is asked a second time, the process ends at once; the
/// results under construction are removed first. Without [`install`](Self::install), nobody asks.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: StopFlag,
    tuning: AtomicBool,
    asked: AtomicBool,
    /// What is to be removed. Locked while it is made or put in its place.
    unfinished: Mutex<Option<PathBuf>>,
}

impl Interrupt {
    /// One that SIGINT, SIGTERM and SIGHUP ask from now on.
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
            eprintln!("interrupted: this step is finished and a checkpoint written; once more ends at once");
            return;
        }
        // Another thread may be writing to the folder until the process ends.
        let unfinished = self.unfinished();
        if let Some(folder) = unfinished.as_deref() {
            for _ in 0..ATTEMPTS {
                if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                    break;
                }
            }
        }
        eprintln!("interrupted");
        std::process::exit(INTERRUPTED.into());
    }

    fn unfinished(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes something in a folder that is to be removed should the process end now.
    pub(crate) fn begin<T>(
        &self,
        make: impl FnOnce() -> Result<T>,
        folder: impl FnOnce(&T) -> &Path,
    ) -> Result<T> {
        let mut unfinished = self.unfinished();
        let made = make()?;
        *unfinished = Some(folder(&made).into());
        Ok(made)
    }

    /// Puts what was begun in its place, without interruption.
    pub(crate) fn finish<T>(&self, finish: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut unfinished = self.unfinished();
        *unfinished = None;
        finish()
    }

    /// Tunes; gives what `tune` gives, and whether it was asked to end.
    pub(crate) fn while_tuning<T>(&self, tune: impl FnOnce(StopFlag) -> T) -> (T, bool) {
        self.0.tuning.store(true, Ordering::SeqCst);
        let tuned = tune(self.0.stop.clone());
        self.0.tuning.store(false, Ordering::SeqCst);
        (tuned, self.0.asked.load(Ordering::SeqCst))
    }
}
