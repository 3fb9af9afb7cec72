//! # The disk model: one simulated machine's disk
//!
//! A plain library: no async, no clock. A backend submits operations, waits as long as [`Disk::latency`] says, and completes
//! them; what a crash leaves is drawn from the [`Faults`] or chosen by a test. Shared by the in-process and the madsim backend.
//!
//! Invariants:
//! * What a completed sync covers (writes completed before the sync was submitted) survives every crash.
//! * A write on a synchronous handle is durable at completion.
//! * Operations and handles carry the [`Incarnation`] they were made in; those of a dead one change nothing.
//! * Same seed, same calls: same outcome.

mod crash;
mod damage;
mod faults;
mod folders;
mod image;
mod names;
mod outcome;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crash::{AtRisk, CrashKind, Fate, Survival, SurvivingSet, Unsynced};
pub use damage::Damage;
pub use faults::{Fault, FaultCounts, Faults};

use crate::buffer::{AlignedBuf, BLOCK};
use crate::env::OpenOptions;
use crate::rng::Rng;
use damage::Wounds;
use image::{Change, Inode, changes};
use names::{Directory, InodeId, NameChange, folder, normal};

/// One life of the process on this disk; rises with every crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// An open file of one incarnation.
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    inode: InodeId,
    life: Incarnation,
    options: OpenOptions,
}

/// A submitted operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId(u64);

/// What is asked of an open file.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Write the buffer at this offset; completes with the buffer.
    Write {
        /// What to write, whole blocks.
        buffer: AlignedBuf,
        /// Where, a multiple of the block size.
        offset: u64,
    },
    /// Read so many bytes at this offset; completes with a buffer.
    Read {
        /// Where, a multiple of the block size.
        offset: u64,
        /// How many bytes, a multiple of the block size.
        len: usize,
    },
    /// Make durable what has completed until now.
    Sync,
    /// Extend to so many bytes.
    Allocate {
        /// New least length in bytes.
        len: u64,
    },
}

#[derive(Clone, Debug)]
struct InFlight {
    handle: Handle,
    operation: Operation,
    /// What a write does, block by block.
    changes: Vec<Change>,
    /// Sequence number at submission: what a sync covers.
    sequence: u64,
}

/// One machine's disk. A clone is a disk of its own that shares the content with this one until either changes it, so that a
/// test can try many outcomes of one crash.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Rates of misbehaviour; may be changed at any time.
    pub faults: Faults,
    rng: Rng,
    counts: FaultCounts,
    life: Incarnation,
    inodes: BTreeMap<InodeId, Arc<Inode>>,
    directory: Arc<Directory>,
    in_flight: BTreeMap<OpId, Arc<InFlight>>,
    /// Blocks that do not hold what was written to them.
    wounds: Wounds,
    /// How often each fault could have struck, and the one time at which it must.
    occasions: FaultCounts,
    planned: Option<(Fault, u64)>,
    /// Orders all changes, submissions and inode ids of this disk.
    sequence: u64,
}

fn eio(what: &str) -> io::Error {
    io::Error::other(format!("simulated input/output error: {what}"))
}

fn stale() -> io::Error {
    io::Error::other("operation of a dead incarnation: the node has crashed since")
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or folder: {}", path.display()))
}

