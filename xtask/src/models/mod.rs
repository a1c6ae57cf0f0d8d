//! Language models and classifiers of disco-lm, as spec files and command lines name them. Compiled with the feature `lm` only.

mod files;
mod generation;
mod scorers;

pub(crate) use files::{ModelKind, device, folder_of, without_download};
pub(crate) use generation::generation;
pub(crate) use scorers::text_scorers;
