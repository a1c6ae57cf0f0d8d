//! Language models that run on a server: what they sample comes with log-probabilities, and some score what they are given.
//!
//! A [`RemoteModel`] is a distribution over [`RemoteSample`]s. It speaks the dialect of vLLM and of disco's own server (`completions.rs`),
//! or of llama.cpp's (`llama_cpp.rs`); `detect.rs` finds out which. When it is made, `probe.rs` checks that what the server samples is
//! what it gives log-probabilities of. The dialects of vLLM and disco were tested against the shapes of vLLM's sources and
//! documentation, that of llama.cpp against its server too.

mod completions;
mod detect;
mod llama_cpp;
mod memory;
mod model;
mod next_tokens;
mod probe;
mod sample;
mod server;

pub use model::RemoteModel;
pub use sample::RemoteSample;
