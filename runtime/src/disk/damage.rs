//! Silent damage: blocks that do not hold what was written to them, and say nothing. \[S9\] \[S10\] \[S11\]
//!
//! The disk remembers every wound with the right content, so that a checker can tell damage that the simulator made from a defect of
//! what it checks, and can heal it again, as a replica rebuilt from its peers would be.
//!
//! Invariant: a wound exists only while the block's content differs from the right one; writing the block ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::Fault;
use super::image::{Block, Change};
use super::names::{InodeId, normal};
use super::{Disk, Handle};
use crate::buffer::BLOCK;

/// A block that does not hold what was written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file; empty when it has no name any more.
    pub path: PathBuf,
    /// Index of the block in the file.
    pub block: u64,
    /// What was done to it.
    pub kind: Fault,
}

#[derive(Clone, Debug)]
struct Wound {
    kind: Fault,
    /// What should be there; `None` for zeros that were never written.
    right: Option<Block>,
}

/// All wounds of a disk, and the places where reads of the present life were spoilt in passing.
#[derive(Clone, Debug, Default)]
pub(super) struct Wounds {
    lasting: BTreeMap<(InodeId, u64), Wound>,
    passing: BTreeSet<(InodeId, u64)>,
    /// What was done since the reports were last cleared, under the names that the files had.
    done: Vec<Damage>,
}

impl Wounds {
    /// The block was written: whatever it held is gone.
    pub fn overwritten(&mut self, inode: InodeId, change: &Change) {
        if let Change::Block { index, .. } = change {
            self.lasting.remove(&(inode, *index));
        }
    }

    /// Keeps the wounds of files that still exist.
    pub fn retain(&mut self, exists: impl Fn(InodeId) -> bool) {
        self.lasting.retain(|(id, _), _| exists(*id));
        self.passing.retain(|(id, _)| exists(*id));
    }
}

fn hash_of(block: Option<&Block>) -> u64 {
    block.map_or(0, Block::hash)
}

impl Disk {
    /// Turns a write over to the faults: what it really does, which may be less, or elsewhere.
    pub(super) fn astray(&mut self, handle: Handle, changes: Vec<Change>) -> Vec<Change> {
        if self.strikes(Fault::LostWrite, self.faults.lost_write) {
            // The whole write, or one block of it.
            let only = (self.rng.below(2) == 0).then(|| self.rng.below(changes.len() as u64));
            let mut landed = Vec::new();
            for (at, change) in (0..).zip(changes) {
                if only.is_none_or(|only| only == at) {
                    self.missed(handle, &change, Fault::LostWrite);
                } else {
                    landed.push(change);
                }
            }
            return landed;
        }
        if self.strikes(Fault::MisdirectedWrite, self.faults.misdirected_write) {
            for change in &changes {
                self.missed(handle, change, Fault::MisdirectedWrite);
            }
            self.strike_elsewhere(handle.inode, &changes);
            return Vec::new();
        }
        changes
    }

    /// A block that should have been written keeps what it held. The file has its new length all the same.
    fn missed(&mut self, handle: Handle, change: &Change, kind: Fault) {
        let Change::Block { index, data } = change else { return };
        let length = Change::Length((index + 1) * BLOCK as u64);
        self.change(handle, length);
        let Some(inode) = self.inodes.get(&handle.inode) else { return };
        if hash_of(inode.visible.blocks.get(index)) != data.hash() {
            self.wounds.lasting.insert((handle.inode, *index), Wound { kind, right: Some(data.clone()) });
            self.report(handle.inode, *index, kind);
        }
    }

    /// Lets a write land somewhere else, durably.
    fn strike_elsewhere(&mut self, own: InodeId, changes: &[Change]) {
        let other: Vec<InodeId> = self.directory.visible.values().copied().collect();
        let pick = usize::try_from(self.rng.below(other.len() as u64 * 2)).unwrap_or(0);
        let victim = other.get(pick).copied().unwrap_or(own);
        let blocks = self.inodes.get(&victim).map_or(0, |inode| inode.visible.len / BLOCK as u64);
        let Some(room) = blocks.checked_sub(changes.len() as u64) else { return };
        let to = self.rng.below(room + 1);
        for (index, change) in (to..).zip(changes) {
            if let Change::Block { data, .. } = change {
                self.wound(victim, index, data.clone(), Fault::MisdirectedWrite);
            }
        }
    }

