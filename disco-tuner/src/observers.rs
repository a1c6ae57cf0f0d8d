//! The observers that come with the crate.

mod background;
#[cfg(feature = "console")]
mod console;
mod csv;
mod json_lines;
mod memory;
mod stop_flag;
#[cfg(feature = "tensorboard")]
mod tensorboard;

pub use background::Background;
#[cfg(feature = "console")]
pub use console::Console;
pub use csv::Csv;
pub use json_lines::JsonLines;
pub use memory::Memory;
pub use stop_flag::StopFlag;
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
