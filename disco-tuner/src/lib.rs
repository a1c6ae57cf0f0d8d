#![doc = include_str!("../README.md")]

mod files;
mod moments;
mod optimizer;
mod policy;
mod softmax_table;

pub use moments::Moments;
pub use optimizer::{Adam, Optimizer, Update};
pub use policy::{Item, Policy, Tensors, Updated, Weigh};
pub use softmax_table::SoftmaxTable;
