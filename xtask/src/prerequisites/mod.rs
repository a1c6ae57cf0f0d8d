//! Programs and models from outside of the workspace, found on this machine or made in `target`: Python, libtorch and a reference model.

mod libtorch;
mod python;
mod smollm2;

pub(crate) use libtorch::Libtorch;
pub(crate) use python::with_transformers;
pub(crate) use smollm2::{gguf as smollm2_gguf, hugging_face as smollm2};
