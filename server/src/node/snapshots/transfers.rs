//! The snapshots that a store's groups send: which are under way, one task each, and how they end.
//!
//! A transfer waits for its turn ([`super::pace::SENT_AT_ONCE`] per node), then cuts: the group's published state, and Raft told of it,
//! in one synchronous step. All else takes its time beside the driver.
//!
//! Invariant: one task per group and receiver; a wish that comes while one is ending is served after it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::Store;
use highwater_net::rpc::{CallError, SnapshotChunk};
use highwater_raft as raft;
use highwater_runtime::Env;

use super::cut::Cut;
use super::error::SnapshotError;
use super::folders;
use super::pace::{Pace, SENT_AT_ONCE};
use super::send::Sending;

/// Pause before a transfer that waits for its turn looks again, in microseconds.
const TURN_MICROS: u64 = 20_000;
/// Pause after a failure before Raft hears of it and asks again, in microseconds.
const FAILED_MICROS: u64 = 1_000_000;

/// A group's replica and the node around it, as a transfer needs them.
pub(crate) trait Sender<E: Env>: 'static {
    /// The group.
    fn group(&self) -> u32;
    /// Cuts the group's state for a member and tells Raft so; `None` when it is not wanted any more.
    fn cut(&self, to: raft::NodeId) -> Option<Cut<E>>;
    /// Whether this replica still leads in this term, and the node goes on.
    fn leads(&self, term: raft::Term) -> bool;
    /// Brings a chunk to another node and gives its answer.
    async fn carry(&self, to: raft::NodeId, chunk: SnapshotChunk) -> Result<Bytes, CallError>;
    /// Tells Raft how it ended: the last entry of what arrived, or nothing.
    fn ended(&self, to: raft::NodeId, sent: Option<raft::LogIndex>);
    /// Bytes per second that the node sends; 0 for no limit.
    fn rate(&self) -> u64;
}

/// The snapshots that a store sends.
pub(crate) struct Transfers<E: Env> {
    env: E,
    store: Rc<Store<E>>,
    pace: Arc<Pace>,
    /// Transfers under way; true: wanted again.
    active: RefCell<BTreeMap<(u32, raft::NodeId), bool>>,
    folders: RefCell<[bool; SENT_AT_ONCE]>,
    counted: Cell<Counted>,
}

/// What became of transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Arrived whole.
    pub(crate) sent: u64,
    /// Bytes of those.
    pub(crate) bytes: u64,
    /// Given up.
    pub(crate) failed: u64,
}

impl<E: Env> Transfers<E> {
    /// Nothing is being sent.
    pub(crate) fn new(env: E, store: Rc<Store<E>>, pace: Arc<Pace>) -> Self {
        Self { env, store, pace, active: RefCell::default(), folders: RefCell::default(), counted: Cell::default() }
    }

    /// Raft wants a snapshot for a member.
    pub(crate) fn want(self: &Rc<Self>, to: raft::NodeId, sender: impl Sender<E>) {
        let mut active = self.active.borrow_mut();
        if let Some(again) = active.get_mut(&(sender.group(), to)) {
            *again = true;
            return;
        }
        active.insert((sender.group(), to), false);
        drop(active);
        let transfers = Rc::clone(self);
        self.env.spawn("snapshot", async move {
            while transfers.run(to, &sender).await {
                // Wanted again meanwhile.
            }
        });
    }

    /// How many transfers are under way or wait for their turn.
    pub(crate) fn count(&self) -> usize {
        self.active.borrow().len()
    }

    /// What became of those that have ended.
    pub(crate) fn counted(&self) -> Counted {
        self.counted.get()
    }

    /// One transfer and its report; whether there is to be another.
    async fn run(&self, to: raft::NodeId, sender: &impl Sender<E>) -> bool {
        let group = sender.group();
        let sent = match self.transfer(to, sender).await {
            Ok(sent) => sent,
            Err(SnapshotError::Abandoned) => None,
            Err(error) => {
                let counted = self.counted.get();
                self.counted.set(Counted { failed: counted.failed + 1, ..counted });
                tracing::warn!(group, to = to.0, %error, "a snapshot was not sent");
                // Raft asks again as soon as it is told, and a cut costs more than a pause.
                self.env.sleep(FAILED_MICROS).await;
                None
            }
        };
        let again = {
            let mut active = self.active.borrow_mut();
            let again = active.remove(&(group, to)).unwrap_or(false);
            if again {
                active.insert((group, to), false);
            }
            again
        };
        // A failure of what Raft has given up since would pass for one of what it wants now.
        if sent.is_some() || !again {
            sender.ended(to, sent);
        }
        again
    }

    /// Its turn, the cut, the files, the way. Gives the index of what was sent.
    async fn transfer(
        &self,
        to: raft::NodeId,
        sender: &impl Sender<E>,
    ) -> Result<Option<raft::LogIndex>, SnapshotError> {
        let (_leave, folder) = loop {
            if let Some(turn) = self.pace.leave().and_then(|leave| Some((leave, self.folder()?))) {
                break turn;
            }
            self.env.sleep(TURN_MICROS).await;
        };
        let Some(cut) = sender.cut(to) else { return Ok(None) };
        let path = folders::sent(self.store.folder(), folder.slot);
        let described = cut.write(&self.env, &self.store, &path).await?;
        let (group, index, bytes) = (described.group, described.index, described.bytes());
        tracing::info!(group, to = to.0, index = index.0, bytes, "sending a snapshot");
        let (env, pace) = (&self.env, &*self.pace);
        let sending = Sending { env, folder: &path, described: &described, pace, rate: sender.rate() };
        let leads = || sender.leads(described.leader_term);
        let outcome = sending.send(async |chunk| sender.carry(to, chunk).await, leads).await;
        // What cannot be removed now is removed before the folder's next use.
        if let Err(error) = folders::empty(&self.env, &path).await {
            tracing::warn!(%error, "files of a snapshot stay for now");
        }
        drop(folder);
        outcome.map(|()| {
            let counted = self.counted.get();
            self.counted.set(Counted { sent: counted.sent + 1, bytes: counted.bytes + bytes, ..counted });
            Some(index)
        })
    }

    fn folder(&self) -> Option<Folder<'_>> {
        let mut taken = self.folders.borrow_mut();
        let slot = taken.iter().position(|taken| !taken)?;
        *taken.get_mut(slot)? = true;
        Some(Folder { slot, taken: &self.folders })
    }
}

/// A folder that one transfer has for itself.
struct Folder<'a> {
    slot: usize,
    taken: &'a RefCell<[bool; SENT_AT_ONCE]>,
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.borrow_mut().get_mut(self.slot) {
            *taken = false;
        }
    }
}
