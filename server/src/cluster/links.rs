//! This core's ways to the other nodes: messages (lossy, as Raft allows), calls and chunks of snapshots; and the listener for theirs.
//!
//! Invariants: nothing waits without bound: what cannot be sent is dropped (a message) or ends with what is known of its fate (a call).
//! Before the cluster is formed every node of the list is let in, and only introductions are answered; afterwards the roll decides. A
//! cluster of one without a list has neither ways nor a listener.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_net::rpc::hello::{Refused, RefusedReason};
use highwater_net::rpc::{
    CallError, CallKind, Incarnation, ListenerConfig, LocalNode, NotSent, RpcListener, SnapshotChunk, Versions,
};
use highwater_raft::{Message, NodeId};
use highwater_runtime::{CoreId, Env, Monotonic, Rt};
use highwater_state::placement::Layout;

use super::clock;
use super::convert::{raft_node, to_wire, wire_node};
use super::error::ClusterError;
use super::incoming::Incoming;
use super::introduction::Introduction;
use super::roll::{Roll, listed};
use super::setup::ClusterSetup;
use super::watch;
use super::way::Way;
use crate::http::VERSION;
use crate::node::Node;
use crate::stop::Stop;

/// The id of the only node of a cluster of one.
const LONE: NodeId = NodeId(1);

/// This core's ways to the other nodes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Links(Rc<Inner>);

struct Inner {
    me: NodeId,
    /// Ascending, with `me`.
    members: Vec<NodeId>,
    /// By node; without `me`.
    ways: BTreeMap<NodeId, Way>,
    /// None for a cluster of one without a list.
    ground: Option<Ground>,
}

/// What the ways stand on.
struct Ground {
    env: Rt,
    setup: Arc<ClusterSetup>,
    layout: Layout,
    incarnation: Incarnation,
    started: Monotonic,
    /// Set once the cluster is formed.
    roll: OnceCell<Roll>,
    /// Set while the node takes messages and calls.
    node: RefCell<Option<Node>>,
    listener: OnceCell<RpcListener>,
    /// Messages that made no sense as Raft's.
    senseless: Cell<u64>,
    /// Requested once, at the end.
    stop: Stop,
}

impl Links {
    /// Those of a cluster of one: node 1, which has nobody to speak to.
    pub(crate) fn alone() -> Self {
        Self(Rc::new(Inner { me: LONE, members: vec![LONE], ways: BTreeMap::new(), ground: None }))
    }

    /// Listens for the other nodes and starts to connect to them. `shape` is this folder's layout and identity; `roll` its roll, if the
    /// cluster is formed.
    ///
    /// # Errors
    /// [`ClusterError`]: an address that cannot be bound, settings that do not fit.
    pub(crate) async fn start(
        env: &Rt,
        setup: &Arc<ClusterSetup>,
        layout: Layout,
        incarnation: Incarnation,
        roll: Option<Roll>,
    ) -> Result<Self, ClusterError> {
        let me = NodeId(setup.me);
        let members: Vec<NodeId> = setup.peers.keys().copied().map(NodeId).collect();
        let secret = setup.secret()?;
        let wire: Vec<_> = members.iter().copied().map(wire_node).collect();
        let cluster = roll.as_ref().map_or_else(|| secret.cluster_of(&wire), |roll| roll.cluster);
        let local = LocalNode {
            cluster,
            node: wire_node(me),
            incarnation,
            cores: env.core_count(),
            versions: Versions::OURS,
            secret,
        };
        let addr = setup.rpc_addr;
        let socket = env.listen(addr).await.map_err(|reason| ClusterError::Listen { addr, reason })?;
        let mut ways = BTreeMap::new();
        for (node, address) in &setup.peers {
            let node = NodeId(*node);
            if node != me {
                let way = Way::start(env, node, address.clone(), local.clone(), setup.security.clone())?;
                ways.insert(node, way);
            }
        }
        let ground = Ground {
            env: env.clone(),
            setup: Arc::clone(setup),
            layout,
            incarnation,
            started: env.now(),
            roll: OnceCell::new(),
            node: RefCell::new(None),
            listener: OnceCell::new(),
            senseless: Cell::new(0),
            stop: Stop::default(),
        };
        let links = Self(Rc::new(Inner { me, members, ways, ground: Some(ground) }));
        if let (Some(roll), Some(ground)) = (roll, &links.0.ground) {
            let _ = ground.roll.set(roll);
        }
        let config = ListenerConfig { local, security: setup.security.clone(), limits: super::way::limits() };
        let listener = RpcListener::start(env, socket, config, Rc::new(Incoming::new(links.clone())))?;
        if let Some(ground) = &links.0.ground {
            let _ = ground.listener.set(listener);
        }
        watch::start(env, &links);
        Ok(links)
    }

