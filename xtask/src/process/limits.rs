//! The limits that the system sets for this process.

#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};

/// Lets a write beyond the largest file that is allowed (`ulimit -f`) fail with an error: by default its signal ends the process without a word.
#[cfg(unix)]
pub(crate) fn survive_full_files() {
    // Without the handler, the process ends as it would have done anyway.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// There is no such signal here.
#[cfg(not(unix))]
pub(crate) fn survive_full_files() {}

/// The memory that this process may take at most, in bytes, with the limit's name: the limit on address space, or that of its control group. `None`
/// where the system tells of none.
pub(crate) fn memory_limit() -> Option<(u64, &'static str)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of_process = address_space(&read("/proc/self/limits")).map(|bytes| (bytes, "`ulimit -v`"));
    let of_group =
        read("/sys/fs/cgroup/memory.max").trim().parse().ok().map(|bytes| (bytes, "the control group"));
    [of_process, of_group].into_iter().flatten().min()
}

/// The soft limit on address space in `/proc/self/limits`.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_address_space_is_read() {
        let text = |soft: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax address space  {soft}  unlimited  bytes\n")
        };
        assert_eq!(address_space(&text("409600000")), Some(409_600_000));
        assert_eq!(address_space(&text("unlimited")), None);
        assert_eq!(address_space(""), None);
        assert!(memory_limit().is_none_or(|(bytes, _)| bytes > 0));
    }
}
