//! The commands that users of disco run: one file or folder per command.

mod bench;
mod pretrain;
mod report;
mod run;
mod sample;

#[cfg(feature = "lm")]
pub(crate) use bench::run_job;
pub(crate) use bench::{BenchOptions, lm as bench_lm};
pub(crate) use pretrain::{PretrainArguments, run as pretrain};
pub(crate) use report::{ReportArguments, run as report};
pub use run::RunOptions;
pub(crate) use run::{demo, run};
pub(crate) use sample::{SampleArguments, run as sample};
