//! Files that are either whole or not there, their checksum, the lists of folders, and locks.

mod crc32c;
mod durable;
mod lock;
mod sealed;

pub(crate) use crc32c::{crc32c, crc32c_of};
pub(crate) use durable::{io_error, make_directory, sync_directory, version, write_durably};
pub use lock::LockFile;
pub use sealed::SealedFolder;
