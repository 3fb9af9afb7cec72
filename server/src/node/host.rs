//! One store on this core, and what its tasks share: the driver, the readers and the shippers.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::future;
use highwater_engine::{GroupId, LogIndex, Store};
use highwater_raft as raft;
use highwater_runtime::{Env, Monotonic, Rt};
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use highwater_state::group::GroupState;
use highwater_state::view::GroupView;

use super::appends::Appends;
use super::full_disk::FullDisk;
use super::hibernation::SleepFigures;
use super::intake::CAUSES;
use super::liveness::Liveness;
use super::mesh::Proposal;
use super::replica::{Occasion, Replica};
use super::snapshots::of_store::StoreSnapshots;
use super::snapshots::retention::Retention;
use crate::signal::Signal;

/// Proposals that may wait for one store's driver; more are refused.
pub(crate) const MAX_PENDING: usize = 16_384;
/// Messages of other nodes that may wait for one store's driver; those who bring more wait.
const MAX_INBOX: usize = 4096;

/// The part of the log's limit that is kept for members that are behind: one n-th.
const KEPT_PART: u64 = 4;

/// What a node is to its groups.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    /// This node.
    pub(crate) me: raft::NodeId,
    /// The cluster's founders: who belongs to a group of which no change of that is applied. Without this node if it joined later.
    pub(crate) members: Vec<raft::NodeId>,
    /// There is nobody else, and nobody can come.
    pub(crate) is_alone: bool,
}

/// A store and its groups, as the tasks of its core see them. Borrowed only between awaits.
pub(crate) struct StoreHost {
    /// The world.
    pub(crate) env: Rt,
    /// What this node is to its groups.
    pub(crate) cast: Cast,
    /// The only voter of every group: nobody else is asked, and no time passes for Raft.
    pub(crate) is_alone: bool,
    /// Which other nodes are alive.
    pub(crate) liveness: Liveness,
    /// What is counted of the groups' sleep.
    pub(crate) sleep: SleepFigures,
    /// The store's number in the data folder.
    pub(crate) store_number: Cell<u32>,
    /// Log and tree.
    pub(crate) store: Rc<Store<Rt>>,
    /// Proposals that the driver has not taken yet.
    pub(crate) pending: RefCell<VecDeque<Proposal>>,
    /// Messages of other nodes that the driver has not taken yet.
    inbox: RefCell<VecDeque<raft::Message>>,
    /// What is sent and received of snapshots; none in tests of a host alone.
    pub(crate) snapshots: OnceCell<StoreSnapshots>,
    /// What the groups keep of their logs for members that are behind.
    retention: RefCell<Retention>,
    /// The driver has work.
    pub(crate) work: Signal,
    /// Each group as of its last applied entry. Published before the entry's answer is given.
    views: RefCell<BTreeMap<u32, GroupView<Rt>>>,
    /// A view was published.
    pub(crate) published: Signal,
    /// Who waits for messages of partitions.
    pub(crate) appends: Appends,
    /// The newest catalog of any group here: groups that have the same one share its memory.
    newest_catalog: RefCell<Arc<Catalog>>,
    /// Groups of which this node has only a seat: whatever their replicas hold is of earlier, and no time passes for them.
    seats: RefCell<BTreeSet<u32>>,
    /// The replicas of the groups.
    replicas: RefCell<BTreeMap<u32, Rc<Replica>>>,
    /// Replicas of which Raft may want something.
    touched: RefCell<Vec<Rc<Replica>>>,
    /// The inbox has room again.
    inbox_room: Signal,
    /// A tick of Raft's time has passed.
    pub(crate) tick: Cell<bool>,
    /// The meta group's catalog has changed, or a group of this store has another leader.
    pub(crate) definitions: Signal,
    /// Groups of which this node may have come to lead, or lead no more.
    pub(crate) changed_leads: RefCell<BTreeSet<u32>>,
    /// Groups whose outbox has grown.
    pub(crate) dirty_sources: RefCell<BTreeSet<u32>>,
    /// An outbox has grown.
    pub(crate) outbox: Signal,
    /// Per (source, destination): the source's index up to which the destination has applied everything.
    pub(crate) shipped: RefCell<BTreeMap<(u32, u32), u64>>,
    /// Every group has shown once, since the start, that it knows and holds everything that was acknowledged.
    pub(crate) ready: Cell<bool>,
    /// The log waits for disk space.
    pub(crate) disk_full: Cell<bool>,
    /// What the operator was told of the disk.
    pub(super) full_disk: FullDisk,
    /// The node is shutting down: nothing may wait for long any more.
    pub(crate) draining: Cell<bool>,
    /// Leads that were handed to a node that led fewer.
    pub(crate) leads_given: Cell<u64>,
    /// Bytes of entries that were applied since the store last rested.
    pub(super) unflushed: Cell<u64>,
    /// Turns of the driver.
    pub(crate) turns: Cell<u64>,
    /// Client writes that were refused, by cause.
    refused: RefCell<BTreeMap<&'static str, u64>>,
    /// Client writes that a turn left for the next because the store slows writes down, each as often as it was left.
    pub(crate) held: Cell<u64>,
    /// A test wants snapshots to wait before they are put in place.
    #[cfg(test)]
    pub(crate) holds_installs: Cell<bool>,
    /// No more proposals are taken.
    pub(crate) closing: Cell<bool>,
    /// The driver has ended.
    pub(crate) stopped: Signal,
}

