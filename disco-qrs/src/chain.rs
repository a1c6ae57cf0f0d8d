//! The states that a Markov chain returns.

use disco_core::Error;
use serde::{Deserialize, Serialize};

use crate::run::MOST_IN_BATCH;

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

/// The settings of a [`RandomWalk`](crate::RandomWalk).
///
/// | parameter | default | range |
/// |---|---|---|
/// | `chains` | 1 | 1 to 2^24 |
/// | `chain` | each state is returned | see [`ChainConfig`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomWalkConfig {
    /// The number of chains that run side by side.
    pub chains: usize,
    /// The states of each chain that are returned.
    pub chain: ChainConfig,
}

impl Default for RandomWalkConfig {
    fn default() -> Self {
        Self { chains: 1, chain: ChainConfig::default() }
    }
}

/// The most chains that may run: as many as a batch may have proposals.
const MOST_CHAINS: usize = MOST_IN_BATCH;

impl RandomWalkConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.chain.validate()?;
        if (1..=MOST_CHAINS).contains(&self.chains) {
            Ok(())
        } else {
            Err(Error::invalid("number of chains", self.chains, format!("1 to {MOST_CHAINS}")))
        }
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
