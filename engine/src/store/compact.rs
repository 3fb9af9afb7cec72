//! Running what the controller chooses: one compaction per lane at a time.
//!
//! A compaction goes block by block. After each it lets others of the core run, and when it has used up what the writes paid for
//! ([`crate::compaction::pace`]), it waits for more of them, or until nobody writes. It has one read and one write of a few blocks under
//! way, so the disk never holds more than that of it between two records of the log.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use highwater_runtime::Env;

use super::output::Output;
use super::{Store, add};
use crate::compaction::clock::GroupClocks;
use crate::compaction::controller::{Compaction, Input, Lane, Reason, Task, pick};
use crate::compaction::merge::Merge;
use crate::compaction::pace::{patience, quota};
use crate::compaction::retention::Retention;
use crate::compaction::room::{Doubt, NoRoom, Room};
use crate::compaction::sizes::{BOTTOM, Sizes, level_bytes};
use crate::error::EngineError;
use crate::gate::Event;
use crate::manifest::edit::LEVELS;
use crate::manifest::{Edit, TableMeta};
use crate::tree::cursor::Direction;
use crate::tree::run::RunFeed;
use crate::tree::source::Source;
use crate::tree::table::{Demand, Table};
use crate::tree::version::Version;

/// How long a compaction that has used up what was paid for waits before it looks again, in microseconds.
const WAIT_MICROS: u64 = 1_000;
/// What it may go on with when nobody wrote meanwhile, or when level 0 is crowded, in bytes.
const FREE_BYTES: i64 = 4 << 20;
/// The most that is saved up, in bytes: a pause of the compactions must not be followed by a long burst.
const SAVED_BYTES: i64 = 64 << 20;
/// Bytes merged between two looks at the pace, besides those at every block read or written.
const STEP_BYTES: usize = 32 << 10;

/// New tables, described and open.
type Made<E> = (Vec<TableMeta>, Vec<Rc<Table<E>>>);

/// What compactions know of each other and of what was paid.
#[derive(Default)]
pub(super) struct CompactionState {
    upper_wake: Event,
    deep_wake: Event,
    /// Tables in compactions under way.
    busy: RefCell<BTreeSet<u64>>,
    running: Cell<usize>,
    /// Bytes that merges under way may write at most.
    promised: Cell<u64>,
    /// What merges learned that found no space.
    doubt: Cell<Doubt>,
    /// The groups' log times.
    pub(super) clocks: RefCell<GroupClocks>,
    /// The log times up to which what expires may go: those of the entries whose effects are in tables.
    pub(super) flushed_clocks: RefCell<GroupClocks>,
    /// When, by any group's clock, the next whole table will have expired.
    pub(super) next_expiry: Cell<u64>,
    /// Bytes that may be compacted before the next writes.
    credit: Cell<i64>,
    /// Bytes written that were paid for already.
    paid: Cell<u64>,
    debt: Cell<u64>,
    bottom_bytes: Cell<u64>,
    read: RefCell<[u64; LEVELS]>,
    written: RefCell<[u64; LEVELS]>,
    largest: Cell<u64>,
}

impl CompactionState {
    /// Lets both lanes look for work.
    pub(super) fn wake(&self) {
        self.upper_wake.notify();
        self.deep_wake.notify();
    }

    pub(super) const fn wake_of(&self, lane: Lane) -> &Event {
        match lane {
            Lane::Upper => &self.upper_wake,
            Lane::Deep => &self.deep_wake,
        }
    }

    pub(super) fn wrote(&self, level: usize, bytes: u64) {
        if let Some(sum) = self.written.borrow_mut().get_mut(level) {
            *sum += bytes;
        }
    }

    fn has_read(&self, level: usize, bytes: u64) {
        if let Some(sum) = self.read.borrow_mut().get_mut(level) {
            *sum += bytes;
        }
    }

    /// Bytes that the largest compaction has read.
    pub(super) const fn largest(&self) -> u64 {
        self.largest.get()
    }

    pub(super) fn read_bytes(&self) -> Vec<u64> {
        self.read.borrow().to_vec()
    }

    pub(super) fn written_bytes(&self) -> Vec<u64> {
        self.written.borrow().to_vec()
    }

    pub(super) const fn running(&self) -> usize {
        self.running.get()
    }

    /// Debt, and bytes of the deepest level.
    pub(super) const fn debt(&self) -> (u64, u64) {
        (self.debt.get(), self.bottom_bytes.get())
    }
}

