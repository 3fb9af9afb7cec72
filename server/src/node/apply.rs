//! Applying what is committed: entries in order, then the new view, then the answers.
//!
//! Runs beside the write of the log. An answer is given after the state that it describes is published, so a read that starts after
//! it sees it. What is read back from the log (after a restart) is taken a page at a time, so that no group keeps others waiting.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use highwater_engine::{self as engine, GroupId};
use highwater_raft as raft;
use highwater_runtime::{Env, Rt};
use highwater_sql::value::Micros;
use highwater_state::StateError;
use highwater_state::command::Envelope;
use highwater_state::group::GroupState;
use highwater_state::placement::META;

use super::appends::Partition;
use super::entries;
use super::host::StoreHost;
use super::mesh::Applied;
use super::replica::Replica;
use super::waiting::AnswerSlot;

/// Committed entries that are read back from the log at one time, in bytes.
const PAGE_BYTES: usize = 1 << 20;
/// What an entry that is kept for others costs beside its bytes: its place in memory, its part of a block.
const ENTRY_BYTES: u64 = 512;

/// A group's state, and the committed entries that it takes next.
pub(super) struct Run {
    /// Its replica.
    pub(super) replica: Rc<Replica>,
    /// Its state.
    pub(super) state: GroupState<Rt>,
    /// In order. What is left of it after [`apply`] is to be applied later.
    pub(super) committed: VecDeque<raft::Committed>,
}

/// What applying a run of entries did, beyond the state.
#[derive(Default)]
struct Effects {
    /// Answers to give once the new view is published.
    answers: Vec<(AnswerSlot, Applied)>,
    /// Bytes of the entries, for what is kept of the log.
    bytes: u64,
    /// The outbox has grown.
    outbox: bool,
    /// Partitions that have grown.
    appended: BTreeSet<Partition>,
}

/// Applies committed entries of several groups: of each all that is in memory, or one page of what is read from the log.
///
/// # Errors
/// A group cannot go on: damaged storage or a broken invariant. The node must stop.
pub(super) async fn apply(host: Rc<StoreHost>, mut runs: Vec<Run>) -> Result<Vec<Run>, String> {
    for run in &mut runs {
        let group = run.replica.group();
        while let Some(mut committed) = run.committed.pop_front() {
            let mut effects = Effects::default();
            let applied = run.take(&host, &mut committed, &mut effects).await;
            let upto = applied.map_err(|error| format!("group {group} cannot apply its log: {error}"))?;
            run.publish(&host, upto, effects).map_err(|error| format!("group {group}: {error}"))?;
            if upto < committed.last {
                committed.first = upto.next();
                run.committed.push_front(committed);
                break;
            }
        }
    }
    Ok(runs)
}

impl Run {
    /// Applies a page or all of it, and gives the last index that was.
    async fn take(
        &mut self,
        host: &StoreHost,
        committed: &mut raft::Committed,
        effects: &mut Effects,
    ) -> Result<raft::LogIndex, StateError> {
        if let Some(stored) = committed.stored() {
            let (first, last) = stored.into_inner();
            let (first, last) = (engine::LogIndex(first.0), engine::LogIndex(last.0));
            let page = host.store.entries(GroupId(self.replica.group()), first, last, PAGE_BYTES).await?;
            let Some(end) = page.last().map(|entry| entry.index) else {
                return Err(self.broken(format!("entry {} is committed and not in the log", first.0)));
            };
            for entry in page {
                self.take_entry(host, &entries::from_log(entry), effects).await?;
                host.env.yield_if_needed().await;
            }
            if end < last || committed.entries.is_empty() {
                return Ok(raft::LogIndex(end.0));
            }
        }
        for entry in std::mem::take(&mut committed.entries) {
            self.take_entry(host, &entry, effects).await?;
        }
        Ok(committed.last)
    }

    async fn take_entry(
        &mut self,
        host: &StoreHost,
        entry: &raft::Entry,
        effects: &mut Effects,
    ) -> Result<(), StateError> {
        let index = engine::LogIndex(entry.index.0);
        effects.bytes += entry.data.len() as u64 + ENTRY_BYTES;
        if entry.kind == raft::EntryKind::ConfChange {
            let membership = self.replica.change_membership(entry).map_err(|error| self.broken(error))?;
            return self.state.apply_membership(index, membership);
        }
        #[cfg(feature = "mutants")]
        if highwater_runtime::mutant(27) {
            self.state.end_answers_by(host.env.wall().0);
        }
        let applied = if highwater_runtime::mutant(29) {
            self.state.apply(index, &stamped(host.env.wall().0, &entry.data)?).await?
        } else {
            self.state.apply(index, &entry.data).await?
        };
        effects.outbox |= applied.outbox;
        effects.appended.extend(applied.appended);
        effects.answers.extend(self.replica.settle(entry.index, entry.term, applied.outcome));
        Ok(())
    }

    /// Shows what was applied, tells Raft and the store, wakes who waits, then answers.
    fn publish(&mut self, host: &StoreHost, upto: raft::LogIndex, effects: Effects) -> Result<(), String> {
        let group = self.replica.group();
        host.share_catalog(&mut self.state);
        host.publish(group, self.state.view());
        self.replica.applied(upto)?;
        host.store.advance_clock(GroupId(group), self.state.log_time());
        host.release_log(&self.replica, upto, effects.bytes);
        host.touch(&self.replica);
        if effects.outbox {
            host.dirty_sources.borrow_mut().insert(group);
        }
        for (slot, applied) in effects.answers {
            slot.fill(Ok(applied));
        }
        host.published.notify();
        host.appends.appended(&effects.appended);
        if effects.outbox {
            host.outbox.notify();
        }
        // The roll may have changed as well; meta has few entries.
        if group == META {
            host.definitions.notify();
        }
        Ok(())
    }

    fn broken(&self, what: String) -> StateError {
        StateError::Broken { group: self.replica.group(), what }
    }
}

/// Planted bug 29: an entry's time is that of the replica which applies it.
fn stamped(stamp: Micros, data: &[u8]) -> Result<Vec<u8>, StateError> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Envelope { stamp, ..Envelope::decode(data)? }.encode())
}
