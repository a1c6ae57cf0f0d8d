//! The observers that need nothing but files and memory.

mod csv;
mod json_lines;
mod memory;
mod stop_flag;

pub use csv::Csv;
pub use json_lines::JsonLines;
pub use memory::Memory;
pub use stop_flag::StopFlag;
