//! Ending a run that no longer improves, and the direction in which a metric improves.

use disco_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{at_least, not_negative};

/// Ending a run whose metric no longer improves. The best value and its step are in the
/// [`Outcome`](crate::Outcome), and the checkpoint of that step is kept.
///
/// A value that is NaN or infinite is no improvement.
///
/// ```
/// use disco_tuner::{Direction, EarlyStopping, TunerConfig};
/// // The effective sample size should rise; that is its default direction.
/// let ess = EarlyStopping { metric: "ess".into(), patience: 5, ..EarlyStopping::default() };
/// assert_eq!(Direction::of(&ess.metric), Some(Direction::Higher));
/// // The mean of a feature has none: it must be given.
/// let metric = "moment/polite/policy".into();
/// let polite = EarlyStopping { metric, direction: Some(Direction::Higher), ..EarlyStopping::default() };
/// let config = TunerConfig { early_stopping: Some(polite), ..TunerConfig::default() };
/// config.validate()?;
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// The metric; `js_target_policy` by default. See [`Metrics`](crate::Metrics) for the names.
    pub metric: String,
    /// Number of measurements in a row without improvement after which the run ends, at least 1; 10 by default.
    pub patience: u64,
    /// The least change that counts as an improvement, in the metric's unit, at least 0; 0 by default.
    pub min_delta: f64,
    /// The direction in which the metric improves. `None`, the default, is the [direction of its
    /// name](Direction::of). For a metric whose name has none, a direction must be given.
    pub direction: Option<Direction>,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { metric: "js_target_policy".into(), patience: 10, min_delta: 0.0, direction: None }
    }
}

impl EarlyStopping {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        at_least("early_stopping.patience", self.patience, 1)?;
        not_negative("early_stopping.min_delta", self.min_delta)
    }

    /// The direction in which the metric improves.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not given and the metric has none by its name.
    pub(crate) fn improves(&self) -> Result<Direction> {
        self.direction.or_else(|| Direction::of(&self.metric)).ok_or_else(|| {
            let allowed = format!("lower or higher, for `{}`, which may improve either way", self.metric);
            Error::invalid("early_stopping.direction", "none", allowed)
        })
    }
}

/// The direction in which a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A lower value is better.
    Lower,
    /// A higher value is better.
    Higher,
}

impl Direction {
    /// The direction in which a metric improves by its name, also after `validation/`: divergences, `outside_mass`,
    /// `missing_mass`, `largest_weight_share`, `cut_share` and `log_prob_gap` should fall, `ess` and `ess_share` should
    /// rise. `None` for all others, such as the mean of a feature, which should be what the target asks for.
    pub fn of(metric: &str) -> Option<Self> {
        match metric.strip_prefix("validation/").unwrap_or(metric) {
            "ess" | "ess_share" => Some(Self::Higher),
            "outside_mass" | "missing_mass" | "largest_weight_share" | "cut_share" | "log_prob_gap" => {
                Some(Self::Lower)
            }
            name if ["kl_", "tv_", "js_"].iter().any(|divergence| name.starts_with(divergence)) => {
                Some(Self::Lower)
            }
            _ => None,
        }
    }

    /// Whether `value` is better than `best` by more than `min_delta`; any finite value is better than none.
    pub(crate) fn is_better(self, value: f64, best: Option<f64>, min_delta: f64) -> bool {
        value.is_finite()
            && match (self, best) {
                (_, None) => true,
                (Self::Lower, Some(best)) => value < best - min_delta,
                (Self::Higher, Some(best)) => value > best + min_delta,
            }
    }
}
