//! One group on this core: its Raft replica, who waits for which entry, and who waits to read. No I/O of its own: the driver
//! writes the log for all groups of a store at once.
//!
//! Shared by the tasks of its core; borrowed only between awaits. Whoever calls Raft says so with [`super::host::StoreHost::touch`],
//! or what Raft wants done stays undone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{self as engine, GroupId, Incarnation, LogBatch, RecoveredGroup};
use highwater_raft as raft;
use highwater_runtime::Rt;
use highwater_runtime::queue::Reply;
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use highwater_state::command::{Command, Envelope};
use highwater_state::group::GroupState;
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;

use super::barrier::Barriers;
use super::entries;
use super::hibernation::{Mark, Waking};
use super::mesh::{Applied, NotApplied, Proposal};
use super::waiting::{AnswerSlot, Waiting};

/// A group's replica on this core.
pub(crate) struct Replica {
    group: u32,
    incarnation: Incarnation,
    raft: RefCell<raft::RawNode>,
    /// None while nothing is proposed, as in most of thousands of groups.
    proposals: RefCell<Option<Box<Proposals>>>,
    barriers: RefCell<Barriers>,
    compacted: Cell<raft::LogIndex>,
    /// The last change of membership that was applied in this life.
    changed: Cell<raft::LogIndex>,
    /// The driver has it on its list.
    pub(super) is_touched: Cell<bool>,
    /// A snapshot is being put in place: nothing is taken from Raft meanwhile.
    pub(super) is_installing: Cell<bool>,
    /// What Raft was last called for, if that may have woken it.
    stir: Cell<Option<Waking>>,
    /// A client's command came here while another node should lead.
    is_missed: Cell<bool>,
}

/// What a tick of Raft's time has left.
pub(super) struct Ticked {
    /// The driver must look at the replica.
    pub(super) has_work: bool,
    /// How the replica stands.
    pub(super) now: Footing,
}

/// Whether a replica needs Raft's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// It sleeps.
    Asleep,
    /// It leads or knows its leader.
    Led,
    /// It knows no leader.
    Seeking,
}

/// What a leader remembers of what it proposed.
#[derive(Default)]
struct Proposals {
    waiting: Waiting,
    /// The term that the rest belongs to.
    term: raft::Term,
    /// The newest catalog that is in the log and not applied: what the next catalog entry starts from.
    logged_catalog: Option<Arc<Catalog>>,
    last_stamp: Micros,
}

/// What a proposal meets in its group.
pub(super) struct Occasion<'a> {
    /// The catalog that is applied.
    pub(super) catalog: &'a Arc<Catalog>,
    /// Bytes of the largest entry that the store's log takes.
    pub(super) max_entry: usize,
    /// The time to stamp it with.
    pub(super) now: Micros,
    /// Randomness of its own.
    pub(super) seed: u128,
}

/// What the replicas of a store share: thousands of groups have the same limits, and nearly all the same members.
#[derive(Default)]
pub(crate) struct Shared {
    limits: Rc<raft::Limits>,
    memberships: Vec<Rc<raft::Membership>>,
}

impl Shared {
    /// The membership, in memory once.
    fn membership(&mut self, wanted: raft::Membership) -> Rc<raft::Membership> {
        if let Some(known) = self.memberships.iter().find(|known| ***known == wanted) {
            return Rc::clone(known);
        }
        let membership = Rc::new(wanted);
        self.memberships.push(Rc::clone(&membership));
        membership
    }
}

/// What a replica starts from.
pub(crate) struct Start<'a> {
    /// The group.
    pub(crate) group: u32,
    /// This node.
    pub(crate) me: raft::NodeId,
    /// Who belongs to the group as long as no change of that is applied.
    pub(crate) members: &'a [raft::NodeId],
    /// What it shares with the other groups of its store.
    pub(crate) shared: &'a mut Shared,
    /// Randomness, new at every start.
    pub(crate) seed: u64,
    /// What the store recovered of the group.
    pub(crate) recovered: &'a RecoveredGroup,
    /// The terms of its log, as the store tells them.
    pub(crate) terms: Vec<(engine::LogIndex, engine::Term)>,
    /// Its state.
    pub(crate) state: &'a GroupState<Rt>,
}

