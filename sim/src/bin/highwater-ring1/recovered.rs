//! Opening a store and holding everything that it recovered against what it may hold.
//!
//! A recovered store must equal one of a few candidates exactly: what was acknowledged, or that and an append that was under way. Its
//! tables must contain the effects of exactly the entries that they claim, and applying the rest must give the candidate's content.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use highwater_engine::{
    Cursor, Direction, EngineError, GroupId, KeyRange, LogIndex, Recovery, Snapshot, Store, StoreOptions, WriteBatch,
};
use highwater_runtime::inproc::InProcEnv;

use crate::clocks::Clocks;
use crate::model::{Content, FoundLog, LogModel, content_difference, shown};

/// The store's folder.
pub const FOLDER: &str = "/data/store-0";

/// Why a run does not go on.
#[derive(Clone, Debug)]
pub enum Halt {
    /// A promise is broken.
    Violation(String),
    /// The store refused, with a typed error. Whether it had reason to is for the caller to judge.
    Refused(EngineError),
    /// The store opened, and refused afterwards, while what it holds was read.
    RefusedLater(EngineError),
    /// The store asks for writes to be refused and does not stop doing so.
    Stuck(String),
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        Self::Refused(error)
    }
}

/// A violation, in words.
pub fn violated<T>(what: impl Into<String>) -> Result<T, Halt> {
    Err(Halt::Violation(what.into()))
}

/// A store that was opened and found right.
pub struct Opened {
    /// The store, with every committed entry applied.
    pub store: Rc<Store<InProcEnv>>,
    /// What opening it found.
    pub recovery: Recovery,
    /// Which of the candidates it is.
    pub chosen: usize,
    /// Up to which entry each group is applied.
    pub applied: BTreeMap<GroupId, u64>,
    /// What it holds.
    pub content: Content,
}

/// Opens the store and checks it whole, at some log time.
pub async fn open(
    env: InProcEnv,
    options: StoreOptions,
    candidates: &[LogModel],
    clocks: &Clocks,
) -> Result<Opened, Halt> {
    open_in(Path::new(FOLDER), env, options, candidates, clocks).await
}

/// The same with the store, or a copy of one, in some folder.
pub async fn open_in(
    folder: &Path,
    env: InProcEnv,
    options: StoreOptions,
    candidates: &[LogModel],
    clocks: &Clocks,
) -> Result<Opened, Halt> {
    let (store, recovery) = Store::open(env, folder, options).await?;
    check(store, recovery, candidates, clocks).await.map_err(|halt| match halt {
        Halt::Refused(error) => Halt::RefusedLater(error),
        other => other,
    })
}

