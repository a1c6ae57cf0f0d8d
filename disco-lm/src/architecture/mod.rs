//! Architectures of transformers: configurations, parameters and tensor names, as plain data, without tensors and without Burn.
//!
//! An architecture is one file (how its `config.json` is read, and the names of its tensors in each file format) and one
//! entry in [`ARCHITECTURES`].

mod activations;
mod bert;
pub(crate) mod classifier_config;
pub(crate) mod config_reader;
pub(crate) mod fields;
mod gemma;
mod gpt2;
mod llama;
pub(crate) mod model_config;
pub(crate) mod modules;
mod olmo2;
pub(crate) mod parameters;
mod phi3;
pub(crate) mod relative_buckets;
pub(crate) mod rope_frequencies;
mod t5;
pub(crate) mod tensor_names;
#[cfg(test)]
mod tests;
pub(crate) mod unread;

use std::path::Path;

use self::{
    config_reader::ConfigReader, fields::Fields, model_config::ModelConfig, tensor_names::TensorNames,
};
use serde_json::Value;

use crate::{Error, Result};

/// A language model's architecture: one value of `model_type`.
pub(crate) struct Architecture {
    /// `model_type` in `config.json`.
    pub(crate) model_type: &'static str,
    /// The meaning of the fields of its `config.json`.
    pub(crate) fields: Fields,
    /// Reads the rest of `config.json`.
    read: fn(&ConfigReader<'_>) -> Result<ModelConfig>,
    /// How GGUF files describe it; `None` if it cannot be loaded from them.
    pub(crate) gguf: Option<Gguf>,
}

/// How GGUF files describe an architecture.
pub(crate) struct Gguf {
    /// The architecture as `general.architecture` names it.
    pub(crate) name: &'static str,
    /// The keys of its other metadata.
    pub(crate) metadata: GgufMetadata,
    pub(crate) tensors: TensorNames,
    /// Whether llama.cpp stores the rows of queries and keys in another order, for its rotation of neighbouring channels.
    pub(crate) reorders_heads: bool,
}

/// The sets of metadata keys by which GGUF files give sizes and settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GgufMetadata {
    /// The keys of GPT-2.
    Gpt2,
    /// The keys of Llama and of similar architectures.
    Llama,
}

/// All architectures of language models. Encoders with a classification head are in [`classifier_config`].
pub(crate) const ARCHITECTURES: &[Architecture] = &[
    gpt2::GPT2,
    llama::LLAMA,
    llama::MISTRAL,
    llama::QWEN2,
    llama::QWEN3,
    gemma::GEMMA3_TEXT,
    phi3::PHI3,
    olmo2::OLMO2,
    t5::T5,
];

/// Reads a `config.json`; `path` is for messages.
///
/// # Errors
/// [`Error::Config`] naming the field, its value, and which values are allowed.
pub(crate) fn read_config(config: &Value, path: &Path) -> Result<ModelConfig> {
    let reader = ConfigReader { config, path };
    let model_type = reader.text("model_type", None)?;
    let unknown = || -> Error {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|architecture| architecture.model_type).collect();
        reader.refused("model_type", &model_type, known.join(", "))
    };
    let architecture = ARCHITECTURES.iter().find(|architecture| architecture.model_type == model_type);
    let architecture = architecture.ok_or_else(unknown)?;
    reader.check(&architecture.fields)?;
    let config = (architecture.read)(&reader)?;
    config.validate(&reader)?;
    Ok(config)
}
