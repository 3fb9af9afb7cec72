//! One group on this core: its Raft replica, its state, and who waits for which entry. No I/O of its own: the driver
//! writes the log for all groups of a store at once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{GroupId, Incarnation, LogBatch, RecoveredGroup, Store};
use highwater_raft as raft;
use highwater_runtime::Rt;
use highwater_runtime::queue::ReplySlot;
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use highwater_state::StateError;
use highwater_state::command::{Command, Envelope};
use highwater_state::group::GroupState;
use highwater_state::outcome::Outcome;
use highwater_state::placement::META;

use super::mesh::{Applied, NotApplied, Proposal};

/// This node's identity while a cluster is one node.
pub(crate) const NODE: raft::NodeId = raft::NodeId(1);
/// Committed entries that are read back from the log at one time after a restart, in bytes.
const REPLAY_BYTES: usize = 1 << 20;

/// A group's replica on this core.
pub(crate) struct Replica {
    group: u32,
    raft: raft::RawNode,
    state: GroupState<Rt>,
    /// Bytes of the largest entry that the store's log takes.
    max_entry: usize,
    incarnation: Incarnation,
    waiting: BTreeMap<u64, ReplySlot<Result<Applied, NotApplied>>>,
    /// The newest catalog that is in the log, applied or not: what the next catalog entry starts from.
    logged_catalog: Arc<Catalog>,
    last_stamp: Micros,
    compacted: raft::LogIndex,
}

/// What applying a run of entries did, beyond the answers.
#[derive(Default)]
pub(crate) struct Effects {
    /// Answers to give once the new view is published.
    pub(crate) answers: Vec<(ReplySlot<Result<Applied, NotApplied>>, Applied)>,
    /// The outbox has grown.
    pub(crate) outbox: bool,
    /// Topic partitions have grown.
    pub(crate) appended: bool,
    /// The group's catalog has changed.
    pub(crate) catalog: bool,
}

impl Replica {
    /// The group as the store recovered it.
    pub(crate) fn restart(
        group: u32,
        seed: u64,
        max_entry: usize,
        recovered: &RecoveredGroup,
        last_term: Option<highwater_engine::Term>,
        state: GroupState<Rt>,
    ) -> Result<Self, Diag> {
        let mut config = raft::Config::sole_voter(NODE, raft::GroupId(group));
        config.random_seed = seed;
        let hard_state = raft::HardState {
            term: raft::Term(recovered.hard_state.term.0),
            vote: (recovered.hard_state.vote != 0).then_some(raft::NodeId(recovered.hard_state.vote)),
            commit: raft::LogIndex(recovered.hard_state.commit.0),
        };
        let bounds = match last_term {
            Some(term) if recovered.last_index.0 > 0 => raft::LogBounds::with_last_term(
                raft::LogIndex(recovered.first_index.0.max(1))..=raft::LogIndex(recovered.last_index.0),
                raft::Term(term.0),
            ),
            _ if recovered.applied.0 > 0 => {
                raft::LogBounds::starting_after(raft::LogIndex(recovered.applied.0), hard_state.term)
            }
            _ => raft::LogBounds::empty(),
        };
        let mut raft = raft::RawNode::restart(config, hard_state, bounds, raft::LogIndex(recovered.applied.0))
            .map_err(|error| Diag::new(SqlState::DATA_CORRUPTED, error.to_string()))?;
        raft.campaign();
        let logged_catalog = Arc::clone(state.view().catalog());
        Ok(Self {
            group,
            raft,
            state,
            max_entry,
            incarnation: recovered.incarnation,
            waiting: BTreeMap::new(),
            logged_catalog,
            last_stamp: 0,
            compacted: raft::LogIndex(0),
        })
    }

    /// The group's state.
    pub(crate) fn state(&self) -> &GroupState<Rt> {
        &self.state
    }

    /// Raft's own view of the group.
    pub(crate) fn status(&self) -> raft::Status {
        self.raft.status()
    }

    /// Whether it leads and has applied everything that was committed when it was elected.
    pub(crate) fn is_ready(&self) -> bool {
        let status = self.raft.status();
        self.raft.is_leader() && self.raft.term_at(status.applied) == Some(self.raft.term())
    }

    /// Whether the driver must take a ready.
    pub(crate) fn has_ready(&self) -> bool {
        self.raft.has_ready()
    }

    /// Puts a proposal into the log, behind the catalog that it was planned with.
    pub(crate) fn propose(&mut self, proposal: Proposal, now: Micros, seed: u128) {
        self.last_stamp = self.last_stamp.max(now);
        if let Some(planned) = &proposal.catalog
            && self.group != META
            && planned.version > self.logged_catalog.version
        {
            let deltas = self.logged_catalog.changes_to(planned);
            let command = Command::Catalog { from: self.logged_catalog.version, to: planned.version, deltas };
            if let Err(diag) = self.append(command, seed) {
                proposal.reply.fill(Err(diag.into()));
                return;
            }
            // Apply would take stored forms; keeping the planned Arc shares definitions between groups.
            self.logged_catalog = Arc::clone(planned);
        }
        match self.append(proposal.command, seed) {
            Ok(index) => {
                self.waiting.insert(index.0, proposal.reply);
            }
            Err(diag) => proposal.reply.fill(Err(diag.into())),
        }
    }

