//! How a program with the right backend comes to run: this one if it has the backend compiled in, else cargo, which builds one that has, or
//! not at all.

mod allocator;
mod cargo;

use std::env;

pub(crate) use allocator::start_with_fast_allocator;
pub(crate) use cargo::{cargo_for, run_xtask};

use crate::{
    Backend, Error, Result,
    process::{self, workspace},
    terminal::say,
};

/// The features that a program must have compiled in to do some work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requirements {
    /// The backend of the language model.
    pub(crate) backend: Backend,
    /// Whether a model may have to be downloaded from a hub.
    pub(crate) hub: bool,
    /// Whether it serves over HTTP.
    pub(crate) serve: bool,
    /// Whether disco's own crates check their debug assertions, where the program has to be built. Only a measurement goes without.
    pub(crate) assertions: bool,
}

impl Requirements {
    /// This backend; no hub, and with debug assertions.
    pub(crate) fn of(backend: Backend) -> Self {
        Self { backend, hub: false, serve: false, assertions: true }
    }

    /// The Cargo features that this program would need and does not have.
    fn missing(self) -> Vec<&'static str> {
        let backend = (!self.backend.is_compiled()).then_some(self.backend.feature());
        let hub = self.hub_feature().filter(|_| !cfg!(feature = "hub"));
        let serve = (self.serve && !cfg!(feature = "serve")).then_some("serve");
        backend.into_iter().chain(hub).chain(serve).collect()
    }

    /// The Cargo feature for a hub, unless the hub is one without TLS.
    fn hub_feature(self) -> Option<&'static str> {
        let is_plain = env::var("HF_ENDPOINT").is_ok_and(|endpoint| endpoint.starts_with("http://"));
        (self.hub && !is_plain).then_some("hub")
    }

    /// The Cargo features of xtask that meet them.
    fn features(self) -> Vec<&'static str> {
        let serve = self.serve.then_some("serve");
        [self.backend.feature()].into_iter().chain(self.hub_feature()).chain(serve).collect()
    }
}

/// Does work that needs a language model: calls `here` if this program meets the requirements, else replaces this process by cargo,
/// which builds xtask with them and runs it with the same arguments. The program `disco` has no cargo, and says how to install one
/// that meets them.
///
/// All checks that need no model belong before it, so that a mistake is reported before anything is built. In a program without the
/// feature `lm` no backend is compiled in and `here` is never called, so its body may be empty there.
///
/// # Errors
/// The errors of `here`; [`Error::Uncompiled`] in the program `disco`; [`Error::Libtorch`] if a library is missing;
/// [`Error::Start`] if there is no cargo.
pub(crate) fn with_language_model(
    requirements: Requirements,
    here: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let missing = requirements.missing();
    if missing.is_empty() {
        return here();
    }
    if workspace().is_none() {
        return Err(Error::Uncompiled { missing });
    }
    let mut command = run_xtask(requirements.backend, &requirements.features())?;
    command.args(env::args_os().skip(1));
    if !requirements.assertions {
        // Set here and not by a profile of its own, for which Burn would have to be built again: the assertions of all other crates
        // are off anyway.
        command.envs([
            ("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false"),
            ("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false"),
        ]);
    }
    // It may be minutes until the next output.
    let features = requirements.features().join(" and ");
    say(format_args!("{:<16} xtask with {features}: minutes the first time, seconds from then on", "build"));
    process::replace(command)
}
