//! What one store's host has of snapshots: what it sends, what it receives, and how it meets Raft and the other nodes.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_engine::{self as engine, Store};
use highwater_net::rpc::{Answer, CallError, Refusal, RefusalCode, SnapshotChunk};
use highwater_raft as raft;
use highwater_runtime::{Env, Rt};
use highwater_state::group::GroupState;

use super::super::host::StoreHost;
use super::super::mesh::Question;
use super::super::replica::Replica;
use super::super::{Node, ask_port};
use super::cut::Cut;
use super::install::Place;
use super::pace::Pace;
use super::staging::{HandOver, Staging};
use super::transfers::{Sender, Transfers};
use crate::metrics::Sample;

/// How long one chunk may take, in microseconds.
const CHUNK_MICROS: u64 = 10_000_000;

/// The way of a chunk to another node, and of its answer.
pub(crate) type Carry = Rc<dyn Fn(raft::NodeId, SnapshotChunk) -> CarryFuture>;
/// A chunk under way.
pub(crate) type CarryFuture = Pin<Box<dyn Future<Output = Result<Bytes, CallError>>>>;

/// The snapshots of one store's groups.
pub(crate) struct StoreSnapshots {
    env: Rt,
    transfers: Rc<Transfers<Rt>>,
    staging: Rc<Staging<Rt>>,
    carry: Carry,
    rate: u64,
    /// Snapshots that were put in place.
    installed: Cell<u64>,
}

impl StoreSnapshots {
    /// `rate` is in bytes per second for all of the node, which shares `pace`; 0 is no limit.
    pub(crate) fn new(env: &Rt, store: &Rc<Store<Rt>>, pace: Arc<Pace>, carry: Carry, rate: u64) -> Self {
        Self {
            env: env.clone(),
            transfers: Rc::new(Transfers::new(env.clone(), Rc::clone(store), pace)),
            staging: Rc::new(Staging::new(env.clone(), Rc::clone(store))),
            carry,
            rate,
            installed: Cell::new(0),
        }
    }

    /// What is counted of snapshots.
    pub(crate) fn samples(&self) -> [Sample; 5] {
        let counted = self.transfers.counted();
        let count = |name, unit, value: u64, help| Sample::counter(name, unit, value as f64, help);
        [
            count(
                "snapshots_sent",
                "snapshots",
                counted.sent,
                "snapshots of groups that other nodes have taken from this one",
            ),
            count("snapshots_sent_bytes", "bytes", counted.bytes, "bytes of their files"),
            count(
                "snapshots_failed",
                "snapshots",
                counted.failed,
                "snapshots of groups that were given up on the way to another node",
            ),
            count(
                "snapshots_installed",
                "snapshots",
                self.installed.get(),
                "snapshots of other nodes that were put in place here",
            ),
            Sample::gauge(
                "snapshots_under_way",
                "snapshots",
                self.transfers.count() as f64,
                "snapshots that are being sent or wait for their turn",
            ),
        ]
    }

    /// Raft wants one for `to`.
    pub(crate) fn want(&self, host: &Rc<StoreHost>, replica: &Rc<Replica>, to: raft::NodeId) {
        self.transfers.want(to, Leading { host: Rc::clone(host), replica: Rc::clone(replica) });
    }

    /// Takes a chunk of another node's.
    pub(crate) async fn take(&self, host: &Rc<StoreHost>, from: raft::NodeId, chunk: SnapshotChunk) -> Answer {
        let whole = Rc::clone(host);
        let env = self.env.clone();
        let hand_over: HandOver = Rc::new(move |message| {
            let host = Rc::clone(&whole);
            env.spawn("snapshot announced", async move { host.bring(message).await });
        });
        let standing = self.staging.take((from, host.cast.me), chunk, hand_over).await?;
        Ok(Bytes::from(standing.encode()))
    }

    /// Puts a snapshot that a ready names in the place of the group's state and log. Nothing of the group is written or applied
    /// meanwhile.
    ///
    /// # Errors
    /// The node must stop.
    pub(crate) async fn install(
        &self,
        host: &StoreHost,
        replica: &Replica,
        meta: &raft::SnapshotMeta,
        hard_state: Option<raft::HardState>,
    ) -> Result<GroupState<Rt>, String> {
        let group = replica.group();
        let staged = self.staging.staged(group, meta);
        let (Some(staged), Some(view)) = (staged, host.view(group)) else {
            return Err(format!("group {group}: the snapshot that ends at entry {} is not here", meta.index));
        };
        let layout = view.layout();
        drop(view);
        let place = Place { env: &self.env, store: &host.store, layout, incarnation: replica.incarnation() };
        let state = place.install(&staged, hard_state).await.map_err(|error| {
            format!("group {group}: the snapshot that ends at entry {} cannot be put in place: {error}", meta.index)
        })?;
        let of_state = match state.membership() {
            Some(bytes) => raft::Membership::decode(bytes),
            None => Some(raft::Membership::new(&host.cast.members, &[])),
        };
        if of_state.as_ref() != Some(&meta.membership) {
            // The next start would go by the state.
            return Err(format!(
                "group {group}: the snapshot that ends at entry {} was announced with {:?}, and its state says {of_state:?}",
                meta.index, meta.membership
            ));
        }
        self.installed.set(self.installed.get() + 1);
        tracing::info!(group, index = meta.index.0, bytes = staged.described.bytes(), "a snapshot is in place");
        self.settle(group, meta.index);
        Ok(state)
    }

