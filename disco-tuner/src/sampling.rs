//! What samples are drawn from.

use disco_divergence::FDivergence;
use serde::{Deserialize, Serialize};

/// What samples are drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", from = "Read")]
#[non_exhaustive]
pub enum Sampling {
    /// The policy itself.
    Online,
    /// A frozen copy of the policy, first as it is when the run starts; replaced by the policy's current
    /// state when that is nearer to the target by more than noise.
    ///
    /// The test is paired: on one step's samples, `D(q||p) - D(pi||p)` must exceed `z` of its standard errors.
    Offline {
        /// In which divergence "nearer" is measured; `forward-kl` by default.
        metric: FDivergence,
        /// How many standard errors, at least 0; 1.645 by default (one-sided 5%).
        z: f64,
        /// The interval of the test in steps, at least 1; 1 by default.
        every: u64,
    },
}

impl Sampling {
    /// Offline sampling with the default test.
    pub fn offline() -> Self {
        Self::Offline { metric: forward_kl(), z: z(), every: one() }
    }
}

/// As it is read. Only of a variant with braces does serde refuse fields that it does not have.
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
}

impl From<Read> for Sampling {
    fn from(read: Read) -> Self {
        match read {
            Read::Online {} => Self::Online,
            Read::Offline { metric, z, every } => Self::Offline { metric, z, every },
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
