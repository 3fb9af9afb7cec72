//! Longer histories: one seed is one machine with several lives, every storage fault, and a model of what must be there.
//!
//! A life ends by itself, at a drawn I/O completion (often inside recovery), or because the store stopped or refused. What it answers
//! is judged by what the disk did: an error without a fault that explains it is a violation, and so is damage that the disk did not do.
//! Damage is healed after it was refused, as a replica rebuilt from its peers would be; then everything acknowledged must be there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use highwater_engine::{EngineError, StoreStats};
use highwater_runtime::BLOCK;
use highwater_runtime::disk::{CrashKind, Damage, Disk, Fault, FaultCounts, Faults};
use highwater_runtime::inproc::{Sim, Stopped};
use highwater_runtime::rng::Rng;

use crate::exhaust::only_what_is_needed;
use crate::life::{Ghost, Ledger, Life};
use crate::recovered::{self, FOLDER, Halt};
use crate::swarm::Swarm;
use crate::transfer::LAST_COPY;

/// What one seed gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The broken promise, if one was broken.
    pub violation: Option<String>,
    /// Hash over every I/O operation and task, with its virtual time, and over every count.
    pub hash: u64,
    /// How often what happened.
    pub counters: BTreeMap<String, u64>,
}

/// How a part of a life ended.
enum Ended {
    /// By itself.
    Well,
    /// The process is dead or the store refused; go on with another life.
    Badly,
}

struct Machine {
    sim: Sim,
    swarm: Rc<Swarm>,
    ledger: Rc<RefCell<Ledger>>,
    rng: Rng,
    /// Fault counts when the present life began.
    before: FaultCounts,
    /// Files that were damaged in this life or before it.
    suspects: BTreeSet<PathBuf>,
    /// Damaged blocks that this life began with.
    inherited: BTreeSet<(PathBuf, u64)>,
    ghost: Option<Ghost>,
    /// The last acknowledged block of a log that should be sealed: its damage must be noticed.
    sealed: Option<(PathBuf, u64)>,
    /// Disk space ran out in this life, by a limit rather than by chance.
    narrow: bool,
}

/// Runs a seed.
pub fn run(seed: u64, mutant: Option<u32>, told: bool) -> Outcome {
    let swarm = Rc::new(Swarm::draw(seed));
    let ledger = Rc::new(RefCell::new(Ledger { told, ..Ledger::default() }));
    ledger.borrow().tell(|| format!("{swarm:?}"));
    let mut sim = Sim::new(seed, Faults::none());
    sim.set_mutant(mutant);
    sim.set_buggify(swarm.buggify);
    sim.set_time_limit(900_000_000);
    let mut machine = Machine {
        sim,
        swarm,
        ledger,
        rng: Rng::new(seed ^ 0x11FE),
        before: FaultCounts::default(),
        suspects: BTreeSet::new(),
        inherited: BTreeSet::new(),
        ghost: None,
        sealed: None,
        narrow: false,
    };
    let violation = machine.all_lives().err();
    machine.outcome(violation)
}

impl Machine {
    fn outcome(&self, violation: Option<String>) -> Outcome {
        let mut counters: BTreeMap<String, u64> =
            self.ledger.borrow().marks.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        for (fault, count) in self.sim.disk().counts().iter() {
            counters.insert(fault.name().to_owned(), count);
        }
        let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(self.sim.trace_hash());
        for (name, count) in &counters {
            hash.update(name.as_bytes());
            hash.update(&count.to_le_bytes());
        }
        Outcome { violation, hash: hash.digest(), counters }
    }

    fn all_lives(&mut self) -> Result<(), String> {
        for number in 0..self.swarm.lives {
            self.one_life(number)?;
        }
        self.last_life()
    }

    fn mark(&self, what: &'static str) {
        self.ledger.borrow_mut().mark(what);
    }

    /// A life with the seed's faults, then a crash.
    fn one_life(&mut self, number: u64) -> Result<(), String> {
        self.sim.disk().faults = self.swarm.faults.clone();
        // In some lives everything works, so that there is something to lose.
        if self.rng.below(3) == 0 {
            self.sim.disk().faults = Faults { capacity: None, ..Faults::crashes(number ^ 0xC0FFEE) };
        }
        self.start_counting();
        // A recovery that meets damage is not cut short: half-way it may have acted on it already, and healing would then contradict it.
        if self.suspects.iter().all(|path| is_table(path)) && self.rng.below(100) < 60 {
            let within = 40 << (2 * self.rng.below(4));
            self.sim.crash_after(self.rng.below(within));
        }
        let Some(mut life) = self.begin()? else { return self.crash() };
        let parts = 1 + self.rng.below(3);
        for _ in 0..parts {
            let steps = 1 + self.rng.below(self.swarm.steps);
            self.squeeze();
            let ghost = self.ghost.take();
            let outcome = self.sim.run(|_| async {
                let ended = life.steps(steps, ghost.as_ref()).await;
                (life, ghost, ended)
            });
            let (back, ghost, ended) = match outcome {
                Ok((back, ghost, ended)) => {
                    (back, ghost, ended.map_or_else(|halt| self.halted(halt), |()| Ok(Ended::Well))?)
                }
                Err(stopped) => {
                    self.stopped(stopped)?;
                    return self.crash();
                }
            };
            life = back;
            self.ghost = ghost;
            self.judge_tolerated()?;
            if matches!(ended, Ended::Badly) {
                drop(life);
                return self.crash();
            }
        }
        self.sim.disk().faults.capacity = None;
        self.end(life)?;
        self.crash()
    }

