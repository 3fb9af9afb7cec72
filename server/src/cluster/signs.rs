//! The links as a watch over the other nodes' lives: what pings and connections tell the groups of a core.

use highwater_raft::NodeId;

use super::clock;
use super::links::Links;
use crate::node::{Sign, Watch};

impl Watch for Links {
    fn others(&self) -> Vec<NodeId> {
        self.ways().iter().map(|way| way.node).collect()
    }

    fn sign(&self, node: NodeId) -> Sign {
        self.way(node).map_or(Sign::Lost, |way| Sign::of(way.status().link.is_some(), way.silent_for()))
    }

    /// A node whose clock differs much from this one's hands over what it leads, or this one does; one that is being taken out is given nothing.
    fn may_lead(&self, node: NodeId) -> bool {
        let ahead = self.way(node).and_then(|way| way.clock_ahead());
        !clock::is_wrong(ahead) && !self.leaving().contains(&node)
    }
}
