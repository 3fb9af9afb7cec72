//! The short workloads whose every crash point is tried: each flushes and compacts within a few dozen appends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{
    CompactionPolicy, EngineError, Expiry, GroupId, HardState, Incarnation, IngestOptions, LogBatch, LogIndex, Store,
    StoreOptions, StoreStats, Term, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::inproc::InProcEnv;
use highwater_runtime::rng::Rng;

use crate::clocks::Clocks;
use crate::model::{Change, Content, Entry, GroupModel, LogModel, Replacement};
use crate::recovered::FOLDER;
use crate::swarm::Swarm;
use crate::transfer;

/// The first life of every group.
pub const LIFE: Incarnation = Incarnation(1);

/// One step of a workload.
pub enum Step {
    /// Append these changes, then apply what is committed.
    Append(Vec<Change>),
    /// Raft needs nothing up to here any more.
    Release(GroupId, u64),
    /// Flush everything.
    Flush,
    /// Take a snapshot and keep it.
    Hold,
    /// Let the oldest snapshot go.
    Drop,
    /// Do nothing for so many microseconds.
    Idle(u64),
    /// The group's log time is this from now on.
    Tick(GroupId, u64),
    /// Export what the group has now, and some appends later ...
    Export(GroupId),
    /// ... put it in place of what it has then. Counts as an append.
    Ingest(GroupId),
}

/// A workload with everything that it could leave behind.
pub struct Workload {
    /// What it is about.
    pub name: &'static str,
    /// The store's sizes.
    pub options: StoreOptions,
    /// What is done.
    pub steps: Vec<Step>,
    /// The logs after each number of appends.
    pub models: Vec<LogModel>,
    /// The log times after each number of appends.
    pub clocks: Vec<Clocks>,
}

/// How far a run has come: appends that were acknowledged, and that were begun.
pub type Progress = Rc<Cell<(usize, usize)>>;

struct Shape {
    name: &'static str,
    options: StoreOptions,
    appends: u64,
    keys: u64,
    value: u64,
    ranges: bool,
    tails: bool,
    quiet_after: u64,
    flush_every: u64,
    /// Everything that is written expires soon, from this append to before that; then a log time comes at which it has expired.
    fading: (u64, u64),
    /// What the first group has after this append takes the place of what it has after that one.
    transfer: (u64, u64),
}

/// No append.
const NEVER: (u64, u64) = (0, 0);
/// When what expires does, and a log time behind that.
const UNTIL: Expiry = Expiry(1_000);
const LATER: u64 = 2_000;

impl Workload {
    /// All workloads.
    pub fn all() -> Vec<Self> {
        let options = StoreOptions {
            memtable_bytes: 8 << 10,
            level_zero_trigger: 2,
            level_zero_stop: 8,
            log_limit_bytes: 256 << 10,
            ..StoreOptions::small()
        };
        let plain = Shape {
            name: "puts and deletes of two groups",
            options: options.clone(),
            appends: 40,
            keys: 60,
            value: 150,
            ranges: false,
            tails: false,
            quiet_after: 40,
            flush_every: 0,
            fading: NEVER,
            transfer: NEVER,
        };
        let ranges = Shape {
            name: "range deletes, held snapshots, uncommitted tails that are replaced",
            options: options.clone(),
            appends: 36,
            keys: 30,
            value: 220,
            ranges: true,
            tails: true,
            quiet_after: 36,
            flush_every: 9,
            fading: NEVER,
            transfer: NEVER,
        };
        let segments = Shape {
            name: "recycled segments, a quiet group that is moved forward, a manifest that rolls",
            options: StoreOptions { manifest_bytes: 16 << 10, spare_segments: 1, ..options.clone() },
            appends: 70,
            keys: 20,
            value: 4000,
            ranges: false,
            tails: false,
            quiet_after: 6,
            flush_every: 0,
            fading: NEVER,
            transfer: NEVER,
        };
        let lazy = Shape {
            name: "several runs per level, values that expire over older ones, a group that is replaced",
            options: StoreOptions {
                compaction_policy: CompactionPolicy::LazyLeveled,
                level_zero_trigger: 3,
                table_bytes: 4 << 10,
                level_one_bytes: 4 << 10,
                level_ratio: 2,
                ..options
            },
            appends: 64,
            keys: 40,
            value: 400,
            ranges: false,
            tails: false,
            quiet_after: 32,
            flush_every: 6,
            fading: (37, 42),
            transfer: (44, 52),
        };
        [plain, ranges, segments, lazy].into_iter().map(Self::of).collect()
    }

