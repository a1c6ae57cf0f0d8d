//! Grammars: which token may come next, by the library llguidance.
//!
//! A [`Grammar`] is a source that was checked. [`compiled::CompiledGrammar`] is a grammar with the tokens of one model;
//! [`state::GrammarState`] is the state of one sequence in it. All calls of the library are in this folder. A panic of it is an error, and
//! its limits bound the time and memory of every call.

pub(crate) mod compiled;
mod engine;
pub(crate) mod mask;
mod shortest;
pub(crate) mod source;
pub(crate) mod state;

pub use source::Grammar;
