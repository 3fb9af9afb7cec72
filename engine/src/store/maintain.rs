//! Looking after the log: a spare segment at hand, dead segments given back, and nobody holding old ones for ever.

use highwater_runtime::Env;

use super::Store;
use crate::error::EngineError;
use crate::manifest::Edit;

impl<E: Env> Store<E> {
    /// Frees what can be freed and prepares the next segment.
    pub(super) async fn maintain_log(&self) -> Result<(), EngineError> {
        self.advance_tail().await?;
        if self.log.live_bytes() * 2 > self.options.log_limit_bytes && self.free_the_tail().await? {
            self.advance_tail().await?;
        }
        if self.log.wants_spare() {
            self.log.prepare_spare().await?;
        }
        Ok(())
    }

    /// Records a higher tail of the log and frees the segments below it. The groups' log starts go with it, since what says
    /// where a group's log begins may be in the segments that are freed. A new head is recorded too: without that, nothing
    /// would be missed if the newest segment's file vanished.
    pub(super) async fn advance_tail(&self) -> Result<(), EngineError> {
        let (tail, head) = (self.log.needed_tail(), self.log.active_segment());
        if tail <= self.recorded_tail.get() && head == self.recorded_head.get() {
            return Ok(());
        }
        let groups = self.log.with_groups(|groups| groups.keys().copied().collect::<Vec<_>>());
        let edit = Edit {
            groups: groups.into_iter().map(|group| (group, self.mark(group, None))).collect(),
            log_tail: Some(tail),
            ..Edit::default()
        };
        if self.env.mutant(43) {
            // Planted bug 43: segments are given back before the edit that says so is durable.
            self.free_segments(tail);
        }
        self.install(edit, Vec::new(), |_| ()).await?;
        self.recorded_head.set(head);
        self.free_segments(tail);
        Ok(())
    }

    fn free_segments(&self, tail: u64) {
        self.log.free_below(tail).into_iter().for_each(|dead| self.graveyard.bury(dead));
    }

    /// Does what lets go of the oldest segment: a flush for groups with unflushed effects, moving the log forward for small
    /// groups that only keep old entries. Returns whether the tail may have moved.
    async fn free_the_tail(&self) -> Result<bool, EngineError> {
        let mut moved = false;
        for group in self.log.tail_holders() {
            let flushed = self.log.group(group).map(|log| log.flushed).unwrap_or_default();
            if self.applied(group) > flushed {
                let mut memtables = self.memtables.borrow_mut();
                self.freeze(&mut memtables);
            } else {
                moved |= self.log.relocate(group).await?;
            }
        }
        Ok(moved)
    }
}
