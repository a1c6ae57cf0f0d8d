//! Output on the terminal: progress and messages on standard error, lines on standard output.
//!
//! Everything that is shown goes through [`visible`], so that no text of a stranger moves the cursor or hides another.

#![expect(clippy::disallowed_methods, reason = "the place where the standard streams are used")]

mod output;
mod progress;
mod visible;

pub(crate) use output::{print, print_json, say, say_error};
pub(crate) use progress::ProgressLines;
pub use progress::{Progress, ProgressTarget};
pub(crate) use visible::{beginning, cut, visible_line};
