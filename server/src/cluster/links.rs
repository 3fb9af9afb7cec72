//! This core's ways to the other nodes: messages (lossy, as Raft allows), calls and chunks of snapshots; and the listener for theirs.
//!
//! Invariants: nothing waits without bound: what cannot be sent is dropped (a message) or ends with what is known of its fate (a call).
//! Before the cluster is formed every node of the list is let in, and only introductions are answered; afterwards the roll decides, and
//! ways come and go with its members. Who asks to join is heard in any case, and may ask for nothing else. A cluster of one without a
//! list has neither ways nor a listener.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use highwater_net::rpc::hello::{Refused, RefusedReason};
use highwater_net::rpc::{
    CallError, CallKind, Incarnation, Lane, ListenerConfig, LocalNode, NotSent, RpcListener, SnapshotChunk, Versions,
};
use highwater_raft::{Message, NodeId};
use highwater_runtime::{CoreId, Env, Monotonic, Rt};
use highwater_state::placement::Layout;
use highwater_state::roll as replicated;

use super::clock;
use super::convert::{raft_node, to_wire, wire_node};
use super::error::ClusterError;
use super::incoming::Incoming;
use super::introduction::Introduction;
use super::roll::{FORMED, Roll, Seat, listed};
use super::setup::{ClusterSetup, PeerAddress};
use super::watch;
use super::way::Way;
use crate::config::HostPort;
use crate::node::Node;
use crate::release::VERSION;
use crate::signal::Signal;
use crate::stop::Stop;

/// The id of the only node of a cluster of one.
const LONE: NodeId = NodeId(1);
/// Pause before an address that cannot be found is looked up again, in microseconds.
const LOOK_UP_MICROS: u64 = 5_000_000;

/// What a node is told that was taken out of the cluster.
pub(super) fn has_left(node: NodeId) -> String {
    format!("node {node} has left this cluster")
}

/// This core's ways to the other nodes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Links(Rc<Inner>);

struct Inner {
    me: NodeId,
    /// By node; without `me`.
    ways: RefCell<BTreeMap<NodeId, Rc<Way>>>,
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
    /// This node on its connections.
    local: LocalNode,
    /// There once the cluster is formed.
    roll: RefCell<Option<Rc<Roll>>>,
    /// The newest roll that the meta group's replica here has shown; none before.
    newest: RefCell<Option<Rc<replicated::Roll>>>,
    /// Where other nodes have said that they are reached, first and last: HOST:PORT.
    said: RefCell<BTreeMap<NodeId, (String, String)>>,
    /// Set while the node takes messages and calls.
    node: RefCell<Option<Node>>,
    listener: OnceCell<RpcListener>,
    /// Counts who came with the secret and is not on the roll.
    strangers: Signal,
    /// Messages that made no sense as Raft's.
    senseless: Cell<u64>,
    /// Requested once, at the end.
    stop: Stop,
}

impl Links {
    /// Those of a cluster of one: node 1, which has nobody to speak to.
    pub(crate) fn alone() -> Self {
        Self(Rc::new(Inner { me: LONE, ways: RefCell::default(), ground: None }))
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
        let secret = setup.secret()?;
        let wire: Vec<_> = setup.peers.keys().copied().map(NodeId).map(wire_node).collect();
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
        let ground = Ground {
            env: env.clone(),
            setup: Arc::clone(setup),
            layout,
            incarnation,
            started: env.now(),
            local: local.clone(),
            roll: RefCell::new(roll.map(Rc::new)),
            newest: RefCell::default(),
            said: RefCell::default(),
            node: RefCell::new(None),
            listener: OnceCell::new(),
            strangers: Signal::default(),
            senseless: Cell::new(0),
            stop: Stop::default(),
        };
        let links = Self(Rc::new(Inner { me, ways: RefCell::default(), ground: Some(ground) }));
        let config = ListenerConfig { local, security: setup.security.clone(), limits: super::way::limits() };
        let listener = RpcListener::start(env, socket, config, Rc::new(Incoming::new(links.clone())))?;
        if let Some(ground) = &links.0.ground {
            let _ = ground.listener.set(listener);
        }
        match links.roll() {
            Some(_) => links.connect(),
            None => {
                for (node, address) in setup.peers.iter().filter(|(node, _)| **node != setup.me) {
                    links.add_way(NodeId(*node), address.clone())?;
                }
            }
        }
        watch::start(env, &links);
        Ok(links)
    }

