//! What presses on the store, and how freely it takes new writes.

use highwater_runtime::{Env, Monotonic};

use super::{Memtables, Store, add};
use crate::compaction::clock::GroupClocks;
use crate::compaction::pace::{self, FULL, Limit, Load};
use crate::ids::GroupId;
use crate::pressure::{Intake, Pressure};

impl<E: Env> Store<E> {
    /// How freely new client writes may be taken, in thousandths: 1000 for without limit, falling towards 0 as memtables, level 0,
    /// the log or compaction's debt approach their limits. It is 0 whenever [`Store::pressure`] asks to refuse writes, and falls long
    /// before; it is 0 only then. A group driver takes that share of what it would take in a turn (of a token bucket, of its window of proposals), so that
    /// clients slow down evenly rather than stop and go. It is never to be waited for inside the write path: what is in
    /// the log is applied at once.
    pub fn admission(&self) -> u64 {
        self.look().share
    }

    /// [`Self::admission`] with what holds writes back. Stalls are counted when this is asked.
    pub fn intake(&self) -> Intake {
        let intake = self.look();
        self.note_stall(intake.share == 0);
        intake
    }

    fn look(&self) -> Intake {
        if let Some(stop) = self.hard_stop() {
            return Intake { share: 0, held_by: Some(stop) };
        }
        let memtables = self.memtables.borrow();
        let frozen: usize = memtables.frozen.iter().map(|frozen| frozen.memtable.bytes()).sum();
        let (debt, bottom_bytes) = self.compaction.debt();
        let load = Load {
            memtable_bytes: (memtables.active.bytes() + frozen) as u64,
            level_zero_runs: self.version.borrow().runs_of(0),
            log_bytes: self.log.live_bytes(),
            debt,
            bottom_bytes,
        };
        let (share, limit) = pace::admission(&load, &self.options);
        // The hard stop alone says 0, so that nobody is told to refuse everything by one of the two and not by the other.
        let share = share.max(1);
        let held_by = (share < FULL).then(|| match limit {
            Limit::Memory => Pressure::Memtables { bytes: memtables.active.bytes() + frozen },
            Limit::LevelZero => Pressure::LevelZero { runs: load.level_zero_runs },
            Limit::Log => Pressure::Log { bytes: load.log_bytes },
            Limit::Debt => Pressure::Debt { bytes: load.debt },
        });
        Intake { share, held_by }
    }

    /// Tells the store a group's log time, in microseconds: values of its keys (those that begin with the group's four bytes,
    /// big-endian) that expire at or before it have expired, and compaction may remove them once everything that is applied of the group
    /// is in tables: entries that a restart applies again find what they found. A lower time than before changes nothing.
    /// Snapshots taken from now on must belong to this time or a later one. The time is not kept over a restart.
    pub fn advance_clock(&self, group: GroupId, micros: u64) {
        self.compaction.clocks.borrow_mut().advance(group, micros);
        if self.memtables.borrow().speak_of(group) && !self.env.mutant(140) {
            return;
        }
        self.compaction.flushed_clocks.borrow_mut().advance(group, micros);
        if micros >= self.compaction.next_expiry.get() {
            // Once is enough: the next choice looks for what expires next.
            self.compaction.next_expiry.set(u64::MAX);
            self.compaction.wake();
        }
    }

    /// Notes what may go as expired after a flush of what was frozen at these log times: what had expired then, and what has by now in
    /// groups of which nothing is in memory.
    pub(super) fn note_flushed_clocks(&self, memtables: &Memtables, frozen: &GroupClocks) {
        let clocks = self.compaction.clocks.borrow();
        let mut known = self.compaction.flushed_clocks.borrow_mut();
        known.catch_up(frozen);
        let flushed = clocks.iter().filter(|(group, _)| !memtables.speak_of(*group));
        flushed.for_each(|(group, micros)| known.advance(group, micros));
    }

    /// Bytes that compactions have to move, about.
    pub(super) const fn debt(&self) -> u64 {
        self.compaction.debt().0
    }

    /// Notes when the hard stop begins and ends.
    pub(super) fn note_stall(&self, stalled: bool) {
        match (self.stalled_since.get(), stalled) {
            (None, true) => {
                self.stalled_since.set(Some(self.env.now()));
                add(&self.counters.stalls, 1);
            }
            (Some(since), false) => {
                add(&self.counters.stall_micros, self.env.now().micros_since(since));
                self.stalled_since.set(None);
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    pub(super) fn stall_micros(&self) -> u64 {
        let now = |since: Monotonic| self.env.now().micros_since(since);
        self.counters.stall_micros.get() + self.stalled_since.get().map_or(0, now)
    }
}
