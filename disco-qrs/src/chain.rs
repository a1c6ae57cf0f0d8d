//! The states that a Markov chain returns.

use disco_core::Error;
use serde::{Deserialize, Serialize};

/// The settings that decide which states of a Markov chain are returned.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `burn_in` | 0 | any |
/// | `thin` | 1 | at least 1 |
/// | `restart` | false | |
///
/// A chain starts at the first proposal in the target's support. After `burn_in` steps, its state is returned every
/// `thin` steps. With `restart`, a chain ends with its first returned state and a new one starts, so that samples are
/// independent: each is the state after `burn_in + thin` steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainConfig {
    /// Steps before anything is returned.
    pub burn_in: u64,
    /// Steps between returned states.
    pub thin: u64,
    /// Whether each returned state comes from a chain of its own.
    pub restart: bool,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self { burn_in: 0, thin: 1, restart: false }
    }
}

impl ChainConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.thin == 0 { Err(Error::invalid("thin", 0, "at least 1")) } else { Ok(()) }
    }

    /// Whether the state after `steps` steps is returned.
    pub(crate) fn returns(&self, steps: u64) -> bool {
        steps > self.burn_in && (steps - self.burn_in).is_multiple_of(self.thin)
    }
}

/// A chain at its current state, and the steps since its start.
#[derive(Clone, Debug)]
pub(crate) struct Chain<X> {
    pub(crate) state: X,
    pub(crate) steps: u64,
}

impl<X> Chain<X> {
    pub(crate) fn start(state: X) -> Self {
        Self { state, steps: 0 }
    }
}
