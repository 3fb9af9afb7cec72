//! Receiving snapshots: chunks become files in a folder of the store, checked on the way and read back at the end.
//!
//! One snapshot per group at a time, [`folders::RECEIVED_AT_ONCE`] per store. Chunks are taken in order only; every answer says what
//! comes next ([`Standing`]), so lost, doubled and late ones do no harm. Space for all files is reserved before the first byte. Every
//! step of I/O runs in a task of its own, as a call may be given up by its caller half-way.
//!
//! Invariants: a snapshot is handed to the group's replica once, when every file has its length and checksum and the store would take
//! it; what is being worked on or is in the replica's hands is not replaced by another; what failed leaves no files.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;

use highwater_engine::{EngineError, GroupId, IngestOptions, PreparedTables, Store};
use highwater_net::rpc::{Refusal, RefusalCode, SnapshotChunk};
use highwater_raft as raft;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, Monotonic, OpenOptions, queue};

use super::cut::range_of;
use super::descriptor::Described;
use super::error::SnapshotError;
use super::folders;
use super::standing::Standing;
use crate::signal::Signal;

/// A staging of which nothing was heard for so long gives way to another snapshot, in microseconds.
const SILENT_MICROS: u64 = 60_000_000;
/// A chunk or a descriptor that no sender of this release makes.
pub(crate) const MALFORMED: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 64);
/// The snapshot is damaged, or of an older term than the one that is being received.
pub(crate) const UNWANTED: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 65);
/// There is no space for it, or the disk failed.
pub(crate) const NO_SPACE: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 66);

/// What a whole snapshot is handed to: the group's replica steps the message.
pub(crate) type HandOver = Rc<dyn Fn(raft::Message)>;

/// The snapshots that a store is receiving.
pub(crate) struct Staging<E: Env> {
    env: E,
    store: Rc<Store<E>>,
    incoming: RefCell<BTreeMap<u32, Rc<Incoming<E>>>>,
}

/// A snapshot that is there whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    /// Where its files are.
    pub(crate) folder: PathBuf,
    /// What it is.
    pub(crate) described: Described,
}

struct Incoming<E: Env> {
    slot: usize,
    from: raft::NodeId,
    described: Described,
    stage: RefCell<Stage<E::File>>,
    heard: Cell<Monotonic>,
    /// The stage is another.
    turned: Signal,
}

/// How far one is.
enum Stage<F> {
    /// Takes the next chunk.
    Receiving(Receiving<F>),
    /// I/O is under way.
    Working,
    /// Everything is there and is being read back.
    Checking,
    /// The replica decides.
    HandedOver,
}

/// The file that is being filled.
struct Receiving<F> {
    part: u32,
    offset: u64,
    sum: crc32fast::Hasher,
    file: Rc<F>,
}

impl<F> Stage<F> {
    fn standing(&self) -> Standing {
        match self {
            Self::Receiving(Receiving { part, offset, .. }) => Standing::Wants { part: *part, offset: *offset },
            Self::Working => Standing::Busy,
            Self::Checking => Standing::Checking,
            Self::HandedOver => Standing::HandedOver,
        }
    }
}

fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::new(MALFORMED, text)
}

fn failed(action: &'static str, path: &std::path::Path, error: &std::io::Error) -> Refusal {
    Refusal::new(NO_SPACE, format!("cannot {action} {}: {error}", path.display()))
}

impl<E: Env> Staging<E> {
    /// Nothing is being received.
    pub(crate) fn new(env: E, store: Rc<Store<E>>) -> Self {
        Self { env, store, incoming: RefCell::default() }
    }

    /// Takes a chunk of node `from` for this node, `me`, and says how far the snapshot is. `hand_over` gets the announcement once everything is
    /// there.
    ///
    /// # Errors
    /// A refusal that ends the transfer: malformed, damaged, outdated, no space.
    pub(crate) async fn take(
        self: &Rc<Self>,
        (from, me): (raft::NodeId, raft::NodeId),
        chunk: SnapshotChunk,
        hand_over: HandOver,
    ) -> Result<Standing, Refusal> {
        if chunk.part == 0 {
            self.begin((from, me), &chunk, hand_over).await
        } else {
            self.go_on(from, me, chunk, hand_over).await
        }
    }

