//! Text: which text a model reads, and how it becomes token ids. Tokenizers and templates.

pub(crate) mod chat_template;
pub(crate) mod contained;
pub(crate) mod context_template;
mod jinja;
mod special_tokens;
#[cfg(test)]
mod tests;
pub(crate) mod token_bytes;
pub(crate) mod tokenizer;
pub(crate) mod tokenizer_settings;
mod vetting;
pub(crate) mod vocabulary_files;

pub use chat_template::Message;
pub use context_template::ContextTemplate;
pub use tokenizer::Tokenizer;