    /// In some parts of a life the disk is nearly full.
    fn squeeze(&mut self) {
        let narrow = self.rng.below(100) < self.swarm.full;
        let room = self.rng.below(200_000);
        let mut disk = self.sim.disk();
        disk.faults.capacity = narrow.then(|| disk.used() + room);
        self.narrow |= narrow;
    }

    /// The end of a life that was not cut short: closed, idle, or in the middle of things.
    fn end(&mut self, mut life: Life) -> Result<(), String> {
        let how = self.rng.below(4);
        let newest = newest_log_block(&self.sim.disk());
        let outcome = self.sim.run(|_| async {
            let ghost = life.ghost().await;
            let ended = match how {
                0 => life.close().await,
                1 => {
                    life.idle().await;
                    Ok(())
                }
                _ => Ok(()),
            };
            (ghost, life, ended)
        });
        match outcome {
            Ok((ghost, life, ended)) => {
                self.ghost = Some(ghost);
                drop(life);
                self.judge_tolerated()?;
                if let Err(halt) = ended {
                    self.halted(halt)?;
                } else if how < 2
                    && let Some((path, first, blocks, _)) = newest
                    // A seal that is still on its way proves nothing.
                    && !self.sim.disk().at_risk(CrashKind::Process).iter().any(|item| is_log(&item.path))
                    && self.rng.below(100) < self.swarm.rot
                    && self.has_room_for_a_seal(&path, first + blocks)
                    && self.sim.disk().damage().is_empty()
                {
                    self.sealed = Some((path, first + self.rng.below(blocks)));
                }
                Ok(())
            }
            Err(stopped) => self.stopped(stopped),
        }
    }

    /// Whether a seal fits behind this block of a segment.
    fn has_room_for_a_seal(&self, path: &PathBuf, end: u64) -> bool {
        let files = self.sim.disk().files();
        files.iter().any(|(file, len)| file == path && (end + 1) * BLOCK as u64 <= *len)
    }

    fn start_counting(&mut self) {
        let mut disk = self.sim.disk();
        disk.forget_passing();
        self.before = disk.counts().clone();
        let damage = disk.damage();
        self.suspects = damage.iter().map(|damage| damage.path.clone()).collect();
        self.inherited = damage.into_iter().map(|damage| (damage.path, damage.block)).collect();
        drop(disk);
        self.narrow = false;
        self.ledger.borrow_mut().errors.clear();
        self.ledger.borrow_mut().doing = None;
    }

    fn fired(&self, faults: &[Fault]) -> bool {
        let disk = self.sim.disk();
        faults.iter().any(|fault| disk.counts().of(*fault) > self.before.of(*fault))
    }

    fn begin(&mut self) -> Result<Option<Life>, String> {
        let (swarm, ledger) = (Rc::clone(&self.swarm), Rc::clone(&self.ledger));
        let rng = self.rng.fork();
        let faults = self.sim.disk().faults.clone();
        let lenient = faults.no_space > 0.0
            || faults.read_error > 0.0
            || faults.short_read > 0.0
            || self.swarm.full > 0
            || self.is_damaging(&faults);
        let outcome = self.sim.run(|env| async move { Life::begin(env, swarm, ledger, rng, lenient).await });
        match outcome {
            Ok(Ok(life)) => {
                self.accept_what_was_read();
                Ok(Some(life))
            }
            Ok(Err(halt)) => {
                if matches!(halt, Halt::RefusedLater(_)) {
                    self.accept_what_was_read();
                }
                self.halted(halt).map(|_| None)
            }
            Err(stopped) => {
                if stopped == Stopped::CrashPoint {
                    self.mark("crashes during recovery");
                }
                self.stopped(stopped).map(|()| None)
            }
        }
    }

