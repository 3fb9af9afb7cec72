//! Removing dead files, one at a time and at a rate.
//!
//! A large unlink keeps the file system's journal and, with discard, the device busy, and the log's next sync waits behind it. So
//! files go one by one, each followed by the pause that its size is worth; the system call itself runs on the runtime's
//! blocking pool. A full disk lifts the pace until nothing waits, and so does closing the store.

use std::rc::Rc;

use highwater_runtime::Env;

use super::{Store, add};
use crate::tree::graveyard::Dead;

/// How long to wait before a file that could not be removed is tried again, in microseconds.
const RETRY_MICROS: u64 = 1_000_000;

/// Microseconds to wait after a file of `bytes` was removed, at `bytes_per_second` (0: no limit).
pub(crate) const fn pause_micros(bytes: u64, bytes_per_second: u64) -> u64 {
    if bytes_per_second == 0 {
        return 0;
    }
    let micros = bytes as u128 * 1_000_000 / bytes_per_second as u128;
    if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }
}

impl<E: Env> Store<E> {
    /// Starts the task that removes dead files.
    pub(super) fn start_deletion(self: &Rc<Self>) {
        let (weak, graveyard, env) = (Rc::downgrade(self), self.graveyard.clone(), self.env.clone());
        self.env.spawn("engine-deletion", async move {
            loop {
                graveyard.wake().wait().await;
                while let Some(dead) = graveyard.next() {
                    let Some(store) = weak.upgrade().filter(|store| !store.closed.get()) else { return };
                    let pause = store.remove_dead(&dead).await;
                    drop(store);
                    let until = env.now().after_micros(pause);
                    while !graveyard.hastened() && env.now() < until {
                        futures_lite::future::or(env.sleep_until(until), graveyard.wake().wait()).await;
                        if weak.upgrade().is_none_or(|store| store.closed.get()) {
                            return;
                        }
                    }
                }
                if weak.upgrade().is_none_or(|store| store.closed.get()) {
                    return;
                }
            }
        });
    }

    /// Removes one dead file. Returns the pause that is due after it, in microseconds.
    async fn remove_dead(&self, dead: &Dead) -> u64 {
        self.busy.set(self.busy.get() + 1);
        let outcome = self.env.remove_file(&dead.path).await;
        self.busy.set(self.busy.get() - 1);
        let gone = outcome.err().is_none_or(|error| error.kind() == std::io::ErrorKind::NotFound);
        if gone {
            self.graveyard.removed(dead);
            add(&self.counters.deleted_files, 1);
        } else {
            self.graveyard.failed(dead);
        }
        self.progress.announce();
        if gone { pause_micros(dead.bytes, self.options.deletion_bytes_per_second) } else { RETRY_MICROS }
    }

    /// Removes everything that waits, without a pace. A file that stays is an orphan, removed at the next start.
    pub(super) async fn remove_all_dead(&self) {
        while let Some(dead) = self.graveyard.next() {
            let _ = self.env.remove_file(&dead.path).await;
            self.graveyard.removed(&dead);
            add(&self.counters.deleted_files, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_pauses() {
        let mib = 1 << 20;
        for (bytes, rate, micros) in [
            (0, 0, 0),
            (64 * mib, 0, 0),
            (0, 64 * mib, 0),
            (64 * mib, 64 * mib, 1_000_000),
            (32 * mib, 128 * mib, 250_000),
            (4096, 1_000_000, 4096),
            (1, 3, 333_333),
            (u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(pause_micros(bytes, rate), micros, "{bytes} bytes at {rate} bytes per second");
        }
    }
}