    /// A descriptor: of what is being received already, or of another snapshot.
    async fn begin(
        self: &Rc<Self>,
        (from, me): (raft::NodeId, raft::NodeId),
        chunk: &SnapshotChunk,
        hand_over: HandOver,
    ) -> Result<Standing, Refusal> {
        let described = Described::decode(&chunk.data).map_err(|error| malformed(error.to_string()))?;
        if !described.is_of(chunk) {
            return Err(malformed("the chunk names another snapshot than its descriptor"));
        }
        let group = described.group;
        let present = self.incoming.borrow().get(&group).cloned();
        if let Some(present) = &present {
            if (present.from, &present.described) == (from, &described) {
                present.heard.set(self.env.now());
                return Ok(present.stage.borrow().standing());
            }
            if !self.gives_way(present) {
                return Ok(Standing::Busy);
            }
            if described.leader_term < present.described.leader_term {
                let text = format!(
                    "a snapshot of term {} is being received, this one was cut in term {}",
                    present.described.leader_term.0, described.leader_term.0
                );
                return Err(Refusal::new(UNWANTED, text));
            }
        }
        if self.store.applied(GroupId(group)).0 >= described.index.0 {
            // The replica tells the leader so itself.
            hand_over(described.announcement(from, me));
            return Ok(Standing::HandedOver);
        }
        let Some(slot) = present.map(|present| present.slot).or_else(|| self.free_slot()) else {
            return Ok(Standing::Busy);
        };
        let incoming = Rc::new(Incoming {
            slot,
            from,
            described,
            stage: RefCell::new(Stage::Working),
            heard: Cell::new(self.env.now()),
            turned: Signal::default(),
        });
        self.incoming.borrow_mut().insert(group, Rc::clone(&incoming));
        self.work(incoming, async |staging, incoming| staging.prepare(incoming).await).await
    }

    /// Whether a staging may be replaced by another snapshot of its group, or by one of another group: nobody works on it, and either it is not whole
    /// or the replica has not asked for it for long.
    fn gives_way(&self, incoming: &Incoming<E>) -> bool {
        match &*incoming.stage.borrow() {
            Stage::Receiving(_) => true,
            Stage::HandedOver => self.is_silent(incoming),
            Stage::Working | Stage::Checking => false,
        }
    }

    fn is_silent(&self, incoming: &Incoming<E>) -> bool {
        self.env.now().micros_since(incoming.heard.get()) > SILENT_MICROS
    }

    /// A slot that no group has, or one of a group that was silent for long.
    fn free_slot(&self) -> Option<usize> {
        let mut incoming = self.incoming.borrow_mut();
        let free = (0..folders::RECEIVED_AT_ONCE).find(|slot| incoming.values().all(|other| other.slot != *slot));
        if free.is_some() {
            return free;
        }
        let silent = incoming.iter().find(|(_, other)| self.gives_way(other) && self.is_silent(other));
        let group = silent.map(|(group, _)| *group)?;
        incoming.remove(&group).map(|silent| silent.slot)
    }

    /// A chunk of a file.
    async fn go_on(
        self: &Rc<Self>,
        from: raft::NodeId,
        me: raft::NodeId,
        chunk: SnapshotChunk,
        hand_over: HandOver,
    ) -> Result<Standing, Refusal> {
        let present = self.incoming.borrow().get(&chunk.group.0).cloned();
        let is_of_this = |present: &Rc<Incoming<E>>| present.from == from && present.described.is_of(&chunk);
        let present = present.filter(|present| is_of_this(present) || highwater_runtime::mutant(18));
        let Some(incoming) = present else { return Ok(Standing::Wants { part: 0, offset: 0 }) };
        incoming.heard.set(self.env.now());
        // The sender is a few chunks ahead of the answers: this one's turn comes when the one before is written.
        let standing = loop {
            let seen = incoming.turned.seen();
            if !matches!(&*incoming.stage.borrow(), Stage::Working) {
                break incoming.stage.borrow().standing();
            }
            incoming.turned.changed_since(seen).await;
            let is_present = |present: &Rc<Incoming<E>>| Rc::ptr_eq(present, &incoming);
            if !self.incoming.borrow().get(&chunk.group.0).is_some_and(is_present) {
                return Ok(Standing::Wants { part: 0, offset: 0 });
            }
        };
        if standing != (Standing::Wants { part: chunk.part, offset: chunk.offset }) {
            return Ok(standing);
        }
        let bytes = chunk.data.len() as u64;
        let is_of_file = incoming.described.file(chunk.part).is_some_and(|file| {
            file.bytes == chunk.part_bytes && chunk.offset.checked_add(bytes).is_some_and(|end| end <= file.bytes)
        });
        if !is_of_file || bytes == 0 || !bytes.is_multiple_of(BLOCK as u64) {
            return Err(malformed("the chunk does not lie in its file as described, or is not whole blocks"));
        }
        let Stage::Receiving(receiving) = incoming.stage.replace(Stage::Working) else { return Ok(Standing::Busy) };
        let work = async move |staging: &Rc<Self>, incoming: &Rc<Incoming<E>>| {
            staging.write(incoming, receiving, chunk, me, hand_over).await
        };
        self.work(incoming, work).await
    }

