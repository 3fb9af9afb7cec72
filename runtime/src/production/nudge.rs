//! The nudge: a signal that ends an executor's sleep from outside before it has run anything.
//!
//! A new executor can lose its very first wake-up as any other (see [`super::pulse`]): a thread that is kept from its processor
//! for longer than a turn parks although its first task is there, and has no waker yet that the pulse could use. A signal
//! interrupts the system call in which it sleeps; it looks again, and finds its task.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

/// The signal: nobody sends it otherwise, and its default is to be ignored.
const SIGNAL: libc::c_int = libc::SIGURG;

extern "C" fn interrupted(_: libc::c_int) {}

/// Proof that the signal has a handler, without which it would interrupt nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nudge(());

impl Nudge {
    /// # Errors
    /// The system refused the handler.
    pub fn new() -> io::Result<Self> {
        let handler: extern "C" fn(libc::c_int) = interrupted;
        // SAFETY: all zeros is a valid `sigaction`: no flags (system calls are interrupted and not begun again), no blocked signals.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // SAFETY: `action` is whole, and its handler does nothing, which is safe at any point of any thread.
        match unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) } {
            0 => Ok(Self(())),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Interrupts what the thread waits for. One that has ended stays ended.
    pub fn thread<T>(self, handle: &JoinHandle<T>) {
        // SAFETY: the handle is not joined, so its thread's id is valid, also after the thread has ended.
        let _ = unsafe { libc::pthread_kill(handle.as_pthread_t(), SIGNAL) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_nudge_ends_a_sleep_in_the_kernel() {
        static WOKE: AtomicBool = AtomicBool::new(false);
        let nudge = Nudge::new().unwrap();
        let sleeper = std::thread::spawn(|| {
            // Sleeps until a signal comes.
            // SAFETY: takes nothing and changes nothing.
            unsafe { libc::pause() };
            WOKE.store(true, Ordering::SeqCst);
        });
        while !WOKE.load(Ordering::SeqCst) {
            nudge.thread(&sleeper);
            std::thread::sleep(Duration::from_millis(1));
        }
        sleeper.join().unwrap();
        nudge_after_the_end(nudge);
    }

    fn nudge_after_the_end(nudge: Nudge) {
        let ended = std::thread::spawn(|| ());
        while !ended.is_finished() {
            std::thread::yield_now();
        }
        nudge.thread(&ended);
        ended.join().unwrap();
    }
}
