//! The distribution that samples are drawn from.

use disco_core::Result;
use disco_divergence::FDivergence;
use serde::{Deserialize, Serialize};

use super::{at_least, not_negative};

/// The distribution that samples are drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", from = "Read")]
#[non_exhaustive]
pub enum Sampling {
    /// The policy itself.
    Online,
    /// A frozen copy of the policy, called the proposal `q`. It is made when the run starts, and replaced by a copy of
    /// the current policy when a test shows that the policy is nearer to the target.
    ///
    /// The test is paired: on one step's samples, `D(q||p) - D(pi||p)` must exceed `z` of its standard errors.
    Offline {
        /// The divergence in which "nearer" is measured; `forward-kl` by default.
        metric: FDivergence,
        /// Number of standard errors, at least 0; 1.645 by default (one-sided 5%).
        z: f64,
        /// The interval of the test in steps, at least 1; 1 by default.
        every: u64,
    },
    /// No sampling: a step takes all outcomes of its contexts, each once, from
    /// [`Problem::with_space`](crate::Problem::with_space). `Z_c`, divergences and gradient are then exact sums, and
    /// metrics have a standard error of 0.
    ///
    /// A context `c` with `n` outcomes has the gradient `1/n sum_x pi/q (f'(pi/p) - f'(1)) grad log pi(x|c)` with `q = 1/n`,
    /// which is `sum_x pi (f'(pi/p) - f'(1)) grad log pi`. The constant `f'(1)` changes nothing, since
    /// `sum_x pi grad log pi = 0`; with it all weights are zero at the target, and no rounding is left there.
    ///
    /// These settings have no effect: `samples_per_step` and `validation.samples` (there are as many as there are outcomes),
    /// `partition` (`Z_c` is the sum over all outcomes), `baseline` (an exact sum has no variance), and
    /// `max_steps_without_success` (a context in which the target allows no outcome is an error at once). `replay` and
    /// `max_importance_ratio` are refused: nothing is drawn that could be used again or weighted. `max_pseudo_reward` limits
    /// `n pi f'(pi/p)`.
    Enumerated,
}

impl Sampling {
    /// Offline sampling with the default test.
    pub fn offline() -> Self {
        Self::Offline { metric: forward_kl(), z: z(), every: one() }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`](disco_core::Error::Invalid) naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Self::Online | Self::Enumerated => Ok(()),
            Self::Offline { z, every, .. } => {
                not_negative("sampling.z", z)?;
                at_least("sampling.every", every, 1)
            }
        }
    }
}

/// The form in which settings are read: serde refuses unknown fields only in variants with braces.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Read {
    Online {},
    Offline {
        #[serde(default = "forward_kl")]
        metric: FDivergence,
        #[serde(default = "z")]
        z: f64,
        #[serde(default = "one")]
        every: u64,
    },
    Enumerated {},
}

impl From<Read> for Sampling {
    fn from(read: Read) -> Self {
        match read {
            Read::Online {} => Self::Online,
            Read::Offline { metric, z, every } => Self::Offline { metric, z, every },
            Read::Enumerated {} => Self::Enumerated,
        }
    }
}

fn forward_kl() -> FDivergence {
    FDivergence::KlForward
}

fn z() -> f64 {
    1.645
}

fn one() -> u64 {
    1
}