fn has_damaged<E: Env>(version: &Version<E>, tables: &[u64]) -> bool {
    version.tables().any(|table| table.is_damaged() && tables.contains(&table.meta.table))
}

impl<E: Env> Store<E> {
    /// Compacts until the lane finds nothing more to do. Returns whether something waits for a quiet moment.
    pub(super) async fn compaction_work(&self, lane: Lane, quiet: bool) -> Result<bool, EngineError> {
        loop {
            // Where that cannot be told, a merge finds out for itself.
            let free = self.env.free_space(&self.folder).await.unwrap_or(u64::MAX);
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            if self.tree_held.get() > 0 {
                return Ok(false);
            }
            let (version, began) = (Rc::clone(&self.version.borrow()), self.env.now());
            let free = self.compaction.doubt.get().believed(free, began);
            let room = Room::of(free, self.compaction.promised.get(), version.runs_of(0), &self.options);
            let task = match self.choose(&version, lane, quiet, &room) {
                Ok(Some(task)) => task,
                Ok(None) => {
                    return Ok(lane == Lane::Upper && !quiet && version.runs_of(0) >= self.options.level_zero_trigger);
                }
                Err(NoRoom { needed, free }) => {
                    return Err(EngineError::NoRoom { folder: self.folder.clone(), needed, free });
                }
            };
            self.troubles.borrow_mut().has_room(lane);
            let (tables, bytes) = (task.tables(), task.bytes());
            self.compaction.busy.borrow_mut().extend(tables.iter().copied());
            self.compaction.running.set(self.compaction.running.get() + 1);
            self.compaction.promised.set(self.compaction.promised.get() + bytes);
            let outcome = match self.run_task(&version, &task).await {
                // What is damaged is known now, and left alone from now on: what can still be read of it gets no fresh checksums.
                Err(EngineError::Corruption { .. }) if has_damaged(&version, &tables) => Ok(()),
                outcome => outcome,
            };
            self.compaction.running.set(self.compaction.running.get() - 1);
            self.compaction.promised.set(self.compaction.promised.get() - bytes);
            self.compaction.busy.borrow_mut().retain(|table| !tables.contains(table));
            if matches!(outcome, Err(EngineError::NoSpace { .. })) {
                let now = self.env.now();
                let doubt = self.compaction.doubt.get();
                self.compaction.doubt.set(doubt.after(bytes, now.micros_since(began), now));
            }
            outcome?;
            add(&self.counters.compactions, 1);
            // Pressure may have ended, and the other lane may go on.
            self.progress.announce();
            self.compaction.wake();
        }
    }

    fn choose(&self, version: &Rc<Version<E>>, lane: Lane, quiet: bool, room: &Room) -> Result<Option<Task>, NoRoom> {
        let deletes = version.tables().filter(|table| table.meta.range_deletes > 0);
        let range_deletes: Vec<_> = deletes.flat_map(|table| table.tombstones.iter()).collect();
        let clocks = self.compaction.flushed_clocks.borrow();
        let expiring = version.tables().filter(|table| table.meta.all_expire()).map(|table| &table.meta);
        let coming = |meta: &&TableMeta| !clocks.has_expired_within(&meta.start, &meta.end, meta.last_expiry);
        let next = expiring.filter(coming).map(|meta| meta.last_expiry.0).min();
        self.compaction.next_expiry.set(next.unwrap_or(u64::MAX));
        let mut busy = self.compaction.busy.borrow().clone();
        busy.extend(version.tables().filter(|table| table.is_damaged()).map(|table| table.meta.table));
        let input = Input {
            levels: &version.levels,
            busy: &busy,
            snapshots: &self.snapshots.held(),
            clocks: &clocks,
            range_deletes: &range_deletes,
            quiet,
            room,
            options: &self.options,
        };
        pick(&input, lane)
    }

    /// Measures how far the tree is from its shape. Called when the tree has changed.
    pub(super) fn measure_debt(&self, version: &Version<E>) {
        let sizes = Sizes::of(&version.levels, &self.options);
        self.compaction.debt.set(sizes.debt(&version.levels, &self.options));
        self.compaction.bottom_bytes.set(version.levels.get(BOTTOM).map_or(0, |runs| level_bytes(runs)));
    }

