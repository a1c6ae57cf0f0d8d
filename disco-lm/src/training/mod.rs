//! How do samples change weights? Gradients, optimisers, policies and pretraining.

pub(crate) mod adam;
pub(crate) mod autodiff;
pub(crate) mod gradient;
pub(crate) mod optimizer;
pub(crate) mod ordered_workers;
pub(crate) mod policy;
pub mod pretrain;

pub use policy::{LmPolicy, TokenPolicy};
