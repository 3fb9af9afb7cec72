//! The short workloads whose every crash point is tried: each flushes and compacts within a few dozen appends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{
    EngineError, GroupId, HardState, Incarnation, LogBatch, LogIndex, Store, StoreOptions, StoreStats, Term, WriteBatch,
};
use highwater_runtime::Env;
use highwater_runtime::inproc::InProcEnv;
use highwater_runtime::rng::Rng;

use crate::model::{Change, Entry, LogModel};
use crate::recovered::FOLDER;

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
}

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
        };
        let segments = Shape {
            name: "recycled segments, a quiet group that is moved forward, a manifest that rolls",
            options: StoreOptions { manifest_bytes: 16 << 10, spare_segments: 1, ..options },
            appends: 70,
            keys: 20,
            value: 4000,
            ranges: false,
            tails: false,
            quiet_after: 6,
            flush_every: 0,
        };
        [plain, ranges, segments].into_iter().map(Self::of).collect()
    }

    fn of(shape: Shape) -> Self {
        let mut rng = Rng::new(0x0052_1A06 ^ shape.appends);
        let groups = [GroupId(1), GroupId(2)];
        let mut steps = Vec::new();
        let mut models = vec![LogModel::default()];
        let mut now = LogModel::default();
        for number in 1..=shape.appends {
            let mut changes = Vec::new();
            for group in groups {
                if group.0 == 2 && (number > shape.quiet_after || rng.below(3) == 0) {
                    continue;
                }
                changes.push(change(&mut rng, &shape, &now.group(group), group, number));
            }
            now = now.after(&changes);
            models.push(now.clone());
            steps.push(Step::Append(changes));
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
        Self { name: shape.name, options: shape.options, steps, models }
    }

    /// Runs all steps on an empty or recovered folder that holds nothing yet, and returns the store's figures.
    pub async fn run(&self, env: InProcEnv, progress: Progress) -> Result<StoreStats, EngineError> {
        let (store, _) = Store::open(env.clone(), Path::new(FOLDER), self.options.clone()).await?;
        let mut applied = BTreeMap::new();
        let mut held = Vec::new();
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

fn change(rng: &mut Rng, shape: &Shape, log: &crate::model::GroupModel, group: GroupId, number: u64) -> Change {
    let committed = log.committed();
    // What is not committed may be replaced by another leader.
    let replaces = log.last() > committed && rng.below(2) == 0;
    let term = Term(log.hard_state.term.0.max(1) + u64::from(replaces));
    let first = if replaces { committed + 1 } else { log.last() + 1 };
    let count = 1 + u64::from(shape.tails && rng.below(3) == 0);
    let entries = (0..count).map(|at| Entry { term, data: batch(rng, shape, group, number * 10 + at) }).collect();
    let last = first + count - 1;
    let commit = if shape.tails && rng.below(3) == 0 { committed } else { last };
    let vote = 1 + number % 3;
    let hard_state = Some(HardState { term, vote, commit: LogIndex(commit) });
    Change { group, first, entries, hard_state }
}

fn batch(rng: &mut Rng, shape: &Shape, group: GroupId, number: u64) -> Bytes {
    let key = |at: u64| format!("{}/{at:04}", group.0);
    let mut batch = WriteBatch::new();
    batch.put(format!("{}/count", group.0), number.to_string());
    let puts = if shape.value > 1000 { 1 } else { 2 };
    for _ in 0..puts {
        let len = usize::try_from(shape.value / 2 + rng.below(shape.value)).unwrap_or(0);
        batch.put(key(rng.below(shape.keys)), vec![u8::try_from(number % 251).unwrap_or(0); len]);
    }
    if rng.below(3) == 0 {
        batch.delete(key(rng.below(shape.keys)));
    }
    if shape.ranges && rng.below(4) == 0 {
        let from = rng.below(shape.keys);
        batch.delete_range(key(from), key(from + 1 + rng.below(8)));
    }
    Bytes::from(batch.encode())
}
