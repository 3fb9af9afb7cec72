//! This core's connections to one other node: one for each core there, on the lane of messages, pings and calls, and one for bulk.
//!
//! The first is to core 0 there. When the other node has introduced itself, its number of cores is known and the rest follow.

use std::cell::RefCell;

use highwater_net::rpc::{
    GroupMessage, Incarnation, Lane, Limits, LocalNode, MAX_FRAME_BYTES, Peer, PeerConfig, PeerCounters, PeerStatus,
    RpcError, Security, Target,
};
use highwater_raft::NodeId;
use highwater_runtime::{CoreId, Env, Monotonic, Rt};

use super::clock;
use super::convert::wire_node;
use super::introduction::Introduction;
use super::setup::PeerAddress;
use crate::config::HostPort;
use crate::stop::Stop;

/// A node that was not heard for so long is not up, in microseconds.
pub(crate) const DOWN_MICROS: u64 = 2_000_000;
/// Time between two pings, in microseconds: the life of sleeping groups' leaders is seen by them.
const PING_MICROS: u64 = 250_000;
/// Connections from one core to the cores of one other node.
const MAX_CORES: u16 = 256;

/// What the other node has said of itself.
#[derive(Clone, Debug)]
pub(crate) struct There {
    /// The folder with which it said so; it has proven the cluster's secret with it.
    pub(crate) incarnation: Incarnation,
    /// What it said.
    pub(crate) said: Introduction,
    /// When.
    pub(crate) at: Monotonic,
}

/// The ways of this core to one node.
pub(crate) struct Way {
    pub(crate) node: NodeId,
    pub(crate) address: PeerAddress,
    env: Rt,
    local: LocalNode,
    security: Security,
    /// To core 0 there.
    first: Peer<Rt>,
    /// To cores 1, 2, ... there.
    more: RefCell<Vec<Peer<Rt>>>,
    bulk: Peer<Rt>,
    there: RefCell<Option<There>>,
    /// Since when it is tried to reach, if it was not heard yet.
    unheard_since: Monotonic,
    /// What the other node had against this one's introduction.
    pub(crate) objection: RefCell<Option<String>>,
    /// Requested when the way ends.
    pub(crate) ended: Stop,
}

impl Way {
    /// Starts to connect. `before` is a way to the same node at another address: what was not heard there for so long was not heard.
    pub(crate) fn start(
        env: &Rt,
        node: NodeId,
        address: PeerAddress,
        local: LocalNode,
        security: Security,
        before: Option<&Self>,
    ) -> Result<Self, RpcError> {
        let config = |lane, to_core| config(env, node, &address, &local, &security, lane, to_core);
        let first = Peer::start(env, config(Lane::Messages, 0))?;
        let bulk = Peer::start(env, config(Lane::Bulk, 0))?;
        let unheard_since =
            before.map_or_else(|| env.now(), |before| before.status().heard.unwrap_or(before.unheard_since));
        let (env, more) = (env.clone(), RefCell::default());
        let (there, objection) = (RefCell::default(), RefCell::default());
        let ended = Stop::default();
        Ok(Self { node, address, env, local, security, first, more, bulk, there, unheard_since, objection, ended })
    }

    /// Where the node is said to be.
    pub(crate) fn place(&self) -> HostPort {
        HostPort { host: self.address.host.clone(), port: self.address.addr.port() }
    }

    /// The connection whose state stands for the node.
    pub(crate) fn first(&self) -> &Peer<Rt> {
        &self.first
    }

    /// The connection for chunks of snapshots.
    pub(crate) fn bulk(&self) -> &Peer<Rt> {
        &self.bulk
    }

    /// Queues a message of a group. One that is dropped is counted, and sent again by Raft when it matters.
    pub(crate) fn send(&self, message: GroupMessage) {
        let more = self.more.borrow();
        let _ = self.among(&more, message.group.0).send(message);
    }

    /// The connection to the core there that hosts a group; to core 0 while that is not known.
    pub(crate) fn to_group(&self, group: u32) -> Peer<Rt> {
        self.among(&self.more.borrow(), group).clone()
    }

