//! The memory of this machine, and the largest amount that this process has used.

use std::fs;

/// The largest resident set so far, in bytes; `None` where the system does not report it.
///
/// Linux reports it as `VmHWM` in `/proc/self/status`, in KiB.
pub(crate) fn peak_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Begins [`peak_bytes`] anew: it is then the largest resident set from now on. Where the system cannot do that (Linux can), it stays
/// that of the whole process.
pub(crate) fn forget_peak() {
    // Linux: "5" sets VmHWM to the current resident set (proc_pid_clear_refs(5)).
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The memory of this machine, and the part of it that programs can still take, in bytes; `None` where the system does not report it.
///
/// Linux reports them as `MemTotal` and `MemAvailable` in `/proc/meminfo`, in KiB.
pub(crate) fn system_memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some((kibibytes(&text, "MemTotal:")?, kibibytes(&text, "MemAvailable:")?))
}

/// The bytes on the line that begins with `name`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_part_of_the_memory_is_available() {
        let (total, available) = system_memory().unwrap();
        assert!(available > 0 && available <= total);
    }

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(kibibytes("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n", "VmHWM:"), Some(2 * 1024 * 1024));
        assert_eq!(kibibytes("VmPeak:\t 9 kB\n", "VmHWM:"), None);
        assert_eq!(kibibytes("VmHWM:\t much\n", "VmHWM:"), None);
    }
}