    fn of(shape: Shape) -> Self {
        let mut rng = Rng::new(0x0052_1A06 ^ shape.appends);
        let groups = [GroupId(1), GroupId(2)];
        let mut steps = Vec::new();
        let mut models = vec![LogModel::default()];
        let mut clocks = vec![Clocks::default()];
        let mut now = LogModel::default();
        let mut time = Clocks::default();
        let mut exported = None;
        // Appends are applied at once.
        for number in 1..=shape.appends {
            let mut changes = Vec::new();
            for group in groups {
                if group.0 == 2 && (number > shape.quiet_after || rng.below(3) == 0) {
                    continue;
                }
                changes.push(change(&mut rng, &shape, &now.group(group), group, number));
            }
            now = now.after(&changes);
            now.note_applied(&time);
            steps.push(Step::Append(changes));
            if number == shape.fading.0 {
                steps.extend([Step::Flush, Step::Idle(100_000)]);
            }
            if number == shape.fading.1 {
                // What expires is in a table of its own then.
                steps.push(Step::Flush);
                time.advance(GroupId(1), LATER);
                steps.extend([Step::Tick(GroupId(1), LATER), Step::Idle(20_000)]);
            }
            models.push(now.clone());
            clocks.push(time.clone());
            if number == shape.transfer.0 {
                exported = Some(content_of(&now, GroupId(1)));
                steps.push(Step::Export(GroupId(1)));
            }
            if number == shape.transfer.1 {
                now = now.replaced(replacement(GroupId(1), &now, exported.take().unwrap_or_default()));
                steps.push(Step::Ingest(GroupId(1)));
                models.push(now.clone());
                clocks.push(time.clone());
            }
            if number % 3 == 0 {
                steps.extend(groups.map(|group| Step::Release(group, now.group(group).committed())));
            }
            if shape.flush_every > 0 && number % shape.flush_every == 0 {
                steps.push(Step::Flush);
            }
            if shape.ranges && number % 8 == 4 {
                steps.push(if number % 16 == 4 { Step::Hold } else { Step::Drop });
            }
            if number % 17 == 0 {
                steps.push(Step::Idle(120_000));
            }
        }
        steps.push(Step::Idle(20_000));
        Self { name: shape.name, options: shape.options, steps, models, clocks }
    }

    /// The log times that may have been told by the time that so many appends have begun.
    pub fn clocks_at(&self, started: usize) -> Clocks {
        self.clocks.get(started).or(self.clocks.last()).cloned().unwrap_or_default()
    }

    /// Runs all steps on an empty or recovered folder that holds nothing yet, and returns the store's figures.
    pub async fn run(&self, env: InProcEnv, progress: Progress) -> Result<StoreStats, EngineError> {
        let (store, _) = Store::open(env.clone(), Path::new(FOLDER), self.options.clone()).await?;
        let mut applied = BTreeMap::new();
        let mut held = Vec::new();
        let mut prepared = None;
        for step in &self.steps {
            match step {
                Step::Append(changes) => {
                    let (acknowledged, _) = progress.get();
                    progress.set((acknowledged, acknowledged + 1));
                    append_when_possible(&env, &store, changes).await?;
                    progress.set((acknowledged + 1, acknowledged + 1));
                    let Some(model) = self.models.get(acknowledged + 1) else { continue };
                    apply_committed(&store, model, &mut applied);
                }
                Step::Release(group, upto) => store.release_log(*group, LogIndex(*upto)),
                Step::Flush => match store.flush().await {
                    Ok(()) | Err(EngineError::NoSpace { .. } | EngineError::Io { .. }) => {}
                    Err(error) => return Err(error),
                },
                Step::Hold => held.push(store.snapshot()),
                Step::Drop => drop(held.pop()),
                Step::Idle(micros) => env.sleep(*micros).await,
                Step::Tick(group, micros) => store.advance_clock(*group, *micros),
                Step::Export(group) => prepared = Some(transfer::export_at_last(&env, &store, *group).await?),
                Step::Ingest(group) => {
                    let (acknowledged, _) = progress.get();
                    let Some(model) = self.models.get(acknowledged + 1) else { continue };
                    let Some(prepared) = prepared.take() else { continue };
                    let GroupModel { incarnation, start: (applied_to, term), .. } = model.group(*group);
                    progress.set((acknowledged, acknowledged + 1));
                    let options = IngestOptions {
                        range: Swarm::range(*group),
                        incarnation,
                        applied: LogIndex(applied_to),
                        term,
                        any_database: false,
                    };
                    transfer::ingest_at_last(&env, &store, *group, &prepared, &options).await?;
                    progress.set((acknowledged + 1, acknowledged + 1));
                    applied.insert(*group, applied_to);
                }
            }
        }
        let stats = store.stats();
        store.close().await?;
        Ok(stats)
    }
}

