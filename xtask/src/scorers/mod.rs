//! Programs and servers outside that give values to samples.
//!
//! An [`ExternalScorer`] cuts samples into batches and remembers their values; its source is a program whose processes are kept
//! alive (`command.rs`, [`LineProcess`](line_process::LineProcess), one process group each) or a server (`http.rs`). The
//! [`protocol`] is JSON. `of_spec.rs` makes the scorers of a run file.

mod cache;
mod command;
mod external_scorer;
mod http;
mod line_process;
mod of_spec;
mod process_group;
mod protocol;
mod standard_error;

pub use command::CommandSettings;
pub use external_scorer::ExternalScorer;
pub use http::HttpSettings;
pub(crate) use of_spec::external_scorers;
pub(crate) use process_group::kill_process_groups;
pub use protocol::ScoredSample;
