//! The scrub: reading everything again, slowly and for ever, so that damage is found while peers still have what was lost.
//!
//! A pass reads every block of every live table and every closed segment of the log once, past the cache, against the
//! checksums that point to it. Its pace follows from what there is to read, so that a pass takes `scrub_period_micros` at
//! most; where it begins is drawn. New damage makes the rest of the pass and the next one faster.
//!
//! Must never: change anything. What is found is reported ([`Store::damage`]), and a damaged table is quarantined: it is not
//! compacted, and reads that meet the damage fail.

use std::rc::{Rc, Weak};

use highwater_runtime::Env;

use super::{Store, add};
use crate::damage::{Damage, remember};
use crate::error::EngineError;
use crate::log::scrub::SegmentScrub;

/// How much faster it goes after a hit.
const HASTE: u64 = 16;
/// The longest wait between two reads, in microseconds: small stores are read more often than they must be.
const LONGEST_PAUSE_MICROS: u64 = 600_000_000;

/// Microseconds to wait after `piece` of `total` bytes was read, so that reading all of them takes `period` microseconds.
pub(crate) const fn pause_micros(piece: u64, total: u64, period: u64, hit: bool) -> u64 {
    let total = if total < piece { piece } else { total };
    if total == 0 {
        return LONGEST_PAUSE_MICROS;
    }
    let pause = piece as u128 * period as u128 / total as u128;
    let pause = if hit { pause / HASTE as u128 } else { pause };
    if pause > LONGEST_PAUSE_MICROS as u128 { LONGEST_PAUSE_MICROS } else { pause as u64 }
}

/// Something that a pass reads.
#[derive(Clone, Copy)]
enum Target {
    Table(u64),
    Segment(u64),
}

/// Where a pass stands. Holds no file: what is gone meanwhile is passed over.
#[derive(Default)]
struct Pass {
    /// In falling order of their turn.
    left: Vec<Target>,
    /// The next piece of the table whose turn it is.
    piece: usize,
    segment: Option<SegmentScrub>,
    /// New damage was found in this pass, or in the one before.
    hits: (bool, bool),
}

impl<E: Env> Store<E> {
    /// Starts the task that scrubs, unless the options say that there is none.
    pub(super) fn start_scrub(self: &Rc<Self>) {
        if self.options.scrub_period_micros > 0 {
            let (weak, env) = (Rc::downgrade(self), self.env.clone());
            self.env.spawn("engine-scrub", scrub(weak, env));
        }
    }

