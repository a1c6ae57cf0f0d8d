//! The boundary around a library that reads strangers' files: one on which it panics is an error.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether this thread is inside of [`contained`], where a panic is returned instead of printed.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which calls the named `library`; a panic inside of it is an error with the panic's message, and prints nothing.
///
/// A process has one panic hook. The first call puts one before it that is silent on threads inside of this function, and hands all
/// other panics on, so that it does not matter when other threads panic.
pub(crate) fn contained<T>(library: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                before(panic);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    // A value that a panic left half-changed is not used again: loading returns none, and encoding and decoding change none.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gives no reason");
        format!("the {library} library fails on it: {text}")
    })
}
