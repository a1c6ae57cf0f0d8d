//! Output on the terminal: progress on standard error, lines on standard output.

mod progress;
mod standard_output;

pub use progress::{Progress, ProgressTarget};
#[cfg(feature = "lm")]
pub(crate) use standard_output::failed;
pub(crate) use standard_output::print;
