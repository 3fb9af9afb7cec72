//! Threads and processors: clients of the thread-based engines are pinned to one processor, everything else is free.

use std::fs;

/// The name of a client's thread.
pub const CLIENT: &str = "client";

fn mask(cpus: impl Iterator<Item = usize>) -> libc::cpu_set_t {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: the macro checks the range.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

fn pin(thread: libc::pid_t, set: &libc::cpu_set_t) {
    // SAFETY: the set outlives the call; a thread that has ended is refused by the kernel.
    unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), set) };
}

/// Pins the calling thread to one processor.
pub fn pin_here(cpu: usize) {
    pin(0, &mask(std::iter::once(cpu)));
}

/// Lets every thread of this process that is no client's run anywhere: a background thread inherits the pinning of
/// whoever happened to start it.
pub fn free_the_others() {
    let all = mask(0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0));
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
    for task in tasks.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        if let (false, Some(id)) = (name.trim() == CLIENT, id) {
            pin(id, &all);
        }
    }
}
