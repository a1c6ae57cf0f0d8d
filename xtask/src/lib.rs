#![doc = include_str!("../README.md")]
#![deny(clippy::print_stdout, clippy::print_stderr)]
// The crate is never published: its public names are for its own tests, in `tests/`.

mod cli;
mod commands;
mod contexts;
mod error;
mod features;
mod launch;
#[cfg(feature = "lm")]
mod models;
mod prerequisites;
mod process;
mod repository;
mod results;
mod scorers;
#[cfg(feature = "serve")]
mod serving;
mod spec;
mod steering;
mod terminal;

pub use cli::main;
pub use commands::RunOptions;
pub use contexts::{Columns, TextContext};
pub use error::{Error, Problem, Result, SpecError};
pub use features::{Marks, SampleView, TextFeature, TextFeatures, TextSample, TextScorer, TextScorers};
pub use process::workspace_root;
pub use repository::{
    CrateGraph, Finding, Import, ModuleGraph, Tree, check_crates, check_document, check_modules, check_order,
    check_source, findings, graph_text,
};
pub use results::{
    BaseRecord, CategoryDistance, CategoryRow, ContextRow, DistanceRow, FeatureRow, FitRecord, FittedFeature,
    FromBase, HeldOutRecord, MaskingRecord, ModelRecord, OutputFile, OutputFolder, PolicyRecord, QrsPoint,
    QrsRecord, RunRecord, SampleRecord, StageRecord, StepRecord, TargetRecord, TuningRecord, render_report,
    terminal_table, write_outputs,
};
pub use scorers::{CommandSettings, ExternalScorer, HttpSettings, ScoredSample};
#[cfg(all(feature = "serve", feature = "lm"))]
pub use serving::LanguageModelEngine;
#[cfg(feature = "serve")]
pub use serving::{
    ChatMessage, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Refusal,
    SamplingSettings, Server, ServerSettings,
};
pub use spec::{
    AdapterSpec, Backend, CategoryRule, CategorySpec, ChatSpec, CheckpointSpec, ChoicesSpec, ClassifierSpec,
    CommandAsking, CommandSpec, ContextSpec, Dialect, FeatureKind, FeatureSpec, FitSpec, GrammarSpec,
    HttpAsking, HttpSpec, JsonPath, JsonScalar, JsonSpec, LabelValue, LengthUnit, Level, LongestToken,
    Measure, ModelSource, ModelSpec, Phrase, QrsGoal, RewardSpec, SampleSpec, Share, Spec, Target, TuneSpec,
    WEIGHTS, WordListSpec, WordValue, Words, read_spec,
};
pub use steering::{
    BaseModel, CheckpointFolder, Clock, Finished, Fitted, INTERRUPTED, Interrupt, Loaded, Measurement,
    Origin, PolicySamples, RunControl, RunPlan, Scored, StartMode, Tuned, WeightBytes, fit, measure, reject,
    run_pipeline, run_untuned, run_workflow, sample, tune,
};
pub use terminal::{Progress, ProgressTarget};

/// The example of the repository's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct RootReadme;
