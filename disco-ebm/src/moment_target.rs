//! The moment that a constraint asks of a feature, as numbers.

/// The target of one feature's mean.
#[derive(Clone, Debug, PartialEq)]
pub struct MomentTarget {
    /// The feature, for messages.
    pub name: String,
    /// The mean that is asked for: finite.
    pub target: f64,
    /// The mean may lie in `target -+ tolerance`: 0 or more, finite.
    pub tolerance: f64,
}
