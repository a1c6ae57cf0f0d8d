#![doc = include_str!("../README.md")]

mod adam;
mod adapter;
mod attention;
mod batches;
mod beam;
mod cache;
mod chat;
mod classifier;
mod decoder;
mod decoding;
mod device;
mod drawing;
mod error;
mod exp;
mod files;
mod folder;
mod generate;
#[cfg(feature = "gguf")]
mod gguf;
mod gradient;
mod head;
mod host;
#[cfg(feature = "hub-http")]
mod hub;
mod label;
mod language_model;
mod layer;
mod lora;
mod memory;
mod names;
mod optimizer;
mod peft;
mod policy;
pub mod pretrain;
mod queue;
mod relative;
mod rope;
mod rows;
mod score;
mod slots;
mod spec;
mod stack;
mod strands;
mod sums;
mod template;
#[cfg(test)]
mod testing;
mod together;
mod token_model;
mod tokenizer;
mod weights;
mod whole;
mod window;

pub use beam::{BeamSearch, EarlyStopping, Hypothesis};
pub use chat::Message;
pub use classifier::TokenClassifier;
pub use decoding::{Decoding, RepetitionScope};
pub use device::Backend;
pub use error::{Error, Misshapen, Result};
#[cfg(feature = "hub-http")]
pub use hub::{Hub, HubModel, HubProblem, HubProgress};
pub use label::{Classifier, LabelFeature, LabelValue, Overlong};
pub use language_model::{Completion, LanguageModel};
pub use lora::Lora;
pub use policy::{LmPolicy, TokenPolicy};
pub use template::ContextTemplate;
pub use token_model::{Generation, TokenModel};
pub use tokenizer::Tokenizer;
pub use weights::Precision;

/// Where tensors are computed; made by [`Backend::device`].
pub use burn::tensor::Device;
