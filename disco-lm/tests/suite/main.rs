//! The tests of the language models, as one program: Burn is linked once.

mod architectures;
mod chat;
mod checkpoints;
mod choices;
mod choices_encoding;
mod choices_gradient;
mod choices_refusals;
mod choices_tuning;
mod classifier;
mod common;
mod configurations;
mod decoding;
mod embedded_model;
mod exactness;
mod file_damage;
mod files;
mod generation_service;
mod gguf;
mod gguf_metadata;
mod golden;
mod grammar;
mod grammar_hostile;
mod grammar_json;
#[cfg(feature = "hub-http")]
mod hostile_answers;
mod hostile_files;
#[cfg(feature = "hub-http")]
mod hostile_server;
#[cfg(feature = "hub-http")]
mod hub;
#[cfg(feature = "hub-http")]
mod hub_hostile;
#[cfg(feature = "hub-http")]
mod hub_interrupted;
#[cfg(feature = "hub-http")]
mod hub_models;
#[cfg(feature = "hub-http")]
mod hub_server;
mod lora;
mod lora_settings;
mod policy;
mod resume;
mod saving;
mod smollm2;
mod spelled;
mod template;
mod tiny;
