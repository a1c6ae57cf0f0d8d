#![doc = include_str!("../README.md")]

mod adapter;
mod attention;
mod decoder;
mod decoding;
mod device;
mod error;
mod folder;
mod generate;
mod gradient;
mod head;
mod language_model;
mod lora;
mod optimizer;
mod peft;
mod policy;
pub mod pretrain;
mod rope;
mod rows;
mod score;
mod slots;
mod spec;
mod strand;
mod token_model;
mod tokenizer;
mod weights;

pub use decoding::Decoding;
pub use device::Backend;
pub use error::{Error, Misshapen, Result};
pub use language_model::{Completion, LanguageModel};
pub use lora::Lora;
pub use policy::{LmPolicy, TokenPolicy};
pub use token_model::{Generation, TokenModel};
pub use tokenizer::Tokenizer;
pub use weights::Precision;

/// Where tensors are computed; made by [`Backend::device`].
pub use burn::tensor::Device;
