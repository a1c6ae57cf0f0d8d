#![doc = include_str!("../README.md")]

mod architecture;
mod attention;
mod choices;
mod classifier;
mod decoding;
mod device;
mod error;
mod generation;
mod grammar;
#[cfg(feature = "hub-http")]
mod hub;
mod kernels;
mod layers;
mod lora;
mod model;
#[cfg(test)]
mod testing;
mod text;
mod training;
mod weights;

pub use choices::{ChoiceModel, ChoicePolicy, Choices};
pub use classifier::{Classifier, LabelFeature, LabelValue, Overlong, TokenClassifier};
pub use decoding::{Decoding, RepetitionScope};
pub use device::Backend;
#[cfg(feature = "hub-http")]
pub use error::HubProblem;
pub use error::{ChoiceProblem, Error, Misshapen, RequestProblem, Result};
pub use generation::{
    BeamSearch, EarlyStopping, FinishReason, GenerationEvent, GenerationHandle, GenerationRequest,
    GenerationService, Hypothesis, RequestGuard, ServiceLimits, ServiceLoad, TokenLogProb,
};
pub use grammar::Grammar;
#[cfg(feature = "hub-http")]
pub use hub::{Hub, HubModel, HubProgress};
pub use lora::Lora;
pub use model::{Completion, Generation, GrammarFeature, LanguageModel, TokenModel};
pub use text::{ContextTemplate, Message, Tokenizer};
pub use training::{LmPolicy, TokenPolicy, pretrain};
pub use weights::Precision;

/// Where tensors are computed; made by [`Backend::device`].
pub use burn::tensor::Device;
