//! What a replica asks of its driver, and how the driver reports back.
//!
//! Append and apply are asynchronous and separate: [`RawNode::ready`] may be called again, and gives what is new, while
//! earlier readies are still being written or applied.

use std::ops::RangeInclusive;

use crate::entry::{Entry, HardState, SoftState};
use crate::error::RaftError;
use crate::ids::{LogIndex, NodeId, ReadContext, ReadyNumber, Term};
use crate::message::{Message, SnapshotMeta};
use crate::node::RawNode;

/// Work for the driver. Each field says when it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What [`RawNode::advance_append`] is told once this ready's `hard_state` and `entries` are durable. One above the
    /// ready before.
    pub number: ReadyNumber,
    /// A staged snapshot to put in the place of the group's state and log, in one durable step with `hard_state`, before
    /// anything of later readies. What was handed over to apply before is abandoned. A ready with a snapshot has no entries.
    /// See [`RawNode::snapshot_cut`] for how it came here.
    pub snapshot: Option<SnapshotMeta>,
    /// To be written before or together with `entries`, never after them. Given when term or vote changed, or when there
    /// are entries and the commit index has risen: a risen commit index alone is not worth a write.
    pub hard_state: Option<HardState>,
    /// To be appended to the stored log with their terms and kinds, in order, replacing whatever it holds at their indexes and above. Readies are
    /// written in the order of their numbers.
    pub entries: Vec<Entry>,
    /// Whether the write of `snapshot`, `hard_state` and `entries` must be synced before `advance_append`. If not, there is
    /// nothing to write, and `advance_append` need be called only if there are `persisted_messages`.
    pub must_sync: bool,
    /// Committed entries to apply, in order; durable here already, whatever this ready's own write does.
    pub committed: Option<Committed>,
    /// To be sent at once; must not wait for the write (followers write while the leader does).
    pub messages: Vec<Message>,
    /// To be sent only after this ready's write, and those of all readies before it, are durable: votes and requests for
    /// them, appends accepted, and anything said in a term that is not durable yet. Needs a report by `advance_append` even
    /// if there is nothing to write. Need not be in order with `messages`.
    pub persisted_messages: Vec<Message>,
    /// Reads that may be served once their index is applied.
    pub read_states: Vec<ReadState>,
    /// Entries that followers need and that are not in memory any more: to be read from the log and given to
    /// [`RawNode::log_read`].
    pub log_reads: Vec<LogRead>,
    /// Members that need a snapshot: see [`RawNode::snapshot_cut`].
    pub snapshots_wanted: Vec<NodeId>,
    /// Reads that get no index, as the leader changed or did not answer; to be tried again, with a new context.
    pub failed_reads: Vec<ReadContext>,
    /// The role or the known leader changed.
    pub soft_state: Option<SoftState>,
}

/// A run of committed entries, from `first` to `last`, both included.
///
/// Entries proposed in this life come along in `entries`; older ones (after a restart) must be read from storage, where
/// they are durable. So the driver applies [`Committed::stored`], read in pages of its own choice, then `entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Index of the first, one above the last run's last.
    pub first: LogIndex,
    /// Index of the last.
    pub last: LogIndex,
    /// The end of the run: contiguous, up to and including `last`; empty when all of it must be read.
    pub entries: Vec<Entry>,
}

impl Committed {
    /// The indexes to read from storage, before `entries`; `None` when everything is in memory.
    #[must_use]
    pub fn stored(&self) -> Option<RangeInclusive<LogIndex>> {
        let last = self.entries.first().map_or(self.last, |entry| entry.index.prev());
        (self.first <= last).then_some(self.first..=last)
    }
}

/// Entries to read from storage for a follower. All of them are durable here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// The follower.
    pub to: NodeId,
    /// The leader's term; an answer in another is ignored.
    pub term: Term,
    /// First index.
    pub first: LogIndex,
    /// Last index to read at most.
    pub last: LogIndex,
    /// Soft limit on the bytes to read; one entry always fits.
    pub max_bytes: usize,
}

/// The answer to [`RawNode::read_index`]: linearizable once `index` is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The context asked with.
    pub context: ReadContext,
    /// What must be applied first.
    pub index: LogIndex,
}

/// A ready whose write is not reported durable yet.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) number: ReadyNumber,
    pub(crate) last: LogIndex,
    pub(crate) vote: (Term, Option<NodeId>),
    pub(crate) snapshot: Option<SnapshotMeta>,
}

