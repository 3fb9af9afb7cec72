//! Where the driver meets snapshots: what it asks for when Raft wants one sent, or has taken one.

use std::rc::Rc;

use highwater_raft as raft;
use highwater_runtime::Rt;
use highwater_state::group::GroupState;

use super::host::StoreHost;
use super::replica::Replica;

/// Raft wants a snapshot for `to`, which lacks what the log no longer holds. Returns at once; the transfer tells Raft how it goes.
pub(super) fn wanted(host: &Rc<StoreHost>, replica: &Rc<Replica>, to: raft::NodeId) {
    if let Some(snapshots) = host.snapshots.get() {
        snapshots.want(host, replica, to);
        return;
    }
    tracing::debug!(group = replica.group(), to = to.0, "a snapshot is wanted and cannot be sent");
    replica.with_raft(|raft| raft.snapshot_failed(to));
    host.touch(replica);
}

/// Puts a staged snapshot that Raft has named in the place of the group's state and log, durably and with the hard state. Nothing of
/// the group is written or applied meanwhile.
///
/// # Errors
/// The node must stop.
pub(super) async fn install(
    host: &StoreHost,
    replica: &Replica,
    meta: &raft::SnapshotMeta,
    hard_state: Option<raft::HardState>,
) -> Result<GroupState<Rt>, String> {
    #[cfg(test)]
    while host.holds_installs.get() {
        highwater_runtime::Env::sleep(&host.env, 1_000).await;
    }
    match host.snapshots.get() {
        Some(snapshots) => snapshots.install(host, replica, meta, hard_state).await,
        None => Err(format!("group {}: the snapshot that ends at {} is not here", replica.group(), meta.index)),
    }
}

/// A snapshot was announced and Raft does not name it: what was staged of it goes.
pub(super) fn unwanted(host: &StoreHost, group: u32, index: raft::LogIndex) {
    if let Some(snapshots) = host.snapshots.get() {
        snapshots.settle(group, index);
    }
}
