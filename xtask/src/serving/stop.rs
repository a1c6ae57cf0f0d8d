//! Signals that ask a server to stop.

use std::sync::{Arc, atomic::AtomicBool};

use signal_hook::{consts, flag};

use crate::{Error, Result, steering::INTERRUPTED};

/// A flag that SIGINT and SIGTERM set from now on. A second signal ends the process at once.
///
/// # Errors
/// [`Error::Signals`] if the system refuses a handler.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM] {
        // In this order: the first signal finds the flag unset.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), stop.clone())
            .map_err(Error::Signals)?;
        flag::register(signal, stop.clone()).map_err(Error::Signals)?;
    }
    Ok(stop)
}
