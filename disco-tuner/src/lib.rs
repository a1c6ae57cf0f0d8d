#![doc = include_str!("../README.md")]

mod checkpoint;
mod config;
mod error;
mod gradient;
mod metrics;
mod observer;
mod optimizer;
mod policy;
mod problem;
mod run;
mod storage;
mod workers;

pub use checkpoint::Checkpoints;
pub use config::{
    Baseline, Direction, EarlyStopping, MicroBatch, Partition, Sampling, TunerConfig, Validation, rlhf_target,
};
pub use error::{Error, Result, Stage};
pub use metrics::{Metric, Metrics, distinct_n, self_bleu};
#[cfg(feature = "console")]
pub use observer::Console;
#[cfg(feature = "mlflow")]
pub use observer::Mlflow;
#[cfg(feature = "tensorboard")]
pub use observer::TensorBoard;
pub use observer::{
    Background, Control, Csv, DisplayedSample, InMemory, JsonLines, Observer, ObserverError, Outcome,
    StepReport, StopFlag, StopReason,
};
pub use optimizer::{Adam, Decay, Optimizer, OptimizerState, Schedule, Update, WeightDecay};
pub use policy::{
    BatchItem, Checkpointed, GradientScalar, PendingGradient, Policy, SoftmaxTable, Tensors, UpdateStats,
    WeightFn,
};
pub use problem::{Problem, Statistic};
pub use run::{Run, Tuner};
pub use storage::{LockFile, SealedFolder};
pub use workers::{Single, Workers};
