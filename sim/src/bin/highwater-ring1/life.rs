//! One life of a store under a small Raft of one voter: appends, applies, reads and checks, until it ends or is ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{
    Cursor, Direction, EngineError, GroupId, HardState, KeyRange, LogIndex, PreparedTables, Pressure, Snapshot, Store,
    StoreStats, Term,
};
use highwater_runtime::inproc::{InProcEnv, InProcFile};
use highwater_runtime::rng::Rng;
use highwater_runtime::{AlignedBuf, Env, File, OpenOptions};

use crate::clocks::Clocks;
use crate::model::{Change, Content, Entry, Held, LogModel, content_difference, is_right, shown};
use crate::recovered::{self, FOLDER, Halt, read_entries, scan_all, violated};
use crate::swarm::{Moment, Swarm};
use crate::transfer::LAST_COPY;
use crate::workload::{apply_committed, log_batch};

/// Virtual microseconds that a store may refuse writes for without a fault that explains it.
const PATIENCE_MICROS: u64 = 20_000_000;

/// What outlives a crash: what was acknowledged, what may be there besides, and what was seen.
#[derive(Default)]
pub struct Ledger {
    /// The logs as acknowledged.
    pub acknowledged: LogModel,
    /// Further states that a crash may leave, each after the one before.
    pub possible: Vec<LogModel>,
    /// Errors that were met and lived with; each needs a reason.
    pub errors: Vec<EngineError>,
    /// How often what happened.
    pub marks: BTreeMap<&'static str, u64>,
    /// The groups' log times.
    pub clocks: Clocks,
    /// What the driver is in the middle of, for a crash there.
    pub doing: Option<&'static str>,
    /// Whether each event is printed.
    pub told: bool,
}

impl Ledger {
    /// Counts an event.
    pub fn mark(&mut self, what: &'static str) {
        self.mark_by(what, 1);
    }

    /// Counts several events.
    pub fn mark_by(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.marks.entry(what).or_default() += count;
        }
    }

    /// Prints an event, if events are to be printed.
    pub fn tell(&self, event: impl FnOnce() -> String) {
        if self.told {
            highwater_sim::say!("  {}", event());
        }
    }

    /// Everything that a crash now may leave.
    pub fn candidates(&self) -> Vec<LogModel> {
        std::iter::once(&self.acknowledged).chain(&self.possible).cloned().collect()
    }

    /// The last of them.
    pub fn newest(&self) -> &LogModel {
        self.possible.last().unwrap_or(&self.acknowledged)
    }
}

/// What a dead process leaves behind in the hands of somebody who does not know that it is dead.
pub struct Ghost {
    env: InProcEnv,
    file: Option<InProcFile>,
}

/// A scan under way.
struct OpenScan {
    cursor: Cursor<InProcEnv>,
    /// The pairs that it must still give, in its order.
    expected: std::vec::IntoIter<(Bytes, Held)>,
    /// The log time to which it belongs.
    clocks: Clocks,
}

/// A snapshot that is held, with what it must show.
pub struct HeldSnapshot {
    pub at: Snapshot,
    pub content: Rc<Content>,
    /// The log time to which it belongs.
    pub clocks: Clocks,
    /// Ranges replaced in this life before it was taken.
    pub ingests: u64,
}

/// A running store with its driver.
pub struct Life {
    pub env: InProcEnv,
    pub store: Rc<Store<InProcEnv>>,
    pub swarm: Rc<Swarm>,
    pub ledger: Rc<RefCell<Ledger>>,
    pub rng: Rng,
    pub applied: BTreeMap<GroupId, u64>,
    pub live: Rc<Content>,
    pub snapshots: Vec<HeldSnapshot>,
    /// A scan that was begun earlier.
    open_scan: Option<OpenScan>,
    /// A range that was exported earlier, of which group, and what is in it.
    pub prepared: Option<(GroupId, PreparedTables, Content)>,
    /// The figures when they were last looked at.
    pub seen: StoreStats,
    /// Everything that is written now expires.
    fades: bool,
    /// Fault of the disk may make the store refuse for as long as it likes.
    lenient: bool,
}

