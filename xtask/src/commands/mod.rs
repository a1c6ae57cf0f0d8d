//! The commands that users of disco run: one file or folder per command.

mod bench;
mod diagnose;
mod doctor;
mod dry_run;
mod examples;
mod fit;
mod measure;
mod merge;
mod pretrain;
mod report;
mod run;
mod sample;
mod score;
mod serve;
mod spec;
mod stage_arguments;
mod tune;

#[cfg(feature = "lm")]
pub(crate) use bench::run_job;
pub(crate) use bench::{BenchOptions, lm as bench_lm};
pub(crate) use diagnose::{DiagnoseArguments, run as diagnose};
pub(crate) use doctor::{DoctorOptions, run as doctor};
pub(crate) use dry_run::DryRunArgument;
pub(crate) use examples::{ExampleOptions, run as examples};
pub(crate) use fit::{FitArguments, run as fit};
pub(crate) use measure::{MeasureArguments, run as measure};
pub(crate) use merge::{MergeArguments, run as merge};
pub(crate) use pretrain::{PretrainArguments, run as pretrain};
pub(crate) use report::{ReportArguments, run as report};
pub use run::RunOptions;
pub(crate) use run::{demo, run};
pub(crate) use sample::{SampleArguments, run as sample};
pub(crate) use score::{ScoreArguments, run as score};
pub(crate) use serve::{ServeArguments, run as serve};
pub(crate) use spec::spec;
pub(crate) use tune::{TuneArguments, run as tune};