    /// Recovery has read log and manifest whole: what it accepted is right, whatever it is.
    fn accept_what_was_read(&mut self) {
        let inherited = &self.inherited;
        let read = |damage: &Damage| inherited.contains(&(damage.path.clone(), damage.block));
        self.sim.disk().accept(|damage| !is_table(&damage.path) && read(damage));
    }

    fn is_damaging(&self, faults: &Faults) -> bool {
        faults.bit_rot > 0.0 || faults.lost_write > 0.0 || faults.misdirected_write > 0.0 || !self.suspects.is_empty()
    }

    /// Every error that was lived with needs a reason.
    fn judge_tolerated(&self) -> Result<(), String> {
        let errors = std::mem::take(&mut self.ledger.borrow_mut().errors);
        for error in errors {
            self.judge(&error)?;
        }
        Ok(())
    }

    /// An error is right if the disk gave a reason for it.
    fn judge(&self, error: &EngineError) -> Result<(), String> {
        let mut damaged: Vec<Damage> = self.sim.disk().damage();
        damaged.extend_from_slice(self.sim.disk().damage_done());
        let reason = match error {
            // A spare segment that could not be filled is none; every other failed write stops the node.
            EngineError::Io { action: "fill", .. } => self.fired(&[Fault::WriteError]),
            // An export or a copy that cannot be made whole is given up: nothing relies on it.
            EngineError::Io { file, .. } if !file.starts_with(FOLDER) => {
                self.fired(&[Fault::ReadError, Fault::ShortRead, Fault::WriteError, Fault::SyncError])
            }
            EngineError::Io { .. } => self.fired(&[Fault::ReadError, Fault::ShortRead]),
            EngineError::NoSpace { .. } => self.fired(&[Fault::NoSpace]),
            EngineError::Corruption { file, what, .. } if is_table(file) && !what.contains("missing") => {
                self.suspects.contains(file) || damaged.iter().any(|damage| damage.path == *file)
            }
            // The parts of log and manifest prove things of each other, and a table that is missed proves that an edit is, so the damage
            // may be in another one.
            EngineError::Corruption { .. } => {
                let own = |path: &PathBuf| !is_table(path);
                self.suspects.iter().any(own) || damaged.iter().any(|damage| own(&damage.path))
            }
            _ => false,
        };
        if reason { Ok(()) } else { Err(format!("an error without a reason: {error}; damaged: {damaged:?}")) }
    }

    /// A part of a life ended with something other than success.
    fn halted(&mut self, halt: Halt) -> Result<Ended, String> {
        self.ledger.borrow().tell(|| format!("halted: {halt:?}; damage {:?}", self.sim.disk().damage()));
        match halt {
            Halt::Violation(what) => Err(what),
            Halt::Refused(error) | Halt::RefusedLater(error) => {
                self.judge(&error)?;
                match error {
                    EngineError::Corruption { .. } => {
                        self.mark("damage refused");
                        self.sim.disk().heal(|_| true);
                        self.sealed = None;
                    }
                    _ => self.mark("starts or lives ended by errors"),
                }
                Ok(Ended::Badly)
            }
            Halt::Stuck(what) => {
                let damaged = !self.suspects.is_empty() || !self.sim.disk().damage_done().is_empty();
                if !damaged && !self.narrow {
                    return Err(format!("writes are refused and nothing explains it: {what}"));
                }
                self.sim.disk().heal(|_| true);
                self.mark("lives ended by refused writes");
                Ok(Ended::Badly)
            }
        }
    }

    /// The node stopped.
    fn stopped(&mut self, stopped: Stopped) -> Result<(), String> {
        self.ledger.borrow().tell(|| format!("stopped: {stopped}"));
        match stopped {
            Stopped::CrashPoint => {
                self.mark("crashes at a drawn completion");
                let doing = self.ledger.borrow_mut().doing.take();
                if let Some(doing) = doing {
                    self.mark(doing);
                }
                self.judge_tolerated()
            }
            Stopped::FailStop(reason) => {
                if !self.fired(&[Fault::WriteError, Fault::SyncError]) {
                    return Err(format!("the node stopped itself without a reason: {reason}"));
                }
                if !reason.contains("/data") {
                    return Err(format!("the node stopped itself and names no file: {reason}"));
                }
                self.mark("nodes that stopped themselves");
                Ok(())
            }
            other => Err(other.to_string()),
        }
    }

