//! The mass of each proposal.

use std::ops::Range;

use crate::sums::log_sums_from;

/// The masses of the sorted ratios under the proposal.
#[derive(Clone, Debug)]
pub(crate) enum ProposalMasses {
    /// Samples: the logarithm of `1 / count`, for each of this many ratios.
    Equal { log_mass: f64, ratios: usize },
    /// Outcomes: `ln q(x)` of each, and `ln` of the sums of `q` from each on, with `-inf` at the end.
    Own { log_masses: Vec<f64>, log_from: Vec<f64> },
}

impl ProposalMasses {
    /// The masses of this many ratios among `count` samples.
    pub(crate) fn equal(ratios: usize, count: usize) -> Self {
        Self::Equal { log_mass: -(count as f64).ln(), ratios }
    }

    /// The masses with these logarithms.
    pub(crate) fn own(log_masses: Vec<f64>) -> Self {
        let log_from = log_sums_from(log_masses.iter().copied());
        Self::Own { log_masses, log_from }
    }

    /// `ln` of the mass of ratio `k`.
    pub(crate) fn log(&self, k: usize) -> f64 {
        match self {
            Self::Equal { log_mass, .. } => *log_mass,
            Self::Own { log_masses, .. } => log_masses[k],
        }
    }

    /// `ln` of the mass of the ratios from `k` on.
    pub(crate) fn log_from(&self, k: usize) -> f64 {
        match self {
            Self::Equal { log_mass, ratios } => ((ratios - k) as f64).ln() + log_mass,
            Self::Own { log_from, .. } => log_from[k],
        }
    }

    /// The largest logarithm of a mass in a range that is not empty.
    pub(crate) fn log_unit(&self, range: Range<usize>) -> f64 {
        match self {
            Self::Equal { log_mass, .. } => *log_mass,
            Self::Own { log_masses, .. } => {
                log_masses[range].iter().copied().fold(f64::NEG_INFINITY, f64::max)
            }
        }
    }

    /// The mass of ratio `k` in a unit from [`log_unit`](Self::log_unit).
    pub(crate) fn in_unit(&self, k: usize, log_unit: f64) -> f64 {
        match self {
            Self::Equal { .. } => 1.0,
            Self::Own { log_masses, .. } => (log_masses[k] - log_unit).exp(),
        }
    }
}