impl Start<'_> {
    /// # Errors
    /// The parts contradict each other: the group must not go on.
    pub(crate) fn start(self) -> Result<Replica, Diag> {
        let corrupted = |what: String| Diag::new(SqlState::DATA_CORRUPTED, what);
        let Self { group, me, members, shared, seed, recovered, terms, state } = self;
        let membership = match state.membership() {
            // A replica that was only just placed here learns from a snapshot who belongs to the group, and until then has no vote.
            None if state.applied().0 == 0 && !members.contains(&me) => raft::Membership::default(),
            None => raft::Membership::new(members, &[]),
            Some(bytes) => raft::Membership::decode(bytes)
                .ok_or_else(|| corrupted(format!("the stored membership of group {group} cannot be read")))?,
        };
        let alone = membership.voters() == [me] && !membership.is_joint();
        let mut config = raft::Config::member(me, raft::GroupId(group), shared.membership(membership));
        config.limits = Rc::clone(&shared.limits);
        config.random_seed = seed;
        #[cfg(feature = "mutants")]
        {
            config.mutant = highwater_runtime::chosen_mutant();
        }
        let (first, last) = (recovered.first_index.0.max(1), recovered.last_index.0);
        let hard_state = raft::HardState {
            term: raft::Term(recovered.hard_state.term.0),
            vote: (recovered.hard_state.vote != 0).then_some(raft::NodeId(recovered.hard_state.vote)),
            commit: raft::LogIndex(recovered.hard_state.commit.0),
        };
        let runs = terms
            .into_iter()
            .map(|(first, term)| raft::TermRun { first: raft::LogIndex(first.0), term: raft::Term(term.0) });
        let bounds = if last == 0 && first == 1 {
            raft::LogBounds::empty()
        } else {
            raft::LogBounds::with_terms(raft::LogIndex(first)..=raft::LogIndex(last), runs.collect())
                .map_err(|error| corrupted(error.to_string()))?
        };
        let applied = raft::LogIndex(recovered.applied.0);
        let mut raft = raft::RawNode::restart(config, hard_state, bounds, applied)
            .map_err(|error| corrupted(error.to_string()))?;
        if alone {
            raft.campaign();
        }
        Ok(Replica {
            group,
            incarnation: recovered.incarnation,
            raft: RefCell::new(raft),
            proposals: RefCell::default(),
            barriers: RefCell::default(),
            compacted: Cell::new(raft::LogIndex(0)),
            changed: Cell::new(raft::LogIndex(0)),
            is_touched: Cell::new(false),
            is_installing: Cell::new(false),
            stir: Cell::new(None),
            is_missed: Cell::new(false),
        })
    }
}

impl Replica {
    /// The group.
    pub(crate) const fn group(&self) -> u32 {
        self.group
    }

    /// This node.
    pub(super) fn me(&self) -> raft::NodeId {
        self.raft.borrow().status().id
    }

    /// The replica's life.
    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Calls Raft. Who changes something says so with [`super::host::StoreHost::touch`].
    pub(crate) fn with_raft<T>(&self, call: impl FnOnce(&mut raft::RawNode) -> T) -> T {
        call(&mut self.raft.borrow_mut())
    }

    /// Raft's own view of the group.
    pub(crate) fn status(&self) -> raft::Status {
        self.raft.borrow().status()
    }

    /// Whether it leads.
    pub(crate) fn leads(&self) -> bool {
        self.raft.borrow().is_leader()
    }

    /// Who leads, as it knows.
    pub(crate) fn leader(&self) -> Option<raft::NodeId> {
        self.raft.borrow().status().leader
    }

    /// Whether this node belongs to the group, as far as it knows.
    pub(crate) fn is_member(&self) -> bool {
        self.raft.borrow().membership().contains(self.me())
    }

    /// Whether it leads and has applied everything that was committed when it was elected.
    pub(crate) fn is_ready(&self) -> bool {
        let raft = self.raft.borrow();
        raft.is_leader() && raft.term_at(raft.status().applied) == Some(raft.term())
    }

    /// Whether the driver must take a ready.
    pub(super) fn has_ready(&self) -> bool {
        self.raft.borrow().has_ready()
    }