/// Appends; a disk that is full for a moment is tried again.
async fn append_when_possible(
    env: &InProcEnv,
    store: &Store<InProcEnv>,
    changes: &[Change],
) -> Result<(), EngineError> {
    let mut tries = 0;
    loop {
        while store.pressure().is_some() && tries < 1000 {
            tries += 1;
            env.sleep(5_000).await;
        }
        match store.append(log_batch(changes, |_| LIFE)).await {
            Err(EngineError::NoSpace { .. }) if tries < 1000 => {
                tries += 1;
                env.sleep(5_000).await;
            }
            outcome => return outcome,
        }
    }
}

/// The records of some changes, each group in its life.
pub fn log_batch(changes: &[Change], incarnation: impl Fn(GroupId) -> Incarnation) -> LogBatch {
    let mut batch = LogBatch::new();
    for change in changes {
        let entries = change.entries.iter().map(|entry| (entry.term, entry.data.clone()));
        batch.push_entries(change.group, incarnation(change.group), LogIndex(change.first), entries);
        if let Some(hard_state) = change.hard_state {
            batch.push_hard_state(change.group, hard_state);
        }
    }
    batch
}

/// Applies every committed entry that is not yet applied.
pub fn apply_committed(store: &Store<InProcEnv>, model: &LogModel, applied: &mut BTreeMap<GroupId, u64>) {
    for (group, log) in &model.groups {
        let done = applied.entry(*group).or_default();
        while *done < log.committed() {
            *done += 1;
            if let Some(batch) = log.get(*done).and_then(|entry| WriteBatch::decode(entry.data.to_vec()).ok()) {
                store.write(*group, LogIndex(*done), batch);
            }
        }
    }
}

fn change(rng: &mut Rng, shape: &Shape, log: &GroupModel, group: GroupId, number: u64) -> Change {
    let committed = log.committed();
    // What is not committed may be replaced by another leader.
    let replaces = log.last() > committed && rng.below(2) == 0;
    let term = Term(log.hard_state.term.0.max(1) + u64::from(replaces));
    let first = if replaces { committed + 1 } else { log.last() + 1 };
    let count = 1 + u64::from(shape.tails && rng.below(3) == 0);
    let entries = (0..count).map(|at| Entry::new(term, batch(rng, shape, group, number * 10 + at))).collect();
    let last = first + count - 1;
    let commit = if shape.tails && rng.below(3) == 0 { committed } else { last };
    let vote = 1 + number % 3;
    let hard_state = Some(HardState { term, vote, commit: LogIndex(commit) });
    Change { group, first, entries, hard_state }
}

/// What a group holds.
fn content_of(now: &LogModel, group: GroupId) -> Content {
    let only = LogModel { groups: BTreeMap::from([(group, now.group(group))]) };
    only.content(&BTreeMap::from([(group, now.group(group).committed())]))
}

/// What takes a group's place some entries further on.
fn replacement(group: GroupId, now: &LogModel, base: Content) -> Replacement {
    let log = now.group(group);
    let start = (log.last() + 3, Term(log.term()));
    Replacement { group, incarnation: log.incarnation, start, base: Arc::new(base) }
}

fn batch(rng: &mut Rng, shape: &Shape, group: GroupId, number: u64) -> Bytes {
    let key = |at: u64| Swarm::key_at(group, at);
    let fades = (shape.fading.0 + 1..=shape.fading.1).contains(&(number / 10));
    let mut batch = WriteBatch::new();
    if fades {
        batch.put_expiring(Swarm::named(group, "/count"), number.to_string(), UNTIL);
    } else {
        batch.put(Swarm::named(group, "/count"), number.to_string());
    }
    let puts = if shape.value > 1000 { 1 } else { 2 };
    for _ in 0..puts {
        let len = usize::try_from(shape.value / 2 + rng.below(shape.value)).unwrap_or(0);
        let (key, value) = (key(rng.below(shape.keys)), vec![u8::try_from(number % 251).unwrap_or(0); len]);
        if fades {
            batch.put_expiring(key, value, UNTIL);
        } else {
            batch.put(key, value);
        }
    }
    if !fades && rng.below(3) == 0 {
        batch.delete(key(rng.below(shape.keys)));
    }
    if shape.ranges && rng.below(4) == 0 {
        let from = rng.below(shape.keys);
        batch.delete_range(key(from), key(from + 1 + rng.below(8)));
    }
    Bytes::from(batch.encode())
}
