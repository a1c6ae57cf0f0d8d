//! The commands that users of disco run: one file or folder per command.

mod bench;
mod pretrain;
mod run;
mod sample;
mod spec;

#[cfg(feature = "lm")]
pub(crate) use bench::run_job;
pub(crate) use bench::{BenchOptions, lm as bench_lm};
pub(crate) use pretrain::{PretrainArguments, run as pretrain};
pub use run::RunOptions;
pub(crate) use run::{demo, run};
pub(crate) use sample::{SampleArguments, run as sample};
pub(crate) use spec::spec;