    /// Runs a step that leaves a stage behind, to its end whatever becomes of the caller.
    async fn work(
        self: &Rc<Self>,
        incoming: Rc<Incoming<E>>,
        step: impl AsyncFnOnce(&Rc<Self>, &Rc<Incoming<E>>) -> Result<Stage<E::File>, Refusal> + 'static,
    ) -> Result<Standing, Refusal> {
        let (slot, answer) = queue::reply();
        let staging = Rc::clone(self);
        self.env.spawn("snapshot chunk", async move {
            let outcome = step(&staging, &incoming).await;
            slot.fill(match outcome {
                Ok(stage) => {
                    let standing = stage.standing();
                    incoming.stage.replace(stage);
                    incoming.turned.notify();
                    Ok(standing)
                }
                Err(refusal) => {
                    staging.drop_files(&incoming).await;
                    incoming.turned.notify();
                    Err(refusal)
                }
            });
        });
        answer.await.unwrap_or(Ok(Standing::Busy))
    }

    /// Reserves all space.
    async fn prepare(&self, incoming: &Incoming<E>) -> Result<Stage<E::File>, Refusal> {
        let folder = self.folder(incoming);
        let env = &self.env;
        folders::empty(env, &folder).await.map_err(|error| Refusal::new(NO_SPACE, error.to_string()))?;
        env.create_dir_all(&folder).await.map_err(|error| failed("create", &folder, &error))?;
        for file in &incoming.described.files {
            let path = folder.join(&file.name);
            let made = env.open(&path, OpenOptions::CREATE).await.map_err(|error| failed("create", &path, &error))?;
            made.allocate(file.bytes).await.map_err(|error| match error.kind() {
                std::io::ErrorKind::StorageFull => Refusal::new(
                    NO_SPACE,
                    format!("the disk has no space for a snapshot of {} bytes", incoming.described.bytes()),
                ),
                _ => failed("reserve space for", &path, &error),
            })?;
        }
        self.next_part(incoming, 1).await
    }

    async fn next_part(&self, incoming: &Incoming<E>, part: u32) -> Result<Stage<E::File>, Refusal> {
        let Some(file) = incoming.described.file(part) else { return Ok(Stage::Checking) };
        let path = self.folder(incoming).join(&file.name);
        let file = self.env.open(&path, OpenOptions::WRITE).await.map_err(|error| failed("open", &path, &error))?;
        Ok(Stage::Receiving(Receiving { part, offset: 0, sum: crc32fast::Hasher::new(), file: Rc::new(file) }))
    }

    async fn write(
        self: &Rc<Self>,
        incoming: &Rc<Incoming<E>>,
        mut receiving: Receiving<E::File>,
        chunk: SnapshotChunk,
        me: raft::NodeId,
        hand_over: HandOver,
    ) -> Result<Stage<E::File>, Refusal> {
        let folder = self.folder(incoming);
        let Some(described) = incoming.described.file(chunk.part) else { return Err(malformed("no such part")) };
        let path = folder.join(&described.name);
        receiving.sum.update(&chunk.data);
        let written = receiving.file.write_at(AlignedBuf::from_slice(&chunk.data), chunk.offset).await;
        written.map_err(|error| failed("write to", &path, &error))?;
        receiving.offset += chunk.data.len() as u64;
        if receiving.offset < described.bytes {
            return Ok(Stage::Receiving(receiving));
        }
        if receiving.sum.finalize() != described.checksum && !highwater_runtime::mutant(18) {
            return Err(Refusal::new(UNWANTED, format!("the file {} does not have its checksum", described.name)));
        }
        if let Err(error) = receiving.file.sync().await {
            match self.stop(&path, &error).await {}
        }
        let next = self.next_part(incoming, chunk.part + 1).await?;
        if matches!(next, Stage::Checking) {
            if let Err(error) = self.env.sync_dir(&folder).await {
                match self.stop(&folder, &error).await {}
            }
            let (staging, incoming) = (Rc::clone(self), Rc::clone(incoming));
            self.env.spawn("snapshot check", async move { staging.check(&incoming, me, hand_over).await });
        }
        Ok(next)
    }