    /// Puts `wrong` into a block behind everyone's back.
    fn wound(&mut self, id: InodeId, index: u64, wrong: Block, kind: Fault) {
        let Some(inode) = self.inodes.get_mut(&id).map(Arc::make_mut) else { return };
        let held = inode.visible.blocks.get(&index).cloned();
        let right = self.wounds.lasting.remove(&(id, index)).map_or(held, |wound| wound.right);
        let differs = hash_of(right.as_ref()) != wrong.hash();
        let change = Change::Block { index, data: wrong };
        Arc::make_mut(&mut inode.visible).apply(&change);
        Arc::make_mut(&mut inode.durable).apply(&change);
        if differs {
            self.wounds.lasting.insert((id, index), Wound { kind, right });
            self.report(id, index, kind);
        }
    }

    /// Turns one bit of a durable block over, for good. Nothing happens to a file that does not exist.
    pub fn rot(&mut self, path: &Path, block: u64, bit: u64) {
        let Some(id) = self.directory.visible.get(&normal(path)).copied() else { return };
        let held = self.inodes.get(&id).and_then(|inode| inode.visible.blocks.get(&block).cloned());
        let held = held.unwrap_or_else(|| Block::new(&[0; BLOCK]));
        self.wound(id, block, held.with_bit_flipped(bit), Fault::BitRot);
    }

    /// Turns a bit over in what a read gives, by the rate. The disk keeps the right content.
    pub(super) fn rot_in_passing(&mut self, id: InodeId, offset: u64, buffer: &mut [u8]) {
        if !self.strikes(Fault::BitRot, self.faults.bit_rot) {
            return;
        }
        let bit = self.rng.below(buffer.len() as u64 * 8);
        let block = offset / BLOCK as u64 + bit / 8 / BLOCK as u64;
        let newest = self.inodes.get(&id).and_then(|inode| inode.newest);
        if newest.is_some_and(|(first, blocks, _)| (first..first + blocks).contains(&block)) {
            return;
        }
        if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| buffer.get_mut(at)) {
            *byte ^= 1 << (bit % 8);
            self.wounds.passing.insert((id, block));
            self.report(id, block, Fault::BitRot);
        }
    }

    /// Every block that holds something else than what was written to it, or that a read gave wrongly since [`Disk::forget_passing`].
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let lasting = self.wounds.lasting.iter().map(|((id, block), wound)| (*id, *block, wound.kind));
        let passing = self.wounds.passing.iter().map(|(id, block)| (*id, *block, Fault::BitRot));
        lasting.chain(passing).map(|(id, block, kind)| Damage { path: self.name_of(id), block, kind }).collect()
    }

    /// Notes what was done to a block, and counts it.
    fn report(&mut self, id: InodeId, block: u64, kind: Fault) {
        let path = self.name_of(id);
        self.wounds.done.push(Damage { path, block, kind });
        self.counts.fired(kind);
    }

    /// All damage that was done since [`Disk::forget_passing`], also what has been overwritten or removed with its file since.
    #[must_use]
    pub fn damage_done(&self) -> &[Damage] {
        &self.wounds.done
    }

    /// Forgets which reads were spoilt in passing, and what damage was done until now. What lasts goes on lasting.
    pub fn forget_passing(&mut self) {
        self.wounds.passing.clear();
        self.wounds.done.clear();
    }

    /// Puts the right content back into every damaged block that `which` names.
    pub fn heal(&mut self, which: impl Fn(&Damage) -> bool) {
        let all: Vec<((InodeId, u64), Fault)> =
            self.wounds.lasting.iter().map(|(place, wound)| (*place, wound.kind)).collect();
        for ((id, block), kind) in all {
            if which(&Damage { path: self.name_of(id), block, kind })
                && let Some(wound) = self.wounds.lasting.remove(&(id, block))
                && let Some(inode) = self.inodes.get_mut(&id).map(Arc::make_mut)
            {
                let data = wound.right.unwrap_or_else(|| Block::new(&[0; BLOCK]));
                let change = Change::Block { index: block, data };
                Arc::make_mut(&mut inode.visible).apply(&change);
                Arc::make_mut(&mut inode.durable).apply(&change);
            }
        }
    }

    /// Takes the present content of every damaged block that `which` names for the right one.
    pub fn accept(&mut self, which: impl Fn(&Damage) -> bool) {
        let kept = self.damage().into_iter().filter(|damage| !which(damage));
        let kept: BTreeSet<(PathBuf, u64)> = kept.map(|damage| (damage.path, damage.block)).collect();
        let mut wounds = std::mem::take(&mut self.wounds);
        wounds.lasting.retain(|(id, block), _| kept.contains(&(self.name_of(*id), *block)));
        self.wounds = wounds;
    }

    /// The newest completed write of a file on a synchronous handle: first block, number of blocks, and a number that rises with every
    /// change of the disk.
    #[must_use]
    pub fn newest_write(&self, path: &Path) -> Option<(u64, u64, u64)> {
        self.inodes.get(self.directory.visible.get(&normal(path))?)?.newest
    }
}
