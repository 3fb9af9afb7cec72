//! The driver's ticks: Raft's time for the groups that are awake, and what is looked after beside it: where the leads are, a store at rest,
//! and how much of the log is kept for others.

use std::rc::Rc;

use highwater_raft as raft;
use highwater_runtime::{Env, Rt};

use super::super::host::StoreHost;
use super::Driver;

/// A tick of Raft's time, in microseconds.
pub(crate) const TICK_MICROS: u64 = 50_000;
/// Ticks between two looks at how much of the log is kept for other nodes.
const RELEASE_TICKS: u32 = 20;

/// Lets Raft's time pass for a store's groups until the host closes.
pub(crate) async fn tick(env: Rt, host: Rc<StoreHost>, tick_micros: u64) {
    while !host.closing.get() {
        env.sleep(tick_micros).await;
        host.tick.set(true);
        host.work.notify();
    }
}

impl<S: Fn(raft::Message)> Driver<S> {
    pub(super) fn tick(&mut self) {
        let disturbed = self.sleep.tick(&self.host);
        self.balance.tick(&self.host, disturbed);
        self.rest.tick(&self.host, self.sleep.all_asleep());
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(RELEASE_TICKS) {
            self.release_logs();
        }
    }

    /// Lets go of what all members have. When the log is long all the same, the groups that hold its oldest part let go of what the
    /// members that are heard of have, and before writes would be refused, of everything that is applied.
    fn release_logs(&self) {
        for replica in self.sleep.awake() {
            self.host.release_log(replica, replica.status().applied, 0);
        }
        self.host.release_largest();
        let store = &self.host.store;
        let (bytes, limit) = store.log_bytes();
        if self.host.is_alone || 2 * bytes <= limit {
            return;
        }
        for group in store.log_holders() {
            let Some(replica) = self.host.replica(group.0) else { continue };
            let applied = replica.status().applied;
            let is_short = 4 * bytes > 3 * limit;
            let upto = if is_short { applied } else { replica.held_by(|peer| peer.recently_active).min(applied) };
            self.host.release_log_to(&replica, upto);
        }
    }
}
