//! From memtable to table.

use std::rc::Rc;

use highwater_runtime::Env;

use super::output::Output;
use super::{Frozen, Memtables, Store, add};
use crate::compaction::merge::Merge;
use crate::compaction::retention::Retention;
use crate::error::EngineError;
use crate::ids::GroupId;
use crate::log::group::GroupLog;
use crate::manifest::{Edit, GroupMark, Place};
use crate::tree::memtable::Memtable;
use crate::tree::source::Source;
use crate::tree::table::{Demand, Table};
use crate::tree::version::Version;

impl<E: Env> Store<E> {
    /// Puts a new memtable in the active one's place, if it holds anything and there is room for one more frozen one.
    /// The applied index and the log time of every group are captured in the same step.
    pub(super) fn freeze(&self, memtables: &mut Memtables) -> bool {
        if memtables.active.is_empty() || memtables.frozen.len() >= self.options.frozen_memtables {
            return false;
        }
        let fresh = Rc::new(Memtable::sized(self.options.memtable_bytes));
        let memtable = std::mem::replace(&mut memtables.active, fresh);
        memtable.close();
        let mut marks = memtable.applied();
        if self.env.mutant(13) {
            // Planted bug 13: the applied index is that of another moment than the data.
            marks = std::mem::replace(&mut memtables.earlier_marks, marks);
        }
        let clocks = self.compaction.clocks.borrow().clone();
        memtables.frozen.push_back(Rc::new(Frozen { memtable, marks, clocks }));
        add(&self.counters.frozen, 1);
        self.flush_wake.notify();
        true
    }

    /// Writes everything in memory to tables and waits until they are installed.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`] when the disk is full (the store goes on trying), [`EngineError::Closed`].
    pub async fn flush(&self) -> Result<(), EngineError> {
        loop {
            let (active, frozen) = {
                let mut memtables = self.memtables.borrow_mut();
                (memtables.active.is_empty() || self.freeze(&mut memtables), self.counters.frozen.get())
            };
            self.flush_wake.notify();
            self.wait_for_flush(if active { frozen } else { self.counters.flushed.get() + 1 }).await?;
            if active {
                return Ok(());
            }
        }
    }

