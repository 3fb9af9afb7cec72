//! One replica of one group: its state, how it starts, and what it shows. What it does is in the files by concern, one per
//! section of the protocol.

use std::rc::Rc;

use crate::bounds::LogBounds;
use crate::config::{Config, Limits};
use crate::entry::{HardState, Role, SoftState};
use crate::error::RaftError;
use crate::hibernation::Sleep;
use crate::ids::{GroupId, LogIndex, NodeId, ReadContext, ReadRound, ReadyNumber, Term};
use crate::log::RaftLog;
use crate::membership::Membership;
use crate::on_demand::OnDemand;
use crate::progress::{Peer, PeerStatus};
use crate::trace::Trace;
use crate::work::Work;

/// Terms above this are damage, not history: at one election per microsecond it takes 292,000 years to get there.
const MAX_PLAUSIBLE_TERM: Term = Term(u64::MAX / 2);

/// One replica of one group. See the crate's page for how it is driven.
#[derive(Debug)]
pub struct RawNode {
    pub(crate) id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) seed: u64,
    pub(crate) limits: Rc<Limits>,
    #[cfg(feature = "mutants")]
    planted: u32,
    pub(crate) term: Term,
    pub(crate) vote: Option<NodeId>,
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    pub(crate) log: RaftLog,
    /// Who belongs to the group as of the last change that was applied or snapshot that was installed.
    pub(crate) membership: Rc<Membership>,
    /// The last change of membership that was told applied; what the log still counts as unapplied may be older.
    pub(crate) changed_at: LogIndex,
    /// Leader: no change of membership is proposed before this is applied.
    pub(crate) pending_change: LogIndex,
    /// Index of the no-op that opened this replica's own term as leader; 0 when it does not lead.
    pub(crate) term_start: LogIndex,
    /// Leader: the other members, ascending.
    pub(crate) peers: Vec<Peer>,
    /// Leader: some peer may be due for an append.
    pub(crate) appends_due: bool,
    /// Ticks since the leader was heard of; of a leader, since it last counted who is active.
    pub(crate) election_elapsed: u32,
    pub(crate) election_timeout: u32,
    pub(crate) timeouts_drawn: u64,
    pub(crate) heartbeat_elapsed: u32,
    pub(crate) sleep: Sleep,
    /// What is under way; nothing while it sleeps.
    pub(crate) work: OnDemand<Work>,
    /// The newest round of reads that was begun.
    pub(crate) read_round: ReadRound,
    /// What the last ready told.
    pub(crate) told_hard_state: HardState,
    pub(crate) told_soft_state: SoftState,
    /// Term and vote that are durable.
    pub(crate) durable_vote: (Term, Option<NodeId>),
    pub(crate) last_ready: ReadyNumber,
    pub(crate) last_read: Option<ReadContext>,
    pub(crate) trace: Trace,
}

/// Why a replica campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// It heard of no leader, or was told to.
    Ordinary,
    /// The leader hands over to it.
    Transfer,
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
    /// Whether it sleeps: it does not tick.
    pub hibernating: bool,
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
    /// [`RaftError::InvalidConfig`], and [`RaftError::InconsistentStorage`] when log,
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
        let commit = hard_state.commit.max(applied);
        let mut node = Self {
            term: hard_state.term,
            vote: hard_state.vote,
            role: Role::Follower,
            leader: None,
            log: RaftLog::restored(bounds, commit, applied, config.limits.max_retained_bytes),
            id: config.id,
            group: config.group,
            seed: config.random_seed,
            limits: config.limits,
            #[cfg(feature = "mutants")]
            planted: config.mutant,
            membership: config.membership,
            changed_at: LogIndex(0),
            pending_change: LogIndex(0),
            term_start: LogIndex(0),
            peers: Vec::new(),
            appends_due: false,
            election_elapsed: 0,
            election_timeout: 0,
            timeouts_drawn: 0,
            heartbeat_elapsed: 0,
            sleep: Sleep::default(),
            work: OnDemand::default(),
            read_round: ReadRound(0),
            told_hard_state: HardState { commit, ..hard_state },
            told_soft_state: SoftState { role: Role::Follower, leader: None },
            durable_vote: (hard_state.term, hard_state.vote),
            last_ready: ReadyNumber(0),
            last_read: None,
            trace: Trace::default(),
        };
        node.draw_election_timeout();
        node.stepped("restart");
        Ok(node)
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
            id: self.id,
            group: self.group,
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
            hibernating: self.sleep.is_asleep(),
            waiting_reads: self.work.reads.waiting(),
        }
    }

    /// Who belongs to the group, as of the last change that was applied, or snapshot that was installed, here.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What this leader knows of the other members, ascending; nothing when it does not lead.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.iter().map(|peer| PeerStatus {
            id: peer.id,
            state: peer.state,
            matched: peer.matched,
            next: peer.next,
            inflight: peer.inflights.len(),
            recently_active: peer.recent_active,
        })
    }

    /// The node to which this leader is handing its leadership.
    #[must_use]
    pub fn transferring_to(&self) -> Option<NodeId> {
        self.work.transfer.map(|transfer| transfer.to)
    }

    /// Sends one line of JSON per transition to `hook`, from now on. For traces and simulation; costs nothing unset.
    pub fn set_trace(&mut self, hook: impl FnMut(&str) + 'static) {
        self.trace = Trace::to(hook);
    }

    /// Whether planted bug `number` is switched on.
    #[cfg(feature = "mutants")]
    pub(crate) fn mutant(&self, number: u32) -> bool {
        self.planted == number
    }

    /// Whether planted bug `number` is switched on: never in this build.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the same call as in builds that have planted bugs")]
    pub(crate) const fn mutant(&self, _number: u32) -> bool {
        false
    }

    /// Traces something that happened within an entry point.
    pub(crate) fn traced(&mut self, event: &'static str) {
        if self.trace.is_on() {
            let status = self.status();
            self.trace.emit(event, &status);
        }
    }

    /// Ends every entry point that changed something: traces it, lets go of memory that a sleeper need not have and, in debug builds and simulation, checks the invariants.
    pub(crate) fn stepped(&mut self, event: &'static str) {
        self.traced(event);
        if self.sleep.is_asleep() {
            self.work.tidy();
            self.log.tidy();
        }
        #[cfg(debug_assertions)]
        {
            let checked = self.step_invariants();
            assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
