//! Where do numbers live, and who computes with them? Backends, transfers, and the threads that share the work.

pub(crate) mod backend;
pub(crate) mod host;
pub(crate) mod transfer;
pub(crate) mod workers;

pub use backend::Backend;
