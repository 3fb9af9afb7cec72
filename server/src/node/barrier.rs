//! Read barriers of one replica: who waits until the published view shows everything that was acknowledged before it asked.
//!
//! All that came since the last question share the next one, which has a context of its own. A question that fails goes back to
//! those that wait, and is asked again when a leader is known. Nothing here waits or asks by itself.

use std::collections::BTreeMap;

use highwater_raft as raft;
use highwater_runtime::queue::{self, Reply, ReplySlot};
use highwater_runtime::sometimes;

/// Barriers that may wait on one replica; more are refused.
const MAX_WAITING: usize = 65_536;

/// The barriers of one replica that have not been passed.
#[derive(Default)]
pub(super) struct Barriers {
    last_context: u64,
    /// Nothing while nobody waits: of thousands of replicas, few are read at one time.
    waiting: Option<Box<Waiting>>,
}

/// Those who wait.
#[derive(Default)]
struct Waiting {
    count: usize,
    /// Not asked yet.
    new: Vec<ReplySlot<()>>,
    /// By context.
    asked: BTreeMap<u64, Vec<ReplySlot<()>>>,
    /// By the index that must be applied and published.
    indexed: BTreeMap<u64, Vec<ReplySlot<()>>>,
}

impl Barriers {
    /// One more waits; `None` when too many do.
    pub(super) fn arrive(&mut self) -> Option<Reply<()>> {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.count >= MAX_WAITING {
            return None;
        }
        waiting.count += 1;
        let (slot, passed) = queue::reply();
        waiting.new.push(slot);
        Some(passed)
    }

    /// Whether somebody waits to be asked for.
    pub(super) fn has_new(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.new.is_empty())
    }

    /// Nobody is given a barrier here any more: those who wait are told.
    pub(super) fn give_up(&mut self) {
        self.waiting = None;
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// Asks for all that are new; they stay so when nobody can be asked.
    pub(super) fn ask(&mut self, raft: &mut raft::RawNode) {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.new.is_empty()) else { return };
        let context = self.last_context + 1;
        if raft.read_index(raft::ReadContext(context)).is_ok() {
            self.last_context = context;
            waiting.asked.insert(context, std::mem::take(&mut waiting.new));
        }
    }

    /// A question was answered; `published` is what the view shows.
    pub(super) fn answered(&mut self, read: raft::ReadState, published: u64) {
        let Some(all) = &mut self.waiting else { return };
        let Some(waiting) = all.asked.remove(&read.context.0) else { return };
        // Planted bug 24: what is committed is taken for what is applied.
        let due = if highwater_runtime::mutant(24) { read.index.0.min(published) } else { read.index.0 };
        all.indexed.entry(due).or_default().extend(waiting);
        self.published(published);
    }

    /// A question failed.
    pub(super) fn failed(&mut self, context: raft::ReadContext) {
        sometimes("reads_asked_for_again");
        if let Some(waiting) = &mut self.waiting {
            waiting.new.extend(waiting.asked.remove(&context.0).unwrap_or_default());
        }
    }

    /// The view shows everything up to `index`: who waited for that passes.
    pub(super) fn published(&mut self, index: u64) {
        let Some(waiting) = &mut self.waiting else { return };
        while let Some(entry) = waiting.indexed.first_entry().filter(|entry| *entry.key() <= index) {
            let slots = entry.remove();
            waiting.count = waiting.count.saturating_sub(slots.len());
            for slot in slots {
                slot.fill(());
            }
        }
        if waiting.count == 0 {
            self.waiting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use futures_lite::FutureExt;
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "what is polled once never blocks")]
    fn passed(reply: Reply<()>) -> bool {
        block_on(poll_once(reply.boxed_local())).is_some_and(|answer| answer.is_ok())
    }

    fn sole_voter() -> raft::RawNode {
        let config = raft::Config::sole_voter(raft::NodeId(1), raft::GroupId(1));
        let (state, bounds) = (raft::HardState::default(), raft::LogBounds::empty());
        raft::RawNode::restart(config, state, bounds, raft::LogIndex(0)).unwrap()
    }

    fn lead(raft: &mut raft::RawNode) {
        raft.campaign();
        while raft.has_ready() {
            let ready = raft.ready();
            raft.advance_append(ready.number).unwrap();
        }
        assert!(raft.is_leader());
    }

    #[test]
    fn all_that_came_before_a_question_share_it_and_pass_once_its_index_is_published() {
        let (mut raft, mut barriers) = (sole_voter(), Barriers::default());
        lead(&mut raft);
        let (first, second) = (barriers.arrive().unwrap(), barriers.arrive().unwrap());
        barriers.ask(&mut raft);
        let states = raft.ready().read_states;
        assert_eq!(states.len(), 1);
        barriers.answered(states[0], 0);
        barriers.published(states[0].index.0);
        assert!(passed(first) && passed(second));
        assert!(barriers.is_empty());
    }

    #[test]
    fn a_barrier_waits_for_its_index() {
        let (mut raft, mut barriers) = (sole_voter(), Barriers::default());
        lead(&mut raft);
        let waiting = barriers.arrive().unwrap();
        barriers.ask(&mut raft);
        let state = raft.ready().read_states[0];
        barriers.answered(state, 0);
        barriers.published(state.index.0 - 1);
        assert!(!passed(waiting));
    }

    #[test]
    fn who_finds_no_leader_and_who_was_failed_is_asked_for_again() {
        let (mut raft, mut barriers) = (sole_voter(), Barriers::default());
        let waiting = barriers.arrive().unwrap();
        barriers.ask(&mut raft);
        assert!(barriers.has_new(), "nobody leads");
        lead(&mut raft);
        barriers.ask(&mut raft);
        assert!(!barriers.has_new());
        barriers.failed(raft::ReadContext(1));
        assert!(barriers.has_new());
        let _ = raft.ready();
        barriers.ask(&mut raft);
        let state = raft.ready().read_states[0];
        assert_eq!(state.context, raft::ReadContext(2));
        barriers.answered(state, state.index.0);
        assert!(passed(waiting));
    }
}
