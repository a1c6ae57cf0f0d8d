//! The largest amount of memory that this process has used.

use std::fs;

/// The largest resident set so far, in bytes; `None` where the system does not report it.
///
/// Linux reports it as `VmHWM` in `/proc/self/status`, in KiB.
pub(crate) fn peak_bytes() -> Option<u64> {
    peak_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(peak_in("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(peak_in("VmPeak:\t 9 kB\n"), None);
        assert_eq!(peak_in("VmHWM:\t much\n"), None);
    }
}