impl Disk {
    /// An empty disk with the folder `/`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            counts: FaultCounts::default(),
            life: Incarnation(1),
            inodes: BTreeMap::new(),
            directory: Arc::default(),
            in_flight: BTreeMap::new(),
            wounds: Wounds::default(),
            occasions: FaultCounts::default(),
            planned: None,
            sequence: 0,
        }
    }

    /// Another disk, an empty one, takes the place of this one, with the same rates. The machine must be down.
    pub fn exchange(&mut self) {
        self.inodes.clear();
        self.directory = Arc::default();
        self.in_flight.clear();
        self.wounds = Wounds::default();
    }

    /// The present life.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.life
    }

    /// How often each fault has fired since the disk was made.
    #[must_use]
    pub const fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// Bytes that all named or open files hold.
    #[must_use]
    pub fn used(&self) -> u64 {
        let named: std::collections::BTreeSet<InodeId> = self.directory.visible.values().copied().collect();
        self.inodes
            .iter()
            .filter(|(id, inode)| inode.open > 0 || named.contains(id))
            .map(|(_, inode)| inode.visible.len)
            .sum()
    }

    /// Bytes that may still be written; `u64::MAX` without [`Faults::capacity`].
    ///
    /// # Errors
    /// A stale incarnation.
    pub fn free(&self, life: Incarnation) -> io::Result<u64> {
        self.fence(life)?;
        Ok(self.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used())))
    }

    /// How long the next operation takes, in microseconds.
    pub fn latency(&mut self) -> u64 {
        let usual = self.faults.latency_micros;
        if self.rng.chance(self.faults.stall) {
            self.counts.fired(Fault::Stall);
            return 1_000_000 + self.rng.below(4_000_000);
        }
        if self.rng.chance(self.faults.reorder) {
            return usual + self.rng.below(usual.saturating_mul(9).max(2));
        }
        usual
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Opens a file. See [`crate::Env::open`].
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `StorageFull` by rate, or a stale incarnation.
    pub fn open(&mut self, life: Incarnation, path: &Path, options: OpenOptions) -> io::Result<Handle> {
        self.admit(life)?;
        let path = normal(path);
        let inode = match (self.directory.visible.get(&path).copied(), options.create_new) {
            (Some(_), true) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("file exists: {}", path.display())));
            }
            (Some(inode), false) => inode,
            (None, false) => return Err(not_found(&path)),
            (None, true) => {
                if !self.directory.has_folder(&folder(&path)) {
                    return Err(not_found(&folder(&path)));
                }
                self.space(0)?;
                let inode = self.next_sequence();
                self.inodes.insert(inode, Arc::default());
                Arc::make_mut(&mut self.directory).change(inode, NameChange::Create { path, inode });
                inode
            }
        };
        if let Some(file) = self.inodes.get_mut(&inode) {
            Arc::make_mut(file).open += 1;
        }
        Ok(Handle { inode, life, options })
    }

    /// Closes a handle; one of a dead incarnation is ignored.
    pub fn close(&mut self, handle: Handle) {
        if handle.life != self.life {
            return;
        }
        if let Some(inode) = self.inodes.get_mut(&handle.inode).map(Arc::make_mut) {
            inode.open = inode.open.saturating_sub(1);
        }
        self.forget_unreachable();
    }

    /// Length of an open file in bytes.
    ///
    /// # Errors
    /// A stale handle.
    pub fn len(&self, handle: Handle) -> io::Result<u64> {
        self.fence(handle.life)?;
        self.inodes.get(&handle.inode).map(|inode| inode.visible.len).ok_or_else(stale)
    }

    /// Starts an operation; it has its effect when [`Disk::complete`] is called.
    ///
    /// # Errors
    /// A stale handle, a misaligned offset or length, a write on a read-only handle.
    pub fn submit(&mut self, handle: Handle, operation: Operation) -> io::Result<OpId> {
        self.admit(handle.life)?;
        let aligned = |offset: u64, len: usize| offset.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK);
        let (fine, writes) = match &operation {
            Operation::Write { buffer, offset } => (aligned(*offset, buffer.len()), true),
            Operation::Read { offset, len } => (aligned(*offset, *len), false),
            Operation::Sync => (true, false),
            Operation::Allocate { .. } => (true, true),
        };
        if !fine {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "file I/O must be aligned to 4096 bytes"));
        }
        if writes && !handle.options.write {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file was opened read-only"));
        }
        let id = OpId(self.next_sequence());
        let changes = match &operation {
            Operation::Write { buffer, offset } => changes(*offset, buffer).collect(),
            Operation::Read { .. } | Operation::Sync | Operation::Allocate { .. } => Vec::new(),
        };
        self.in_flight.insert(id, Arc::new(InFlight { handle, operation, changes, sequence: id.0 }));
        Ok(id)
    }

    /// Completes an operation: its effect takes place now. Reads and writes give their buffer.
    ///
    /// # Errors
    /// As the contract says, an injected fault, or a stale operation.
    pub fn complete(&mut self, id: OpId) -> io::Result<Option<AlignedBuf>> {
        let flight = self.in_flight.remove(&id).ok_or_else(stale)?;
        let InFlight { handle, operation, changes, sequence } = Arc::unwrap_or_clone(flight);
        self.admit(handle.life)?;
        if self.in_flight.first_key_value().is_some_and(|(earliest, _)| *earliest < id) {
            self.counts.fired(Fault::OutOfOrder);
        }
        match operation {
            Operation::Write { buffer, offset } => self.write(handle, buffer, offset, changes).map(Some),
            Operation::Read { offset, len } => self.read(handle, offset, len).map(Some),
            Operation::Sync => self.sync(handle, sequence).map(|()| None),
            Operation::Allocate { len } => self.allocate(handle, len).map(|()| None),
        }
    }

    fn write(
        &mut self,
        handle: Handle,
        buffer: AlignedBuf,
        offset: u64,
        changes: Vec<Change>,
    ) -> io::Result<AlignedBuf> {
        let len = self.len(handle)?;
        let end = offset + buffer.len() as u64;
        if end > len {
            self.space(end - len)?;
        }
        let fails = self.strikes(Fault::WriteError, self.faults.write_error);
        let blocks = changes.len() as u64;
        let changes = if fails { changes } else { self.astray(handle, changes) };
        for change in changes {
            if fails && self.rng.chance(0.5) {
                continue;
            }
            self.change(handle, change);
        }
        if fails {
            self.counts.fired(Fault::WriteError);
            return Err(eio("write"));
        }
        let sequence = self.sequence;
        if let Some(inode) = self.inodes.get_mut(&handle.inode).filter(|_| handle.options.synchronous) {
            Arc::make_mut(inode).newest = Some((offset / BLOCK as u64, blocks, sequence));
        }
        Ok(buffer)
    }

    fn change(&mut self, handle: Handle, change: Change) {
        let sequence = self.next_sequence();
        let Some(inode) = self.inodes.get_mut(&handle.inode).map(Arc::make_mut) else { return };
        self.wounds.overwritten(handle.inode, &change);
        if handle.options.synchronous {
            inode.change_durably(&change);
        } else {
            inode.change(sequence, change);
        }
    }

    fn read(&mut self, handle: Handle, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        if self.strikes(Fault::ReadError, self.faults.read_error) {
            self.counts.fired(Fault::ReadError);
            return Err(eio("read"));
        }
        if self.strikes(Fault::ShortRead, self.faults.short_read) {
            self.counts.fired(Fault::ShortRead);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "simulated short read"));
        }
        let inode = self.inodes.get(&handle.inode).ok_or_else(stale)?;
        let end = offset + len as u64;
        if end > inode.visible.len {
            let message = format!("read to {end} of a file of {} bytes", inode.visible.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let mut buffer = AlignedBuf::zeroed(len);
        if let Some(target) = buffer.get_mut(..len) {
            inode.visible.read(offset, target);
        }
        self.rot_in_passing(handle.inode, offset, &mut buffer);
        Ok(buffer)
    }

    fn sync(&mut self, handle: Handle, sequence: u64) -> io::Result<()> {
        let fails = self.strikes(Fault::SyncError, self.faults.sync_error);
        let Some(inode) = self.inodes.get_mut(&handle.inode).map(Arc::make_mut) else { return Err(stale()) };
        if fails {
            let rng = &mut self.rng;
            inode.pending.retain(|_| rng.chance(0.5));
            self.counts.fired(Fault::SyncError);
            return Err(eio("sync; some unsynced writes are lost"));
        }
        inode.sync(sequence);
        Ok(())
    }

    fn allocate(&mut self, handle: Handle, len: u64) -> io::Result<()> {
        let present = self.len(handle)?;
        if len > present {
            self.space(len - present)?;
            self.change(handle, Change::Length(len));
        }
        Ok(())
    }

    /// The file as a reader would see it now, for checkers and corruption tests.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let inode = self.inodes.get(self.directory.visible.get(&normal(path))?)?;
        let mut bytes = vec![0; usize::try_from(inode.visible.len).ok()?];
        inode.visible.read(0, &mut bytes);
        Some(bytes)
    }

    /// Puts a file there, durably and without faults, replacing what was there. Its length is rounded up to whole blocks. Folders are created.
    pub fn put(&mut self, path: &Path, bytes: &[u8]) {
        let path = normal(path);
        let id = self.next_sequence();
        let mut inode = Inode::default();
        let padded = AlignedBuf::from_slice(bytes);
        for change in changes(0, if bytes.is_empty() { &[] } else { &padded }) {
            inode.change_durably(&change);
        }
        self.inodes.insert(id, Arc::new(inode));
        let directory = Arc::make_mut(&mut self.directory);
        directory.folders.extend(folder(&path).ancestors().map(Path::to_path_buf));
        directory.pending.retain(|(_, change)| change.path() != path);
        directory.visible.insert(path.clone(), id);
        directory.durable.insert(path, id);
        self.forget_unreachable();
    }

    /// Every file there is now, with its length in bytes, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let len = |id: &InodeId| self.inodes.get(id).map_or(0, |inode| inode.visible.len);
        self.directory.visible.iter().map(|(path, id)| (path.clone(), len(id))).collect()
    }

    /// Lets a fault strike by its rate, or because this is the occasion that was planned for it.
    fn strikes(&mut self, fault: Fault, rate: f64) -> bool {
        self.occasions.fired(fault);
        self.planned == Some((fault, self.occasions.of(fault))) || self.rng.chance(rate)
    }

    /// How often a fault of this kind could have struck since the disk was made: its sites, when a run is to be repeated with each.
    #[must_use]
    pub fn occasions(&self, fault: Fault) -> u64 {
        self.occasions.of(fault)
    }

    /// Lets `fault` (one of operations: S5 to S8, S13) strike at its `occasion`-th opportunity, counted from 1, whatever its rate.
    pub fn plan(&mut self, fault: Fault, occasion: u64) {
        self.planned = Some((fault, occasion));
    }

    /// A hash of all that a reader would find: names, lengths and content. Equal disks have equal fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut sum = xxhash_rust::xxh3::Xxh3::new();
        for (path, id) in &self.directory.visible {
            let Some(inode) = self.inodes.get(id) else { continue };
            sum.update(path.as_os_str().as_encoded_bytes());
            sum.update(&inode.visible.len.to_le_bytes());
            for (index, block) in inode.visible.blocks.iter().filter(|(_, block)| block.hash() != 0) {
                sum.update(&index.to_le_bytes());
                sum.update(&block.hash().to_le_bytes());
            }
        }
        sum.digest()
    }

    /// Lets the present life pass; what a dead one tries is counted.
    fn admit(&mut self, life: Incarnation) -> io::Result<()> {
        if life != self.life {
            self.counts.fired(Fault::StaleHandle);
        }
        self.fence(life)
    }

    fn fence(&self, life: Incarnation) -> io::Result<()> {
        if life == self.life { Ok(()) } else { Err(stale()) }
    }

    fn space(&mut self, growth: u64) -> io::Result<()> {
        let full = self.faults.capacity.is_some_and(|capacity| growth > 0 && self.used() + growth > capacity);
        if self.strikes(Fault::NoSpace, self.faults.no_space) || full {
            self.counts.fired(Fault::NoSpace);
            return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated: no space left on the disk"));
        }
        Ok(())
    }

    /// Frees files that no name, visible, durable or possibly surviving, and no handle or operation reaches.
    fn forget_unreachable(&mut self) {
        let names = &self.directory;
        let mut reachable: std::collections::BTreeSet<InodeId> =
            names.visible.values().chain(names.durable.values()).copied().collect();
        reachable.extend(names.pending.iter().map(|(_, change)| match change {
            NameChange::Create { inode, .. } | NameChange::Rename { inode, .. } | NameChange::Remove { inode, .. } => {
                *inode
            }
        }));
        reachable.extend(self.in_flight.values().map(|flight| flight.handle.inode));
        self.inodes.retain(|id, inode| inode.open > 0 || reachable.contains(id));
        self.wounds.retain(|id| self.inodes.contains_key(&id));
    }
}

#[cfg(test)]
mod tests;