    /// What was staged up to this entry is in place, or Raft does not want it.
    pub(crate) fn settle(&self, group: u32, index: raft::LogIndex) {
        let staging = Rc::clone(&self.staging);
        self.env.spawn("snapshot settled", async move { staging.settle(group, index).await });
    }
}

/// A replica that was asked for a snapshot as a leader.
struct Leading {
    host: Rc<StoreHost>,
    replica: Rc<Replica>,
}

impl Leading {
    fn tell(&self, call: impl FnOnce(&mut raft::RawNode)) {
        self.replica.with_raft(call);
        self.host.touch(&self.replica);
        self.host.work.notify();
    }
}

impl Sender<Rt> for Leading {
    fn group(&self) -> u32 {
        self.replica.group()
    }

    fn cut(&self, to: raft::NodeId) -> Option<Cut<Rt>> {
        let group = self.replica.group();
        let view = self.host.view(group)?;
        let raft::Status { applied, term: leader_term, .. } = self.replica.status();
        if view.applied().0 != applied.0 || applied.0 == 0 {
            return None;
        }
        let term = self.host.store.term_of(engine::GroupId(group), view.applied())?;
        let membership = match view.membership() {
            Some(bytes) => raft::Membership::decode(bytes)?,
            None => raft::Membership::new(&self.host.cast.members, &[]),
        };
        let cut = Cut { view, term: raft::Term(term.0), leader_term, membership };
        let mut told = false;
        self.tell(|raft| match raft.snapshot_cut(to, cut.meta()) {
            // The last chunk says what this message would.
            Ok(_announcement) => told = true,
            Err(error) => tracing::debug!(group, to = to.0, %error, "a snapshot is not wanted any more"),
        });
        told.then_some(cut)
    }

    fn leads(&self, term: raft::Term) -> bool {
        let status = self.replica.status();
        status.role == raft::Role::Leader
            && status.term == term
            && !self.host.draining.get()
            && !self.host.closing.get()
    }

    async fn carry(&self, to: raft::NodeId, chunk: SnapshotChunk) -> Result<Bytes, CallError> {
        match self.host.snapshots.get() {
            Some(snapshots) => (snapshots.carry)(to, chunk).await,
            None => Err(CallError::NotSent(highwater_net::rpc::NotSent::Stopped)),
        }
    }

    fn ended(&self, to: raft::NodeId, sent: Option<raft::LogIndex>) {
        self.tell(|raft| match sent {
            Some(index) => raft.snapshot_sent(to, index),
            None => raft.snapshot_failed(to),
        });
    }

    fn rate(&self) -> u64 {
        self.host.snapshots.get().map_or(0, |snapshots| snapshots.rate)
    }
}

impl Node {
    /// The snapshots of a store of this core.
    pub(in crate::node) fn store_snapshots(&self, store: &Rc<Store<Rt>>) -> StoreSnapshots {
        let (links, env) = (self.links().clone(), self.env().clone());
        let carry: Carry = Rc::new(move |to, chunk| {
            let (links, deadline) = (links.clone(), env.now().after_micros(CHUNK_MICROS));
            Box::pin(async move { links.chunk(to, chunk, deadline).await })
        });
        StoreSnapshots::new(self.env(), store, Arc::clone(&self.0.pace), carry, self.settings().snapshot_rate)
    }

    /// Takes a chunk of another node's snapshot to the core that hosts its group; answered when it is staged.
    pub(crate) async fn take_chunk(&self, from: raft::NodeId, chunk: SnapshotChunk) -> Answer {
        let group = chunk.group.0;
        let not_now = || Refusal::new(RefusalCode::BUSY, format!("group {group} is not ready on this node"));
        if self.0.layout.get().is_none() {
            return Err(not_now());
        }
        if let Some(host) = self.host_of(group) {
            let Some(snapshots) = host.snapshots.get().filter(|_| host.replica(group).is_some()) else {
                return Err(not_now());
            };
            return snapshots.take(&host, from, chunk).await;
        }
        let Ok(port) = self.port_of(group) else { return Err(not_now()) };
        if self.0.to.get(usize::from(self.0.core.0)).is_some_and(|own| std::ptr::eq(own, port)) {
            return Err(not_now());
        }
        let asked = ask_port(port, |reply| Question::Chunk(Box::new((from, chunk)), reply)).await;
        asked.unwrap_or_else(|_| Err(not_now()))
    }
}
