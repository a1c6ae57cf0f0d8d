//! What is an adapter, and how does PEFT write it?

pub(crate) mod adapter;
pub(crate) mod config;
pub(crate) mod peft;

pub use config::Lora;