    /// A tick of Raft's time. If nothing has happened for a while, `idle` are the nodes that need not be waited for: a leader that has
    /// nothing to do lets its group sleep.
    pub(super) fn tick(&self, idle: Option<&[raft::NodeId]>) -> Ticked {
        let (mut raft, barriers) = (self.raft.borrow_mut(), self.barriers.borrow());
        raft.tick();
        if let Some(down) = idle.filter(|_| raft.is_leader() && barriers.is_empty() && !self.is_installing.get()) {
            raft.hibernate(down);
        }
        let now = match raft.status().leader {
            _ if raft.is_hibernating() => Footing::Asleep,
            Some(_) => Footing::Led,
            None => Footing::Seeking,
        };
        Ticked { has_work: raft.has_ready() || barriers.has_new(), now }
    }

    /// Whether Raft sleeps.
    pub(super) fn is_asleep(&self) -> bool {
        self.raft.borrow().is_hibernating()
    }

    /// Whether everything that is committed here is applied. Of what is not, a follower may hold a tail for as long as nobody leads.
    pub(super) fn is_at_rest(&self) -> bool {
        let status = self.status();
        status.applied == status.commit
    }

    /// What changes with every event in the group.
    pub(super) fn mark(&self) -> Mark {
        let raft = self.raft.borrow();
        Mark { last: raft.status().last, term: raft.term(), round: raft.read_round() }
    }

