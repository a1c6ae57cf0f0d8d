#![doc = include_str!("../README.md")]

mod assessment;
mod config;
mod constraint;
mod dual;
mod ebm;
mod error;
mod evaluate;
mod fit;
mod hull;
mod inference;
mod linalg;
mod measured;
mod newton;
mod points;
mod problem;
mod proximal;
mod reach;
mod report;
mod saved;
mod saved_estimate;
mod strata;
mod tilt;

pub use assessment::Assessment;
pub use config::{ContextErrors, ContextsWithoutSupport, FitConfig};
pub use constraint::{Constraint, ConstraintKind, features};
pub use dual::Dual;
pub use ebm::Ebm;
pub use error::{Error, Result};
pub use fit::Fit;
pub use measured::{ContextSamples, Measured};
pub use newton::{Solution, Solver, Termination};
pub use points::{MomentTarget, Points};
pub use report::{ConstraintReport, FitReport, HeldOut};
pub use saved::SavedTarget;
pub use tilt::Tilt;