    /// This node.
    pub(crate) fn me(&self) -> NodeId {
        self.0.me
    }

    /// Every node of the cluster as this one knows it, ascending, with this one; before it is formed, those that form it.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        let Some(ground) = &self.0.ground else { return vec![LONE] };
        match self.roll() {
            Some(roll) => roll.members.keys().copied().collect(),
            None => ground.setup.peers.keys().copied().map(NodeId).collect(),
        }
    }

    /// The first members of every group: the nodes that have formed the cluster, ascending.
    pub(crate) fn founders(&self) -> Vec<NodeId> {
        self.roll().map_or_else(|| self.members(), |roll| roll.founders.iter().copied().collect())
    }

    /// Whether this node is a cluster of its own, which nobody else can join.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.ground.is_none()
    }

    /// Hands a message over to be sent. It may be lost, as Raft allows. The messages of one turn go out together.
    pub(crate) fn send(&self, message: Message) {
        if let Some(way) = self.0.ways.borrow().get(&message.to) {
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
        let (peer, micros) = match (self.way(to), self.left(deadline)) {
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
        let (peer, micros) = match (self.way(to), self.left(deadline)) {
            (None, _) => return Err(CallError::NotSent(NotSent::Unreachable)),
            (Some(_), 0) => return Err(CallError::NotSent(NotSent::Expired)),
            (Some(way), micros) => (way.bulk().clone(), micros),
        };
        peer.chunk(chunk, micros).await
    }

    fn left(&self, deadline: Monotonic) -> u64 {
        self.0.ground.as_ref().map_or(0, |ground| deadline.micros_since(ground.env.now()))
    }

    /// Whether a node was heard within the last two seconds. This node is always up.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        node == self.0.me || self.way(node).is_some_and(|way| way.is_up())
    }

    /// Whether this node's wall clock is more than 500 ms from what most members say the time is. False when fewer than a
    /// majority are heard: then nobody can tell.
    pub(crate) fn clock_is_wrong(&self) -> bool {
        clock::is_wrong(self.clock_behind_micros())
    }

    /// Whether another node's wall clock is near most clocks of the cluster, as far as this one can tell.
    pub(crate) fn is_clock_near_most(&self, node: NodeId) -> bool {
        let ahead = self.way(node).and_then(|way| way.clock_ahead());
        ahead.is_some_and(|ahead| clock::is_near_most(ahead, self.clock_behind_micros()))
    }

    /// How far this node's wall clock is behind most clocks of the cluster (ahead: negative), in microseconds, if that can be told.
    pub(crate) fn clock_behind_micros(&self) -> Option<i64> {
        let heard = self.ways().into_iter().filter(|way| way.is_up());
        let ahead = heard.filter_map(|way| Some((way.node, way.clock_ahead()?))).collect();
        clock::behind_most(&ahead, self.members().len())
    }

    /// The node takes messages and calls from now on.
    pub(crate) fn open(&self, node: Node) {
        if let Some(ground) = &self.0.ground {
            ground.node.replace(Some(node));
            let said = ground.said.borrow().clone();
            for (node, (first, last)) in said {
                self.spread(node, first);
                self.spread(node, last);
            }
        }
    }

    /// Another node says where it is reached. It has proven who it is; the ways of all cores go there when they are not answered where
    /// they lead ([`Self::look_up_again`]).
    pub(super) fn says_where(&self, node: NodeId, place: &str) {
        if HostPort::parse(place).is_some() && self.note_where(node, place) {
            self.spread(node, place.to_owned());
        }
    }

    /// Keeps what another node says, for this core. Whether it is new.
    pub(crate) fn note_where(&self, node: NodeId, place: &str) -> bool {
        let Some(ground) = &self.0.ground else { return false };
        if self.way(node).is_none() {
            return false;
        }
        match ground.said.borrow_mut().entry(node) {
            Entry::Vacant(new) => {
                new.insert((place.to_owned(), place.to_owned()));
                true
            }
            Entry::Occupied(mut known) => std::mem::replace(&mut known.get_mut().1, place.to_owned()) != place,
        }
    }

    /// Tells the other cores. Before this core's part of the node is there, that waits.
    fn spread(&self, said_by: NodeId, place: String) {
        if let (Some(ground), Some(node)) = (&self.0.ground, self.node()) {
            ground.env.spawn("address of a node", async move { node.tell_where(said_by, &place).await });
        }
    }

    /// Ends all connections. What is asked afterwards is not sent.
    pub(crate) fn stop(&self) {
        let Some(ground) = &self.0.ground else { return };
        ground.stop.request();
        ground.strangers.notify();
        if let Some(listener) = ground.listener.get() {
            listener.stop();
        }
        for way in self.ways() {
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

    /// This core's ways, in the order of nodes.
    pub(super) fn ways(&self) -> Vec<Rc<Way>> {
        self.0.ways.borrow().values().cloned().collect()
    }

    /// This core's way to a node.
    pub(super) fn way(&self, node: NodeId) -> Option<Rc<Way>> {
        self.0.ways.borrow().get(&node).cloned()
    }

    /// Starts to connect to a node, in the place of an earlier way to it.
    fn add_way(&self, node: NodeId, address: PeerAddress) -> Result<(), ClusterError> {
        let Some(ground) = &self.0.ground else { return Ok(()) };
        let (local, security) = (ground.local.clone(), ground.setup.security.clone());
        let before = self.way(node);
        let way = Way::start(&ground.env, node, address, local, security, before.as_deref())?;
        let way = Rc::new(way);
        let before = self.0.ways.borrow_mut().insert(node, Rc::clone(&way));
        if let Some(before) = before {
            before.stop();
        }
        watch::follow_one(&ground.env, self, &way);
        Ok(())
    }

    /// The ways are those of the roll's members from now on.
    fn connect(&self) {
        let (Some(ground), Some(roll)) = (&self.0.ground, self.roll()) else { return };
        let strangers: Vec<Rc<Way>> =
            self.ways().into_iter().filter(|way| !roll.members.contains_key(&way.node)).collect();
        for way in strangers {
            self.0.ways.borrow_mut().remove(&way.node);
            way.stop();
        }
        for (node, seat) in roll.members.iter().filter(|(node, _)| **node != self.0.me) {
            // As long as the roll is the one that the cluster was formed with, this node's settings say where the others are.
            let given = ground.setup.peers.get(&node.0).filter(|_| roll.version <= FORMED);
            match (given, self.way(*node)) {
                (Some(given), None) => {
                    if let Err(error) = self.add_way(*node, given.clone()) {
                        tracing::error!(node = node.0, %error, "no connections to a node can be made");
                    }
                }
                // Who is reached stays where it is: it has proven who it is.
                (None, Some(way)) if way.status().link.is_none() && way.place().to_string() != seat.address => {
                    self.look_up(*node, seat);
                }
                (None, None) => self.look_up(*node, seat),
                (_, Some(_)) => {}
            }
        }
    }

    /// Connects to a member as soon as its address is found.
    fn look_up(&self, node: NodeId, seat: &Seat) {
        let Some(ground) = &self.0.ground else { return };
        let (links, env, seat, ending) = (self.clone(), ground.env.clone(), seat.clone(), self.ending());
        ground.env.spawn("look up a node", async move {
            while !ending.is_requested() {
                let is_wanted = links.roll().is_some_and(|roll| roll.members.get(&node) == Some(&seat));
                let is_there = links.way(node).is_some_and(|way| way.place().to_string() == seat.address);
                if is_there || !is_wanted {
                    return;
                }
                match links.resolve(&seat.address).await {
                    Ok(address) => match links.add_way(node, address) {
                        Ok(()) => return,
                        Err(error) => tracing::error!(node = node.0, %error, "no connections to a node can be made"),
                    },
                    Err(error) => {
                        tracing::warn!(node = node.0, address = seat.address, %error, "the address of a node cannot be found");
                    }
                }
                env.sleep(LOOK_UP_MICROS).await;
            }
        });
    }

    /// The address that a text stands for now.
    async fn resolve(&self, place: &str) -> std::io::Result<PeerAddress> {
        let Some(ground) = &self.0.ground else { return Err(std::io::Error::other("there is no network")) };
        let found = HostPort::parse(place).ok_or_else(|| std::io::Error::other("it is no HOST:PORT"))?;
        let (resolve, host) = (ground.setup.resolve.clone(), found.host.clone());
        let addr = ground.env.blocking(move || (resolve.0)(&found)).await?;
        Ok(PeerAddress { host, addr })
    }

    /// Where a node that is not reached may be: where the roll has it, where it has said itself that it is, where this node's settings name
    /// it, and, as long as nobody at all is reached, where `--join` names a member.
    fn places_of(&self, way: &Way) -> Vec<String> {
        let Some(ground) = &self.0.ground else { return Vec::new() };
        let (roll, setup) = (self.roll(), &ground.setup);
        let given = || setup.place_of(way.node.0);
        let formed = roll.as_ref().is_none_or(|roll| roll.version <= FORMED);
        let by_roll = roll.as_ref().and_then(|roll| roll.members.get(&way.node)).map(|seat| seat.address.clone());
        let mut places: Vec<String> = if formed { given() } else { None }.or(by_roll).into_iter().collect();
        // A founder's settings may name a node differently than it does itself; what counts then is that it has moved.
        let said = ground.said.borrow().get(&way.node).cloned();
        places.extend(said.filter(|(first, last)| !formed || first != last).map(|(_, last)| last));
        places.extend(given());
        if self.ways().iter().all(|way| way.status().link.is_none()) {
            places.extend(setup.join.iter().map(ToString::to_string));
        }
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        places
    }

    /// Looks a node up again that is not reached, and connects to where it may be now, if that is elsewhere. Whoever answers there has to
    /// prove that it is this node.
    pub(super) async fn look_up_again(&self, way: &Way) {
        let was = way.place().to_string();
        let Some(place) = next_place(&self.places_of(way), &was) else { return };
        if let Ok(address) = self.resolve(&place).await
            && address.addr != way.address.addr
            && !way.ended.is_requested()
        {
            tracing::info!(node = way.node.0, was, place, address = %address.addr, "a node is looked for at another address");
            if let Err(error) = self.add_way(way.node, address) {
                tracing::error!(node = way.node.0, %error, "no connections to a node can be made");
            }
        }
    }

    /// This core's listener.
    pub(super) fn listener(&self) -> Option<&RpcListener> {
        self.0.ground.as_ref()?.listener.get()
    }

    /// The roll, once the cluster is formed.
    pub(crate) fn roll(&self) -> Option<Rc<Roll>> {
        self.0.ground.as_ref()?.roll.borrow().clone()
    }

    /// Notified when a node came that has the secret and is not on the roll, and when the links end.
    pub(crate) fn strangers(&self) -> Option<&Signal> {
        self.0.ground.as_ref().map(|ground| &ground.strangers)
    }

    /// The newest roll of the meta group that this node has seen.
    pub(super) fn newest(&self) -> Option<Rc<replicated::Roll>> {
        self.0.ground.as_ref()?.newest.borrow().clone()
    }

    /// Nodes that are being taken out, as far as this node knows.
    pub(crate) fn leaving(&self) -> BTreeSet<NodeId> {
        let newest = self.newest();
        let members = newest.iter().flat_map(|roll| &roll.members);
        members.filter(|(_, member)| member.leaving).map(|(node, _)| NodeId(*node)).collect()
    }

    /// Who is to vote in a group that is being moved, as far as this node knows.
    pub(crate) fn target_of(&self, group: u32) -> Option<BTreeSet<u64>> {
        self.newest()?.targets.get(&group).cloned()
    }

    /// The nodes that keep a group, when this one has only a seat of it; `None`: its replica is here.
    pub(crate) fn homes_elsewhere(&self, group: u32) -> Option<Vec<NodeId>> {
        let newest = self.0.ground.as_ref()?.newest.borrow();
        let homes = newest.as_ref()?.homes_of(group)?;
        (!homes.contains(&self.0.me.0)).then(|| homes.iter().copied().map(NodeId).collect())
    }

    /// Whether this node has only a seat of a group.
    pub(crate) fn has_seat(&self, group: u32) -> bool {
        let Some(ground) = &self.0.ground else { return false };
        ground.newest.borrow().as_ref().is_some_and(|roll| roll.has_seat(self.0.me.0, group))
    }

    /// The roll is this from now on, unless a newer one is known: connects to who came, and disconnects who went.
    pub(crate) fn renew(&self, roll: Roll, newest: replicated::Roll) {
        let Some(ground) = &self.0.ground else { return };
        if self.roll().is_some_and(|known| known.version > roll.version) {
            return;
        }
        *ground.newest.borrow_mut() = Some(Rc::new(newest));
        self.seal(roll);
        self.connect();
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
            rpc_addr: ground.and_then(|ground| ground.setup.place_of(self.0.me.0)).unwrap_or_default(),
        }
    }

    /// Whether a node that has proven the secret may connect.
    pub(super) fn admit(&self, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        if self.newest().is_some_and(|roll| roll.gone.contains(&node.0)) {
            return Err(has_left(node));
        }
        if let Some(roll) = self.roll() {
            if !roll.members.contains_key(&node)
                && let Some(ground) = &self.0.ground
            {
                ground.strangers.notify();
            }
            return roll.admit(node, incarnation);
        }
        if self.way(node).is_some() {
            return Ok(());
        }
        Err(format!(
            "node {node} is not among the --peers of node {}, which are nodes {}",
            self.0.me,
            listed(&self.members())
        ))
    }

    /// The roll of the cluster that is being formed, once every other node is connected and has introduced itself.
    ///
    /// # Errors
    /// Another node will not have this one.
    pub(super) fn greeted(&self) -> Result<Option<Roll>, ClusterError> {
        let Some(ground) = &self.0.ground else { return Ok(None) };
        let seat = |node: NodeId, incarnation| {
            let address = ground.setup.place_of(node.0).unwrap_or_default();
            (node, Seat { incarnation, address })
        };
        let mut members = BTreeMap::from([seat(self.0.me, ground.incarnation)]);
        for way in self.ways() {
            let status = way.status();
            if let Some(Refused { reason: RefusedReason::NotAdmitted, text }) = status.refused {
                return Err(ClusterError::Refused { node: way.node, text });
            }
            if let Some(objection) = way.objection.borrow().clone() {
                return Err(ClusterError::OtherLayout(objection));
            }
            let (Some(link), Some(there)) = (status.link, way.there()) else { continue };
            if link.incarnation == there.incarnation {
                members.extend([seat(way.node, there.incarnation)]);
            }
        }
        if members.len() < ground.setup.peers.len() {
            return Ok(None);
        }
        let wire: Vec<_> = members.keys().copied().map(wire_node).collect();
        let cluster = ground.setup.secret()?.cluster_of(&wire);
        let founders = members.keys().copied().collect();
        Ok(Some(Roll { cluster, me: self.0.me, version: FORMED, founders, members }))
    }

    /// The cluster is formed: from now on the roll decides who is let in.
    pub(super) fn seal(&self, roll: Roll) {
        let Some(ground) = &self.0.ground else { return };
        if let Some(listener) = ground.listener.get() {
            for link in listener.links() {
                if link.lane != Lane::Join && roll.admit(raft_node(link.peer), link.incarnation).is_err() {
                    listener.disconnect(link.peer);
                }
            }
        }
        *ground.roll.borrow_mut() = Some(Rc::new(roll));
    }

    /// Who is not connected, each with why, for people; `None` when everyone is.
    pub(crate) fn missing(&self) -> Option<String> {
        let missing: Vec<String> = self
            .ways()
            .into_iter()
            .filter(|way| way.there().is_none() || way.status().link.is_none())
            .map(|way| {
                let trouble = way.status().trouble.unwrap_or_else(|| "it has not answered yet".into());
                format!("node {} ({}: {trouble})", way.node, way.address.addr)
            })
            .collect();
        if missing.is_empty() { None } else { Some(missing.join("; ")) }
    }
}

/// The place that is tried after `was`: the next one in turn, the same one if there is no other.
fn next_place(places: &[String], was: &str) -> Option<String> {
    let after = places.iter().skip_while(|place| *place != was).nth(1);
    after.or(places.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_reached_is_looked_for_wherever_it_may_be_by_turns() {
        let places = ["a:1", "b:2", "c:3"].map(str::to_owned);
        let next = |was| next_place(&places, was);
        assert_eq!(next("a:1").as_deref(), Some("b:2"));
        assert_eq!(next("b:2").as_deref(), Some("c:3"));
        assert_eq!(next("c:3").as_deref(), Some("a:1"));
        assert_eq!(next("d:4").as_deref(), Some("a:1"), "where it is not said to be any more");
        assert_eq!(next_place(&places[..1], "a:1").as_deref(), Some("a:1"), "its name may stand for another address");
        assert_eq!(next_place(&[], "a:1"), None);
    }

    #[test]
    fn a_cluster_of_one_is_node_1_and_has_nobody_to_speak_to() {
        let links = Links::alone();
        assert_eq!((links.me(), links.members()), (NodeId(1), vec![NodeId(1)]));
        assert!(links.is_alone() && links.is_up(NodeId(1)) && !links.is_up(NodeId(2)) && !links.clock_is_wrong());
        assert_eq!(links.missing(), None);
    }
}
