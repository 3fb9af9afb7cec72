//! One store on this core, and what its tasks share: the driver, the readers and the shippers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use highwater_engine::Store;
use highwater_raft as raft;
use highwater_runtime::{Monotonic, Rt};
use highwater_sql::diag::Diag;
use highwater_state::view::GroupView;

use super::intake::CAUSES;
use super::mesh::Proposal;
use super::signal::Signal;

/// Proposals that may wait for one store's driver; more are refused.
pub(crate) const MAX_PENDING: usize = 16_384;

/// A store and its groups, as the tasks of its core see them. Borrowed only between awaits.
pub(crate) struct StoreHost {
    /// Log and tree.
    pub(crate) store: Rc<Store<Rt>>,
    /// Proposals that the driver has not taken yet.
    pub(crate) pending: RefCell<VecDeque<Proposal>>,
    /// Messages of other nodes that the driver has not taken yet.
    pub(crate) inbox: RefCell<VecDeque<raft::Message>>,
    /// The driver has work.
    pub(crate) work: Signal,
    /// Each group as of its last applied entry. Published before the entry's answer is given.
    views: RefCell<BTreeMap<u32, GroupView<Rt>>>,
    /// A view was published.
    pub(crate) published: Signal,
    /// What Raft says of each group, for `system.cluster_groups`.
    pub(crate) raft: RefCell<BTreeMap<u32, raft::Status>>,
    /// Groups whose outbox has grown.
    pub(crate) dirty_sources: RefCell<BTreeSet<u32>>,
    /// An outbox has grown.
    pub(crate) outbox: Signal,
    /// Per (source, destination): the source's index up to which the destination has applied everything.
    pub(crate) shipped: RefCell<BTreeMap<(u32, u32), u64>>,
    /// A destination has applied more.
    pub(crate) arrivals: Signal,
    /// Every group leads and has replayed its log.
    pub(crate) ready: Cell<bool>,
    /// The log waits for disk space.
    pub(crate) disk_full: Cell<bool>,
    /// The node is shutting down: nothing may wait for long any more.
    pub(crate) draining: Cell<bool>,
    /// Turns of the driver.
    pub(crate) turns: Cell<u64>,
    /// Client writes that were refused, by cause.
    refused: RefCell<BTreeMap<&'static str, u64>>,
    /// Client writes that a turn left for the next because the store slows writes down, each as often as it was left.
    pub(crate) held: Cell<u64>,
    /// No more proposals are taken.
    pub(crate) closing: Cell<bool>,
    /// The driver has ended.
    pub(crate) stopped: Signal,
}

impl StoreHost {
    pub(crate) fn new(store: Rc<Store<Rt>>) -> Self {
        Self {
            store,
            pending: RefCell::default(),
            inbox: RefCell::default(),
            work: Signal::default(),
            views: RefCell::default(),
            published: Signal::default(),
            raft: RefCell::default(),
            dirty_sources: RefCell::default(),
            outbox: Signal::default(),
            shipped: RefCell::default(),
            arrivals: Signal::default(),
            ready: Cell::new(false),
            disk_full: Cell::new(false),
            draining: Cell::new(false),
            turns: Cell::new(0),
            refused: RefCell::new(CAUSES.map(|cause| (cause, 0)).into()),
            held: Cell::new(0),
            closing: Cell::new(false),
            stopped: Signal::default(),
        }
    }

    /// The group as of its last applied entry.
    pub(crate) fn view(&self, group: u32) -> Option<GroupView<Rt>> {
        self.views.borrow().get(&group).cloned()
    }

    /// All groups, as of their last applied entries.
    pub(crate) fn views(&self) -> Vec<(u32, GroupView<Rt>)> {
        self.views.borrow().iter().map(|(group, view)| (*group, view.clone())).collect()
    }

    /// Publishes a group's newest state.
    pub(crate) fn publish(&self, group: u32, view: GroupView<Rt>) {
        self.views.borrow_mut().insert(group, view);
    }

    /// Client writes that were refused for a cause.
    pub(crate) fn count_refused(&self, cause: &'static str, count: u64) {
        *self.refused.borrow_mut().entry(cause).or_default() += count;
    }

    /// Client writes that were refused, by cause; every cause is there.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.borrow().clone()
    }

    /// Whether this node's replica of a group leads.
    pub(crate) fn leads(&self, group: u32) -> bool {
        self.raft.borrow().get(&group).is_some_and(|status| status.role == raft::Role::Leader)
    }

    /// Who leads a group, as this node's replica knows.
    pub(crate) fn leader_of(&self, group: u32) -> Option<raft::NodeId> {
        self.raft.borrow().get(&group).and_then(|status| status.leader)
    }

    /// Waits until the published view of a group shows everything that was acknowledged, on any node, before the call.
    ///
    /// # Errors
    /// No leader was found before the deadline.
    #[expect(clippy::unused_async, reason = "a sole voter's view always shows it")]
    pub(crate) async fn barrier(&self, _group: u32, _deadline: Monotonic) -> Result<(), Diag> {
        Ok(())
    }

    /// The destination has applied everything of the source up to `index`.
    pub(crate) fn arrived(&self, source: u32, destination: u32, index: u64) {
        let mut shipped = self.shipped.borrow_mut();
        let mark = shipped.entry((source, destination)).or_default();
        *mark = (*mark).max(index);
        drop(shipped);
        self.arrivals.notify();
    }

    /// How far the destination has come with the source, as far as this core knows.
    pub(crate) fn shipped(&self, source: u32, destination: u32) -> u64 {
        self.shipped.borrow().get(&(source, destination)).copied().unwrap_or(0)
    }
}
