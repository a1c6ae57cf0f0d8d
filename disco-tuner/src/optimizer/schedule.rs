//! The schedule of the step size over a run.

use disco_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The step size as a share of [`learning_rate`](crate::TunerConfig::learning_rate): a linear rise over the warm-up, then
/// `floor + (1 - floor) d`, with `d` the [`Decay`].
///
/// | field | default | range |
/// |---|---|---|
/// | `decay` | constant | [`Decay`] |
/// | `warmup_steps` | 0 | at most the run's steps |
/// | `floor` | 0 | [0, 1] |
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The shape of the decay.
    pub decay: Decay,
    /// Number of steps `w` over which the share rises: `1/w, 2/w, ..., 1`.
    pub warmup_steps: u64,
    /// The share that a linear or cosine decay would reach after the last step.
    pub floor: f64,
}

/// The decay `d` of a [`Schedule`] after the warm-up; `u` is the share of these steps that are done, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Decay {
    /// No decay: the step size stays as it is configured; `floor` does not matter.
    #[default]
    Constant,
    /// `1 - u`.
    Linear,
    /// `(1 + cos(pi u)) / 2` (Loshchilov and Hutter 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// Checks the settings for a run of `steps`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn validate(&self, steps: u64) -> Result<()> {
        if self.warmup_steps > steps {
            let allowed = format!("at most the {steps} steps of the run");
            return Err(Error::invalid("schedule.warmup_steps", self.warmup_steps, allowed));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(Error::invalid("schedule.floor", self.floor, "[0, 1]"));
        }
        Ok(())
    }

    /// The share of the configured step size at `step` (from 0) of a run of `steps`.
    ///
    /// ```
    /// use disco_tuner::{Decay, Schedule};
    /// let schedule = Schedule { decay: Decay::Linear, warmup_steps: 2, floor: 0.0 };
    /// let shares: Vec<f64> = (0..6).map(|step| schedule.share(step, 6)).collect();
    /// assert_eq!(shares, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    /// ```
    pub fn share(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let done =
            (step - self.warmup_steps) as f64 / (steps.saturating_sub(self.warmup_steps)).max(1) as f64;
        let done = done.min(1.0);
        let left = match self.decay {
            Decay::Constant => return 1.0,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
        };
        self.floor + (1.0 - self.floor) * left
    }
}