impl RawNode {
    /// Whether [`Self::ready`] would ask for anything.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.log.given() < self.log.last()
            || self.vote_is_untold()
            || self.work.snapshot.is_some()
            || !self.work.outbox.is_empty()
            || self.has_appends()
            || self.work.reads.has_unsent_round()
            || self.soft_state() != self.told_soft_state
            || self.log.can_hand_over(self.limits.max_ready_bytes)
            || !self.work.read_states.is_empty()
            || !self.work.failed_reads.is_empty()
            || !self.work.log_reads.is_empty()
            || !self.work.snapshots_wanted.is_empty()
    }

    /// Takes the work that is due. What it gives is not given again: the driver does it, or the node restarts.
    pub fn ready(&mut self) -> Ready {
        self.begin_read_round();
        self.send_appends();
        self.last_ready = ReadyNumber(self.last_ready.0.saturating_add(1));
        let number = self.last_ready;

        let vote_changed = self.vote_is_untold();
        let snapshot = self.work.snapshot.take();
        let entries = if snapshot.is_some() { Vec::new() } else { self.log.give_entries(self.limits.max_ready_bytes) };
        let must_sync = vote_changed || !entries.is_empty() || snapshot.is_some();
        // What is stored as committed must be stored: the rest of the entries comes with the next ready.
        let stored = if self.mutant(73) { self.log.last() } else { self.log.given() };
        let commit = self.log.commit().min(stored);
        let hard_state = HardState { term: self.term, vote: self.vote, commit };
        let hard_state = (must_sync && hard_state != self.told_hard_state).then_some(hard_state);
        if let Some(hard_state) = hard_state {
            self.told_hard_state = hard_state;
        }
        let (messages, persisted_messages) = self.take_messages(must_sync);
        if must_sync || !persisted_messages.is_empty() {
            self.work.in_flight.push_back(InFlight {
                number,
                last: self.log.given(),
                vote: (self.term, self.vote),
                snapshot: snapshot.clone(),
            });
        }

        let soft_state = Some(self.soft_state()).filter(|soft_state| *soft_state != self.told_soft_state);
        self.told_soft_state = self.soft_state();
        let ready = Ready {
            number,
            snapshot,
            hard_state,
            entries,
            must_sync,
            committed: self.log.hand_over(self.limits.max_ready_bytes),
            messages,
            persisted_messages,
            read_states: std::mem::take(&mut self.work.read_states),
            log_reads: std::mem::take(&mut self.work.log_reads),
            snapshots_wanted: std::mem::take(&mut self.work.snapshots_wanted),
            failed_reads: std::mem::take(&mut self.work.failed_reads),
            soft_state,
        };
        self.stepped("ready");
        ready
    }

    /// The writes of ready `number` and of every one before it are durable. Reporting an older number again changes nothing.
    ///
    /// # Errors
    /// [`RaftError::UnknownReady`] for a number that was never given.
    pub fn advance_append(&mut self, number: ReadyNumber) -> Result<(), RaftError> {
        if number > self.last_ready {
            return Err(RaftError::UnknownReady { number, last: self.last_ready });
        }
        while let Some(done) = self.work.in_flight.pop_front_if(|in_flight| in_flight.number <= number) {
            self.log.persisted_up_to(done.last);
            if let Some(meta) = done.snapshot {
                self.installed(&meta);
            }
            self.durable_vote = done.vote;
        }
        self.count_own_vote();
        self.commit_durable();
        self.stepped("append_done");
        Ok(())
    }

    /// Everything up to `index` is applied. The driver may report part of what was handed over, and any number of times.
    ///
    /// # Errors
    /// [`RaftError::AppliedOutOfRange`] below what was reported before or above what was handed over (after a snapshot was
    /// installed, what was handed over before it is abandoned); [`RaftError::ChangeNotApplied`] past a change of membership
    /// that was not given to [`Self::apply_membership_change`].
    pub fn advance_apply(&mut self, index: LogIndex) -> Result<(), RaftError> {
        if index < self.log.applied() || index > self.log.handed_over() {
            return Err(RaftError::AppliedOutOfRange {
                reported: index,
                applied: self.log.applied(),
                handed_over: self.log.handed_over(),
            });
        }
        if let Some(change) = self.log.next_change().filter(|change| *change <= index && *change > self.changed_at) {
            return Err(RaftError::ChangeNotApplied { change, reported: index });
        }
        self.log.applied_up_to(index);
        self.leave_joint();
        self.hup_when_applied();
        self.stepped("apply_done");
        Ok(())
    }

    fn soft_state(&self) -> SoftState {
        SoftState { role: self.role, leader: self.leader }
    }

    fn vote_is_untold(&self) -> bool {
        (self.term, self.vote) != (self.told_hard_state.term, self.told_hard_state.vote)
    }
}
