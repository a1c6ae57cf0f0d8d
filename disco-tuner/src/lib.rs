#![doc = include_str!("../README.md")]

mod batch;
mod checkpoints;
mod clock;
mod config;
mod crc32c;
mod credit;
mod diversity;
mod draw;
mod error;
mod files;
mod gradient;
mod group;
mod identity;
mod manifest;
mod measure;
mod metric_names;
mod micro_batches;
mod moments;
mod nearer;
mod observer;
mod observers;
mod optimizer;
mod partition;
mod policy;
mod presets;
mod problem;
mod resume;
mod run;
mod sampling;
mod schedule;
mod softmax_table;
mod step;
mod tuner;
mod validate;

pub use checkpoints::Checkpoints;
pub use config::{Baseline, EarlyStopping, MicroBatch, Partition, TunerConfig, Validation};
pub use diversity::{distinct_n, self_bleu};
pub use error::{Error, Result, Stage};
pub use moments::Moments;
pub use observer::{Control, Metric, Metrics, Observer, ObserverError, Outcome, Reason, Report, Shown};
#[cfg(feature = "console")]
pub use observers::Console;
#[cfg(feature = "mlflow")]
pub use observers::Mlflow;
#[cfg(feature = "tensorboard")]
pub use observers::TensorBoard;
pub use observers::{Background, Csv, JsonLines, Memory, StopFlag};
pub use optimizer::{Adam, Optimizer, Update};
pub use policy::{Item, Policy, Tensors, Updated, Weigh};
pub use presets::rlhf_target;
pub use problem::{Problem, Statistic};
pub use run::Run;
pub use sampling::Sampling;
pub use schedule::{Decay, Schedule};
pub use softmax_table::SoftmaxTable;
pub use tuner::Tuner;
