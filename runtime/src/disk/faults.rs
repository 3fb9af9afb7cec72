//! Which faults the disk model injects, how often, and how often each has fired.

use crate::rng::Rng;

/// Rates of the disk's misbehaviour. Probabilities are per operation, those marked "per crash" per power crash; 0.0 is never, 1.0 always.
///
/// The names in brackets are the fault kinds of the simulation plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// \[S1\] A power crash loses everything that was not synced (per crash).
    pub lose_unsynced: f64,
    /// \[S2\] A power crash that is not S1 keeps a random subset of the unsynced 4 KiB blocks, in any order (per crash); otherwise all is kept.
    pub keep_subset: f64,
    /// \[S3\] A power crash tears one unsynced block at a multiple of 512 bytes (per crash).
    pub torn_block: f64,
    /// \[S4\] A power crash loses names whose folder was not synced (per crash): all of them when it is also S1, else a random subset;
    /// otherwise all are kept.
    pub lose_names: f64,
    /// \[S5\] A read fails with `EIO`.
    pub read_error: f64,
    /// \[S6\] A write fails with `EIO`; any subset of its blocks has reached the file.
    pub write_error: f64,
    /// \[S7\] A sync fails with `EIO`: a random subset of the pending writes is dropped and forgotten, the next sync succeeds without them.
    pub sync_error: f64,
    /// \[S8\] An operation that needs space fails with `ENOSPC` (besides [`Faults::capacity`]).
    pub no_space: f64,
    /// \[S9\] A read gives one block with one bit turned over. The newest synchronous write of a file is spared: until something was
    /// written after it, nobody can tell damage of it from a write that was never finished.
    pub bit_rot: f64,
    /// \[S10\] A write goes to another place, in its own file or in another one of the folder; its own place keeps what it held.
    pub misdirected_write: f64,
    /// \[S11\] A write, or one block of it, is acknowledged and never lands.
    pub lost_write: f64,
    /// \[S12\] An operation takes 1 to 5 seconds.
    pub stall: f64,
    /// \[S13\] A read comes back short, which is `UnexpectedEof` at the contract.
    pub short_read: f64,
    /// \[S14\] An operation takes up to ten times its usual time, so that later ones overtake it.
    pub reorder: f64,
    /// Bytes that all files together may hold; `None` for no limit.
    pub capacity: Option<u64>,
    /// Usual time of one operation, in microseconds.
    pub latency_micros: u64,
}

impl Faults {
    /// A disk that never fails; a power crash loses exactly what was not synced, files and names alike.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            lose_unsynced: 1.0,
            keep_subset: 0.0,
            torn_block: 0.0,
            lose_names: 1.0,
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            no_space: 0.0,
            bit_rot: 0.0,
            misdirected_write: 0.0,
            lost_write: 0.0,
            stall: 0.0,
            short_read: 0.0,
            reorder: 0.0,
            capacity: None,
            latency_micros: 50,
        }
    }

    /// Rates drawn for one seed ("swarm"): each run stresses another mixture. Operations never fail (no S5-S8, S13):
    /// the store must survive every such run without an error.
    #[must_use]
    pub fn crashes(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xD15C_FA17);
        let mut rate = |choices: &[f64]| {
            let pick = usize::try_from(rng.below(choices.len() as u64)).unwrap_or(0);
            choices.get(pick).copied().unwrap_or(0.0)
        };
        Self {
            lose_unsynced: rate(&[0.0, 0.3, 0.6, 1.0]),
            keep_subset: rate(&[0.0, 0.5, 1.0, 1.0]),
            torn_block: rate(&[0.0, 0.5, 1.0]),
            lose_names: rate(&[0.0, 0.5, 1.0]),
            stall: rate(&[0.0, 0.0, 0.001]),
            reorder: rate(&[0.0, 0.1, 0.5]),
            ..Self::none()
        }
    }

    /// As [`Faults::crashes`], with errors of reads, writes and syncs added: the store must refuse or stop, and never lose what it acknowledged.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED_E110);
        let mut rate = |high: f64| match rng.below(3) {
            0 => 0.0,
            1 => high / 10.0,
            _ => high,
        };
        Self {
            read_error: rate(0.005),
            write_error: rate(0.005),
            sync_error: rate(0.01),
            no_space: rate(0.005),
            short_read: rate(0.005),
            ..Self::crashes(seed)
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

/// A kind of fault of the disk model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// \[S1\] A crash lost everything unsynced, and there was something to lose.
    LostUnsynced,
    /// \[S2\] A crash kept some unsynced blocks and lost others.
    KeptSubset,
    /// \[S3\] A block was torn.
    TornBlock,
    /// \[S4\] A name was lost.
    LostName,
    /// \[S5\] A read failed.
    ReadError,
    /// \[S6\] A write failed.
    WriteError,
    /// \[S7\] A sync failed.
    SyncError,
    /// \[S8\] An operation found no space, by rate or by capacity.
    NoSpace,
    /// \[S9\] A bit was turned over, in a read or on the disk.
    BitRot,
    /// \[S10\] A write went astray.
    MisdirectedWrite,
    /// \[S11\] A write was acknowledged and did not land.
    LostWrite,
    /// \[S12\] An operation stalled.
    Stall,
    /// \[S13\] A read came back short.
    ShortRead,
    /// \[S14\] An operation completed before one that was submitted earlier.
    OutOfOrder,
    /// \[S15\] Something of a dead incarnation tried to reach the disk, and was refused.
    StaleHandle,
}

impl Fault {
    /// Every kind, in the order of the plan.
    pub const ALL: [Self; 15] = [
        Self::LostUnsynced,
        Self::KeptSubset,
        Self::TornBlock,
        Self::LostName,
        Self::ReadError,
        Self::WriteError,
        Self::SyncError,
        Self::NoSpace,
        Self::BitRot,
        Self::MisdirectedWrite,
        Self::LostWrite,
        Self::Stall,
        Self::ShortRead,
        Self::OutOfOrder,
        Self::StaleHandle,
    ];

    /// The kind's short name in reports, e.g. `S1 lost unsynced`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostUnsynced => "S1 lost unsynced",
            Self::KeptSubset => "S2 kept subset",
            Self::TornBlock => "S3 torn block",
            Self::LostName => "S4 lost name",
            Self::ReadError => "S5 read error",
            Self::WriteError => "S6 write error",
            Self::SyncError => "S7 sync error",
            Self::NoSpace => "S8 no space",
            Self::BitRot => "S9 bit rot",
            Self::MisdirectedWrite => "S10 misdirected write",
            Self::LostWrite => "S11 lost write",
            Self::Stall => "S12 stall",
            Self::ShortRead => "S13 short read",
            Self::OutOfOrder => "S14 out of order",
            Self::StaleHandle => "S15 stale handle",
        }
    }
}

/// How often each kind of fault has fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(std::collections::BTreeMap<Fault, u64>);

impl FaultCounts {
    /// Times that `fault` has fired.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// Every kind with its count, zeros included, in the order of [`Fault::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.of(fault)))
    }

    /// Adds the counts of another disk.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    pub(crate) fn fired(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }
}
