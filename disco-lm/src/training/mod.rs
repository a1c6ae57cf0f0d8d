//! How do samples change weights? Gradients, optimizers, policies and pretraining.

pub(crate) mod adam;
pub(crate) mod autodiff;
pub(crate) mod gradient;
mod lm_policy;
pub(crate) mod micro_batches;
pub(crate) mod optimizer;
pub(crate) mod ordered_workers;
pub mod pretrain;
mod token_policy;

pub use lm_policy::LmPolicy;
pub use token_policy::TokenPolicy;
