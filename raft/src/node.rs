//! One replica of one group: its state, how it starts, and what it shows. What it does is in the files by concern:
//! `election`, `proposal`, `read`, `ready`.

use std::collections::VecDeque;

use crate::config::Config;
use crate::entry::{HardState, Role, SoftState};
use crate::error::{RaftError, StepError};
use crate::ids::{GroupId, LogIndex, NodeId, ReadContext, ReadyNumber, Term};
use crate::log::{LogBounds, RaftLog};
use crate::message::Message;
use crate::ready::{InFlight, ReadState};
use crate::trace::Trace;

/// Terms above this are damage, not history: at one election per microsecond it takes 292,000 years to get there.
const MAX_PLAUSIBLE_TERM: Term = Term(u64::MAX / 2);

/// One replica of one group. See the crate's page for how it is driven.
#[derive(Debug)]
pub struct RawNode {
    pub(crate) config: Config,
    pub(crate) term: Term,
    pub(crate) vote: Option<NodeId>,
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    pub(crate) log: RaftLog,
    /// Index of the no-op that opened this replica's own term as leader; 0 when it does not lead.
    pub(crate) term_start: LogIndex,
    pub(crate) ticks: u32,
    /// What the last ready told.
    pub(crate) told_hard_state: HardState,
    pub(crate) told_soft_state: SoftState,
    /// Term and vote that are durable.
    pub(crate) durable_vote: (Term, Option<NodeId>),
    pub(crate) last_ready: ReadyNumber,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) waiting_reads: VecDeque<ReadContext>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) failed_reads: Vec<ReadContext>,
    pub(crate) last_read: Option<ReadContext>,
    pub(crate) trace: Trace,
}

/// What a replica shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// The group.
    pub group: GroupId,
    /// Its part.
    pub role: Role,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<NodeId>,
    /// First index of its log; one above `last` when the log is empty.
    pub first: LogIndex,
    /// Last index appended, durable or not.
    pub last: LogIndex,
    /// Last index that is durable here.
    pub persisted: LogIndex,
    /// Last index known to be committed.
    pub commit: LogIndex,
    /// Last index handed over to apply.
    pub handed_over: LogIndex,
    /// Last index applied.
    pub applied: LogIndex,
    /// Bytes of entries of this life that wait for commit.
    pub uncommitted_bytes: usize,
    /// Reads that wait for their index.
    pub waiting_reads: usize,
}

