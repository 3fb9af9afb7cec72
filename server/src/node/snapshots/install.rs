//! Putting a snapshot in the place of a group's state and log.
//!
//! The replica's hard state goes to the log first, with the commit index that was stored before: alone it says only that a later term
//! was seen, which is true whatever follows. Then one edit of the store's manifest takes the old keys away, brings the tables, and
//! sets applied index, start of the log and life. A crash leaves the group as it was or as the snapshot says, never between.

use std::rc::Rc;

use highwater_engine::{GroupId, HardState, Incarnation, IngestOptions, LogBatch, PreparedTables, Store};
use highwater_raft as raft;
use highwater_runtime::{Env, sometimes};
use highwater_state::group::GroupState;
#[cfg(feature = "mutants")]
use highwater_state::keys::Space;
use highwater_state::placement::Layout;

use super::error::SnapshotError;
use super::staging::{Staged, ingest_options};

/// Pause before a full disk is tried again, in microseconds.
const NO_SPACE_MICROS: u64 = 200_000;

/// Where a snapshot goes.
pub(crate) struct Place<'a, E: Env> {
    /// The world.
    pub(crate) env: &'a E,
    /// The store. Nothing of the group is appended or written to it meanwhile.
    pub(crate) store: &'a Rc<Store<E>>,
    /// The cluster's layout.
    pub(crate) layout: Layout,
    /// The replica's life, which goes on.
    pub(crate) incarnation: Incarnation,
}

impl<E: Env> Place<'_, E> {
    /// Puts it there and opens the group anew. A full disk is waited for.
    ///
    /// # Errors
    /// [`SnapshotError`]: the node must stop, as the replica counts on what was named. The disk holds the old state, or all of the new.
    pub(crate) async fn install(
        &self,
        staged: &Staged,
        hard_state: Option<raft::HardState>,
    ) -> Result<GroupState<E>, SnapshotError> {
        loop {
            match self.try_install(staged, hard_state).await {
                Err(error) if error.is_no_space() => {
                    tracing::error!(group = staged.described.group, %error, "no space to put a snapshot in place: the group waits until there is some");
                    self.env.sleep(NO_SPACE_MICROS).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_install(
        &self,
        staged: &Staged,
        hard_state: Option<raft::HardState>,
    ) -> Result<GroupState<E>, SnapshotError> {
        let described = &staged.described;
        let group = GroupId(described.group);
        if let Some(hard_state) = hard_state {
            let stored = self.store.hard_state(group);
            let mut batch = LogBatch::default();
            batch.push_hard_state(
                group,
                HardState {
                    term: highwater_engine::Term(hard_state.term.0),
                    vote: hard_state.vote.map_or(0, |node| node.0),
                    commit: stored.commit,
                },
            );
            self.store.append(batch).await?;
        }
        let prepared = PreparedTables::open(self.env, &staged.folder).await?;
        let options = IngestOptions { incarnation: self.incarnation, ..ingest_options(described) };
        self.store.ingest(group, &prepared, &options).await?;
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "planted bugs change it"))]
        let mut state = GroupState::open(Rc::clone(self.store), described.group, self.layout).await?;
        #[cfg(feature = "mutants")]
        match highwater_runtime::chosen_mutant() {
            15 => state.forget(&[Space::Session, Space::SessionEnd]),
            16 => state.forget(&[Space::Consumers, Space::Claim]),
            _ => {}
        }
        let found = (state.applied().0, state.view().chain());
        if found != (described.index.0, described.chain) {
            let what = format!(
                "it ends at entry {} with chain {:032x}, announced were {} and {:032x}",
                found.0, found.1, described.index.0, described.chain
            );
            return Err(SnapshotError::Other { group: described.group, what });
        }
        self.store.advance_clock(group, state.log_time());
        sometimes("snapshots_put_in_place");
        Ok(state)
    }
}
