#![doc = include_str!("../README.md")]

mod optimizer;
mod policy;

pub use optimizer::{Adam, Optimizer, Update};
pub use policy::{Item, Policy, Tensors, Updated, Weigh};
