#![doc = include_str!("../README.md")]
#![deny(clippy::print_stdout, clippy::print_stderr)]
// The crate is never published: its public names are for its own tests, in `tests/`.

mod cli;
mod commands;
mod contexts;
mod embedded;
mod error;
mod features;
mod hex;
mod http;
mod launch;
#[cfg(feature = "lm")]
mod models;
mod prerequisites;
mod process;
mod remote;
mod repository;
mod results;
mod samples;
mod scorers;
#[cfg(feature = "serve")]
mod serving;
mod spec;
mod stages;
mod steering;
mod terminal;

pub use cli::{disco, main};
pub use commands::RunOptions;
pub use contexts::{Columns, TextContext};
pub use error::{Error, Problem, Result, SpecError, StageError};
pub use features::{Marks, SampleView, TextFeature, TextFeatures, TextSample, TextScorer, TextScorers};
pub use process::workspace_root;
pub use remote::{RemoteModel, RemoteSample};
pub use repository::{
    CrateGraph, Finding, Import, ModuleGraph, Tree, check_crates, check_document, check_modules, check_order,
    check_source, findings, graph_text,
};
pub use results::{
    BaseRecord, CategoryDistance, CategoryRow, ContextRow, DistanceRow, FeatureRow, FileLinks, FitRecord,
    FittedFeature, FromBase, HeldOutRecord, MaskingRecord, ModelRecord, OutputFile, OutputFolder,
    PolicyRecord, QrsCount, QrsPoint, QrsRecord, RunRecord, SampleRecord, StageRecord, StepRecord,
    TargetRecord, TuningRecord, WeightRecord, read_record, render_comparison, render_report,
    render_report_with, terminal_table, write_outputs,
};
pub use samples::{Shard, StoredSample};
pub use scorers::{CommandSettings, ExternalScorer, HttpSettings, ScoredSample};
#[cfg(all(feature = "serve", feature = "lm"))]
pub use serving::LanguageModelEngine;
#[cfg(feature = "serve")]
pub use serving::{
    Asked, ChatMessage, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Prompt,
    Refusal, SamplingSettings, Server, ServerSettings,
};
pub use spec::{
    AdapterSpec, Backend, CategoryRule, CategorySpec, ChatSpec, CheckpointSpec, ChoicesSpec, ClassifierSpec,
    CommandAsking, CommandSpec, ConsoleSpec, ContextSpec, Dialect, FeatureKind, FeatureSpec, FitSpec,
    GrammarSpec, HttpAsking, HttpSpec, JsonPath, JsonScalar, JsonSpec, LabelValue, LengthUnit, Level,
    LogSpec, LongestToken, Measure, MlflowSpec, ModelSource, ModelSpec, Phrase, QrsGoal, RewardSpec,
    SampleSpec, ServerDialect, ServerSpec, Share, Spec, Target, TuneSpec, WEIGHTS, WordListSpec, WordValue,
    Words, read_spec,
};
pub use steering::{
    BaseModel, CheckpointFolder, Clock, Finished, Fitted, INTERRUPTED, Interrupt, Loaded, Measurement,
    Origin, PolicySamples, RunControl, RunPlan, Scored, StartMode, Tuned, Untuned, WeightBytes, fit, measure,
    reject, run_pipeline, run_untuned, run_untuned_workflow, run_workflow, sample, tune,
};
pub use terminal::{Progress, ProgressTarget};

/// The example of the repository's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct RootReadme;

/// The example of the page on the crates, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/using-the-crates.md")]
struct UsingTheCrates;
