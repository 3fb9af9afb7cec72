//! What one file holds: the image that reads see, the image that a power cut leaves, and the ordered changes between them.
//!
//! Invariant: replaying every pending change in order on the durable image gives the visible one, unless a failed sync
//! has dropped changes (then the visible image is what the page cache still shows and no crash will keep).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::buffer::BLOCK;

/// One block's content, shared by the images, the pending changes and the clones of a disk.
#[derive(Clone, Debug)]
pub(super) struct Block {
    bytes: Arc<[u8]>,
    /// Hash of the bytes; 0 for zeros.
    hash: u64,
}

impl Block {
    /// A block of these bytes; all blocks of zeros share their memory.
    pub fn new(bytes: &[u8]) -> Self {
        static ZEROS: OnceLock<Arc<[u8]>> = OnceLock::new();
        let zeros = ZEROS.get_or_init(|| Arc::from([0; BLOCK]));
        if bytes == &zeros[..] {
            return Self { bytes: Arc::clone(zeros), hash: 0 };
        }
        Self { bytes: bytes.into(), hash: xxhash_rust::xxh3::xxh3_64(bytes) }
    }

    /// Hash of the content; 0 for zeros, as of a block that was never written.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The same with one bit turned over; `bit` counts from the block's start, modulo its size.
    pub fn with_bit_flipped(&self, bit: u64) -> Self {
        let mut bytes = self.bytes.to_vec();
        let bit = usize::try_from(bit % (BLOCK as u64 * 8)).unwrap_or(0);
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        Self::new(&bytes)
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sectors in a block: the unit in which a torn block is torn (512 bytes).
pub(super) const SECTORS: usize = 8;
const SECTOR: usize = BLOCK / SECTORS;

/// Contents and length; blocks that are absent read as zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub blocks: BTreeMap<u64, Block>,
    pub len: u64,
}

/// One unsynced change of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A block was written; the file reaches at least to the block's end.
    Block { index: u64, data: Block },
    /// The file was extended to this many bytes.
    Length(u64),
}

impl Image {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Block { index, data } => {
                self.blocks.insert(*index, data.clone());
                self.len = self.len.max((index + 1) * BLOCK as u64);
            }
            Change::Length(len) => self.len = self.len.max(*len),
        }
    }

    /// Applies only the sectors whose bit is set in `mask`; the others keep what the block held.
    pub fn apply_torn(&mut self, change: &Change, mask: u8) {
        let Change::Block { index, data } = change else { return self.apply(change) };
        let mut mixed = self.blocks.get(index).map_or_else(|| vec![0; BLOCK], |old| old.to_vec());
        for (sector, (old, new)) in mixed.chunks_mut(SECTOR).zip(data.chunks(SECTOR)).enumerate() {
            if mask & (1 << sector) != 0 {
                old.copy_from_slice(new);
            }
        }
        self.apply(&Change::Block { index: *index, data: Block::new(&mixed) });
    }

    /// Fills `into` from `offset` (a block boundary); what was never written stays as it is (zero).
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        let first = offset / BLOCK as u64;
        for (index, target) in (first..).zip(into.chunks_mut(BLOCK)) {
            if let Some(source) = self.blocks.get(&index).and_then(|block| block.get(..target.len())) {
                target.copy_from_slice(source);
            }
        }
    }
}

/// Splits a write into changes, one per block.
pub(super) fn changes(offset: u64, data: &[u8]) -> impl Iterator<Item = Change> + '_ {
    (offset / BLOCK as u64..)
        .zip(data.chunks(BLOCK))
        .map(|(index, chunk)| Change::Block { index, data: Block::new(chunk) })
}

/// A file: both images and what lies between. Clones share what does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub visible: Arc<Image>,
    pub durable: Arc<Image>,
    /// Changes in the order of their completion, each with its sequence number.
    pub pending: Vec<(u64, Change)>,
    /// Open handles of the present incarnation.
    pub open: usize,
    /// The newest completed write on a synchronous handle: first block, number of blocks, sequence.
    pub newest: Option<(u64, u64, u64)>,
}

impl Inode {
    /// A completed write or extension that is not yet durable.
    pub fn change(&mut self, sequence: u64, change: Change) {
        Arc::make_mut(&mut self.visible).apply(&change);
        self.pending.push((sequence, change));
    }

    /// A completed write or extension that is durable at once. Older unsynced versions of the same block can't come back.
    pub fn change_durably(&mut self, change: &Change) {
        Arc::make_mut(&mut self.visible).apply(change);
        Arc::make_mut(&mut self.durable).apply(change);
        if let Change::Block { index, .. } = change {
            self.pending.retain(|(_, older)| !matches!(older, Change::Block { index: i, .. } if i == index));
        }
    }

    /// Makes every change up to `sequence` durable.
    pub fn sync(&mut self, sequence: u64) {
        let (covered, rest) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= sequence);
        let covered: Vec<(u64, Change)> = covered;
        if !covered.is_empty() {
            let durable = Arc::make_mut(&mut self.durable);
            covered.iter().for_each(|(_, change)| durable.apply(change));
        }
        self.pending = rest;
    }
}
