#![doc = include_str!("../README.md")]

mod backend;
mod bench;
mod ci;
mod cli;
mod error;
mod interrupt;
mod kept;
mod libtorch;
mod loggers;
mod memory;
#[cfg(feature = "lm")]
mod model;
mod numbers;
mod output;
mod pipeline;
#[cfg(feature = "lm")]
mod pretrain;
mod progress;
mod python;
mod record;
mod report;
mod sample;
mod smollm2;
mod spec;
mod standard_output;
mod steer;
mod text;
mod tidy;
mod workflow;

pub use backend::{Backend, workspace_root};
pub use cli::main;
pub use error::{Error, Result};
pub use interrupt::{INTERRUPTED, Interrupt};
pub use kept::{Kept, Session, Start};
pub use output::{OutputFolder, terminal_table, write_outputs};
pub use pipeline::{Clock, Finished, run_pipeline};
pub use progress::{Progress, ProgressTarget};
pub use record::{
    DistanceRecord, FeatureRecord, FitRecord, FromBase, ModelRecord, QrsPoint, QrsRecord, RunRecord,
    SampleRecord, Samples, StageRecord, StepRecord,
};
pub use report::render_report;
pub use spec::{
    AdapterSpec, CheckpointSpec, ClassifierSpec, FeatureKind, FeatureSpec, FitSpec, LabelValue, LengthUnit,
    ModelSource, ModelSpec, Problem, QrsGoal, SampleSpec, Spec, SpecError, Target, TuneSpec, Words,
    read_spec,
};
pub use steer::RunOptions;
pub use text::{Judge, Judges, TextFeature, TextSample};
pub use tidy::{CrateGraph, Finding, check_crates, check_source, findings};
pub use workflow::{Loaded, WEIGHTS, run_workflow};

/// The example of the repository's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct RootReadme;
