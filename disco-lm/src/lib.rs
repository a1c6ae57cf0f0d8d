#![doc = include_str!("../README.md")]

// In the order of dependencies: a module imports only from those above it (`cargo xtask tidy` checks it).
mod error;

mod architecture;

mod device;

mod kernels;

mod attention;

mod text;

mod layers;

mod weights;

mod lora;

mod decoding;

mod model;

mod classifier;

mod generation;

#[cfg(feature = "hub-http")]
mod hub;

mod training;

#[cfg(test)]
mod testing;

pub use classifier::{Classifier, LabelFeature, LabelValue, Overlong, TokenClassifier};
pub use decoding::{Decoding, RepetitionScope};
pub use device::Backend;
#[cfg(feature = "hub-http")]
pub use error::HubProblem;
pub use error::{Error, Misshapen, Result};
pub use generation::{BeamSearch, EarlyStopping, Hypothesis};
#[cfg(feature = "hub-http")]
pub use hub::{Hub, HubModel, HubProgress};
pub use lora::Lora;
pub use model::{Completion, Generation, LanguageModel, TokenModel};
pub use text::{ContextTemplate, Message, Tokenizer};
pub use training::{LmPolicy, TokenPolicy, pretrain};
pub use weights::Precision;

/// Where tensors are computed; made by [`Backend::device`].
pub use burn::tensor::Device;
