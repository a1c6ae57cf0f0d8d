//! The tests of the tuner, as one program, which is linked once.

mod bad_input;
mod baselines;
mod breakage;
mod checkpoints;
mod common;
mod contract;
mod convergence;
mod exact_gradient;
mod failures;
mod limits;
mod metrics;
mod micro_batches;
#[cfg(feature = "mlflow")]
mod mlflow;
mod observers;
mod ownership;
mod resume;
mod sampled_gradient;
mod sampling;
mod shared;
mod shared_failures;
#[cfg(unix)]
mod signals;
mod softmax_table;
mod step_metrics;
