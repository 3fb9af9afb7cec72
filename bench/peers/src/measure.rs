//! What a run costs, as the system counts it: processor time, bytes written, syncs, space, and what others took meanwhile.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Calls of `fsync`, `fdatasync` and of `sync_file_range` in this process. io_uring's are not among them.
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// The C library's `fdatasync`, counted; the engines are linked against this one.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: libc::c_int) -> libc::c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel checks the descriptor.
    unsafe { libc::syscall(libc::SYS_fdatasync, fd) as libc::c_int }
}

/// The C library's `fsync`, counted.
#[unsafe(no_mangle)]
extern "C" fn fsync(fd: libc::c_int) -> libc::c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel checks the descriptor.
    unsafe { libc::syscall(libc::SYS_fsync, fd) as libc::c_int }
}

/// Kernel ticks per second in /proc/stat.
const TICKS: f64 = 100.0;

/// Counters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    cpu_us: f64,
    written: u64,
    syncs: u64,
    device_written: u64,
    device_flushes: u64,
    busy_ticks: u64,
    stolen_ticks: u64,
}

/// What changed between two samples.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds.
    pub seconds: f64,
    /// Microseconds of processor time of this process, its background threads included.
    pub cpu_us: f64,
    /// Bytes that this process caused to be written (/proc/self/io).
    pub written: u64,
    /// Sync calls of this process.
    pub syncs: u64,
    /// Bytes written to the device by everybody.
    pub device_written: u64,
    /// Flushes of the device's cache by everybody.
    pub device_flushes: u64,
    /// Processors that others kept busy, on average.
    pub foreign_cores: f64,
    /// Processors that the hypervisor took, on average.
    pub stolen_cores: f64,
}

impl Sample {
    /// The counters now; those of the device that holds `folder`.
    pub fn now(folder: &Path) -> Self {
        let (device_written, device_flushes) = device(folder).unwrap_or_default();
        let (busy_ticks, stolen_ticks) = machine().unwrap_or_default();
        Self {
            at: Instant::now(),
            cpu_us: cpu_us(),
            written: written(),
            syncs: SYNCS.load(Ordering::Relaxed),
            device_written,
            device_flushes,
            busy_ticks,
            stolen_ticks,
        }
    }

    /// What has changed since `earlier`.
    pub fn since(&self, earlier: &Self) -> Cost {
        let seconds = (self.at - earlier.at).as_secs_f64().max(1e-9);
        let cpu_us = self.cpu_us - earlier.cpu_us;
        let busy = (self.busy_ticks - earlier.busy_ticks) as f64 / TICKS;
        Cost {
            seconds,
            cpu_us,
            written: self.written - earlier.written,
            syncs: self.syncs - earlier.syncs,
            device_written: self.device_written - earlier.device_written,
            device_flushes: self.device_flushes - earlier.device_flushes,
            foreign_cores: ((busy - cpu_us / 1e6) / seconds).max(0.0),
            stolen_cores: (self.stolen_ticks - earlier.stolen_ticks) as f64 / TICKS / seconds,
        }
    }
}

/// Microseconds of processor time that this process has used.
pub fn cpu_us() -> f64 {
    // SAFETY: a zeroed rusage is valid, and the kernel fills the one that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// Bytes that this process has caused to be written.
pub fn written() -> u64 {
    field("/proc/self/io", "write_bytes:").unwrap_or(0)
}

/// The largest resident size since [`forget_peak`], in bytes.
pub fn peak_memory() -> u64 {
    field("/proc/self/status", "VmHWM:").unwrap_or(0) * 1024
}

/// Starts the peak anew.
pub fn forget_peak() {
    // Not every kernel allows it; the peak is then that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes written and flushes done by the device under a folder.
fn device(folder: &Path) -> Option<(u64, u64)> {
    let id = fs::metadata(folder).ok()?.dev();
    let path = format!("/sys/dev/block/{}:{}/stat", libc::major(id), libc::minor(id));
    let text = fs::read_to_string(path).ok()?;
    let fields: Vec<u64> = text.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    Some((fields.get(6)? * 512, fields.get(15).copied().unwrap_or(0)))
}

/// Ticks that all processors were busy, and ticks that the hypervisor took.
fn machine() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = fields.get(..3)?.iter().sum::<u64>() + fields.get(5..7)?.iter().sum::<u64>();
    Some((busy, fields.get(7).copied().unwrap_or(0)))
}

/// The load average over the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Bytes that a folder takes on the disk. Files that vanish meanwhile count nothing.
pub fn space(folder: &Path) -> u64 {
    space_of(folder, &|_| true)
}

/// The same without the segments of logs.
pub fn space_without_log(folder: &Path) -> u64 {
    let logs = ["log", "jnl"];
    space_of(folder, &|file| file.extension().is_none_or(|extension| !logs.iter().any(|log| extension == *log)))
}

fn space_of(folder: &Path, counts: &dyn Fn(&Path) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => space_of(&entry.path(), counts),
            Ok(meta) if counts(&entry.path()) => meta.blocks() * 512,
            Ok(_) | Err(_) => 0,
        })
        .sum()
}

/// Asks the kernel to forget the cached pages of a folder's files.
pub fn evict_pages(folder: &Path) {
    use std::os::fd::AsRawFd;
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            evict_pages(&path);
        } else if let Ok(file) = fs::File::open(&path) {
            // SAFETY: advice on an open descriptor.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}
