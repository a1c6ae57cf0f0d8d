//! From log-probabilities to the weight of each sample: no policy, no file.

mod batch;
mod log_z;
mod micro_batches;
mod samples;
mod weights;

pub(crate) use batch::{LogPolicy, UpdateBatch};
pub(crate) use log_z::ZEstimate;
pub(crate) use micro_batches::micro_batches;
pub(crate) use samples::{ContextSamples, checked_log_probs};
pub(crate) use weights::{SampleWeight, WeightRule};
