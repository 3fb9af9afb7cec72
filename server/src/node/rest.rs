//! What a store does when all of its groups have fallen asleep: it flushes what was written last, once. Until then the entries of each
//! group are in memory twice, in the memtable and in the log's index, and thousands of idle groups have a few each.

use std::cell::Cell;
use std::rc::Rc;

use super::host::StoreHost;

/// Ticks that all groups have slept before the store rests: whoever pauses for a moment is not made to flush.
const REST_TICKS: u32 = 40;
/// It flushes when at least one n-th of a memtable was written since it last did: few bytes are not worth a table.
const WORTH_PART: u64 = 64;

/// The rest of one store.
#[derive(Default)]
pub(super) struct Rest {
    quiet: u32,
    is_flushing: Rc<Cell<bool>>,
}

impl Rest {
    /// A tick of Raft's time; whether all groups sleep.
    pub(super) fn tick(&mut self, host: &Rc<StoreHost>, all_asleep: bool) {
        self.quiet = if all_asleep { self.quiet.saturating_add(1) } else { 0 };
        let worth = host.store.options().memtable_bytes as u64 / WORTH_PART;
        if self.quiet < REST_TICKS || host.unflushed.get() < worth || self.is_flushing.replace(true) {
            return;
        }
        highwater_runtime::sometimes("stores_rested");
        host.unflushed.set(0);
        let (host, is_flushing) = (Rc::clone(host), Rc::clone(&self.is_flushing));
        let env = host.env.clone();
        highwater_runtime::Env::spawn(&env, "rest", async move {
            if let Err(error) = host.store.flush().await {
                tracing::debug!(store = host.store_number.get(), %error, "what idle groups hold in memory cannot be flushed");
            }
            is_flushing.set(false);
        });
    }
}
