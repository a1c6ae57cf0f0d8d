//! The settings of glibc's memory allocator with which tensors are fast.

use std::env;

/// glibc returns large freed blocks to the system, and takes them again page by page for the next tensor; a block that one thread
/// has freed does not serve another, unless they share an arena; and it asks for pages of 4 kB, of which a matrix has thousands.
const SETTINGS: [(&str, &str); 4] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "8589934592"),
    ("MALLOC_ARENA_MAX", "1"),
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
];

/// The settings that the user has not chosen, as environment variables: glibc reads them when a program starts.
pub(super) fn unset() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter().filter(|(name, _)| env::var_os(name).is_none())
}

/// Starts this program again, in this process, with these settings.
#[cfg(all(unix, target_env = "gnu"))]
pub(crate) fn start_with_fast_allocator() {
    use std::{os::unix::process::CommandExt, process::Command};

    /// Set where this has been done: a program with raised privileges is given none of the variables above.
    const DONE: &str = "DISCO_FAST_ALLOCATOR";
    if env::var_os(DONE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only if it fails: then everything works, at a lower speed.
    let _ = command.args(arguments).envs(unset()).env(DONE, "1").exec();
}

/// Other allocators have no such settings.
#[cfg(not(all(unix, target_env = "gnu")))]
pub(crate) fn start_with_fast_allocator() {}
