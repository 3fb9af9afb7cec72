//! Crashes: what is at risk, what survives, and every outcome that one crash could have.

use std::path::PathBuf;
use std::sync::Arc;

use super::crash::{AtRisk, CrashKind, Drawn, Fate, Survival, SurvivingSet, Unsynced};
use super::image::Change;
use super::names::{self, InodeId};
use super::{Disk, Incarnation, Operation};

impl Disk {
    /// What a crash of this kind, now, would put at risk, in the order in which [`Survival`] is asked.
    #[must_use]
    pub fn at_risk(&self, kind: CrashKind) -> Vec<Unsynced> {
        let names = self.directory.pending.iter().filter(|_| kind == CrashKind::Power).map(|(_, change)| Unsynced {
            path: change.path().to_path_buf(),
            what: AtRisk::Name,
            in_flight: false,
        });
        let changes = self.changes_at_risk(kind).into_iter().map(|(inode, change, in_flight)| Unsynced {
            path: self.name_of(inode),
            what: match change {
                Change::Block { index, .. } => AtRisk::Block(index),
                Change::Length(len) => AtRisk::Length(len),
            },
            in_flight,
        });
        names.chain(changes).collect()
    }

    pub(super) fn name_of(&self, inode: InodeId) -> PathBuf {
        let names = &self.directory;
        let found = names.visible.iter().chain(names.durable.iter()).find(|(_, id)| **id == inode);
        found.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    fn changes_at_risk(&self, kind: CrashKind) -> Vec<(InodeId, Change, bool)> {
        let mut all = Vec::new();
        if kind == CrashKind::Power {
            for (id, inode) in &self.inodes {
                all.extend(inode.pending.iter().map(|(_, change)| (*id, change.clone(), false)));
            }
        }
        for flight in self.in_flight.values() {
            let id = flight.handle.inode;
            match &flight.operation {
                Operation::Write { .. } => all.extend(flight.changes.iter().map(|change| (id, change.clone(), true))),
                Operation::Allocate { len } => all.push((id, Change::Length(*len), true)),
                Operation::Read { .. } | Operation::Sync => {}
            }
        }
        all
    }

    /// Crashes the node; what survives is drawn by the rates of [`Faults`].
    pub fn crash(&mut self, kind: CrashKind) {
        let at_risk = self.at_risk(kind).len();
        let mut drawn = Drawn::new(self.rng.fork(), &self.faults, at_risk);
        self.crash_with(kind, &mut drawn);
        drawn.count(&mut self.counts);
    }

    /// Crashes the node; `survival` decides what survives.
    pub fn crash_with(&mut self, kind: CrashKind, survival: &mut dyn Survival) {
        let fates: Vec<Fate> = self.at_risk(kind).iter().map(|item| survival.fate(item)).collect();
        self.crash_into(kind, &fates);
    }

    /// Crashes the node; the i-th thing of [`Disk::at_risk`] has the i-th fate, and is lost when there is none.
    pub fn crash_into(&mut self, kind: CrashKind, fates: &[Fate]) {
        let mut fates = fates.iter().copied();
        let changes = self.changes_at_risk(kind);
        if kind == CrashKind::Power {
            if !self.directory.pending.is_empty() || self.directory.visible != self.directory.durable {
                let directory = Arc::make_mut(&mut self.directory);
                for (_, change) in std::mem::take(&mut directory.pending) {
                    if !matches!(fates.next(), Some(Fate::Lost) | None) {
                        names::apply(&mut directory.durable, &change);
                    }
                }
                directory.visible = directory.durable.clone();
            }
            for inode in self.inodes.values_mut() {
                if !Arc::ptr_eq(&inode.visible, &inode.durable) || !inode.pending.is_empty() {
                    let inode = Arc::make_mut(inode);
                    inode.pending.clear();
                    inode.visible = Arc::clone(&inode.durable);
                }
            }
        }
        self.in_flight.clear();
        for (id, change, _) in changes {
            let fate = fates.next().unwrap_or(Fate::Lost);
            let sequence = self.next_sequence();
            if fate == Fate::Lost {
                continue;
            }
            let Some(inode) = self.inodes.get_mut(&id).map(Arc::make_mut) else { continue };
            self.wounds.overwritten(id, &change);
            match (fate, kind) {
                (Fate::Lost, _) => {}
                // After a power cut what is on the disk is durable.
                (Fate::Kept, CrashKind::Power) => inode.change_durably(&change),
                (Fate::Kept, CrashKind::Process) => inode.change(sequence, change),
                (Fate::Torn(mask), CrashKind::Power) => {
                    Arc::make_mut(&mut inode.durable).apply_torn(&change, mask);
                    inode.visible = Arc::clone(&inode.durable);
                }
                (Fate::Torn(mask), CrashKind::Process) => {
                    Arc::make_mut(&mut inode.visible).apply_torn(&change, mask);
                    if let Change::Block { index, .. } = change {
                        let mixed = inode.visible.blocks.get(&index).cloned();
                        inode.pending.extend(mixed.map(|data| (sequence, Change::Block { index, data })));
                    }
                }
            }
        }
        self.life = Incarnation(self.life.0 + 1);
        for inode in self.inodes.values_mut() {
            if inode.open > 0 {
                Arc::make_mut(inode).open = 0;
            }
        }
        self.forget_unreachable();
    }

    /// Copies of this disk as different outcomes of a crash now would leave them: every subset of what is at risk if there are at most
    /// `limit` of those, else nothing, everything and random subsets, `limit` in all. No block is torn.
    pub fn outcomes(&self, kind: CrashKind, limit: u64) -> impl Iterator<Item = Self> + '_ {
        let at_risk = self.at_risk(kind).len();
        let subsets = u32::try_from(at_risk).ok().and_then(|bits| 1u64.checked_shl(bits)).filter(|all| *all <= limit);
        let mut rng = self.rng.clone();
        (0..subsets.unwrap_or(limit)).map(move |outcome| {
            let mut disk = self.clone();
            if subsets.is_some() {
                disk.crash_with(kind, &mut SurvivingSet(outcome));
            } else {
                disk.crash_with(kind, &mut |_: &Unsynced| match outcome {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    _ if rng.chance(0.5) => Fate::Kept,
                    _ => Fate::Lost,
                });
            }
            disk
        })
    }
}