    fn among<'a>(&'a self, more: &'a [Peer<Rt>], group: u32) -> &'a Peer<Rt> {
        let core = self.there.borrow().as_ref().map_or(0, |there| there.said.core_of(group));
        usize::from(core).checked_sub(1).and_then(|at| more.get(at)).unwrap_or(&self.first)
    }

    /// What the node said when it was last connected.
    pub(crate) fn there(&self) -> Option<There> {
        self.there.borrow().clone()
    }

    /// The node has introduced itself: as many connections as it has cores.
    pub(crate) fn introduced(&self, there: There) -> Result<(), RpcError> {
        let cores = there.said.cores.clamp(1, MAX_CORES);
        *self.objection.borrow_mut() = None;
        *self.there.borrow_mut() = Some(there);
        let mut more = self.more.borrow_mut();
        let kept = more.len().min(usize::from(cores.saturating_sub(1)));
        for surplus in more.drain(kept..) {
            surplus.stop();
        }
        let next = u16::try_from(more.len()).unwrap_or(u16::MAX).saturating_add(1);
        for core in next..cores {
            let config = config(&self.env, self.node, &self.address, &self.local, &self.security, Lane::Messages, core);
            more.push(Peer::start(&self.env, config)?);
        }
        Ok(())
    }

    /// The state of the first connection.
    pub(crate) fn status(&self) -> PeerStatus {
        self.first.status()
    }

    /// Whether it was heard lately.
    pub(crate) fn is_up(&self) -> bool {
        self.heard_ago().is_some_and(|micros| micros <= DOWN_MICROS)
    }

    /// Microseconds since it was last heard.
    pub(crate) fn heard_ago(&self) -> Option<u64> {
        self.first.status().heard.map(|heard| self.env.now().micros_since(heard))
    }

    /// Microseconds since it was last heard; of a node that was never heard, since it is tried to reach.
    pub(crate) fn silent_for(&self) -> u64 {
        self.heard_ago().unwrap_or_else(|| self.env.now().micros_since(self.unheard_since))
    }

    /// How far its wall clock is ahead of this node's at least, in microseconds (behind: negative). A ping that was long on its way proves little.
    pub(crate) fn clock_ahead(&self) -> Option<i64> {
        let status = self.first.status();
        Some(clock::certain(status.clock_ahead_micros?, status.round_trip_micros.unwrap_or(0)))
    }

    /// How many of the connections there should be are up, and how many there should be.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let more = self.more.borrow();
        let all = [&self.first, &self.bulk].into_iter().chain(more.iter());
        let up = all.filter(|peer| peer.status().link.is_some()).count();
        (up, more.len() + 2)
    }

    /// What was counted on all of them.
    pub(crate) fn counters(&self) -> Vec<PeerCounters> {
        let more = self.more.borrow();
        [&self.first, &self.bulk].into_iter().chain(more.iter()).map(Peer::counters).collect()
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        self.ended.request();
        let more = self.more.borrow();
        for peer in [&self.first, &self.bulk].into_iter().chain(more.iter()) {
            peer.stop();
        }
    }
}

fn config(
    env: &Rt,
    node: NodeId,
    address: &PeerAddress,
    local: &LocalNode,
    security: &Security,
    lane: Lane,
    to_core: u16,
) -> PeerConfig {
    let CoreId(from_core) = env.core();
    PeerConfig {
        address: address.addr,
        name: address.host.clone(),
        target: Target { node: wire_node(node), from_core, to_core, lane },
        local: local.clone(),
        security: security.clone(),
        limits: limits(),
    }
}

/// The bounds of connections between nodes: the largest entry of a log fits into a frame, as one message and as one call.
pub(super) fn limits() -> Limits {
    const ENTRY: usize = highwater_engine::MAX_ENTRY_BYTES;
    let frame_bytes = u32::try_from(ENTRY + (1 << 20)).unwrap_or(MAX_FRAME_BYTES);
    let (call_bytes, answer_bytes) = (2 * ENTRY, 2 * ENTRY);
    Limits {
        frame_bytes,
        queue_bytes: 2 * ENTRY,
        call_bytes,
        answer_bytes,
        ping_micros: PING_MICROS,
        ..Limits::default()
    }
}