/// Holds an open store against the candidates, and applies what is committed.
async fn check(
    store: Rc<Store<InProcEnv>>,
    recovery: Recovery,
    candidates: &[LogModel],
    clocks: &Clocks,
) -> Result<Opened, Halt> {
    let mut logs = BTreeMap::new();
    for (group, found) in &recovery.groups {
        let applied = found.applied.0;
        if found.first_index.0 > applied + 1 {
            return violated(format!(
                "{group}: the tables contain entries up to {applied}, the log begins at {}: a hole",
                found.first_index.0
            ));
        }
        let entries = if found.first_index <= found.last_index {
            read_entries(&store, *group, found.first_index.0, found.last_index.0).await?
        } else {
            Vec::new()
        };
        let (incarnation, hard_state) = (found.incarnation, found.hard_state);
        logs.insert(*group, FoundLog { incarnation, last: found.last_index.0, hard_state, entries });
    }
    let chosen = choose(&logs, candidates)?;
    let Some(model) = candidates.get(chosen) else { return violated("no candidate") };
    let mut applied: BTreeMap<GroupId, u64> =
        recovery.groups.iter().map(|(group, found)| (*group, found.applied.0)).collect();
    for (group, upto) in &applied {
        let committed = model.group(*group).committed();
        if *upto > committed {
            return violated(format!("{group}: the tables contain entry {upto}, but only {committed} is committed"));
        }
        let start = model.group(*group).start.0;
        if *upto < start {
            return violated(format!("{group}: the tables contain entries up to {upto}, but {start} were taken in"));
        }
    }
    let found = scan_all(&store, &store.snapshot(), Direction::Forward).await?;
    let then = model.clocks_behind(&applied, clocks);
    if let Some(what) = content_difference(&found, &model.content(&applied), &then) {
        return violated(format!("the tables contain something else than the entries up to {applied:?}: {what}"));
    }
    for (group, log) in &logs {
        let from = applied.get(group).copied().unwrap_or(0);
        let committed = model.group(*group).committed();
        for entry in log.entries.iter().filter(|entry| (from + 1..=committed).contains(&entry.index.0)) {
            let Ok(batch) = WriteBatch::decode(entry.data.to_vec()) else {
                return violated(format!("{group}: {} is no batch", entry.index));
            };
            store.write(*group, entry.index, batch);
        }
        applied.insert(*group, committed);
    }
    let content = model.content(&applied);
    for direction in [Direction::Forward, Direction::Reverse] {
        let found = scan_all(&store, &store.snapshot(), direction).await?;
        if let Some(what) = content_difference(&found, &content, clocks) {
            return violated(format!("after the log was applied, {direction:?}: {what}"));
        }
    }
    store.verify().await?;
    Ok(Opened { store, recovery, chosen, applied, content })
}

/// Entries of a group, all of them.
pub async fn read_entries(
    store: &Store<InProcEnv>,
    group: GroupId,
    from: u64,
    to: u64,
) -> Result<Vec<highwater_engine::LogEntry>, Halt> {
    let entries = store.entries(group, LogIndex(from), LogIndex(to), usize::MAX).await?;
    let indexes = entries.iter().map(|entry| entry.index.0);
    if !indexes.eq(from..=to) {
        return violated(format!("{group}: entries {from} to {to} were asked for, others came"));
    }
    Ok(entries)
}

/// The candidate that was found.
fn choose(logs: &BTreeMap<GroupId, FoundLog>, candidates: &[LogModel]) -> Result<usize, Halt> {
    let mut why = Vec::new();
    for (position, candidate) in candidates.iter().enumerate() {
        let groups = logs.keys().chain(candidate.groups.keys());
        let nothing = FoundLog::default();
        let difference = groups.into_iter().find_map(|group| {
            let found = logs.get(group).unwrap_or(&nothing);
            candidate.difference(*group, found)
        });
        match difference {
            None => return Ok(position),
            Some(what) => why.push(what),
        }
    }
    violated(format!(
        "what was recovered is neither what was acknowledged nor that and an append under way: {}",
        why.join("; nor: ")
    ))
}

/// Everything that a snapshot shows.
pub async fn scan_all(store: &Store<InProcEnv>, at: &Snapshot, direction: Direction) -> Result<Content, Halt> {
    scan(store.scan(KeyRange::all(), direction, at), direction, usize::MAX).await
}

/// Up to `limit` keys of a cursor, whose order is checked.
pub async fn scan(mut cursor: Cursor<InProcEnv>, direction: Direction, limit: usize) -> Result<Content, Halt> {
    let mut found = Content::new();
    for _ in 0..limit {
        let Some((key, value, expires_at)) = cursor.next_expiring().await? else { break };
        let edge = match direction {
            Direction::Forward => found.last_key_value(),
            Direction::Reverse => found.first_key_value(),
        };
        let ordered = edge.is_none_or(|(last, _)| match direction {
            Direction::Forward => *last < key,
            Direction::Reverse => *last > key,
        });
        if !ordered {
            return violated(format!("a scan gave {} out of order", shown(&key)));
        }
        found.insert(key, (value, expires_at));
    }
    Ok(found)
}
