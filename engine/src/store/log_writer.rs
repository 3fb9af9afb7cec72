//! Writes deferred entries while more are deferred: whoever defers waits only when several blocks wait.

use std::rc::Rc;

use highwater_runtime::Env;

use super::Store;
use crate::options::LOG_BLOCK_TARGET;

/// Bytes of deferred entries at which they are written: a block's worth, less what frames it.
pub(super) const WRITTEN_AT: usize = LOG_BLOCK_TARGET - 4096;
/// Bytes of deferred entries at which whoever defers more waits until they are written.
pub(super) const WAITED_AT: usize = 4 * LOG_BLOCK_TARGET;

impl<E: Env> Store<E> {
    /// Starts the task that writes what was deferred once a block is full.
    pub(super) fn start_log_writer(self: &Rc<Self>) {
        let (weak, wake) = (Rc::downgrade(self), self.log_wake.clone());
        self.env.spawn("engine-log", async move {
            loop {
                wake.wait().await;
                let Some(store) = weak.upgrade().filter(|store| !store.closed.get()) else { return };
                // What a full disk refuses stays deferred: the next one who defers is told, and so is the flush.
                let _ = store.sync_log().await;
            }
        });
    }
}
