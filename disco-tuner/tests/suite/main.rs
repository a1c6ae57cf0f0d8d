//! The tests of the tuner, as one program, which is linked once.

mod bad_input;
mod baselines;
mod breakage;
mod checkpoints;
mod common;
mod contract;
mod convergence;
mod early_stopping;
mod enumerated;
mod enumerated_runs;
mod exact_gradient;
mod failures;
mod hostile_names;
mod limits;
mod metrics;
mod micro_batches;
#[cfg(feature = "mlflow")]
mod mlflow;
#[cfg(feature = "mlflow")]
mod mlflow_requests;
mod observers;
mod ownership;
mod resume;
mod sampled_gradient;
mod sampling;
mod shared;
mod shared_failures;
mod shown_numbers;
#[cfg(unix)]
mod signals;
mod skipped;
mod softmax_table;
mod step_metrics;
