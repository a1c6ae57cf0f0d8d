#![doc = include_str!("../README.md")]

mod backend;
mod ci;
mod cli;
mod error;
mod memory;
mod numbers;
mod output;
#[cfg(feature = "lm")]
mod pretrain;
mod progress;
mod record;
mod report;
mod spec;
mod text;
mod tidy;

pub use backend::{Backend, workspace_root};
pub use cli::main;
pub use error::{Error, Result};
pub use output::{OutputFolder, terminal_table, write_outputs};
pub use progress::{Progress, ProgressTarget};
pub use record::{
    DistanceRecord, FeatureRecord, FitRecord, FromBase, ModelRecord, QrsPoint, QrsRecord, RunRecord,
    SampleRecord, Samples, StageRecord, StepRecord,
};
pub use report::render_report;
pub use spec::{
    FeatureKind, FeatureSpec, FitSpec, LengthUnit, ModelSource, ModelSpec, Problem, QrsGoal, SampleSpec,
    Spec, SpecError, Target, TuneSpec, Words, read_spec,
};
pub use text::{TextFeature, TextSample};
pub use tidy::{CrateGraph, Finding, check_crates, check_source, findings};
