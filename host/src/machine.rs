//! What this machine and this process are, as far as the system tells.

use std::fs::read_to_string;
use std::num::NonZero;
use std::thread::available_parallelism;

/// Memory that this machine can give without swapping, bytes; `None` where the system does not say.
pub fn memory_available() -> Option<u64> {
    bytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Most memory that this process ever held, bytes; `None` where the system does not say.
pub fn memory_peak() -> Option<u64> {
    bytes(&read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The processor's name; `None` where the system does not say.
pub fn processor() -> Option<String> {
    let text = read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Threads that the machine runs at a time; 1 where the system does not say.
pub fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Bytes as MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The size behind `key` in a text like Linux's `/proc/meminfo`.
fn bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_kibibytes() {
        let text = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:    8 kB\n";
        assert_eq!(bytes(text, "MemAvailable:"), Some(8192));
        assert_eq!(bytes("VmPeak:\t    9 kB\nVmHWM:\t    3 kB\n", "VmHWM:"), Some(3072));
        assert_eq!(bytes("MemTotal: 16 kB\n", "MemAvailable:"), None);
        assert_eq!(bytes("MemAvailable: much kB\n", "MemAvailable:"), None);
    }
}
