//! Files that are either whole or not there, and their checksum.

mod crc32c;
mod durable;

pub(crate) use crc32c::crc32c;
pub(crate) use durable::{io_error, make_directory, sync_directory, version, write_durably};
