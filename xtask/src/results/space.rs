//! Disk space that is taken before anything is computed.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Makes a file that takes `bytes` on the disk; returns its path.
///
/// # Errors
/// The errors of the system, with the number of bytes that are wanted.
pub(super) fn reserve(path: &Path, bytes: u64) -> io::Result<PathBuf> {
    let file = File::create_new(path)?;
    let taken = take(&file, bytes).and_then(|()| file.sync_all());
    taken.map_err(|source| too_little(bytes, &source))?;
    Ok(path.into())
}

/// The error of the system, with the number of bytes that are wanted.
pub(super) fn too_little(bytes: u64, source: &io::Error) -> io::Error {
    let megabytes = bytes.div_ceil(1_000_000);
    io::Error::new(source.kind(), format!("{source}; {megabytes} MB are needed"))
}

/// Asks the file system for the space, or writes zeros where it cannot be asked: a sparse file would reserve nothing.
#[cfg(target_os = "linux")]
fn take(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::{fs::FallocateFlags, io::Errno};
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => write_zeros(file, bytes),
        taken => Ok(taken?),
    }
}

#[cfg(not(target_os = "linux"))]
fn take(file: &File, bytes: u64) -> io::Result<()> {
    write_zeros(file, bytes)
}

fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file).map(drop)
}
