//! KV caches: the keys and values of sequences that grow token by token, and that are added and removed while others go on.

mod device;
mod host;

use std::sync::Arc;

use burn::tensor::Device;

use crate::{
    architecture::model_config::ModelConfig,
    attention::{Attention, prefix::Prefix},
    device::host::is_cpu,
};

pub(crate) use self::{device::DeviceCache, host::HostCache};

/// A KV cache that grows by one token per row and step. A row is a batch slot: it holds one sequence.
pub(crate) trait KvCache: Attention {
    /// A prefilled context, with which a row begins. It is a handle, not a copy.
    type Context: Clone + Send + Sync;

    /// Rows of finished sequences are removed or replaced once they are at least this fraction of all rows.
    const COMPACTION_THRESHOLD: f64;

    /// A cache without rows. A row can hold `steps` tokens after its context.
    fn new(config: &Arc<ModelConfig>, steps: usize, device: &Device) -> Self;

    /// Splits a prefix into one handle for each of its contexts.
    fn contexts(prefix: Prefix) -> Vec<Self::Context>;

    /// Changes the rows. They are then the old rows with the indices `kept`, in this order, followed by one new row for each
    /// of `new`. An index may occur more than once in `kept`; its row is then copied.
    fn reorder(&mut self, kept: &[usize], new: Vec<Self::Context>);
}

/// Whether the cache is a [`HostCache`](host::HostCache), which computes each row by itself. A [`DeviceCache`] computes all
/// rows together, so that the content of one row can change the last bit of another.
pub(crate) fn is_by_row(config: &ModelConfig, device: &Device) -> bool {
    is_cpu(device) && config.encoder.is_none()
}
