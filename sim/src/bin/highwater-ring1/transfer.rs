//! Copies of stores and of groups, as a step of a life: checkpoints, exports, and ranges replaced by prepared tables.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use highwater_engine::{EngineError, GroupId, Incarnation, IngestOptions, LogIndex, PreparedTables, Store, Term};
use highwater_runtime::Env;
use highwater_runtime::inproc::InProcEnv;

use crate::life::{HeldSnapshot, Ledger, Life, within};
use crate::model::{Content, LogModel, Replacement};
use crate::recovered::{self, Halt, violated};
use crate::swarm::Swarm;
use crate::workload::{apply_committed, log_batch};

/// The copy that is made at the end of a history.
pub const LAST_COPY: &str = "/data/last-copy";
/// Where exports go.
const PREPARED: &str = "/data/prepared";

impl Life {
    /// Copies the store by hard links, opens the copy and checks it whole.
    pub async fn copy(&mut self) -> Result<(), Halt> {
        // Damage of a linked file shows under either name, so seeds with damage leave this out.
        if self.swarm.damaged {
            return Ok(());
        }
        let number = self.ledger.borrow().marks.get("copies begun").copied().unwrap_or(0);
        let folder = PathBuf::from(format!("/data/copy-{number}"));
        self.mark("copies begun");
        self.ledger.borrow().tell(|| format!("copy to {}", folder.display()));
        let outcome = self.doing("crashes during a checkpoint", self.store.checkpoint(&folder)).await;
        if let Err(error) = outcome {
            return self.tolerate(error);
        }
        let (candidates, clocks) = (self.ledger.borrow().candidates(), self.ledger.borrow().clocks.clone());
        let options = self.swarm.options.clone();
        let copy = recovered::open_in(&folder, self.env.clone(), options, &candidates, &clocks).await;
        let Some(copy) = self.survive(copy)? else { return Ok(()) };
        if let Err(error) = copy.store.close().await {
            return self.tolerate(error);
        }
        self.mark("copies opened and compared");
        Ok(())
    }