    /// Waits until so many memtables were flushed.
    async fn wait_for_flush(&self, count: u64) -> Result<(), EngineError> {
        while self.counters.flushed.get() < count {
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            self.progress.changed().await;
            if let Some(error) = self.troubles.borrow().flush.clone() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Flushes what is frozen and looks after the log.
    pub(super) async fn flush_work(&self) -> Result<(), EngineError> {
        loop {
            let oldest = self.memtables.borrow().frozen.front().cloned();
            if let Some(frozen) = oldest {
                self.flush_one(&frozen).await?;
                self.progress.announce();
                self.freeze_if_full();
                // Segments are used again while writes go on; freed all at once at the end, most would be given back, and then filled
                // with zeros once more.
                self.advance_tail().await?;
                continue;
            }
            self.maintain_log().await?;
            if self.memtables.borrow().frozen.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes may have filled the active memtable while there was no room for one more frozen one.
    fn freeze_if_full(&self) {
        let mut memtables = self.memtables.borrow_mut();
        if memtables.active.bytes() >= self.options.memtable_bytes {
            self.freeze(&mut memtables);
        }
    }

    async fn flush_one(&self, frozen: &Rc<Frozen>) -> Result<(), EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        // The tables must not be ahead of the log.
        self.log.sync().await?;
        // Planted bug 113: the applied indexes are those of the flush, not of the freeze.
        let upto = |group, applied| if self.env.mutant(113) { self.applied(group) } else { applied };
        let mark = |group, applied| (group, self.mark(group, Some(upto(group, applied))));
        let mut edit = Edit {
            groups: frozen.marks.iter().map(|(group, applied)| mark(*group, *applied)).collect(),
            last_seq: Some(frozen.memtable.last_seq().0),
            ..Edit::default()
        };
        let tables = self.write_memtable(frozen).await?;
        let run = tables.first().map_or(0, |table| table.meta.table);
        edit.added.extend(tables.iter().map(|table| (Place { level: 0, run }, table.meta.clone())));
        self.install(edit, tables, |_| {
            let mut memtables = self.memtables.borrow_mut();
            memtables.frozen.pop_front();
            self.note_flushed_clocks(&memtables, &frozen.clocks);
            add(&self.counters.flushed, 1);
        })
        .await?;
        for (group, applied) in &frozen.marks {
            self.log.flushed(*group, *applied);
        }
        self.log.forget_gone();
        Ok(())
    }

    /// The group's mark with what the log knows; `flushed` overrides what is recorded.
    pub(super) fn mark(&self, group: GroupId, flushed: Option<crate::ids::LogIndex>) -> GroupMark {
        let of = |log: &GroupLog| GroupMark {
            incarnation: log.incarnation,
            flushed: flushed.unwrap_or(log.flushed),
            start: log.start,
            start_term: log.start_term,
            since: log.since,
        };
        let known = self.log.group(group).map(|log| of(&log));
        known.unwrap_or_else(|| GroupMark { flushed: flushed.unwrap_or_default(), ..GroupMark::default() })
    }

    /// A new table id.
    pub(super) fn take_table_id(&self) -> u64 {
        let id = self.next_table.get();
        self.next_table.set(id + 1);
        id
    }

    /// Writes a memtable's content to tables; to none when there is nothing to write.
    async fn write_memtable(&self, frozen: &Frozen) -> Result<Vec<Rc<Table<E>>>, EngineError> {
        let memtable = &frozen.memtable;
        let rule = {
            let tombstones = memtable.tombstones();
            // Planted bug 140: expired is what has by now, not what had at the freeze.
            let now = self.env.mutant(140).then(|| self.compaction.clocks.borrow().clone());
            let clocks = now.unwrap_or_else(|| frozen.clocks.clone());
            Retention::new(self.snapshots.held(), clocks, false, std::iter::once(&*tombstones))
        };
        let merge = Merge::<E>::new(vec![Source::memtable(Rc::clone(memtable))]);
        // A run of level 0 is one table, however large: it is read as a whole soon.
        let warm = self.version.borrow().tables().any(|table| table.demand().is_hot());
        let mut output = Output::new(self, 0, u64::MAX, rule).warming(warm);
        let outcome = Self::drain(merge, &mut output).await;
        match &outcome {
            Ok(tables) if warm => tables.iter().for_each(|table| table.inherit(Demand { asked: 2, blocks: 1 })),
            Ok(_) => {}
            Err(_) => output.discard().await,
        }
        outcome
    }

    async fn drain(mut merge: Merge<E>, output: &mut Output<'_, E>) -> Result<Vec<Rc<Table<E>>>, EngineError> {
        while let Some(entry) = merge.next().await? {
            output.push(entry).await?;
        }
        let metas = output.finish().await?;
        output.open(&metas).await
    }

    /// Makes an edit durable and swaps the version that it describes in. `then` runs in the same step as the swap, and is given
    /// the version from before. A group that was replaced while the edit waited for its turn is another one: what the edit knew of it
    /// is left out.
    pub(super) async fn install(
        &self,
        mut edit: Edit,
        added: Vec<Rc<Table<E>>>,
        then: impl FnOnce(&Rc<Version<E>>),
    ) -> Result<(), EngineError> {
        let _pass = self.manifest_gate.enter().await;
        // Planted bug 137: what an edit knew of a group before an ingest comes back when it is installed after that.
        if !self.env.mutant(137) {
            edit.groups.retain(|group, mark| self.log.group(*group).is_none_or(|log| log.goes_on_from(mark)));
        }
        self.install_next(edit, added, then).await
    }

    /// Does that for who holds the manifest's gate, and takes all marks as they are.
    pub(super) async fn install_next(
        &self,
        mut edit: Edit,
        added: Vec<Rc<Table<E>>>,
        then: impl FnOnce(&Rc<Version<E>>),
    ) -> Result<(), EngineError> {
        self.prune_eras();
        let Some(mut manifest) = self.manifest.take() else { return Err(EngineError::Closed) };
        edit.next_table = Some(self.next_table.get());
        // Whatever an edit is about, it proves which block was durable before it.
        edit.log_durable = Some(self.log.durable_sequence());
        let outcome = manifest.append(&edit).await;
        self.counters.manifest_syncs.set(manifest.syncs());
        if outcome.is_ok() {
            let open: Vec<Rc<Table<E>>> =
                self.version.borrow().tables().cloned().chain(added.iter().cloned()).collect();
            let next = Version::of(manifest.state(), &open, Rc::clone(&self.cache));
            let Some(next) = next else {
                match self.env.fail_stop("the manifest names a table that is not open; this node stops").await {}
            };
            self.measure_debt(&next);
            let before = self.version.replace(Rc::new(next));
            self.compaction.wake();
            then(&before);
            for table in &open {
                if !manifest.state().tables().any(|meta| meta.table == table.meta.table) {
                    table.retire();
                }
            }
            self.log.note_manifest(manifest.sequence());
            if let Some(tail) = edit.log_tail {
                self.recorded_tail.set(tail);
            }
        } else {
            added.iter().for_each(|table| table.retire());
        }
        self.manifest.set(Some(manifest));
        outcome
    }
}
