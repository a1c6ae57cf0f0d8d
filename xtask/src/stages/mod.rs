//! One stage of a run by itself, with files before and after it.
//!
//! A stage reads files, calls functions of `steering`, and writes a folder of results or a file of samples. Handed from stage to stage,
//! the files give the bits of a whole run. `stage_folder.rs` is the folder, and knows when there is nothing to do.

#[cfg(feature = "lm")]
mod bound_target;
mod diagnose_shard;
mod diagnose_stage;
mod fit_stage;
#[cfg(feature = "lm")]
mod measure_on_model;
mod measure_stage;
mod merge;
mod sample_lines;
mod stage_folder;
mod stored_base;
mod target_file;
#[cfg(feature = "lm")]
mod tune_stage;

#[cfg(feature = "lm")]
pub(crate) use bound_target::BoundTarget;
pub(crate) use diagnose_shard::write_shard;
pub(crate) use diagnose_stage::DiagnoseStage;
pub(crate) use fit_stage::FitStage;
pub(crate) use measure_stage::{MEASURED, MeasureStage, forget_drawn};
pub(crate) use merge::merge;
pub(crate) use sample_lines::SampleLines;
pub(crate) use stage_folder::{Inputs, SAMPLE, is_done, keep_results};
pub(crate) use target_file::TargetFile;
#[cfg(feature = "lm")]
pub(crate) use tune_stage::TuneStage;