    /// A failed sync stops the node: what of other files is on the disk is unknown, too.
    async fn stop(&self, path: &std::path::Path, error: &std::io::Error) -> Infallible {
        let reason = format!("cannot sync {}, part of a snapshot: {error}; this node stops", path.display());
        self.env.fail_stop(&reason).await
    }

    /// Reads back what is there; what the store would take goes to the replica.
    async fn check(&self, incoming: &Rc<Incoming<E>>, me: raft::NodeId, hand_over: HandOver) {
        if let Err(error) = self.check_files(incoming).await {
            tracing::warn!(group = incoming.described.group, from = incoming.from.0, %error, "a snapshot that came is of no use");
            self.drop_files(incoming).await;
            return;
        }
        incoming.heard.set(self.env.now());
        incoming.stage.replace(Stage::HandedOver);
        hand_over(incoming.described.announcement(incoming.from, me));
    }

    async fn check_files(&self, incoming: &Incoming<E>) -> Result<(), EngineError> {
        let prepared = PreparedTables::open(&self.env, &self.folder(incoming)).await?;
        self.store.check_prepared(&prepared, &ingest_options(&incoming.described)).await
    }

    /// The snapshot that a replica's `Ready` names.
    pub(crate) fn staged(&self, group: u32, meta: &raft::SnapshotMeta) -> Option<Staged> {
        let incoming = self.incoming.borrow();
        let incoming = incoming.get(&group).filter(|incoming| incoming.described.meta() == *meta)?;
        // From now on nothing takes its place until it is settled.
        let handed_over = matches!(&*incoming.stage.borrow(), Stage::HandedOver | Stage::Working);
        if !handed_over {
            return None;
        }
        incoming.stage.replace(Stage::Working);
        Some(Staged { folder: self.folder(incoming), described: incoming.described.clone() })
    }

    /// A snapshot that was handed over is in place, or is not wanted: its files go.
    pub(crate) async fn settle(&self, group: u32, index: raft::LogIndex) {
        let incoming = self.incoming.borrow().get(&group).cloned();
        let Some(incoming) = incoming.filter(|incoming| {
            incoming.described.index == index && matches!(&*incoming.stage.borrow(), Stage::HandedOver | Stage::Working)
        }) else {
            return;
        };
        self.drop_files(&incoming).await;
    }

    /// Forgets a snapshot, its files first: its slot is not free before.
    async fn drop_files(&self, incoming: &Rc<Incoming<E>>) {
        incoming.stage.replace(Stage::Working);
        // What cannot be removed now is removed before the slot's next use.
        if let Err(error) = folders::empty(&self.env, &self.folder(incoming)).await {
            tracing::warn!(%error, "files of a snapshot stay for now");
        }
        let mut all = self.incoming.borrow_mut();
        if all.get(&incoming.described.group).is_some_and(|present| Rc::ptr_eq(present, incoming)) {
            all.remove(&incoming.described.group);
        }
    }

    fn folder(&self, incoming: &Incoming<E>) -> PathBuf {
        folders::staged(self.store.folder(), incoming.slot)
    }
}

/// What a group is after its snapshot was taken in, but for the replica's life.
pub(crate) fn ingest_options(described: &Described) -> IngestOptions {
    IngestOptions {
        range: range_of(described.group),
        incarnation: highwater_engine::Incarnation::default(),
        applied: highwater_engine::LogIndex(described.index.0),
        term: highwater_engine::Term(described.term.0),
        any_database: true,
    }
}

impl From<SnapshotError> for Refusal {
    fn from(error: SnapshotError) -> Self {
        Self::new(NO_SPACE, error.to_string())
    }
}
