//! The language model: its files, its parameters in memory, its forward pass and its scores.

mod adapted;
pub(crate) mod forward;
pub(crate) mod generation_config;
pub(crate) mod language_model;
pub(crate) mod lm_head;
pub(crate) mod model_files;
mod score;
pub(crate) mod token_model;
mod under_grammar;

pub use generation_config::Generation;
pub use language_model::{Completion, LanguageModel};
pub use token_model::TokenModel;
pub use under_grammar::GrammarFeature;
