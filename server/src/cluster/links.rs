//! This core's ways to the other nodes: messages (lossy, as Raft allows), calls and chunks of snapshots.
//!
//! Invariant: nothing waits without bound; what cannot be sent is dropped (a message) or ends with what is known of its fate (a
//! call). A cluster of one has no ways at all.

use std::rc::Rc;

use bytes::Bytes;
use highwater_net::rpc::{CallError, CallKind, NotSent, SnapshotChunk};
use highwater_raft::{Message, NodeId};
use highwater_runtime::Monotonic;

/// The id of the only node of a cluster of one.
const LONE: NodeId = NodeId(1);

/// This core's ways to the other nodes. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Links(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    me: NodeId,
    /// Ascending, with `me`.
    members: Vec<NodeId>,
}

impl Links {
    /// Those of a cluster of one: node 1, which has nobody to speak to.
    pub(crate) fn alone() -> Self {
        Self(Rc::new(Inner { me: LONE, members: vec![LONE] }))
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
        drop(message);
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
        let _ = (to, group, kind, payload, deadline);
        Err(CallError::NotSent(NotSent::Unreachable))
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
        let _ = (to, chunk, deadline);
        Err(CallError::NotSent(NotSent::Unreachable))
    }

    /// Whether a node was heard within the last two seconds. This node is always up.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        node == self.0.me
    }

    /// Whether this node's wall clock is more than 500 ms from what most members say the time is. False when fewer than a
    /// majority are heard: then nobody can tell.
    pub(crate) fn clock_is_wrong(&self) -> bool {
        false
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
    }
}
