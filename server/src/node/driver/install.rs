//! The driver's installs: snapshots that Raft has taken are put in the place of a group's state and log, each as soon as nothing of its
//! group is being written or applied. The other groups go on beside it.

use std::rc::Rc;

use highwater_raft as raft;
use highwater_runtime::Rt;
use highwater_state::group::GroupState;

use super::super::handover;
use super::append::Report;
use super::{Driver, Durable, UnderWay};

/// A snapshot to put in place.
pub(super) struct Install {
    pub(super) report: Report,
    pub(super) meta: raft::SnapshotMeta,
    pub(super) hard_state: Option<raft::HardState>,
}

impl<S: Fn(raft::Message)> Driver<S> {
    /// The next snapshot that nothing stands in the way of; asked while no append is under way. What was gathered of its group before is
    /// written before it, and what was taken to be applied is applied before it. The other groups go on beside it.
    pub(super) fn next_install(&mut self) -> UnderWay<Durable> {
        let install = self.installs.front()?;
        let group = install.report.replica.group();
        if self.next.reports.iter().any(|report| report.replica.group() == group) {
            return None;
        }
        // While entries are being applied to it, the state is not here.
        self.states.remove(&group)?;
        let (host, install) = (Rc::clone(&self.host), self.installs.pop_front()?);
        Some(Box::pin(async move {
            let state = handover::install(&host, &install.report.replica, &install.meta, install.hard_state).await?;
            Ok(Durable::Installed(Box::new(state), install))
        }))
    }

    /// A snapshot is in place.
    pub(super) fn installed(&mut self, mut state: GroupState<Rt>, install: Install) -> Result<(), String> {
        let Install { report, meta, .. } = install;
        let (replica, group) = (&report.replica, report.replica.group());
        self.host.share_catalog(&mut state);
        self.host.publish(group, state.view());
        replica.installed(report.number, meta.index).map_err(|error| format!("group {group}: {error}"))?;
        replica.is_installing.set(false);
        self.states.insert(group, state);
        self.host.taken_over(group);
        self.written(vec![report])
    }
}
