//! Keys and values that grow token by token, of sequences that come and go.

use std::sync::Arc;

use burn::tensor::Device;

use crate::{
    architecture::model_config::ModelConfig,
    attention::{Attention, prefix::Prefix},
    device::host::is_host,
};

mod device;
mod host;

pub(crate) use self::{device::DeviceCache, host::HostCache};

/// Keys and values that grow by one token per row and step. A row is a sequence.
pub(crate) trait KvCache: Attention {
    /// What a row begins with: a context that has been read. A handle, not a copy.
    type Context: Clone + Send + Sync;

    /// The share of the rows that may have ended before they are worth changing.
    const COMPACTION_THRESHOLD: f64;

    /// Without rows. A row may have `steps` tokens behind its context.
    fn new(config: &Arc<ModelConfig>, steps: usize, device: &Device) -> Self;

    /// Contexts that have been read together, each by itself.
    fn contexts(prefix: Prefix) -> Vec<Self::Context>;

    /// From here on the rows are those at `kept`, in this order, and then one for each of `new`. A row may be kept more than
    /// once.
    fn reorder(&mut self, kept: &[usize], new: Vec<Self::Context>);
}

/// Whether rows are a [`HostCache`](host::HostCache), whose every row is computed by itself. Those of a [`DeviceCache`] are computed
/// together, and what stands in one may show in the last bit of another.
pub(crate) fn is_by_row(config: &ModelConfig, device: &Device) -> bool {
    is_host(device) && config.encoder.is_none()
}