    async fn run_task(&self, version: &Rc<Version<E>>, task: &Task) -> Result<(), EngineError> {
        match task {
            Task::Drop { tables, reason } => {
                let edit = Edit { dropped: tables.clone(), ..Edit::default() };
                self.install(edit, Vec::new(), |_| ()).await?;
                let counter = match reason {
                    Reason::Covered => &self.counters.covered_tables,
                    Reason::Expired => &self.counters.expired_tables,
                };
                add(counter, tables.len() as u64);
                Ok(())
            }
            Task::Move { tables, to } => {
                let added = version.named(tables).iter().map(|table| (*to, table.meta.clone())).collect();
                let edit = Edit { added, dropped: tables.clone(), ..Edit::default() };
                self.install(edit, Vec::new(), |_| ()).await?;
                add(&self.counters.moved_tables, tables.len() as u64);
                Ok(())
            }
            Task::Merge(compaction) => self.compact(version, compaction).await,
        }
    }

    async fn compact(&self, version: &Rc<Version<E>>, compaction: &Compaction) -> Result<(), EngineError> {
        let inputs: Vec<Vec<Rc<Table<E>>>> = compaction.inputs.iter().map(|run| version.named(run)).collect();
        let targets = version.named(&compaction.targets);
        let given = || inputs.iter().flatten().chain(&targets);
        // Planted bugs 108 and 41: versions that a snapshot sees are dropped; deletes are dropped above the bottom.
        let held = if self.env.mutant(108) { Vec::new() } else { self.snapshots.held() };
        let bottom = compaction.bottom || self.env.mutant(41);
        let clocks = self.compaction.flushed_clocks.borrow().clone();
        let rule = Retention::new(held, clocks, bottom, given().map(|table| &table.tombstones));
        // Blocks read here bypass the cache: they are read once.
        let run = |tables: &Vec<Rc<Table<E>>>| Source::run(RunFeed::new(tables.clone(), Direction::Forward, None));
        let merge = Merge::new(inputs.iter().chain(std::iter::once(&targets)).map(run).collect());
        let demand: Demand = given().map(|table| table.demand()).sum();
        let output = Output::new(self, compaction.to.level, self.options.table_bytes, rule);
        let mut output = output.warming(demand.is_hot());
        let (outputs, tables) = match self.pour(merge, &mut output).await {
            Ok(made) => made,
            Err(error) => {
                output.discard().await;
                return Err(error);
            }
        };
        tables.iter().for_each(|table| table.inherit(demand));
        inputs.iter().flatten().for_each(|table| self.compaction.has_read(compaction.from, table.meta.bytes()));
        targets.iter().for_each(|table| self.compaction.has_read(compaction.to.level, table.meta.bytes()));
        let bytes = given().map(|table| table.meta.bytes()).sum();
        self.compaction.largest.set(self.compaction.largest.get().max(bytes));
        let dropped = given().map(|table| table.meta.table).collect();
        let added = outputs.into_iter().map(|meta| (compaction.to, meta)).collect();
        self.install(Edit { added, dropped, ..Edit::default() }, tables, |_| ()).await
    }

    /// Merges everything into the output, at its pace.
    async fn pour(&self, mut merge: Merge<E>, output: &mut Output<'_, E>) -> Result<Made<E>, EngineError> {
        let mut step = 0;
        // Planted bug 119: a failed read counts as the end of the input.
        while let Some(entry) = merge.next().await.or_else(|e| if self.env.mutant(119) { Ok(None) } else { Err(e) })? {
            step += entry.key.len() + entry.value.map_or(0, <[u8]>::len);
            output.push(entry).await?;
            if step >= STEP_BYTES {
                self.pay(step).await?;
                step = 0;
            }
        }
        let outputs = output.finish().await?;
        let tables = output.open(&outputs).await?;
        Ok((outputs, tables))
    }

    /// Uses up what `bytes` of compaction cost; waits while nothing is left and others write.
    async fn pay(&self, bytes: usize) -> Result<(), EngineError> {
        self.env.yield_if_needed().await;
        let state = &self.compaction;
        state.credit.set(state.credit.get() - bytes as i64);
        loop {
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            let taken = self.counters.taken_bytes.get();
            let written = taken - state.paid.replace(taken);
            let earned = quota(state.debt.get(), state.bottom_bytes.get(), written, &self.options);
            let credit = state.credit.get().saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(SAVED_BYTES);
            state.credit.set(credit);
            if credit > 0 {
                return Ok(());
            }
            if self.version.borrow().runs_of(0) >= patience(&self.options) {
                state.credit.set(FREE_BYTES);
                return Ok(());
            }
            self.env.sleep(WAIT_MICROS).await;
            if self.counters.taken_bytes.get() == taken {
                state.credit.set(FREE_BYTES);
                return Ok(());
            }
        }
    }
}