impl Life {
    /// Opens the store, checks it, and takes what it holds for acknowledged from now on.
    pub async fn begin(
        env: InProcEnv,
        swarm: Rc<Swarm>,
        ledger: Rc<RefCell<Ledger>>,
        rng: Rng,
        lenient: bool,
    ) -> Result<Self, Halt> {
        let (candidates, clocks) = (ledger.borrow().candidates(), ledger.borrow().clocks.clone());
        ledger.borrow().tell(|| format!("start, {} candidates", candidates.len()));
        let folder = Path::new(FOLDER);
        let opened = recovered::open_in(folder, env.clone(), swarm.options.clone(), &candidates, &clocks).await?;
        for (group, micros) in clocks.iter() {
            opened.store.advance_clock(group, micros);
        }
        {
            let mut ledger = ledger.borrow_mut();
            ledger.mark("starts");
            if opened.recovery.log.dropped_tail.is_some() {
                ledger.mark("torn tails left out");
            }
            if !opened.recovery.orphans.is_empty() {
                ledger.mark("orphans removed");
            }
            if opened.chosen > 0 {
                ledger.mark("unacknowledged appends that survived");
            }
            ledger.acknowledged = candidates.get(opened.chosen).cloned().unwrap_or_default();
            ledger.acknowledged.note_applied(&clocks);
            ledger.possible.clear();
        }
        Ok(Self {
            env,
            store: opened.store,
            swarm,
            ledger,
            rng,
            applied: opened.applied,
            live: Rc::new(opened.content),
            snapshots: Vec::new(),
            open_scan: None,
            prepared: None,
            seen: StoreStats::default(),
            fades: false,
            lenient,
        })
    }

    /// What outlives this process without knowing it.
    pub async fn ghost(&self) -> Ghost {
        let names = self.env.list_dir(Path::new(FOLDER)).await.unwrap_or_default();
        let manifest = names.into_iter().find(|name| name.display().to_string().starts_with("MANIFEST"));
        let file = match manifest {
            Some(name) => self.env.open(&Path::new(FOLDER).join(name), OpenOptions::WRITE).await.ok(),
            None => None,
        };
        Ghost { env: self.env.clone(), file }
    }

    /// Does so many steps.
    pub async fn steps(&mut self, count: u64, ghost: Option<&Ghost>) -> Result<(), Halt> {
        for _ in 0..count {
            if self.rng.below(100) < self.swarm.transfers {
                self.transfer().await?;
                self.look_at_figures()?;
                continue;
            }
            if self.rng.below(100) < self.swarm.fading {
                self.begin_or_end_fading().await?;
                continue;
            }
            match self.rng.below(100) {
                0..=45 => self.append().await?,
                46..=49 => self.tick(),
                50..=63 => self.get().await?,
                64..=72 => self.scan().await?,
                73..=76 => self.take_snapshot(),
                77..=81 => self.check_snapshot().await?,
                82..=84 => self.go_on_scanning().await?,
                85..=88 => self.read_log().await?,
                89 => self.flush().await?,
                90 => self.copy().await?,
                91 => self.verify().await?,
                92..=93 => self.idle().await,
                94..=95 => haunt(ghost).await?,
                _ => self.release(),
            }
            self.look_at_figures()?;
        }
        Ok(())
    }

    /// Counts an event.
    pub fn mark(&self, what: &'static str) {
        self.ledger.borrow_mut().mark(what);
    }

    /// An error that a fault of the disk may explain; the caller of this life judges whether one does.
    pub fn tolerate(&self, error: EngineError) -> Result<(), Halt> {
        match error {
            EngineError::Io { .. } | EngineError::NoSpace { .. } => {
                self.ledger.borrow_mut().errors.push(error);
                Ok(())
            }
            other => Err(Halt::Refused(other)),
        }
    }

