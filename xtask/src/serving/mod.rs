//! An HTTP server for completions, in the shapes of OpenAI's API. Compiled with the feature `serve` only.
//!
//! A request goes from `routes.rs` (who may ask, and how large the body is) to `request.rs` (its fields), `answer.rs` (it is drawn by the
//! engine, and comes back in parts), `choice.rs` (tokens become text) and `shape.rs` (JSON). An engine is anything that draws
//! completions (`engine.rs`); `lm_engine.rs` is a language model, and `rejection/` a target under quasi-rejection sampling.

mod answer;
mod api_error;
mod app;
mod choice;
mod engine;
mod fields;
#[cfg(feature = "lm")]
mod lm_engine;
#[cfg(feature = "lm")]
mod lm_text;
mod metrics;
#[cfg(feature = "lm")]
mod rejection;
mod request;
mod routes;
mod server;
mod settings;
mod shape;
#[cfg(feature = "lm")]
mod stop;

pub use engine::{
    Asked, ChatMessage, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Prompt,
    Refusal, SamplingSettings,
};
#[cfg(feature = "lm")]
pub use lm_engine::LanguageModelEngine;
#[cfg(feature = "lm")]
pub(crate) use rejection::{Acceptance, TargetEngine};
pub use server::Server;
pub use settings::ServerSettings;
#[cfg(feature = "lm")]
pub(crate) use stop::{end_within, stop_on_signals};
