//! One store on this core, and what its tasks share: the driver, the readers and the shippers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use highwater_engine::Store;
use highwater_runtime::Rt;
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
    /// The driver has work.
    pub(crate) work: Signal,
    /// Each group as of its last applied entry. Published before the entry's answer is given.
    views: RefCell<BTreeMap<u32, GroupView<Rt>>>,
    /// A view was published.
    pub(crate) published: Signal,
    /// What Raft says of each group, for `system.cluster_groups`.
    pub(crate) raft: RefCell<BTreeMap<u32, highwater_raft::Status>>,
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
