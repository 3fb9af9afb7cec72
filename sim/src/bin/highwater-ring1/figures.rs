//! What happens inside the store, by its own figures: counted, and held against what must never be.

use highwater_engine::{CompactionPolicy, EngineError, StoreStats};
use highwater_runtime::disk::Fault;

use crate::life::Life;
use crate::recovered::{Halt, violated};

/// A run of so many seeds must have met everything in [`EXPECTED`].
pub const ENOUGH_SEEDS: u64 = 2000;

/// What a run of many seeds must meet, besides every kind of fault: otherwise it shows less than it says.
pub const EXPECTED: &[&str] = &[
    "admission narrowed",
    "appends",
    "appends during an ingest",
    "compactions",
    "copies opened and compared",
    "crashes at a drawn completion",
    "crashes during a checkpoint",
    "crashes during an export",
    "crashes during an ingest",
    "crashes during recovery",
    "damage found by the store beside its work",
    "damage refused",
    "deferred entries",
    "expired values gone",
    "expired values still there",
    "exports",
    "groups that began another life",
    "held snapshots compared",
    "held snapshots from before an ingest compared",
    "log times advanced",
    "logs moved forward",
    "memtables flushed",
    "newest segments that lost their opening",
    "nodes that stopped themselves",
    "orphans removed",
    "ranges replaced",
    "ranges replaced by part of what was there",
    "scans ended across writes",
    "scrub passes",
    "sealed ends damaged",
    "several runs in a level below 0",
    "several runs in a level below 0, lazily leveled",
    "starts or lives ended by errors",
    "tables dropped unread: deleted by range",
    "tables dropped unread: expired",
    "tables moved",
    "torn tails left out",
    "unacknowledged appends that survived",
    "versions left out: expired",
    "versions left out: hidden",
    "whiles in which everything written expires, begun or ended",
    "writes held back by admission",
    "writes refused: disk full",
    "writes refused: level 0",
    "writes refused: log",
    "writes refused: memtables",
];

/// Everything of that, and every kind of fault, that `was_met` denies.
pub fn never_met(was_met: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let faults = Fault::ALL.into_iter().map(Fault::name);
    EXPECTED.iter().copied().chain(faults).filter(|name| !was_met(name)).collect()
}

impl Life {
    /// Counts what has happened since the last look.
    ///
    /// # Errors
    /// When a bound is broken.
    pub fn look_at_figures(&mut self) -> Result<(), Halt> {
        let now = self.store.stats();
        let before = std::mem::take(&mut self.seen);
        let rise = |of: fn(&StoreStats) -> u64| of(&now).saturating_sub(of(&before));
        let lazy = self.swarm.options.compaction_policy == CompactionPolicy::LazyLeveled;
        let tiered = now.runs.iter().skip(1).any(|runs| *runs > 1);
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.mark_by("memtables flushed", rise(|stats| stats.flushes));
            ledger.mark_by("compactions", rise(|stats| stats.compactions));
            ledger.mark_by("tables moved", rise(|stats| stats.moved_tables));
            ledger.mark_by("tables dropped unread: deleted by range", rise(|stats| stats.covered_tables));
            ledger.mark_by("tables dropped unread: expired", rise(|stats| stats.expired_tables));
            ledger.mark_by("versions left out: hidden", rise(|stats| stats.hidden_versions));
            ledger.mark_by("versions left out: expired", rise(|stats| stats.expired_versions));
            ledger.mark_by("logs moved forward", rise(|stats| stats.relocations));
            ledger.mark_by("scrub passes", rise(|stats| stats.scrub_passes));
            ledger.mark_by("several runs in a level below 0", u64::from(tiered));
            ledger.mark_by("several runs in a level below 0, lazily leveled", u64::from(tiered && lazy));
            for damage in now.damage.iter().filter(|damage| !before.damage.contains(damage)) {
                ledger.mark("damage found by the store beside its work");
                // It needs a reason like damage that was answered.
                let (file, offset, what) = (damage.file.clone(), damage.offset, damage.what.clone());
                ledger.errors.push(EngineError::Corruption { file, offset, what });
            }
        }
        let limit = self.swarm.options.frozen_memtables;
        if now.frozen_memtables > limit {
            return violated(format!("{} memtables wait, {limit} may", now.frozen_memtables));
        }
        self.seen = now;
        Ok(())
    }
}
