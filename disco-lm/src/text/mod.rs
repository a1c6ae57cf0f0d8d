//! Text: which text a model reads, and how it becomes token ids. Tokenizers and templates.

pub(crate) mod chat_template;
pub(crate) mod context_template;
mod jinja;
pub(crate) mod tokenizer;

pub use chat_template::Message;
pub use context_template::ContextTemplate;
pub use tokenizer::Tokenizer;
