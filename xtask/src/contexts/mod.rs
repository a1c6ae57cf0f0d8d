//! Contexts: the texts that samples continue, with the columns of their rows.
//!
//! A [`TextContext`] is a text that knows the row of the table it was made from. `rows.rs` reads tables, and `template.rs` makes
//! texts from rows.

mod rows;
mod template;
mod text_context;

pub(crate) use rows::{Row, TableFormat, read_rows};
pub(crate) use template::Template;
pub(crate) use text_context::number_in;
pub use text_context::{Columns, TextContext};
