//! The divergences that a run reports.

use disco_divergence::FDivergence;

/// A divergence between the target p and a policy π.
pub(crate) struct Distance {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Its formula, by which the steps of a run name it too.
    pub(crate) formula: &'static str,
    pub(crate) divergence: FDivergence,
    /// Its name among the tuner's metrics.
    pub(crate) metric: &'static str,
}

/// The position of the total variation among [`DISTANCES`].
pub(crate) const TOTAL_VARIATION: usize = 2;

/// The divergences of a report, in its order.
pub(crate) const DISTANCES: [Distance; 4] = [
    Distance {
        name: "forward KL",
        formula: "KL(p‖π)",
        divergence: FDivergence::KlForward,
        metric: "kl_target_policy",
    },
    Distance {
        name: "reverse KL",
        formula: "KL(π‖p)",
        divergence: FDivergence::KlReverse,
        metric: "kl_policy_target",
    },
    Distance {
        name: "total variation",
        formula: "TV",
        divergence: FDivergence::TotalVariation,
        metric: "tv_target_policy",
    },
    Distance {
        name: "Jensen-Shannon",
        formula: "JS",
        divergence: FDivergence::JensenShannon,
        metric: "js_target_policy",
    },
];