    /// Whether a client waits for this group to have a leader.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_missed.get() || self.barriers.borrow().has_new()
    }

    /// What Raft was last called for, once.
    pub(super) fn take_stir(&self) -> Option<Waking> {
        self.is_missed.set(false);
        self.stir.take()
    }

    /// Of the voters for whom that holds, the one that is the first to campaign: another one from group to group.
    pub(super) fn first_of(&self, counts: impl Fn(raft::NodeId) -> bool) -> Option<raft::NodeId> {
        let raft = self.raft.borrow();
        let voters: Vec<_> = raft.membership().voters().iter().copied().filter(|node| counts(*node)).collect();
        let turn = usize::try_from(self.group).unwrap_or(0).checked_rem(voters.len())?;
        voters.get(turn).copied()
    }

    /// Whether a replica that is not given time needs it: its leader is lost, or too many of those that it leads are, or it does not sleep.
    pub(super) fn is_orphaned(&self, is_lost: impl Fn(raft::NodeId) -> bool) -> bool {
        let raft = self.raft.borrow();
        if !raft.is_hibernating() {
            return true;
        }
        let me = raft.status().id;
        if raft.is_leader() {
            return raft.membership().count(|node| Some(node == me || !is_lost(node))) != raft::VoteCount::Won;
        }
        raft.status().leader.is_none_or(is_lost)
    }

    /// Whether it leads and sleeps although one of these nodes lacks something.
    pub(super) fn sleeps_ahead_of(&self, nodes: &[raft::NodeId]) -> bool {
        let raft = self.raft.borrow();
        let last = raft.status().last;
        let is_behind = |peer: raft::PeerStatus| peer.state != raft::ProgressState::Replicate || peer.matched < last;
        raft.is_leader()
            && raft.is_hibernating()
            && raft.peers().any(|peer| nodes.contains(&peer.id) && is_behind(peer))
    }

    /// Wakes Raft, of which nobody wants anything now: a leader shows itself, who has lost its leader seeks one, at once if this node goes
    /// first. Whether there is a reason to be awake.
    pub(super) fn rouse(&self, is_lost: impl Fn(raft::NodeId) -> bool, goes_first: bool) -> bool {
        let mut raft = self.raft.borrow_mut();
        if raft.is_leader() {
            raft.wake();
            return true;
        }
        match raft.status().leader {
            Some(leader) if !is_lost(leader) => return !raft.is_hibernating(),
            Some(_) => raft.forget_leader(),
            None => raft.wake(),
        }
        if goes_first {
            raft.campaign();
        }
        true
    }

    /// Takes another node's message.
    ///
    /// # Errors
    /// Somebody broke the protocol: the node must stop. A message that was led astray is only said in the log.
    pub(super) fn step(&self, message: raft::Message) -> Result<(), raft::StepError> {
        let from = message.from;
        self.stir.set(Some(Waking::Message));
        match self.raft.borrow_mut().step(message) {
            Err(
                error @ (raft::StepError::WrongGroup { .. }
                | raft::StepError::WrongNode { .. }
                | raft::StepError::WrongSender { .. }),
            ) => {
                tracing::warn!(group = self.group, from = from.0, %error, "a message was led astray");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Puts a proposal into the log, behind the catalog that it was planned with.
    pub(super) fn propose(&self, proposal: Proposal, at: &Occasion<'_>) {
        let mut raft = self.raft.borrow_mut();
        if !raft.is_leader() {
            self.is_missed.set(true);
            proposal.reply.fill(Err(NotApplied::NotLeader(raft.status().leader)));
            return;
        }
        self.stir.set(Some(Waking::Proposal));
        let mut proposals = self.proposals.borrow_mut();
        let Proposals { waiting, term, logged_catalog, last_stamp } = &mut **proposals.get_or_insert_default();
        if *term != raft.term() {
            // What an earlier term of this leader logged may be gone; what others logged is not known.
            *term = raft.term();
            *logged_catalog = None;
        }
        *last_stamp = at.now.max(*last_stamp);
        let stamp = *last_stamp;
        let mut append = |command| self.append(&mut raft, Envelope { stamp, seed: at.seed, command }, at.max_entry);
        let logged = logged_catalog.as_ref().filter(|logged| logged.version > at.catalog.version).unwrap_or(at.catalog);
        if let Some(planned) = &proposal.catalog
            && self.group != META
            && planned.version > logged.version
        {
            let deltas = logged.changes_to(planned);
            let command = Command::Catalog { from: logged.version, to: planned.version, deltas };
            if let Err(error) = append(command) {
                proposal.reply.fill(Err(error));
                return;
            }
            // Apply would take stored forms; keeping the planned Arc shares definitions between groups.
            *logged_catalog = Some(Arc::clone(planned));
        }
        match append(proposal.command) {
            Ok(index) => waiting.insert(index, *term, proposal.reply),
            Err(error) => proposal.reply.fill(Err(error)),
        }
    }

    fn append(
        &self,
        raft: &mut raft::RawNode,
        envelope: Envelope,
        max_entry: usize,
    ) -> Result<raft::LogIndex, NotApplied> {
        let data = envelope.encode();
        let size = data.len();
        let too_large = |limit: usize| {
            Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the statement needs a log entry of {size} bytes; the limit is {limit}"),
            )
            .hint("Split the statement into smaller ones.")
        };
        // What is in the log must be readable for ever: an entry that cannot be decoded here must never get there.
        if let Err(error) = Envelope::decode(&data) {
            return Err(Diag::new(SqlState::INTERNAL, format!("the statement cannot be logged: {error}"))
                .hint("This is a defect of Highwater; nothing was changed.")
                .into());
        }
        if size > max_entry {
            return Err(too_large(max_entry).into());
        }
        // Copied: what the log keeps is as large as the entry, and the buffer that was written into is free again at once.
        raft.propose(Bytes::copy_from_slice(&data)).map_err(|error| match error {
            raft::ProposeError::EntryTooLarge { limit, .. } => too_large(limit).into(),
            raft::ProposeError::TooManyUncommittedBytes { .. } => {
                Diag::new(SqlState::OVERLOADED, "too many bytes wait to be written")
                    .hint("Retry after a short pause.")
                    .into()
            }
            raft::ProposeError::NotLeader { leader } => NotApplied::NotLeader(leader),
            raft::ProposeError::Transferring { to } => NotApplied::NotLeader(Some(to)),
            raft::ProposeError::ChangePending { .. } | raft::ProposeError::InvalidChange(_) => {
                Diag::new(SqlState::INTERNAL, format!("group {}: {error}", self.group)).into()
            }
        })
    }

    /// Takes what is due: log records go into `batch`, the rest is returned, without the entries.
    pub(super) fn take_ready(&self, batch: &mut LogBatch) -> raft::Ready {
        let mut raft = self.raft.borrow_mut();
        let mut ready = raft.ready();
        let group = GroupId(self.group);
        if let Some(hard_state) = ready.hard_state.filter(|_| ready.snapshot.is_none()) {
            // What is stored as committed must be stored, whatever part of a torn write is found again.
            let commit = hard_state.commit.min(raft.status().persisted);
            batch.push_hard_state(
                group,
                engine::HardState {
                    term: engine::Term(hard_state.term.0),
                    vote: hard_state.vote.map_or(0, |node| node.0),
                    commit: engine::LogIndex(commit.0),
                },
            );
        }
        let entries = std::mem::take(&mut ready.entries);
        if let Some(first) = entries.first() {
            batch.reserve(entries.len(), entries.iter().map(|entry| entry.data.len()).sum());
            batch.push_entries(
                group,
                self.incarnation,
                engine::LogIndex(first.index.0),
                entries.iter().map(|entry| (engine::Term(entry.term.0), entries::to_log(entry))),
            );
        }
        ready
    }

    /// The writes up to this ready are durable.
    pub(super) fn persisted(&self, number: raft::ReadyNumber) -> Result<(), String> {
        self.raft.borrow_mut().advance_append(number).map_err(|error| error.to_string())
    }

    /// One more read waits for its barrier; `None` when too many do.
    pub(super) fn wait_to_read(&self) -> Option<Reply<()>> {
        self.stir.set(Some(Waking::Read));
        self.barriers.borrow_mut().arrive()
    }

    /// No read passes a barrier here any more.
    pub(super) fn give_up_reads(&self) {
        self.barriers.borrow_mut().give_up();
    }

    /// Asks for the reads that came since.
    pub(super) fn ask_to_read(&self) {
        self.barriers.borrow_mut().ask(&mut self.raft.borrow_mut());
    }

    /// What Raft answered to reads; `published` is what the view shows.
    pub(super) fn take_reads(&self, ready: &raft::Ready, published: u64) {
        if ready.read_states.is_empty() && ready.failed_reads.is_empty() {
            return;
        }
        let mut barriers = self.barriers.borrow_mut();
        for read in &ready.read_states {
            barriers.answered(*read, published);
        }
        for context in &ready.failed_reads {
            barriers.failed(*context);
        }
    }

    /// Gives the entries that a follower lacks to Raft; none when they could not be read.
    pub(super) fn log_read(&self, read: &raft::LogRead, entries: Vec<raft::Entry>) -> Result<(), String> {
        self.raft.borrow_mut().log_read(read, entries).map_err(|error| error.to_string())
    }

    /// A committed change of membership: the membership that follows, encoded.
    pub(super) fn change_membership(&self, entry: &raft::Entry) -> Result<Bytes, String> {
        let membership = self.raft.borrow_mut().apply_membership_change(entry).map_err(|error| error.to_string())?;
        self.changed.set(entry.index);
        tracing::info!(group = self.group, index = entry.index.0, ?membership, "the group's membership has changed");
        Ok(Bytes::from(membership.encode()))
    }

    /// Of a leader: whether its membership outlives it. A commit index alone is never written, so that members which restart may know a change
    /// only as an entry that may not be committed, and would ask the voters of before for their votes, who may be gone for good. Once an
    /// entry behind the change is committed, a majority has stored that the change is. Such an entry is proposed where there is none.
    pub(super) fn makes_membership_known(&self) -> bool {
        let (mut raft, changed) = (self.raft.borrow_mut(), self.changed.get());
        if raft.is_leader() && raft.status().last <= changed {
            // Refused while the lead is handed over; whoever leads then is asked again.
            let _ = raft.propose(Bytes::new());
        }
        raft.status().commit > changed
    }

    /// The entry at `index`, of `term`, was applied; who waited for it, with its answer.
    pub(super) fn settle(
        &self,
        index: raft::LogIndex,
        term: raft::Term,
        outcome: Outcome,
    ) -> Option<(AnswerSlot, Applied)> {
        let mut proposals = self.proposals.borrow_mut();
        let settled = match &mut *proposals {
            Some(proposals) => proposals.waiting.settle(index, term, outcome),
            None => Err(outcome),
        };
        match settled {
            Ok(answer) => return Some(answer),
            Err(Outcome::StaleCatalog { .. }) => {
                // A catalog that did not follow: what was logged behind it is refused too, and the next starts from what is.
                if let Some(proposals) = &mut *proposals {
                    proposals.logged_catalog = None;
                }
            }
            Err(Outcome::Refused(diag) | Outcome::Conflict(diag)) => {
                tracing::debug!(group = self.group, index = index.0, %diag, "an entry without a waiting client was refused");
            }
            Err(
                Outcome::Done
                | Outcome::Written(_)
                | Outcome::Returned { .. }
                | Outcome::Backfilled { .. }
                | Outcome::Committed { .. }
                | Outcome::Defined { .. }
                | Outcome::Consumed(_)
                | Outcome::Acked { .. }
                | Outcome::Inbox { .. },
            ) => {}
        }
        None
    }

    /// Everything up to `index` is applied and published.
    pub(super) fn applied(&self, index: raft::LogIndex) -> Result<(), String> {
        self.raft.borrow_mut().advance_apply(index).map_err(|error| error.to_string())?;
        self.barriers.borrow_mut().published(index.0);
        Ok(())
    }

    /// The group sleeps: what is remembered of proposals that are all answered goes.
    pub(super) fn rest(&self) {
        let mut proposals = self.proposals.borrow_mut();
        if proposals.as_ref().is_some_and(|proposals| proposals.waiting.is_empty()) {
            *proposals = None;
        }
    }

    /// Of a leader, the voter to lead after it, of those that `may_lead`: one that was heard of lately if there is one, and of these who
    /// has most of the log.
    pub(super) fn heir(&self, may_lead: impl Fn(raft::NodeId) -> bool) -> Option<raft::NodeId> {
        let raft = self.raft.borrow();
        let follows = |peer: &raft::PeerStatus| {
            peer.state == raft::ProgressState::Replicate && raft.membership().is_voter(peer.id) && may_lead(peer.id)
        };
        raft.peers().filter(follows).max_by_key(|peer| (peer.recently_active, peer.matched)).map(|peer| peer.id)
    }

    /// Whether it leads and could hand the lead to `node` at once: a voter that holds the whole log.
    pub(super) fn could_lead_next(&self, node: raft::NodeId) -> bool {
        let raft = self.raft.borrow();
        let last = raft.status().last;
        let holds_all = |peer: raft::PeerStatus| {
            peer.id == node && peer.state == raft::ProgressState::Replicate && peer.matched == last
        };
        raft.is_leader() && raft.membership().is_voter(node) && raft.peers().any(holds_all)
    }

    /// Hands the lead to `node`. Whether something is to be done.
    pub(super) fn give_lead(&self, node: raft::NodeId) -> bool {
        let mut raft = self.raft.borrow_mut();
        let is_begun = raft.transferring_to().is_none() && raft.transfer_leader(node).is_ok();
        if is_begun {
            highwater_runtime::sometimes("leads_handed_over");
        }
        is_begun
    }

    /// Hands leadership over if there is somebody to take it who `may_lead`. Whether something is to be done.
    pub(super) fn hand_over(&self, may_lead: impl Fn(raft::NodeId) -> bool) -> bool {
        self.heir(may_lead).is_some_and(|heir| self.give_lead(heir))
    }

    /// Up to where none of these members lacks an entry, as far as is known here: a leader knows. Who is given a snapshot needs what
    /// comes after it.
    pub(super) fn held_by(&self, counts: impl Fn(&raft::PeerStatus) -> bool) -> raft::LogIndex {
        let raft = self.raft.borrow();
        let applied = raft.status().applied;
        if !raft.is_leader() {
            return raft::LogIndex(0);
        }
        let needs = |peer: raft::PeerStatus| match peer.state {
            raft::ProgressState::Snapshot(Some(index)) => peer.matched.max(index),
            raft::ProgressState::Snapshot(None) => applied,
            raft::ProgressState::Probe | raft::ProgressState::Replicate => peer.matched,
        };
        raft.peers().filter(counts).map(needs).min().map_or(applied, |held| held.min(applied))
    }

    /// The store's log starts at `first` now.
    pub(super) fn compact(&self, first: raft::LogIndex) {
        if first > self.compacted.get() {
            // Fails only when the engine kept more than Raft knows of, which costs nothing.
            let _ = self.raft.borrow_mut().compact(first);
            self.compacted.set(first);
        }
    }

    /// A snapshot is in place: the group goes on from it.
    pub(super) fn installed(&self, number: raft::ReadyNumber, index: raft::LogIndex) -> Result<(), String> {
        if let Some(proposals) = &mut *self.proposals.borrow_mut() {
            proposals.waiting.covered(index);
        }
        self.persisted(number)?;
        self.barriers.borrow_mut().published(index.0);
        Ok(())
    }
}
