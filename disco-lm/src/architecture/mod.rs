//! Which transformer is it? Configurations, parameters and tensor names, as plain data: no tensor, no Burn.

pub(crate) mod bert;
pub(crate) mod classifier_config;
pub(crate) mod config_reader;
pub(crate) mod gemma;
pub(crate) mod gpt2;
pub(crate) mod llama;
pub(crate) mod model_config;
pub(crate) mod modules;
pub(crate) mod parameters;
pub(crate) mod relative_buckets;
pub(crate) mod rope_frequencies;
pub(crate) mod t5;
pub(crate) mod tensor_names;
#[cfg(test)]
mod tests;