    /// Crashes the node, and lets a bit rot now and then.
    fn crash(&mut self) -> Result<(), String> {
        // After a failed sync nobody knows what the device holds and what only the system's memory shows: the machine starts anew.
        let process = self.rng.below(3) == 0 && !self.fired(&[Fault::SyncError]);
        let kind = if process { CrashKind::Process } else { CrashKind::Power };
        self.ledger.borrow().tell(|| format!("crash, {kind:?}: {:?}", self.sim.disk().at_risk(kind)));
        self.sim.crash(kind);
        self.sim.disk().faults.capacity = None;
        if let Some((path, block)) = self.sealed.clone() {
            let bit = self.rng.next();
            self.sim.disk().rot(&path, block, bit);
            self.mark("sealed ends damaged");
        } else if self.rng.below(100) < self.swarm.rot {
            self.rot_somewhere();
        }
        let sealed = self.sealed.take();
        spare_what_nobody_can_tell(&mut self.sim.disk(), sealed.as_ref());
        Ok(())
    }

    fn rot_somewhere(&mut self) {
        if self.rng.below(3) == 0 {
            // The opening of the newest segment, of which nothing but what is behind it tells.
            let newest = newest_log_block(&self.sim.disk());
            if let Some((path, first, _, _)) = newest.filter(|(_, first, _, _)| *first > 1) {
                let (block, bit) = (self.rng.below(first.min(2)), self.rng.next());
                self.sim.disk().rot(&path, block, bit);
                self.mark("newest segments that lost their opening");
                return;
            }
        }
        let files = self.sim.disk().files();
        let Some((path, len)) = usize::try_from(self.rng.below(files.len() as u64)).ok().and_then(|at| files.get(at))
        else {
            return;
        };
        let (block, bit) = (self.rng.below((len / BLOCK as u64).max(1)), self.rng.next());
        self.sim.disk().rot(path, block, bit);
    }

    /// Everything is healed and works; all that was acknowledged is there, the store comes to rest, and nothing else is on the disk.
    fn last_life(&mut self) -> Result<(), String> {
        {
            let mut disk = self.sim.disk();
            disk.faults = Faults::none();
            disk.heal(|_| true);
        }
        self.sim.set_buggify(false);
        for last in [false, true] {
            self.start_counting();
            let Some(mut life) = self.begin()? else { return Err("the store does not open on a sound disk".into()) };
            let steps = if last { 0 } else { 20 };
            let outcome = self.sim.run(|_| async {
                let ended = match life.steps(steps, None).await {
                    Ok(()) => life.end_well().await,
                    Err(halt) => Err(halt),
                };
                (ended, life)
            });
            let (stats, life): (Result<StoreStats, Halt>, Life) = outcome.map_err(|stopped| stopped.to_string())?;
            drop(life);
            match stats {
                Ok(stats) => only_what_is_needed(&self.sim.disk(), &stats)?,
                Err(Halt::Violation(what) | Halt::Stuck(what)) => return Err(what),
                Err(Halt::Refused(error) | Halt::RefusedLater(error)) => {
                    return Err(format!("an error on a sound disk: {error}"));
                }
            }
            self.judge_tolerated()?;
            self.sim.crash(CrashKind::Power);
        }
        self.last_copy()
    }

    /// The copy made before the last power cut is durable and right.
    fn last_copy(&mut self) -> Result<(), String> {
        let (options, candidates) = (self.swarm.options.clone(), self.ledger.borrow().candidates());
        let clocks = self.ledger.borrow().clocks.clone();
        let folder = Path::new(LAST_COPY);
        let outcome = self.sim.run(|env| async move {
            recovered::open_in(folder, env, options, &candidates, &clocks).await.map(|opened| opened.chosen)
        });
        match outcome {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Halt::Violation(what) | Halt::Stuck(what))) => Err(format!("the copy: {what}")),
            Ok(Err(Halt::Refused(error) | Halt::RefusedLater(error))) => Err(format!("the copy: {error}")),
            Err(stopped) => Err(format!("the copy: {stopped}")),
        }
    }
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "tbl")
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "log")
}

/// The newest write of the log: file, first block, number of blocks, and when.
fn newest_log_block(disk: &Disk) -> Option<(PathBuf, u64, u64, u64)> {
    let logs = disk.files().into_iter().map(|(path, _)| path);
    let logs = logs.filter(|path| is_log(path) && path.starts_with(FOLDER));
    let newest = logs.filter_map(|path| {
        let (first, blocks, at) = disk.newest_write(&path)?;
        Some((path, first, blocks, at))
    });
    newest.max_by_key(|(_, _, _, at)| *at)
}

/// Heals damage that a lone node cannot tell from a write that was never finished: that of the newest block of the log, after which
/// nothing was written.
fn spare_what_nobody_can_tell(disk: &mut Disk, sealed: Option<&(PathBuf, u64)>) {
    let Some((newest, first, blocks, _)) = newest_log_block(disk) else { return };
    disk.heal(|damage| {
        let sealed = sealed.is_some_and(|(path, block)| *path == damage.path && *block == damage.block);
        !sealed && damage.path == newest && (first..first + blocks).contains(&damage.block)
    });
}