    fn append(&mut self, command: Command, seed: u128) -> Result<raft::LogIndex, Diag> {
        let envelope = Envelope { stamp: self.last_stamp, seed, command };
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
                .hint("This is a defect of Highwater; nothing was changed."));
        }
        if size > self.max_entry {
            return Err(too_large(self.max_entry));
        }
        self.raft.propose(Bytes::from(data)).map_err(|error| match error {
            raft::ProposeError::EntryTooLarge { limit, .. } => too_large(limit),
            raft::ProposeError::TooManyUncommittedBytes { .. } => {
                Diag::new(SqlState::OVERLOADED, "too many bytes wait to be written").hint("Retry after a short pause.")
            }
            raft::ProposeError::NotLeader { .. }
            | raft::ProposeError::Transferring { .. }
            | raft::ProposeError::ChangePending { .. }
            | raft::ProposeError::InvalidChange(_) => {
                Diag::new(SqlState::OVERLOADED, format!("group {} has no leader yet: {error}", self.group))
                    .hint("Retry after a short pause.")
            }
        })
    }

    /// Takes what is due: log records go into `batch`, the rest is returned.
    pub(crate) fn take_ready(&mut self, batch: &mut LogBatch) -> raft::Ready {
        let mut ready = self.raft.ready();
        let group = GroupId(self.group);
        if let Some(hard_state) = ready.hard_state {
            batch.push_hard_state(
                group,
                highwater_engine::HardState {
                    term: highwater_engine::Term(hard_state.term.0),
                    vote: hard_state.vote.map_or(0, |node| node.0),
                    commit: highwater_engine::LogIndex(hard_state.commit.0),
                },
            );
        }
        let entries = std::mem::take(&mut ready.entries);
        if let Some(first) = entries.first() {
            batch.push_entries(
                group,
                self.incarnation,
                highwater_engine::LogIndex(first.index.0),
                entries.iter().map(|entry| (highwater_engine::Term(entry.term.0), entry.data.clone())),
            );
        }
        ready
    }

    /// The write of a ready is durable.
    pub(crate) fn persisted(&mut self, ready: &raft::Ready) -> Result<(), Diag> {
        if !ready.must_sync {
            return Ok(());
        }
        self.raft.advance_append(ready.number).map_err(|error| Diag::new(SqlState::INTERNAL, error.to_string()))
    }

    /// Applies a run of committed entries in order.
    ///
    /// # Errors
    /// The group cannot go on: damaged storage or a broken invariant.
    pub(crate) async fn apply(
        &mut self,
        store: &Rc<Store<Rt>>,
        committed: raft::Committed,
    ) -> Result<Effects, StateError> {
        let mut effects = Effects::default();
        if let Some(stored) = committed.stored() {
            let (mut next, last) = stored.into_inner();
            while next <= last {
                let entries = store
                    .entries(
                        GroupId(self.group),
                        highwater_engine::LogIndex(next.0),
                        highwater_engine::LogIndex(last.0),
                        REPLAY_BYTES,
                    )
                    .await?;
                let Some(end) = entries.last().map(|entry| entry.index) else {
                    return Err(self.broken(format!("entry {} is committed and not in the log", next.0)));
                };
                for entry in &entries {
                    self.apply_entry(raft::LogIndex(entry.index.0), &entry.data, &mut effects).await?;
                }
                next = raft::LogIndex(end.0 + 1);
            }
        }
        for entry in &committed.entries {
            self.apply_entry(entry.index, &entry.data, &mut effects).await?;
        }
        self.raft.advance_apply(committed.last).map_err(|error| self.broken(error.to_string()))?;
        store.advance_clock(GroupId(self.group), self.state.log_time());
        store.release_log(GroupId(self.group), highwater_engine::LogIndex(committed.last.0));
        let first = raft::LogIndex(store.first_index(GroupId(self.group)).0);
        if first > self.compacted {
            // Fails only when the engine kept more than Raft knows of, which costs nothing.
            let _ = self.raft.compact(first);
            self.compacted = first;
        }
        let view = self.state.view();
        if view.catalog().version > self.logged_catalog.version {
            self.logged_catalog = Arc::clone(view.catalog());
        }
        Ok(effects)
    }

    fn broken(&self, what: String) -> StateError {
        StateError::Broken { group: self.group, what }
    }

    async fn apply_entry(
        &mut self,
        index: raft::LogIndex,
        data: &Bytes,
        effects: &mut Effects,
    ) -> Result<(), StateError> {
        let applied = self.state.apply(highwater_engine::LogIndex(index.0), data).await?;
        effects.outbox |= applied.outbox;
        effects.appended |= !applied.appended.is_empty();
        effects.catalog |= applied.catalog_changed;
        if let Some(slot) = self.waiting.remove(&index.0) {
            effects.answers.push((slot, Applied { index: index.0, outcome: applied.outcome }));
        } else if let Outcome::Refused(diag) = applied.outcome {
            tracing::debug!(group = self.group, index = index.0, %diag, "an entry without a waiting client was refused");
        }
        Ok(())
    }
}
