//! Huge pages: not while the process is small, from then on as the allocator likes them.
//!
//! The allocator asks the kernel for pages of 2 MiB. A node at rest has a few allocations in each of them and would hold 15 MiB where it
//! uses 5; a node with a cache to look through is about a tenth faster with them.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "used by main only")]

use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;

use crate::process;

/// Resident memory from which on huge pages are allowed, in bytes.
const LARGE: u64 = 64 << 20;
/// How often a small process looks at its size.
const LOOK: Duration = Duration::from_secs(5);

/// Whether this process may have huge pages.
pub struct HugePages {
    are_allowed: bool,
}

impl HugePages {
    /// None for now. A kernel that does not know the switch gives them as it likes.
    #[must_use]
    pub fn not_yet() -> Self {
        let are_allowed = rustix::thread::disable_transparent_huge_pages(true).is_err();
        Self { are_allowed }
    }

    /// The next event; allows huge pages meanwhile if the process has grown large.
    ///
    /// # Errors
    /// Nobody is left to send one.
    pub fn watch<T>(&mut self, events: &Receiver<T>) -> Result<T, RecvError> {
        while !self.are_allowed {
            match events.recv_timeout(LOOK) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
                Err(RecvTimeoutError::Timeout) => self.look(process::figures().resident_bytes),
            }
        }
        events.recv()
    }

    fn look(&mut self, resident: u64) {
        if resident >= LARGE {
            self.are_allowed = true;
            let _ = rustix::thread::disable_transparent_huge_pages(false);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn huge_pages_come_with_size_and_an_event_is_never_missed() {
        let mut pages = HugePages { are_allowed: false };
        pages.look(LARGE - 1);
        assert!(!pages.are_allowed);
        let (sender, receiver) = std::sync::mpsc::channel();
        sender.send(7).unwrap();
        assert_eq!(pages.watch(&receiver), Ok(7));
        pages.look(LARGE);
        assert!(pages.are_allowed);
        sender.send(8).unwrap();
        assert_eq!(pages.watch(&receiver), Ok(8));
        drop(sender);
        assert!(pages.watch(&receiver).is_err());
    }
}