    /// This node.
    pub(crate) fn me(&self) -> NodeId {
        self.0.me
    }

    /// The first membership: every node of the cluster, ascending, with this one.
    pub(crate) fn members(&self) -> &[NodeId] {
        &self.0.members
    }

    /// Whether this node is the only one.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.members.len() <= 1
    }

    /// Hands a message over to be sent. It may be lost, as Raft allows. The messages of one turn go out together.
    pub(crate) fn send(&self, message: Message) {
        if let Some(way) = self.0.ways.get(&message.to) {
            way.send(to_wire(message));
        }
    }

    /// Asks another node and waits for its answer until the deadline. `group` picks the core there.
    ///
    /// # Errors
    /// [`CallError`] says whether the other node may have done it.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        group: u32,
        kind: CallKind,
        payload: Bytes,
        deadline: Monotonic,
    ) -> Result<Bytes, CallError> {
        let (peer, micros) = match (self.0.ways.get(&to), self.left(deadline)) {
            (None, _) => return Err(CallError::NotSent(NotSent::Unreachable)),
            (Some(_), 0) => return Err(CallError::NotSent(NotSent::Expired)),
            (Some(way), micros) => (way.to_group(group), micros),
        };
        peer.call(kind, payload, micros).await
    }

    /// Hands over one chunk of a snapshot, on the bulk lane, and waits until it is staged there.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn chunk(
        &self,
        to: NodeId,
        chunk: SnapshotChunk,
        deadline: Monotonic,
    ) -> Result<Bytes, CallError> {
        let (peer, micros) = match (self.0.ways.get(&to), self.left(deadline)) {
            (None, _) => return Err(CallError::NotSent(NotSent::Unreachable)),
            (Some(_), 0) => return Err(CallError::NotSent(NotSent::Expired)),
            (Some(way), micros) => (way.bulk(), micros),
        };
        peer.chunk(chunk, micros).await
    }

    fn left(&self, deadline: Monotonic) -> u64 {
        self.0.ground.as_ref().map_or(0, |ground| deadline.micros_since(ground.env.now()))
    }

    /// Whether a node was heard within the last two seconds. This node is always up.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        node == self.0.me || self.0.ways.get(&node).is_some_and(Way::is_up)
    }

    /// Whether this node's wall clock is more than 500 ms from what most members say the time is. False when fewer than a
    /// majority are heard: then nobody can tell.
    pub(crate) fn clock_is_wrong(&self) -> bool {
        clock::is_wrong(self.clock_behind_micros())
    }

    /// How far this node's wall clock is behind most clocks of the cluster (ahead: negative), in microseconds, if that can be told.
    pub(crate) fn clock_behind_micros(&self) -> Option<i64> {
        let heard = self.0.ways.iter().filter(|(_, way)| way.is_up());
        let ahead = heard.filter_map(|(node, way)| Some((*node, way.status().clock_ahead_micros?))).collect();
        clock::behind_most(&ahead, self.0.members.len())
    }

    /// The node takes messages and calls from now on.
    pub(crate) fn open(&self, node: Node) {
        if let Some(ground) = &self.0.ground {
            ground.node.replace(Some(node));
        }
    }

    /// Ends all connections. What is asked afterwards is not sent.
    pub(crate) fn stop(&self) {
        let Some(ground) = &self.0.ground else { return };
        ground.stop.request();
        if let Some(listener) = ground.listener.get() {
            listener.stop();
        }
        for way in self.0.ways.values() {
            way.stop();
        }
        let node = ground.node.take();
        drop(node);
    }

    /// The node, while it takes messages and calls.
    pub(super) fn node(&self) -> Option<Node> {
        self.0.ground.as_ref()?.node.borrow().clone()
    }

    /// Whether this is the first of the node's cores, which speaks for all where it would be said twice.
    pub(super) fn is_first_core(&self) -> bool {
        self.0.ground.as_ref().is_none_or(|ground| ground.env.core() == CoreId(0))
    }

    /// Raised when the links end.
    pub(super) fn ending(&self) -> Stop {
        self.0.ground.as_ref().map(|ground| ground.stop.clone()).unwrap_or_default()
    }

    /// This core's ways.
    pub(super) fn ways(&self) -> &BTreeMap<NodeId, Way> {
        &self.0.ways
    }

    /// This core's listener.
    pub(super) fn listener(&self) -> Option<&RpcListener> {
        self.0.ground.as_ref()?.listener.get()
    }

    /// The roll, once the cluster is formed.
    pub(crate) fn roll(&self) -> Option<&Roll> {
        self.0.ground.as_ref()?.roll.get()
    }

    /// The cluster's identity, which all of its nodes found by themselves; none for a cluster of one.
    pub(crate) fn cluster_id(&self) -> Option<u128> {
        self.roll().map(|roll| roll.cluster.0)
    }

    /// This node's place.
    pub(crate) fn setup(&self) -> Option<&ClusterSetup> {
        self.0.ground.as_ref().map(|ground| &*ground.setup)
    }

    /// Messages that came and made no sense as Raft's.
    pub(super) fn senseless(&self) -> u64 {
        self.0.ground.as_ref().map_or(0, |ground| ground.senseless.get())
    }

    pub(super) fn note_senseless(&self, count: usize) {
        if let Some(ground) = &self.0.ground {
            ground.senseless.set(ground.senseless.get().saturating_add(count as u64));
        }
    }

    /// What this node says of itself.
    pub(super) fn introduction(&self) -> Introduction {
        let ground = self.0.ground.as_ref();
        Introduction {
            layout: ground.map_or(Layout { user_shards: 1, shared_shards: 1, stores: 1 }, |ground| ground.layout),
            cores: ground.map_or(1, |ground| ground.env.core_count()),
            uptime_micros: ground.map_or(0, |ground| ground.env.now().micros_since(ground.started)),
            api_addr: ground.map_or_else(String::new, |ground| ground.setup.api_addr.clone()),
            hostname: ground.map_or_else(String::new, |ground| ground.setup.hostname.clone()),
            release: VERSION.to_owned(),
        }
    }

    /// Whether a node that has proven the secret may connect.
    pub(super) fn admit(&self, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        if let Some(roll) = self.roll() {
            return roll.admit(node, incarnation);
        }
        if self.0.ways.contains_key(&node) {
            return Ok(());
        }
        Err(format!(
            "node {node} is not among the --peers of node {}, which are nodes {}",
            self.0.me,
            listed(&self.0.members)
        ))
    }

    /// The roll of the cluster that is being formed, once every other node is connected and has introduced itself.
    ///
    /// # Errors
    /// Another node will not have this one.
    pub(super) fn greeted(&self) -> Result<Option<Roll>, ClusterError> {
        let Some(ground) = &self.0.ground else { return Ok(None) };
        let mut members = BTreeMap::from([(self.0.me, ground.incarnation)]);
        for (node, way) in &self.0.ways {
            let status = way.status();
            if let Some(Refused { reason: RefusedReason::NotAdmitted, text }) = status.refused {
                return Err(ClusterError::Refused { node: *node, text });
            }
            if let Some(objection) = way.objection.borrow().clone() {
                return Err(ClusterError::OtherLayout(objection));
            }
            let (Some(link), Some(there)) = (status.link, way.there()) else { continue };
            if link.incarnation == there.incarnation {
                members.insert(*node, there.incarnation);
            }
        }
        if members.len() < self.0.members.len() {
            return Ok(None);
        }
        let wire: Vec<_> = self.0.members.iter().copied().map(wire_node).collect();
        Ok(Some(Roll { cluster: ground.setup.secret()?.cluster_of(&wire), me: self.0.me, members }))
    }

    /// The cluster is formed: from now on the roll decides who is let in.
    pub(super) fn seal(&self, roll: Roll) {
        let Some(ground) = &self.0.ground else { return };
        if let Some(listener) = ground.listener.get() {
            for link in listener.links() {
                if roll.admit(raft_node(link.peer), link.incarnation).is_err() {
                    listener.disconnect(link.peer);
                }
            }
        }
        let _ = ground.roll.set(roll);
    }

    /// Who is not connected, each with why, for people; `None` when everyone is.
    pub(crate) fn missing(&self) -> Option<String> {
        let missing: Vec<String> = self
            .0
            .ways
            .values()
            .filter(|way| way.there().is_none() || way.status().link.is_none())
            .map(|way| {
                let trouble = way.status().trouble.unwrap_or_else(|| "it has not answered yet".into());
                format!("node {} ({}: {trouble})", way.node, way.address.addr)
            })
            .collect();
        if missing.is_empty() { None } else { Some(missing.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_one_is_node_1_and_has_nobody_to_speak_to() {
        let links = Links::alone();
        assert_eq!((links.me(), links.members()), (NodeId(1), &[NodeId(1)][..]));
        assert!(links.is_alone() && links.is_up(NodeId(1)) && !links.is_up(NodeId(2)) && !links.clock_is_wrong());
        assert_eq!(links.missing(), None);
    }
}
