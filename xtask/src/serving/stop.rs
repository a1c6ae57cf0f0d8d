//! Signals that ask a server to stop.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::{consts, flag};

use crate::{Error, Result, scorers::kill_process_groups, steering::INTERRUPTED};

/// The longest time until a signal is noticed: a handler itself may do no more than raise a flag.
const PAUSE: Duration = Duration::from_millis(20);

/// A flag that SIGINT and SIGTERM set from now on. A second signal ends the process at once, and the programs that score samples.
///
/// # Errors
/// [`Error::Signals`] if the system refuses a handler or a thread.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let (stop, signalled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        flag::register(signal, signalled.clone()).map_err(Error::Signals)?;
    }
    let raised = stop.clone();
    let watch = move || {
        loop {
            if signalled.swap(false, Ordering::SeqCst) && raised.swap(true, Ordering::SeqCst) {
                end_at_once();
            }
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map_err(Error::Signals)?;
    Ok(stop)
}

/// Ends the process after a while, and the programs that score samples, unless it has ended by itself: one of them may hang.
///
/// # Errors
/// [`Error::Signals`] if the system refuses a thread.
pub(crate) fn end_within(time: Duration) -> Result<()> {
    let end = move || {
        thread::sleep(time);
        end_at_once();
    };
    thread::Builder::new().name("end".into()).spawn(end).map_err(Error::Signals)?;
    Ok(())
}

fn end_at_once() -> ! {
    kill_process_groups();
    process::exit(INTERRUPTED.into());
}