impl RawNode {
    /// A replica from what storage holds: a new one (`HardState::default()`, [`LogBounds::empty`], applied 0) or one that
    /// ran before. It starts as a follower without a leader. `applied` is the last index whose effects are in the
    /// state that was recovered: everything committed above it is handed over (again).
    ///
    /// A sole voter should [`campaign`](Self::campaign) at once; its first tick does so too. Once its vote and the no-op of
    /// its new term are durable, every entry that it had persisted is committed.
    ///
    /// # Errors
    /// [`RaftError::InvalidConfig`], [`RaftError::UnsupportedMembership`], and [`RaftError::InconsistentStorage`] when log,
    /// hard state and applied index contradict each other: a log that was lost or cut must not be continued.
    pub fn restart(
        config: Config,
        hard_state: HardState,
        bounds: LogBounds,
        applied: LogIndex,
    ) -> Result<Self, RaftError> {
        config.validate()?;
        let inconsistent = |reason: String| Err(RaftError::InconsistentStorage { group: config.group, reason });
        let (first, last) = (bounds.first_index(), bounds.last_index());
        if first == LogIndex(0) || first > last.next() {
            return inconsistent(format!("the log claims to hold entries {first} to {last}"));
        }
        if hard_state.term < bounds.last_term() {
            return inconsistent(format!(
                "entry {last} is of term {}, the stored term is {}",
                bounds.last_term(),
                hard_state.term
            ));
        }
        if last > LogIndex(0) && bounds.last_term() == Term(0) {
            return inconsistent(format!("entry {last} has no term"));
        }
        if hard_state.term > MAX_PLAUSIBLE_TERM {
            return inconsistent(format!("term {} is beyond anything that elections can reach", hard_state.term));
        }
        if hard_state.commit > last {
            return inconsistent(format!("entry {} is committed, the log ends at {last}", hard_state.commit));
        }
        if applied > last {
            return inconsistent(format!("entry {applied} is applied, the log ends at {last}"));
        }
        if applied.next() < first {
            return inconsistent(format!("entry {applied} is the last applied, the log starts at {first}"));
        }
        if hard_state.vote.is_some_and(|vote| vote != config.id) {
            return inconsistent(format!(
                "a sole voter's stored vote is for node {}",
                hard_state.vote.unwrap_or_default()
            ));
        }
        let commit = hard_state.commit.max(applied);
        let mut node = Self {
            term: hard_state.term,
            vote: hard_state.vote,
            role: Role::Follower,
            leader: None,
            log: RaftLog::restored(bounds, commit, applied),
            term_start: LogIndex(0),
            ticks: 0,
            told_hard_state: HardState { commit, ..hard_state },
            told_soft_state: SoftState { role: Role::Follower, leader: None },
            durable_vote: (hard_state.term, hard_state.vote),
            last_ready: ReadyNumber(0),
            in_flight: VecDeque::new(),
            waiting_reads: VecDeque::new(),
            read_states: Vec::new(),
            failed_reads: Vec::new(),
            last_read: None,
            trace: Trace::default(),
            config,
        };
        node.stepped("restart");
        Ok(node)
    }

    /// Takes one message of a peer.
    ///
    /// # Errors
    /// [`StepError`]: it is for another group or node, or its sender is no peer. A sole voter has no peers.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        if message.group != self.config.group {
            return Err(StepError::WrongGroup { group: self.config.group, got: message.group });
        }
        if message.to != self.config.id {
            return Err(StepError::WrongNode { id: self.config.id, got: message.to });
        }
        Err(StepError::UnknownPeer { group: self.config.group, from: message.from })
    }

    /// The log was cut at its start: entries below `first` are gone from storage, as their effects are durable elsewhere.
    /// Going back is ignored.
    ///
    /// # Errors
    /// [`RaftError::CompactBeyondApplied`] when entry `first - 1` is not applied.
    pub fn compact(&mut self, first: LogIndex) -> Result<(), RaftError> {
        if first.prev() > self.log.applied() {
            return Err(RaftError::CompactBeyondApplied { first, applied: self.log.applied() });
        }
        self.log.start_at(first);
        self.stepped("compact");
        Ok(())
    }

    /// The term at `index`, if the log holds it (or it is the one just before the first) and its term is known.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term(index)
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Everything that a status page shows.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            group: self.config.group,
            role: self.role,
            leader: self.leader,
            term: self.term,
            vote: self.vote,
            first: self.log.first(),
            last: self.log.last(),
            persisted: self.log.persisted(),
            commit: self.log.commit(),
            handed_over: self.log.handed_over(),
            applied: self.log.applied(),
            uncommitted_bytes: self.log.uncommitted_bytes(),
            waiting_reads: self.waiting_reads.len(),
        }
    }

    /// Sends one line of JSON per transition to `hook`, from now on. For traces and simulation; costs nothing unset.
    pub fn set_trace(&mut self, hook: impl FnMut(&str) + 'static) {
        self.trace = Trace::to(hook);
    }

    /// Ends every entry point that changed something: traces it and, in debug builds and simulation, checks the invariants.
    pub(crate) fn stepped(&mut self, event: &'static str) {
        if self.trace.is_on() {
            let status = self.status();
            self.trace.emit(event, &status);
        }
        #[cfg(debug_assertions)]
        {
            let checked = self.step_invariants();
            assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
