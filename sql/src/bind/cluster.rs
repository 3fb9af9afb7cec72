//! CLUSTER statements: numbers within their ranges. Whether a group or a node exists is known to the cluster, not to the catalog.

use crate::diag::{Diag, Span, SqlState};
use crate::plan::ClusterPlan;
use crate::statement::Cluster;

pub(super) fn bind(cluster: &Cluster) -> Result<ClusterPlan, Diag> {
    Ok(match cluster {
        Cluster::TransferLeader { group, node } => {
            ClusterPlan::TransferLeader { group: group_number(*group)?, node: node_id(*node)? }
        }
        Cluster::MoveShard { group, node } => {
            ClusterPlan::MoveShard { group: group_number(*group)?, node: node_id(*node)? }
        }
        Cluster::Join { node } => ClusterPlan::Join { node: node_id(*node)? },
        Cluster::Leave { node } => ClusterPlan::Leave { node: node_id(*node)? },
        Cluster::Rebalance => ClusterPlan::Rebalance,
    })
}

fn group_number((number, span): (u64, Span)) -> Result<u32, Diag> {
    u32::try_from(number).map_err(|_| {
        Diag::new(SqlState::UNDEFINED_OBJECT, format!("group {number} does not exist"))
            .hint("CLUSTER LIST GROUPS shows the groups.")
            .at(span)
    })
}

fn node_id((id, span): (u64, Span)) -> Result<u64, Diag> {
    if id > 0 {
        return Ok(id);
    }
    Err(Diag::new(SqlState::UNDEFINED_OBJECT, "node 0 does not exist: node ids begin with 1")
        .hint("CLUSTER LIST shows the nodes.")
        .at(span))
}
