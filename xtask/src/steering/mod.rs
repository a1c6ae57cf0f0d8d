//! Steering a model to a target: the stages of a run, and the workflow around them.
//!
//! One file per stage: [`measure`](measure()), [`fit`](fit()), [`tune`](tune()), [`sample`](sample()) and
//! [`reject`](reject()) take values and return values, among them the stage's part of the [`RunRecord`](crate::RunRecord).
//! `pipeline.rs` composes all of them. `workflow.rs` adds the folder of results around a
//! whole run, `checkpoints.rs` the folder of its checkpoints, and `interrupt.rs` the signals that end it. Only `language_model.rs` names disco-lm.

mod betas;
mod categories;
mod checkpoints;
mod clock;
mod conditional;
mod constraints;
mod drawn;
mod fit;
mod held_out;
mod interrupt;
mod kept_samples;
#[cfg(feature = "lm")]
pub(crate) mod language_model;
mod logs;
mod measure;
mod moments;
mod origin;
mod pipeline;
mod plan;
mod reject;
mod sample;
mod scored;
mod step_log;
mod tune;
mod workflow;

pub use checkpoints::{CheckpointFolder, RunControl, StartMode};
pub use clock::Clock;
#[cfg(feature = "lm")]
pub(crate) use drawn::draw_in_order;
pub use fit::{Fitted, fit};
pub use interrupt::{INTERRUPTED, Interrupt};
pub use measure::{Measurement, measure};
pub use origin::{BaseModel, Origin};
pub use pipeline::{Finished, run_pipeline};
pub use plan::RunPlan;
pub use reject::reject;
pub use sample::{PolicySamples, sample};
pub use scored::Scored;
pub use tune::{Tuned, tune};
pub use workflow::{Loaded, WeightBytes, run_workflow};
