//! Steering a model to a target: the stages of a run, and the workflow around them.
//!
//! One file per stage: [`measure`](measure()), [`fit`](fit()), [`tune`](tune()), [`sample`](sample()) and
//! [`reject`](reject()) take values and return values, among them the stage's part of the [`RunRecord`](crate::RunRecord).
//! `pipeline.rs` composes all of them. `workflow.rs` adds the folder of results around a
//! whole run, `checkpoints.rs` the folder of its checkpoints, and `interrupt.rs` the signals that end it. Only `language_model.rs` names disco-lm;
//! `remote_model.rs` is its counterpart for a model on a server.

#[cfg(feature = "lm")]
mod accept;
#[cfg(feature = "lm")]
mod accept_beta;
#[cfg(feature = "lm")]
mod accept_blocks;
mod betas;
mod categories;
mod checkpoints;
mod clock;
mod conditional;
mod console;
mod constraints;
mod diagnose;
mod drawn;
mod dry_run;
mod fit;
mod held_out;
mod interrupt;
mod kept_chain;
mod kept_samples;
#[cfg(feature = "lm")]
mod known_bound;
#[cfg(feature = "lm")]
pub(crate) mod language_model;
mod logs;
mod measure;
#[cfg(feature = "lm")]
mod model_task;
mod moments;
mod origin;
mod pipeline;
mod plan;
mod reject;
pub(crate) mod remote_model;
mod sample;
mod sampler_kind;
mod scored;
mod step_log;
mod tune;
#[cfg(feature = "lm")]
mod untuned_task;
mod workflow;

#[cfg(feature = "lm")]
pub(crate) use accept::{Accepted, accept};
pub use checkpoints::{CheckpointFolder, RunControl, StartMode};
pub use clock::Clock;
pub(crate) use constraints::features_of_target;
pub(crate) use diagnose::{SampledSet, diagnose};
pub(crate) use drawn::Drawn;
#[cfg(feature = "lm")]
pub(crate) use drawn::draw_in_order;
pub(crate) use dry_run::{DryRun, DryStages};
pub use fit::{Fitted, fit};
pub use interrupt::{INTERRUPTED, Interrupt};
pub(crate) use kept_samples::KeptSamples;
#[cfg(feature = "lm")]
pub(crate) use known_bound::known_bound;
pub use measure::{Measurement, measure};
pub(crate) use measure::{draw_keeping, measure_drawn};
#[cfg(feature = "lm")]
pub(crate) use model_task::ModelTask;
pub use origin::{BaseModel, Origin};
#[cfg(feature = "lm")]
pub(crate) use pipeline::tuning_lap;
pub use pipeline::{Finished, run_pipeline, run_untuned};
pub use plan::RunPlan;
pub use reject::reject;
pub use sample::{PolicySamples, sample};
pub(crate) use sampler_kind::{Accept, SamplerKind};
pub use scored::Scored;
#[cfg(feature = "lm")]
pub(crate) use scored::score_chunk;
pub(crate) use scored::values as values_of;
pub use tune::{Tuned, tune};
#[cfg(all(feature = "lm", feature = "serve"))]
pub(crate) use untuned_task::on_untuned_model_here;
#[cfg(feature = "lm")]
pub(crate) use untuned_task::{UntunedTask, on_untuned_model};
pub use workflow::{Loaded, Untuned, WeightBytes, run_untuned_workflow, run_workflow};
#[cfg(feature = "lm")]
pub(crate) use workflow::{Work, in_results};