    /// Awaits something during which a crash is counted on its own.
    async fn doing<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        self.ledger.borrow_mut().doing = Some(what);
        let outcome = work.await;
        self.ledger.borrow_mut().doing = None;
        outcome
    }

    /// Exports a group, or replaces the one that was exported some steps ago.
    pub async fn transfer(&mut self) -> Result<(), Halt> {
        if self.swarm.damaged {
            return Ok(());
        }
        match self.prepared.take() {
            Some((group, prepared, content)) => self.ingest(group, &prepared, content).await,
            None => self.export().await,
        }
    }

    async fn export(&mut self) -> Result<(), Halt> {
        let folder = Path::new(PREPARED);
        if let Err(error) = discard(&self.env, folder).await {
            return self.tolerate(error);
        }
        let group = self.swarm.group(&mut self.rng);
        let range = if self.rng.below(4) == 0 { self.part_of(group) } else { Swarm::range(group) };
        let now = self.now();
        let older = self.rng.below(2) == 0;
        let HeldSnapshot { at, content, clocks, .. } = self.snapshots.first().filter(|_| older).unwrap_or(&now);
        let expected = within(content, &range);
        self.ledger.borrow().tell(|| format!("export {group}, {} keys", expected.len()));
        let outcome = self.doing("crashes during an export", self.store.export(&range, at, folder)).await;
        let prepared = match outcome {
            Ok(prepared) => prepared,
            Err(error) => return self.tolerate(error),
        };
        let lives = expected.iter().filter(|(key, (_, expires_at))| !clocks.has_expired(key, *expires_at)).count();
        if !(lives as u64..=expected.len() as u64).contains(&prepared.keys()) {
            return violated(format!(
                "an export has {} keys, and should have {lives} to {}",
                prepared.keys(),
                expected.len()
            ));
        }
        match PreparedTables::open(&self.env, folder).await {
            Ok(again) if again == prepared => {}
            Ok(_) => return violated("the descriptor of an export says something else than the export"),
            Err(error) => return self.tolerate(error),
        }
        self.mark("exports");
        self.prepared = Some((group, prepared, expected));
        Ok(())
    }

    /// What a replica does that is so far behind that it is given the state of another.
    async fn ingest(&mut self, group: GroupId, prepared: &PreparedTables, content: Content) -> Result<(), Halt> {
        if let Err(error) = self.store.sync_log().await {
            return self.tolerate(error);
        }
        let log = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.acknowledged = ledger.newest().clone();
            ledger.possible.clear();
            ledger.acknowledged.group(group)
        };
        let start = log.committed() + 1 + self.rng.below(log.last() - log.committed() + 10);
        let begins = log.last() > 0 && self.rng.below(4) == 0;
        let incarnation = Incarnation(log.incarnation.0 + u64::from(begins));
        let term = Term(log.term() + self.rng.below(2));
        let base = Arc::new(content.clone());
        let replacement = Replacement { group, incarnation, start: (start, term), base };
        self.ledger.borrow().tell(|| format!("ingest {group}, {} keys, up to {start}", content.len()));
        let others = self.begin_others(group, replacement);
        let range = Swarm::range(group);
        let options =
            IngestOptions { range: range.clone(), incarnation, applied: LogIndex(start), term, any_database: false };
        let outcome = self.doing("crashes during an ingest", self.store.ingest(group, prepared, &options)).await;
        others.borrow_mut().ingested = Some(outcome.is_ok());
        others.borrow().tell_ledger();
        while !others.borrow().ended {
            self.env.sleep(200).await;
        }
        let (next, error) = {
            let mut others = others.borrow_mut();
            let before = std::mem::replace(&mut self.applied, std::mem::take(&mut others.applied));
            self.show_applied(&before, &others.logs);
            (others.acknowledged(), others.error.take())
        };
        if let Err(error) = outcome {
            self.mark("ingests that failed");
            return self.tolerate(error);
        }
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.mark("ranges replaced");
            ledger.mark_by("ranges replaced by part of what was there", u64::from(*prepared.range() != range));
            ledger.mark_by("groups that began another life", u64::from(begins));
        }
        self.applied.insert(group, start);
        let mut live = Content::clone(&self.live);
        live.retain(|key, _| !key.starts_with(&range.start));
        live.extend(content);
        self.live = live.into();
        if let Some(error) = error {
            self.tolerate(error)?;
        }
        let held = (self.store.applied(group), self.store.first_index(group), self.store.last_index(group));
        if held != (LogIndex(start), LogIndex(start + 1), LogIndex(start)) {
            return violated(format!("{group}: after an ingest up to {start}, applied, first and last are {held:?}"));
        }
        if self.store.hard_state(group) != next.group(group).hard_state {
            return violated(format!("{group}: after an ingest, {:?}", self.store.hard_state(group)));
        }
        match prepared.remove(&self.env).await {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }
}

/// One failing operation at a time: what failed is tried again.
const TRIES: usize = 3;

