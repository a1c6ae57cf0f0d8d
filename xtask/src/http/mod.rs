//! Requests to servers: time limits, repeated tries, limits on answers, and secrets that appear in no message.

mod client;
mod in_order;
mod secrets;

pub(crate) use client::{Client, ClientSettings, Unanswered};
pub(crate) use in_order::in_order;
pub(crate) use secrets::Secrets;

/// The longest answer of a program or server, in bytes: of a longer one, nothing is kept.
pub(crate) const LONGEST_ANSWER: usize = 16 << 20;
