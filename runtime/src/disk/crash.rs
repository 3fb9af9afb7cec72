//! What a crash leaves: the kinds of crash, and the choice of what survives, drawn at random or made by a test.

use std::path::PathBuf;

use super::faults::{Fault, FaultCounts, Faults};
use super::image::SECTORS;
use crate::rng::Rng;

/// How the node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The machine lost power: what was not synced is at risk.
    Power,
    /// Only the process ended: completed writes stay (and stay unsynced), writes in flight are at risk.
    Process,
}

/// One thing that a crash puts at risk, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file, or the name that was created, replaced or removed. Empty for a file that has no name any more.
    pub path: PathBuf,
    /// What is at risk.
    pub what: AtRisk,
    /// Whether the operation had not completed when the crash came.
    pub in_flight: bool,
}

/// Kind of a thing at risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRisk {
    /// A created, renamed or removed name.
    Name,
    /// A written block, by its index in the file.
    Block(u64),
    /// An extension of the file to this many bytes.
    Length(u64),
}

/// What becomes of a thing at risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As if it had never been done.
    Lost,
    /// It is on the disk.
    Kept,
    /// Only the 512-byte sectors whose bit is set are on the disk (blocks; names and lengths are kept whole).
    Torn(u8),
}

/// Decides what survives a crash. Asked once per thing at risk, in the order of [`super::Disk::at_risk`].
pub trait Survival {
    /// The fate of `item`.
    fn fate(&mut self, item: &Unsynced) -> Fate;
}

/// Any closure decides.
impl<F: FnMut(&Unsynced) -> Fate> Survival for F {
    fn fate(&mut self, item: &Unsynced) -> Fate {
        self(item)
    }
}

/// A chosen set: the i-th thing at risk survives exactly if bit i is set. Counting from 0 to 2^n - 1 enumerates all outcomes.
#[derive(Clone, Copy, Debug)]
pub struct SurvivingSet(pub u64);

impl Survival for SurvivingSet {
    fn fate(&mut self, _: &Unsynced) -> Fate {
        let kept = self.0 & 1 != 0;
        self.0 >>= 1;
        if kept { Fate::Kept } else { Fate::Lost }
    }
}

/// The choice as the rates of [`Faults`] draw it.
pub(super) struct Drawn {
    rng: Rng,
    blocks: Mode,
    names: Mode,
    torn: Option<u64>,
    seen: u64,
    kept: u64,
    lost: u64,
    names_lost: u64,
    tore: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    None,
    Some,
    All,
}

impl Drawn {
    pub fn new(mut rng: Rng, faults: &Faults, at_risk: usize) -> Self {
        let blocks = if rng.chance(faults.lose_unsynced) {
            Mode::None
        } else if rng.chance(faults.keep_subset) {
            Mode::Some
        } else {
            Mode::All
        };
        let names = if rng.chance(faults.lose_names) {
            if blocks == Mode::None { Mode::None } else { Mode::Some }
        } else {
            Mode::All
        };
        let torn = rng.chance(faults.torn_block).then(|| rng.below(at_risk as u64));
        Self { rng, blocks, names, torn, seen: 0, kept: 0, lost: 0, names_lost: 0, tore: false }
    }

    pub fn count(&self, counts: &mut FaultCounts) {
        if self.lost > 0 && self.kept == 0 {
            counts.fired(Fault::LostUnsynced);
        }
        if self.lost > 0 && self.kept > 0 {
            counts.fired(Fault::KeptSubset);
        }
        if self.tore {
            counts.fired(Fault::TornBlock);
        }
        if self.names_lost > 0 {
            counts.fired(Fault::LostName);
        }
    }
}

impl Survival for Drawn {
    fn fate(&mut self, item: &Unsynced) -> Fate {
        let position = self.seen;
        self.seen += 1;
        let mode = if item.what == AtRisk::Name { self.names } else { self.blocks };
        // The torn block is the first block at or after the drawn position.
        if !self.tore && self.torn.is_some_and(|at| position >= at) && matches!(item.what, AtRisk::Block(_)) {
            self.tore = true;
            self.kept += 1;
            // Neither no sector nor all of them: the block really is torn.
            return Fate::Torn(u8::try_from(1 + self.rng.below((1 << SECTORS) - 2)).unwrap_or(1));
        }
        let kept = match mode {
            Mode::None => false,
            Mode::Some => self.rng.chance(0.5),
            Mode::All => true,
        };
        match (item.what, kept) {
            (AtRisk::Name, false) => self.names_lost += 1,
            (AtRisk::Name, true) => {}
            (_, true) => self.kept += 1,
            (_, false) => self.lost += 1,
        }
        if kept { Fate::Kept } else { Fate::Lost }
    }
}
