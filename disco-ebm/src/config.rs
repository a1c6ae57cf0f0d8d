//! The settings of a fit.

use disco_core::Error;
use serde::{Deserialize, Serialize};

use crate::{Result, Solver};

/// Settings of a fit; the defaults suit a thousand samples and more.
///
/// | field | default | range |
/// |---|---|---|
/// | `solver.tolerance` | 1e-10 | positive, finite |
/// | `solver.max_iterations` | 200 | 1 or more |
/// | `ridge` | 0 | 0 or more, finite |
/// | `min_ess` | 10 | 0 or more, finite |
/// | `held_out` | 0.2 | 0 (no check) to 0.9 |
/// | `context_errors` | `fixed` | `fixed`, `drawn` |
/// | `contexts_without_support` | `refuse` | `refuse`, `leave_out` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// When Newton's method stops.
    pub solver: Solver,
    /// Adds `ridge / 2 * lambda^2` per coefficient to the dual: a Gaussian prior of variance `1 / ridge`
    /// (Chen and Rosenfeld 2000). Moments are then missed by `ridge * lambda`.
    pub ridge: f64,
    /// The smallest effective sample size that a fit may have; exact fits are not checked. Where constraints are per context, each
    /// context is a fit of its own, and must have as much alone.
    pub min_ess: f64,
    /// The share of the samples that is held out for a check: a second fit is made to the other samples, and its moments are
    /// measured on the held-out ones. The reported coefficients come from a fit to all samples.
    pub held_out: f64,
    /// The randomness that standard errors include.
    pub context_errors: ContextErrors,
    /// The treatment of a context in which no sample satisfies the pointwise constraints.
    pub contexts_without_support: ContextsWithoutSupport,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            solver: Solver::default(),
            ridge: 0.0,
            min_ess: 10.0,
            held_out: 0.2,
            context_errors: ContextErrors::default(),
            contexts_without_support: ContextsWithoutSupport::default(),
        }
    }
}

/// The randomness that standard errors include when there are several contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextErrors {
    /// The list of contexts is complete: errors come from sampling within each context.
    #[default]
    Fixed,
    /// The contexts are a random sample of many: errors are computed for a mean over independent contexts, and
    /// include both sampling within contexts and the choice of contexts. Needs two contexts or more.
    Drawn,
}

/// The treatment of a context in which no sample satisfies the pointwise constraints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextsWithoutSupport {
    /// The fit is an error that names the context.
    #[default]
    Refuse,
    /// The fit is to the mean over the other contexts; the report counts those left out.
    LeaveOut,
}

impl FitConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.solver.validate()?;
        if !(self.ridge >= 0.0 && self.ridge.is_finite()) {
            return Err(Error::invalid("ridge", self.ridge, "0 or more, and finite").into());
        }
        if !(self.min_ess >= 0.0 && self.min_ess.is_finite()) {
            return Err(Error::invalid("min_ess", self.min_ess, "0 or more, and finite").into());
        }
        if !(self.held_out >= 0.0 && self.held_out <= 0.9) {
            return Err(Error::invalid("held_out", self.held_out, "0 to 0.9").into());
        }
        Ok(())
    }
}
