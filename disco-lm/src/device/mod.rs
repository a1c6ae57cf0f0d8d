//! Devices: where tensors are and which threads compute. Backends, transfers to and from a device, and workers.

pub(crate) mod backend;
pub(crate) mod host;
pub(crate) mod transfer;
pub(crate) mod workers;

pub use backend::Backend;