    /// All damage that is known of the files in use: found by the scrub, by reads or by compaction.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let oldest = self.log.oldest_segment();
        let mut log = self.log_damage.borrow_mut();
        log.retain(|(segment, _)| *segment >= oldest);
        let version = self.version.borrow();
        let tables = version.tables().flat_map(|table| table.damage());
        tables.chain(log.iter().map(|(_, damage)| damage.clone())).collect()
    }

    /// Bytes that a pass reads.
    fn scrubbed_bytes(&self) -> u64 {
        let log: u64 = self.log.closed_segments().iter().map(|(_, bytes)| bytes).sum();
        let version = self.version.borrow();
        log + version.tables().map(|table| table.meta.bytes()).sum::<u64>()
    }

    /// Everything there is to read, begun at a place that is drawn.
    fn plan(&self, pass: &mut Pass) {
        let version = Rc::clone(&self.version.borrow());
        pass.left = version.tables().map(|table| Target::Table(table.meta.table)).collect();
        pass.left.extend(self.log.closed_segments().into_iter().map(|(segment, _)| Target::Segment(segment)));
        if !pass.left.is_empty() {
            let start = self.env.random() % pass.left.len() as u64;
            pass.left.rotate_left(usize::try_from(start).unwrap_or(0));
        }
    }

    /// Reads the next piece. Returns how long to wait then, in microseconds.
    async fn scrub_piece(&self, pass: &mut Pass) -> u64 {
        if pass.left.is_empty() {
            self.plan(pass);
        }
        let outcome = match pass.left.last().copied() {
            Some(Target::Table(id)) => self.scrub_table(id, pass).await,
            Some(Target::Segment(id)) => self.scrub_segment(id, pass).await,
            None => Ok(None),
        };
        let bytes = match outcome {
            Ok(Some(bytes)) => bytes,
            // The target is done, or gone.
            Ok(None) => {
                if pass.left.pop().is_some() && pass.left.is_empty() {
                    add(&self.counters.scrub_passes, 1);
                    pass.hits = (false, pass.hits.0);
                }
                (pass.piece, pass.segment) = (0, None);
                return if pass.left.is_empty() { self.pause(0, pass) } else { 0 };
            }
            // The device did not deliver: no proof of damage. The next pass tries again.
            Err(_) => {
                if pass.segment.take().is_some() {
                    pass.left.pop();
                }
                highwater_runtime::BLOCK as u64
            }
        };
        add(&self.counters.scrubbed_bytes, bytes);
        self.pause(bytes, pass)
    }

    fn pause(&self, bytes: u64, pass: &Pass) -> u64 {
        let hit = pass.hits.0 || pass.hits.1;
        let total = self.scrubbed_bytes();
        pause_micros(bytes.max(u64::from(total > 0)), total, self.options.scrub_period_micros, hit)
    }

    async fn scrub_table(&self, id: u64, pass: &mut Pass) -> Result<Option<u64>, EngineError> {
        let table = self.version.borrow().tables().find(|table| table.meta.table == id).cloned();
        let Some(table) = table.filter(|table| pass.piece < table.scrub_pieces()) else { return Ok(None) };
        let known = table.damage().len();
        let outcome = table.scrub_piece(pass.piece).await;
        pass.piece += 1;
        pass.hits.0 |= table.damage().len() > known;
        outcome.map(Some)
    }

    async fn scrub_segment(&self, id: u64, pass: &mut Pass) -> Result<Option<u64>, EngineError> {
        if pass.segment.is_none() {
            pass.segment = self.log.begin_scrub(id);
        }
        let Some(scrub) = &mut pass.segment else { return Ok(None) };
        let outcome = self.log.scrub_step(scrub).await;
        let Some(damage) = outcome.as_ref().err().and_then(Damage::of) else { return outcome };
        let in_header = damage.offset == 0;
        let mut known = self.log_damage.borrow_mut();
        let mut places: Vec<Damage> = known.iter().map(|(_, damage)| damage.clone()).collect();
        if remember(&mut places, damage.clone()) {
            known.push((id, damage));
            pass.hits.0 = true;
        }
        // Blocks are chained: behind a damaged one nothing can be checked.
        Ok(in_header.then_some(highwater_runtime::BLOCK as u64))
    }
}

async fn scrub<E: Env>(weak: Weak<Store<E>>, env: E) {
    let mut pass = Pass::default();
    // Stores that were started together do not read together.
    let mut pause = weak.upgrade().map_or(0, |store| store.env.random() % store.pause(16 << 10, &pass).max(1));
    loop {
        let Some(wake) = weak.upgrade().filter(|store| !store.closed.get()).map(|store| store.scrub_wake.clone())
        else {
            return;
        };
        let until = env.now().after_micros(pause);
        futures_lite::future::or(env.sleep_until(until), wake.wait()).await;
        let Some(store) = weak.upgrade().filter(|store| !store.closed.get()) else { return };
        store.busy.set(store.busy.get() + 1);
        pause = store.scrub_piece(&mut pass).await;
        store.busy.set(store.busy.get() - 1);
        if store.closed.get() {
            store.progress.announce();
        }
        drop(store);
        env.yield_if_needed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_pauses() {
        let (day, mib, gib) = (86_400_000_000u64, 1 << 20, 1 << 30);
        for (piece, total, period, hit, micros) in [
            (16 << 10, gib, 14 * day, false, 18_457_031),
            (16 << 10, gib, 14 * day, true, 1_153_564),
            (mib, 100 * gib, 14 * day, false, 11_812_500),
            // Little to read is read more often than it must be.
            (16 << 10, mib, 14 * day, false, LONGEST_PAUSE_MICROS),
            (0, 0, 14 * day, false, LONGEST_PAUSE_MICROS),
            // A file that has just gone counts for what was read of it.
            (mib, 4096, 1000, false, 1000),
        ] {
            assert_eq!(pause_micros(piece, total, period, hit), micros, "{piece} of {total} bytes");
        }
    }
}