/// Exports all that a group has, again if that fails.
pub async fn export_at_last<E: Env>(env: &E, store: &Store<E>, group: GroupId) -> Result<PreparedTables, EngineError> {
    let mut tries = 1;
    loop {
        discard(env, Path::new(PREPARED)).await?;
        match store.export(&Swarm::range(group), &store.snapshot(), Path::new(PREPARED)).await {
            Err(EngineError::Io { .. } | EngineError::NoSpace { .. }) if tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Replaces a group, again if that fails.
pub async fn ingest_at_last<E: Env>(
    env: &E,
    store: &Store<E>,
    group: GroupId,
    prepared: &PreparedTables,
    options: &IngestOptions,
) -> Result<(), EngineError> {
    let mut tries = 1;
    loop {
        match store.ingest(group, prepared, options).await {
            Err(EngineError::Io { .. } | EngineError::NoSpace { .. }) if tries < TRIES => {
                tries += 1;
                env.sleep(5_000).await;
            }
            outcome => return outcome,
        }
    }
}

/// What the other groups' driver does while a group is replaced.
struct Others {
    ledger: Rc<RefCell<Ledger>>,
    /// The logs as acknowledged, but for the group that is replaced.
    logs: LogModel,
    /// An append that is under way.
    begun: Option<LogModel>,
    replacement: Replacement,
    /// Whether the ingest has succeeded, once it has ended.
    ingested: Option<bool>,
    applied: BTreeMap<GroupId, u64>,
    error: Option<EngineError>,
    ended: bool,
}

impl Others {
    fn acknowledged(&self) -> LogModel {
        let done = self.ingested == Some(true);
        if done { self.logs.replaced(self.replacement.clone()) } else { self.logs.clone() }
    }

    /// Applies what was appended. False if it was not.
    fn take_outcome(&mut self, outcome: Result<(), EngineError>, replaced: GroupId, store: &Store<InProcEnv>) -> bool {
        let begun = self.begun.take();
        match (outcome, begun) {
            (Ok(()), Some(mut begun)) => {
                let mut only = begun.clone();
                only.groups.remove(&replaced);
                apply_committed(store, &only, &mut self.applied);
                begun.note_applied(&self.ledger.borrow().clocks);
                self.logs = begun;
                self.ledger.borrow_mut().mark("appends during an ingest");
            }
            (outcome, _) => self.error = outcome.err(),
        }
        self.tell_ledger();
        self.error.is_none()
    }

    /// Tells the ledger what a crash may leave now.
    fn tell_ledger(&self) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.acknowledged = self.acknowledged();
        let without = self.begun.iter().cloned();
        let with = std::iter::once(&self.logs).chain(&self.begun).map(|logs| logs.replaced(self.replacement.clone()));
        ledger.possible = match self.ingested {
            None => without.chain(with).collect(),
            Some(true) => with.skip(1).collect(),
            Some(false) => without.collect(),
        };
    }
}

impl Life {
    /// Other groups go on while one is replaced: some appends, each applied.
    fn begin_others(&mut self, replaced: GroupId, replacement: Replacement) -> Rc<RefCell<Others>> {
        let logs = self.ledger.borrow().acknowledged.clone();
        let mut planned = Vec::new();
        let mut newest = logs.clone();
        let count = if self.rng.below(2) == 0 { 0 } else { self.rng.below(24) };
        for _ in 0..count {
            let group = self.swarm.busy_group(&mut self.rng);
            if group != replaced {
                let changes = vec![self.change(&newest, group)];
                newest = newest.after(&changes);
                planned.push(changes);
            }
        }
        let (ledger, applied) = (Rc::clone(&self.ledger), self.applied.clone());
        let others =
            Others { ledger, logs, begun: None, replacement, ingested: None, applied, error: None, ended: false };
        others.tell_ledger();
        let others = Rc::new(RefCell::new(others));
        let (shared, store, env) = (Rc::clone(&others), Rc::clone(&self.store), self.env.clone());
        let pause = self.rng.below(400);
        self.env.spawn("other groups", async move {
            for changes in planned {
                if store.pressure().is_some() {
                    break;
                }
                let logs = shared.borrow().logs.clone();
                shared.borrow_mut().begun = Some(logs.after(&changes));
                shared.borrow().tell_ledger();
                let outcome = store.append(log_batch(&changes, |group| logs.group(group).incarnation)).await;
                let goes_on = shared.borrow_mut().take_outcome(outcome, replaced, &store);
                if !goes_on {
                    break;
                }
                env.sleep(pause).await;
            }
            shared.borrow_mut().ended = true;
        });
        others
    }
}

/// Empties the folder of an export, whole or not.
async fn discard<E: Env>(env: &E, folder: &Path) -> Result<(), EngineError> {
    Store::discard_incomplete(env, folder).await?;
    let failed = |action, error| EngineError::Io {
        action,
        file: folder.to_path_buf(),
        kind: std::io::Error::kind(&error),
        message: error.to_string(),
    };
    let names = match env.list_dir(folder).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|error| failed("list", error))?,
    };
    for name in names {
        env.remove_file(&folder.join(name)).await.map_err(|error| failed("remove", error))?;
    }
    Ok(())
}
