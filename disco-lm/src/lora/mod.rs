//! LoRA adapters: their settings, their tensors, and the files in which PEFT stores them.

pub(crate) mod adapter;
pub(crate) mod config;
pub(crate) mod peft;

pub use config::Lora;
