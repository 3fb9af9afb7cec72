//! What the operating system says of this process.
//!
//! Reads `/proc/self`, which answers from memory. The daemon hands [`figures`] to the cores; simulated ones have none.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "reads /proc, which is no disk, and only in a real process"
)]

/// Ticks per second in `/proc/self/stat`: Linux shows times in units of USER_HZ, which is 100 wherever this runs.
const TICKS_PER_SECOND: u64 = 100;

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Bytes of memory in use (resident).
    pub resident_bytes: u64,
    /// Seconds of CPU used, in user and in kernel mode.
    pub cpu_seconds: f64,
    /// Open files and sockets.
    pub open_files: u64,
    /// How many may be open.
    pub max_files: u64,
    /// Threads.
    pub threads: u64,
}

/// The figures of this process now; what cannot be read is 0.
#[must_use]
pub fn figures() -> ProcessFigures {
    let usage = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ProcessFigures {
        resident_bytes: status_number(&status, "VmRSS:").saturating_mul(1024),
        cpu_seconds: cpu_seconds(&stat, TICKS_PER_SECOND),
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        max_files: usage.current.unwrap_or(0),
        threads: status_number(&status, "Threads:"),
    }
}

/// Files that a node has open beside its clients' connections, more or less: those of its stores, its rings and other nodes.
const FILES_OF_ITS_OWN: u64 = 512;
/// As many connections as this are enough for most, whatever the settings would allow.
const MANY_CONNECTIONS: u64 = 16_384;

/// What is wrong with a limit of open files with which the connections that are allowed cannot be had.
#[must_use]
pub fn too_few_files(max_files: u64, connections: u64) -> Option<String> {
    let wanted = connections.min(MANY_CONNECTIONS) + FILES_OF_ITS_OWN;
    (max_files < wanted).then(|| {
        let first = max_files.saturating_sub(FILES_OF_ITS_OWN);
        format!(
            "the process may open {max_files} files: beyond about {first} connections new ones wait in vain, though {connections} are allowed \
             (http.max_connections of every core); allow {wanted} files (LimitNOFILE=, ulimit -n) or fewer connections"
        )
    })
}

/// The number in a line of `/proc/self/status`.
fn status_number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Fields 14 and 15 of `/proc/self/stat`; the second field, the name in brackets, may hold anything.
fn cpu_seconds(stat: &str, ticks_per_second: u64) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / ticks_per_second as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert!((cpu_seconds(stat, 100) - 3.0).abs() < 1e-9);
        assert!(cpu_seconds("", 100).abs() < 1e-9);
        assert_eq!(status_number("Name:\tx\nVmRSS:\t  12 kB\nThreads:\t3\n", "VmRSS:"), 12);
        assert_eq!(status_number("", "Threads:"), 0);
    }

    #[test]
    fn connections_need_files() {
        assert_eq!(too_few_files(20_512, 640_000), None);
        assert_eq!(too_few_files(1_024, 512), None);
        let few = too_few_files(1_024, 10_000).unwrap_or_default();
        assert!(few.contains("about 512 connections") && few.contains("allow 10512 files"), "{few}");
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let figures = figures();
        assert!(figures.resident_bytes > 0 && figures.open_files > 0 && figures.threads > 0, "{figures:?}");
    }
}