    /// The same for a part of a check.
    pub fn survive<T>(&self, outcome: Result<T, Halt>) -> Result<Option<T>, Halt> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(Halt::Refused(error) | Halt::RefusedLater(error)) => self.tolerate(error).map(|()| None),
            Err(other) => Err(other),
        }
    }

    /// Waits until the store takes writes. False if it does not, and a fault may be the reason.
    async fn writable(&mut self) -> Result<bool, Halt> {
        let began = self.env.now();
        loop {
            let Some(pressure) = self.store.pressure() else { return Ok(true) };
            self.mark(refusal(&pressure));
            if self.store.admission() != 0 {
                return violated(format!(
                    "writes are refused ({pressure}), and admission says {}",
                    self.store.admission()
                ));
            }
            if self.lenient && matches!(pressure, Pressure::DiskFull { .. } | Pressure::Failed { .. }) {
                if self.env.now().micros_since(began) > 1_000_000 {
                    self.mark("writes refused for want of space or a failure");
                    if let Err(error) = self.store.flush().await {
                        self.tolerate(error)?;
                    }
                    return Ok(false);
                }
            } else if self.env.now().micros_since(began) > PATIENCE_MICROS {
                return Err(Halt::Stuck(pressure.to_string()));
            }
            // Whoever holds the log's tail lets go, as the store's driver does.
            if matches!(pressure, Pressure::Log { .. }) {
                for group in self.store.log_holders() {
                    let upto = self.applied.get(&group).copied().unwrap_or(0);
                    self.store.release_log(group, LogIndex(upto));
                }
            }
            // A snapshot that is never let go keeps nothing from being written.
            self.env.sleep(2_000).await;
        }
    }

    async fn append(&mut self) -> Result<(), Halt> {
        if !self.writable().await? {
            return Ok(());
        }
        let admission = self.store.admission();
        if admission < 1000 {
            self.mark("admission narrowed");
            if self.swarm.polite && self.rng.below(1000) >= admission {
                self.mark("writes held back by admission");
                self.env.sleep(2_000).await;
                return Ok(());
            }
        }
        if self.rng.below(100) < self.swarm.deferred {
            return self.defer().await;
        }
        let mut changes = Vec::new();
        let newest = self.ledger.borrow().newest().clone();
        let rounds = 1 + self.rng.below(self.swarm.groups);
        for _ in 0..rounds {
            let group = self.swarm.busy_group(&mut self.rng);
            if changes.iter().any(|change: &Change| change.group == group) {
                continue;
            }
            changes.push(self.change(&newest, group));
        }
        let next = newest.after(&changes);
        self.ledger.borrow().tell(|| {
            let one = |change: &Change| {
                let (group, count) = (change.group.0, change.entries.len());
                format!("group {group} {count} entries from {}, {:?}", change.first, change.hard_state)
            };
            format!("append {}", changes.iter().map(one).collect::<Vec<_>>().join("; "))
        });
        self.ledger.borrow_mut().possible.push(next.clone());
        match self.store.append(log_batch(&changes, |group| newest.group(group).incarnation)).await {
            Ok(()) => {
                let mut ledger = self.ledger.borrow_mut();
                ledger.acknowledged = next.clone();
                ledger.possible.clear();
                ledger.mark("appends");
            }
            Err(error) => {
                if matches!(error, EngineError::NoSpace { .. } | EngineError::Io { .. }) {
                    // Nothing of the batch was written: there was no segment to write it to.
                    self.ledger.borrow_mut().possible.pop();
                    self.mark("appends refused for want of a segment");
                }
                return self.tolerate(error);
            }
        }
        self.apply(&next);
        if self.rng.below(100) < self.swarm.releases {
            self.release();
        }
        Ok(())
    }

    /// What an append changes in a group.
    pub fn change(&mut self, newest: &LogModel, group: GroupId) -> Change {
        let log = newest.group(group);
        let committed = log.committed();
        let replaces = log.last() > committed && self.rng.below(3) > 0;
        let first = if replaces { committed + 1 + self.rng.below(log.last() - committed) } else { log.last() + 1 };
        let term = Term(log.term() + u64::from(replaces || self.rng.below(20) == 0));
        let count = if self.rng.below(4) == 0 { self.rng.below(5) } else { 1 };
        let stamp = self.rng.next() % 1_000_000;
        let now = self.ledger.borrow().clocks.now(group);
        let fades = self.fades;
        let moment = |at| Moment { stamp: stamp * 10 + at, index: first + at, now, fades };
        let entries: Vec<Entry> =
            (0..count).map(|at| Entry::new(term, self.swarm.batch(&mut self.rng, group, moment(at)))).collect();
        let last = if count == 0 { log.last() } else { first + count - 1 };
        let tail = self.rng.below(100) < self.swarm.tails;
        let commit = if tail { committed + self.rng.below(last - committed + 1) } else { last };
        let hard_state = Some(HardState { term, vote: self.rng.below(4), commit: LogIndex(commit) });
        Change { group, first, entries, hard_state }
    }

    /// An entry that need not survive, until something is acknowledged after it.
    async fn defer(&mut self) -> Result<(), Halt> {
        let group = self.swarm.group(&mut self.rng);
        let newest = self.ledger.borrow().newest().clone();
        let log = newest.group(group);
        let term = Term(log.term());
        let stamp = self.rng.next() % 1_000_000;
        let (index, now) = (log.last() + 1, self.ledger.borrow().clocks.now(group));
        let moment = Moment { stamp: stamp * 10, index, now, fades: self.fades };
        let entry = Entry::new(term, self.swarm.batch(&mut self.rng, group, moment));
        let change = Change { group, first: index, entries: vec![entry.clone()], hard_state: None };
        self.ledger.borrow_mut().possible.push(newest.after(&[change]));
        self.ledger.borrow().tell(|| format!("defer {group} entry {index}"));
        let outcome = self.store.append_deferred(group, log.incarnation, LogIndex(index), term, entry.data).await;
        self.mark("deferred entries");
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }

    fn apply(&mut self, log: &LogModel) {
        let before = self.applied.clone();
        apply_committed(&self.store, log, &mut self.applied);
        let mut ledger = self.ledger.borrow_mut();
        let clocks = ledger.clocks.clone();
        ledger.acknowledged.note_applied(&clocks);
        drop(ledger);
        self.show_applied(&before, log);
    }

    /// Lets what was applied show in what must be there.
    pub fn show_applied(&mut self, before: &BTreeMap<GroupId, u64>, log: &LogModel) {
        let mut live = Content::clone(&self.live);
        for (group, upto) in &self.applied {
            let from = before.get(group).copied().unwrap_or(0);
            let log = log.group(*group);
            for index in from + 1..=*upto {
                if let Some(entry) = log.get(index) {
                    crate::model::apply(&mut live, &entry.data);
                }
            }
        }
        self.live = Rc::new(live);
    }

    /// Log time goes on, in one group or in all.
    fn tick(&mut self) {
        let (one, by) = (self.swarm.group(&mut self.rng), 1 + self.rng.below(self.swarm.lifetime / 2));
        let all = self.rng.below(2) == 0;
        for group in (1..=self.swarm.groups).filter_map(|number| u32::try_from(number).ok()).map(GroupId) {
            if all || group == one {
                let mut ledger = self.ledger.borrow_mut();
                ledger.clocks.advance(group, by);
                self.store.advance_clock(group, ledger.clocks.now(group));
            }
        }
        self.mark("log times advanced");
    }

    /// From now on everything that is written expires, or does no more; either is in tables of its own.
    async fn begin_or_end_fading(&mut self) -> Result<(), Halt> {
        self.flush().await?;
        self.fades = !self.fades;
        self.mark("whiles in which everything written expires, begun or ended");
        self.tick();
        Ok(())
    }

    fn release(&mut self) {
        let group = self.swarm.busy_group(&mut self.rng);
        let upto = self.applied.get(&group).copied().unwrap_or(0);
        let upto = if self.rng.below(3) == 0 { self.rng.below(upto + 1) } else { upto };
        self.store.release_log(group, LogIndex(upto));
    }

    async fn get(&mut self) -> Result<(), Halt> {
        let group = self.swarm.group(&mut self.rng);
        let key = self.swarm.key(&mut self.rng, group);
        let now = self.now();
        self.compare(&key, &now).await
    }

    /// A snapshot of this moment.
    pub fn now(&self) -> HeldSnapshot {
        HeldSnapshot {
            at: self.store.snapshot(),
            content: Rc::clone(&self.live),
            clocks: self.ledger.borrow().clocks.clone(),
            ingests: self.store.stats().ingests,
        }
    }

    async fn compare(&self, key: &Bytes, held: &HeldSnapshot) -> Result<(), Halt> {
        let expected = held.content.get(key);
        match self.store.get_expiring(key, &held.at).await {
            Ok(found) if is_right(key, found.as_ref(), expected, &held.clocks) => {
                if expected.is_some_and(|(_, expires_at)| held.clocks.has_expired(key, *expires_at)) {
                    self.mark(if found.is_some() { "expired values still there" } else { "expired values gone" });
                }
                Ok(())
            }
            Ok(found) => {
                let told = |held: Option<&Held>| held.map(|(value, expires_at)| (value.len(), expires_at.0));
                let (found, expected) = (told(found.as_ref()), told(expected));
                violated(format!("get of {} gives {found:?} (bytes, expiry), should give {expected:?}", shown(key)))
            }
            Err(error) => self.tolerate(error),
        }
    }

    fn range(&mut self) -> KeyRange {
        let group = self.swarm.group(&mut self.rng);
        match self.rng.below(4) {
            0 => KeyRange::all(),
            1 => Swarm::range(group),
            2 => Swarm::narrow_range(group, self.rng.below(10)),
            _ => self.part_of(group),
        }
    }

    /// Some part of a group's range.
    pub fn part_of(&mut self, group: GroupId) -> KeyRange {
        let (one, two) = (self.swarm.key(&mut self.rng, group), self.swarm.key(&mut self.rng, group));
        KeyRange::new(one.clone().min(two.clone()), one.max(two))
    }

    fn direction(&mut self) -> Direction {
        if self.rng.below(2) == 0 { Direction::Forward } else { Direction::Reverse }
    }

    async fn scan(&mut self) -> Result<(), Halt> {
        let (range, direction) = (self.range(), self.direction());
        let now = self.now();
        self.compare_range(&range, direction, &now).await
    }

    async fn compare_range(&self, range: &KeyRange, direction: Direction, held: &HeldSnapshot) -> Result<(), Halt> {
        let cursor = self.store.scan(range.clone(), direction, &held.at);
        let Some(found) = self.survive(recovered::scan(cursor, direction, usize::MAX).await)? else { return Ok(()) };
        match content_difference(&found, &within(&held.content, range), &held.clocks) {
            Some(what) => violated(format!("a scan of {range:?}, {direction:?}: {what}")),
            None => Ok(()),
        }
    }

    fn take_snapshot(&mut self) {
        if self.snapshots.len() >= self.swarm.snapshots {
            let at = usize::try_from(self.rng.below(self.snapshots.len() as u64)).unwrap_or(0);
            self.snapshots.swap_remove(at);
        }
        self.snapshots.push(self.now());
    }

    async fn check_snapshot(&mut self) -> Result<(), Halt> {
        let (range, direction) = (self.range(), self.direction());
        let group = self.swarm.group(&mut self.rng);
        let key = self.swarm.key(&mut self.rng, group);
        for held in &self.snapshots {
            self.compare(&key, held).await?;
            self.compare_range(&range, direction, held).await?;
            self.mark("held snapshots compared");
            if held.ingests < self.store.stats().ingests {
                self.mark("held snapshots from before an ingest compared");
            }
        }
        Ok(())
    }

    /// Begins a scan, or goes on with the one that was begun some steps ago.
    async fn go_on_scanning(&mut self) -> Result<(), Halt> {
        let Some(mut scan) = self.open_scan.take() else {
            let (range, direction) = (self.range(), self.direction());
            let mut pairs: Vec<(Bytes, Held)> = within(&self.live, &range).into_iter().collect();
            if direction == Direction::Reverse {
                pairs.reverse();
            }
            let HeldSnapshot { at, clocks, .. } = self.now();
            let cursor = self.store.scan(range, direction, &at);
            self.open_scan = Some(OpenScan { cursor, expected: pairs.into_iter(), clocks });
            return Ok(());
        };
        for _ in 0..=self.rng.below(20) {
            match scan.cursor.next_expiring().await {
                Ok(pair) => {
                    let pair = pair.map(|(key, value, expires_at)| (key, (value, expires_at)));
                    let missing = |(key, held): &(Bytes, Held)| {
                        scan.clocks.has_expired(key, held.1) && pair.as_ref().is_none_or(|(found, _)| found != key)
                    };
                    let wanted = scan.expected.find(|wanted| !missing(wanted));
                    if pair != wanted {
                        let key = |pair: &Option<(Bytes, Held)>| pair.as_ref().map(|(key, _)| shown(key));
                        let (gives, should) = (key(&pair), key(&wanted));
                        return violated(format!(
                            "a scan that went on after writes gives {gives:?}, should give {should:?}"
                        ));
                    }
                    if pair.is_none() {
                        self.mark("scans ended across writes");
                        return Ok(());
                    }
                }
                Err(error) => return self.tolerate(error),
            }
        }
        self.open_scan = Some(scan);
        Ok(())
    }

    async fn read_log(&mut self) -> Result<(), Halt> {
        let group = self.swarm.group(&mut self.rng);
        let log = self.ledger.borrow().acknowledged.group(group);
        let (first, last) = (self.store.first_index(group).0, log.last());
        if first > last {
            return Ok(());
        }
        let from = first + self.rng.below(last - first + 1);
        let to = from + self.rng.below(last - from + 1);
        let Some(entries) = self.survive(read_entries(&self.store, group, from, to).await)? else { return Ok(()) };
        for entry in entries {
            let right = log.get(entry.index.0).is_some_and(|held| held.term == entry.term && held.data == entry.data);
            let term = self.store.term_of(group, entry.index);
            if !right || term != Some(entry.term) {
                return violated(format!("{group}: {} is not the entry that was appended", entry.index));
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Halt> {
        self.ledger.borrow().tell(|| "flush".to_owned());
        match self.store.flush().await {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }

    async fn verify(&self) -> Result<(), Halt> {
        match self.store.verify().await {
            Ok(_) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }

    /// Does nothing for so long that the end of the log is sealed.
    pub async fn idle(&self) {
        self.env.sleep(self.swarm.options.seal_after_micros * 3 + 5_000).await;
    }

    /// Everything once more, then nothing but what is needed on the disk. Returns the figures after closing.
    pub async fn end_well(&mut self) -> Result<StoreStats, Halt> {
        self.open_scan = None;
        for held in std::mem::take(&mut self.snapshots) {
            self.compare_range(&KeyRange::all(), Direction::Reverse, &held).await?;
        }
        self.store.flush().await?;
        let began = self.env.now();
        loop {
            let before = self.store.stats().compactions;
            self.env.sleep(500_000).await;
            if self.store.stats().compactions == before {
                break;
            }
            if self.env.now().micros_since(began) > 60_000_000 {
                return Err(Halt::Stuck("compaction does not come to rest".into()));
            }
        }
        for direction in [Direction::Forward, Direction::Reverse] {
            let found = scan_all(&self.store, &self.store.snapshot(), direction).await?;
            if let Some(what) = content_difference(&found, &self.live, &self.ledger.borrow().clocks) {
                return violated(format!("at the end: {what}"));
            }
        }
        self.store.verify().await?;
        self.look_at_figures()?;
        let stats = self.store.stats();
        let content: u64 = self.live.iter().map(|(key, (value, _))| (key.len() + value.len()) as u64).sum();
        let tables: u64 = stats.table_bytes.iter().sum();
        let levels = self.swarm.options.level_one_bytes * 2 + self.swarm.options.memtable_bytes as u64 * 8;
        let files = stats.tables.iter().sum::<usize>() as u64;
        // Tables this small are mostly padding, and upper levels may hold old versions up to their size.
        let bound = content * 4 + levels + files * 8192;
        if tables > bound {
            return violated(format!(
                "{tables} bytes of tables for {content} bytes of content, {bound} at most: {stats:?}"
            ));
        }
        let _ = Store::discard_incomplete(&self.env, Path::new(LAST_COPY)).await;
        if self.env.list_dir(Path::new(LAST_COPY)).await.is_err() {
            self.store.checkpoint(Path::new(LAST_COPY)).await?;
        }
        self.store.close().await?;
        Ok(self.store.stats())
    }

    /// Closes the store; the end of the log is sealed.
    pub async fn close(&mut self) -> Result<(), Halt> {
        self.open_scan = None;
        self.snapshots.clear();
        self.look_at_figures()?;
        match self.store.close().await {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }
}

/// The part of a content that lies in a range.
pub fn within(content: &Content, range: &KeyRange) -> Content {
    let inside = |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
    content.iter().filter(|(key, _)| inside(key)).map(|(key, held)| (key.clone(), held.clone())).collect()
}

/// What a refusal of writes is counted as.
const fn refusal(pressure: &Pressure) -> &'static str {
    match pressure {
        Pressure::Memtables { .. } => "writes refused: memtables",
        Pressure::LevelZero { .. } => "writes refused: level 0",
        Pressure::Debt { .. } => "writes refused: debt, which only slows them down",
        Pressure::Log { .. } => "writes refused: log",
        Pressure::DiskFull { .. } => "writes refused: disk full",
        Pressure::Failed { .. } => "writes refused: a failure",
    }
}

/// A dead process tries to write and to remove; nothing may come of it.
async fn haunt(ghost: Option<&Ghost>) -> Result<(), Halt> {
    let Some(Ghost { env, file }) = ghost else { return Ok(()) };
    if let Some(file) = file
        && file.write_at(AlignedBuf::from_slice(&[0xEE; 4096]), 0).await.is_ok()
    {
        return violated("a handle of a dead process wrote to the disk");
    }
    let names = [PathBuf::from(FOLDER).join("MANIFEST-00000001"), PathBuf::from(FOLDER).join("00000000.log")];
    for name in names {
        if env.remove_file(&name).await.is_ok() {
            return violated("a dead process removed a file");
        }
    }
    Ok(())
}
