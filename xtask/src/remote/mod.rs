//! Language models that run on a server: what they sample comes with log-probabilities, and some score what they are given.
//!
//! A [`RemoteModel`] is a distribution over [`RemoteSample`]s. It speaks the dialect of vLLM and of disco's own server (`completions.rs`),
//! or of llama.cpp's (`llama_cpp.rs`); `detect.rs` finds out which. When it is made, `probe.rs` checks that what the server samples is
//! what it gives log-probabilities of. The dialect of vLLM was tested against the shapes of its sources and documentation alone, those of
//! llama.cpp and disco against their servers too.

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
