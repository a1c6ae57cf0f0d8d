//! The observers that come with the crate.

mod background;
#[cfg(feature = "console")]
mod console;
mod csv;
#[cfg(feature = "mlflow")]
mod http;
mod json_lines;
mod log_file;
mod memory;
#[cfg(feature = "mlflow")]
mod mlflow;
mod stop_flag;
#[cfg(feature = "tensorboard")]
mod tensorboard;

pub use background::Background;
#[cfg(feature = "console")]
pub use console::Console;
pub use csv::Csv;
pub use json_lines::JsonLines;
pub use memory::Memory;
#[cfg(feature = "mlflow")]
pub use mlflow::Mlflow;
pub use stop_flag::StopFlag;
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