impl StoreHost {
    pub(crate) fn new(env: Rt, store: Rc<Store<Rt>>, cast: Cast) -> Self {
        let (_, log_limit) = store.log_bytes();
        Self {
            env,
            snapshots: OnceCell::new(),
            retention: RefCell::new(Retention::new(log_limit / KEPT_PART)),
            store_number: Cell::new(0),
            is_alone: cast.is_alone,
            cast,
            liveness: Liveness::default(),
            sleep: SleepFigures::default(),
            store,
            pending: RefCell::default(),
            inbox: RefCell::default(),
            work: Signal::default(),
            views: RefCell::default(),
            published: Signal::default(),
            appends: Appends::default(),
            newest_catalog: RefCell::default(),
            seats: RefCell::default(),
            replicas: RefCell::default(),
            touched: RefCell::default(),
            inbox_room: Signal::default(),
            tick: Cell::new(false),
            definitions: Signal::default(),
            changed_leads: RefCell::default(),
            dirty_sources: RefCell::default(),
            outbox: Signal::default(),
            shipped: RefCell::default(),
            ready: Cell::new(false),
            disk_full: Cell::new(false),
            full_disk: FullDisk::default(),
            draining: Cell::new(false),
            leads_given: Cell::new(0),
            #[cfg(test)]
            holds_installs: Cell::new(false),
            unflushed: Cell::new(0),
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

    /// A group's catalog takes the place in memory of the others' if they have the same one.
    pub(super) fn share_catalog(&self, state: &mut GroupState<Rt>) {
        let mut newest = self.newest_catalog.borrow_mut();
        if state.catalog().version > newest.version {
            *newest = Arc::clone(state.catalog());
        } else {
            state.share_catalog(&newest);
        }
    }

    /// Puts a proposal before a group's replica, stamped with this time.
    pub(super) fn propose(&self, replica: &Rc<Replica>, proposal: Proposal, now: Micros, seed: u128) {
        let Some(view) = self.view(replica.group()) else {
            let diag = Diag::new(SqlState::INTERNAL, format!("group {} has no state yet", replica.group()));
            proposal.reply.fill(Err(diag.into()));
            return;
        };
        let max_entry = self.store.options().max_entry_bytes();
        replica.propose(proposal, &Occasion { catalog: view.catalog(), max_entry, now, seed });
        self.touch(replica);
    }

    /// Client writes that were refused for a cause.
    pub(crate) fn count_refused(&self, cause: &'static str, count: u64) {
        *self.refused.borrow_mut().entry(cause).or_default() += count;
    }

    /// Client writes that were refused, by cause; every cause is there.
    pub(crate) fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.borrow().clone()
    }

    /// A group has a replica here from now on; the driver looks at it.
    pub(crate) fn add(&self, replica: Replica) {
        let replica = Rc::new(replica);
        self.replicas.borrow_mut().insert(replica.group(), Rc::clone(&replica));
        self.touch(&replica);
    }

    /// The replica of a group.
    pub(crate) fn replica(&self, group: u32) -> Option<Rc<Replica>> {
        self.replicas.borrow().get(&group).cloned()
    }

    /// Whether this node has only a seat of a group.
    pub(crate) fn is_seat(&self, group: u32) -> bool {
        self.seats.borrow().contains(&group)
    }

    /// Of these groups, as far as they are of this store, this node has only a seat from now on. Who waits to read one of them here is
    /// told, and of its log nothing is kept.
    pub(crate) fn take_seats(&self, is_seat: impl Fn(u32) -> bool) {
        let seats: BTreeSet<u32> = self.groups().into_iter().filter(|group| is_seat(*group)).collect();
        let before = self.seats.replace(seats.clone());
        for replica in self.replicas().iter().filter(|replica| seats.contains(&replica.group())) {
            if !before.contains(&replica.group()) {
                replica.give_up_reads();
                self.retention.borrow_mut().replaced(replica.group());
                self.release_log_to(replica, replica.status().applied);
            }
        }
        for replica in self.replicas().iter().filter(|replica| before.contains(&replica.group())) {
            self.touch(replica);
        }
        self.work.notify();
    }

    /// All replicas, in order of groups.
    pub(crate) fn replicas(&self) -> Vec<Rc<Replica>> {
        self.replicas.borrow().values().cloned().collect()
    }

    /// The groups that have a replica here, ascending.
    pub(crate) fn groups(&self) -> Vec<u32> {
        self.replicas.borrow().keys().copied().collect()
    }

    /// Raft may want something of this replica: the driver looks at it. Who is not the driver wakes it, by `work`.
    pub(crate) fn touch(&self, replica: &Rc<Replica>) {
        if !replica.is_touched.replace(true) {
            self.touched.borrow_mut().push(Rc::clone(replica));
        }
    }

    /// The replicas that were touched, once each.
    pub(super) fn take_touched(&self) -> Vec<Rc<Replica>> {
        let touched = self.touched.take();
        for replica in &touched {
            replica.is_touched.set(false);
        }
        touched
    }

    /// Puts a message of another node before the driver; waits while too many are there.
    pub(crate) async fn bring(&self, message: raft::Message) {
        loop {
            let seen = self.inbox_room.seen();
            if self.inbox.borrow().len() < MAX_INBOX || self.closing.get() {
                break;
            }
            self.inbox_room.changed_since(seen).await;
        }
        self.inbox.borrow_mut().push_back(message);
        self.work.notify();
    }

    /// The messages that wait, in order.
    pub(super) fn take_inbox(&self) -> VecDeque<raft::Message> {
        let messages = self.inbox.take();
        if messages.len() >= MAX_INBOX {
            self.inbox_room.notify();
        }
        messages
    }

    /// Whether this node's replica of a group leads.
    pub(crate) fn leads(&self, group: u32) -> bool {
        self.replicas.borrow().get(&group).is_some_and(|replica| replica.leads())
    }

    /// The term in which this node's replica leads a group, if it does.
    pub(crate) fn leads_in(&self, group: u32) -> Option<raft::Term> {
        self.replica(group).filter(|replica| replica.leads()).map(|replica| replica.status().term)
    }

    /// Who leads a group, as this node's replica knows.
    pub(crate) fn leader_of(&self, group: u32) -> Option<raft::NodeId> {
        self.replicas.borrow().get(&group).and_then(|replica| replica.leader())
    }

    /// Hands over what this node leads here to members that are there, as far as there are any that `may_lead`.
    pub(crate) fn hand_over(&self, may_lead: impl Fn(raft::NodeId) -> bool) {
        for replica in self.replicas() {
            if replica.hand_over(&may_lead) {
                self.touch(&replica);
            }
        }
        self.work.notify();
    }

    /// Whether this node leads a group here that another member could lead.
    pub(crate) fn leads_others(&self) -> bool {
        !self.is_alone && self.replicas.borrow().values().any(|replica| replica.heir(|_| true).is_some())
    }

    /// Waits until the published view of a group shows everything that was acknowledged, on any node, before the call. At once where this
    /// node is the only one.
    ///
    /// # Errors
    /// 57014: no leader answered before the deadline; 53400: too many wait; 57P01.
    pub(crate) async fn barrier(&self, group: u32, deadline: Monotonic) -> Result<(), Diag> {
        if self.is_alone {
            return Ok(());
        }
        let Some(replica) = self.replica(group) else {
            return Err(Diag::new(SqlState::INTERNAL, format!("group {group} is not on this core")));
        };
        if self.is_seat(group) {
            return Err(moved(group));
        }
        if highwater_runtime::mutant(88) && replica.leads() {
            return Ok(());
        }
        let Some(passed) = replica.wait_to_read() else {
            return Err(Diag::new(SqlState::OVERLOADED, format!("too many reads wait for a leader of group {group}"))
                .hint("Retry after a short pause."));
        };
        self.touch(&replica);
        self.work.notify();
        let given_up = |_| if self.is_seat(group) { moved(group) } else { super::shutting_down() };
        let in_time = async { passed.await.map_err(given_up) };
        let too_late = async {
            self.env.sleep_until(deadline).await;
            Err(could_be_stale(group))
        };
        future::or(in_time, too_late).await
    }

    /// A group has applied entries up to `applied`, of so many bytes. Its log goes as far as nobody needs it: what every member has, and
    /// what is too much to keep; of a sole voter all that is applied.
    pub(super) fn release_log(&self, replica: &Replica, applied: raft::LogIndex, bytes: u64) {
        self.unflushed.set(self.unflushed.get().saturating_add(bytes));
        if self.is_alone {
            self.release_log_to(replica, applied);
            return;
        }
        let upto = {
            let mut retention = self.retention.borrow_mut();
            retention.applied(replica.group(), applied.0, bytes);
            retention.release(replica.group(), replica.held_by(|_| true).min(applied).0)
        };
        self.release_log_to(replica, raft::LogIndex(upto));
    }

    /// A group has fallen asleep. Everybody who was there then held all of its log, a follower's word for that is the leader's; if
    /// nobody is lost (`all_there`), a follower keeps none of it either.
    pub(super) fn release_at_rest(&self, replica: &Replica, all_there: bool) {
        let applied = replica.status().applied;
        if replica.leads() || !all_there {
            self.release_log(replica, applied, 0);
            return;
        }
        self.retention.borrow_mut().replaced(replica.group());
        self.release_log_to(replica, applied);
    }

    /// Groups that keep too much of their logs, together, let go of the oldest, asleep or not.
    pub(super) fn release_largest(&self) {
        loop {
            let (largest, kept) = {
                let retention = self.retention.borrow();
                (retention.largest_if_too_much(), retention.bytes())
            };
            let Some(replica) = largest.and_then(|group| self.replica(group)) else { return };
            self.release_log(&replica, replica.status().applied, 0);
            if self.retention.borrow().bytes() >= kept {
                return;
            }
        }
    }

    /// The groups keep no more than this of their logs for members that are behind, in bytes; nor more than a part of the log's limit.
    pub(super) fn keep_at_most(&self, bytes: u64) {
        let (_, log_limit) = self.store.log_bytes();
        *self.retention.borrow_mut() = Retention::new(bytes.min(log_limit / KEPT_PART));
    }

    /// A snapshot took the place of a group's state: whoever follows the group looks anew.
    pub(super) fn taken_over(&self, group: u32) {
        self.retention.borrow_mut().replaced(group);
        self.dirty_sources.borrow_mut().insert(group);
        self.published.notify();
        self.appends.replaced();
        self.outbox.notify();
        self.definitions.notify();
    }

    /// Lets a group's log go up to `upto`, which is applied.
    pub(super) fn release_log_to(&self, replica: &Replica, upto: raft::LogIndex) {
        let group = GroupId(replica.group());
        self.store.release_log(group, LogIndex(upto.0));
        replica.compact(raft::LogIndex(self.store.first_index(group).0));
    }

    /// The destination has applied everything of the source up to `index`.
    pub(crate) fn arrived(&self, source: u32, destination: u32, index: u64) {
        let mut shipped = self.shipped.borrow_mut();
        let mark = shipped.entry((source, destination)).or_default();
        *mark = (*mark).max(index);
    }

    /// How far the destination has come with the source, as far as this core knows.
    pub(crate) fn shipped(&self, source: u32, destination: u32) -> u64 {
        self.shipped.borrow().get(&(source, destination)).copied().unwrap_or(0)
    }
}
/// Nobody confirmed in time that this node knows the newest of the group.
fn could_be_stale(group: u32) -> Diag {
    Diag::new(
        SqlState::TIMEOUT,
        format!("group {group} has no leader that a majority of its nodes follows: the read could be stale"),
    )
    .hint(
        "Retry; if this stays, see which nodes are down in system.cluster and who leads the group in system.cluster_groups. \
         SET read_consistency = 'stale' before the query reads what this node has.",
    )
}

/// The group was read here, and is kept by other nodes now.
fn moved(group: u32) -> Diag {
    Diag::new(SqlState::OVERLOADED, format!("group {group} has just moved to other nodes"))
        .hint("Retry: it is read there.")
}
