//! Which groups of a store are awake. Only they are given Raft's time; a group that sleeps costs no tick and no message.
//!
//! | a replica is woken by | who sees it |
//! |---|---|
//! | a proposal or a read of a client, a message, a change of membership | the driver, which touches it |
//! | the loss of its leader's node; of so many nodes that no quorum is left for what it leads | the store's [`super::liveness`] |
//! | the return of a node that lacks something of what it leads | the same |
//! | the start of the node | its turn in the queue |
//!
//! Those that nobody waits for wake in portions, and no more than [`MOST_SEEKING`] seek a leader at one time; who has waiting clients
//! goes before the queue. Of the members that are alive one goes first, another one from group to group: so elections seldom collide
//! and the lead is spread. The others follow by their timeouts.
//!
//! Invariant: each replica is awake (ticked), or waits in the queue, or Raft says that it sleeps behind a leader.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use highwater_raft as raft;

use super::host::StoreHost;
use super::liveness::{Changes, Liveness};
use super::replica::{Footing, Replica};

/// Ticks without any event after which a leader lets its group sleep. Few: to wake costs less than to stay awake for a second.
const QUIET_TICKS: u32 = 4;
/// Groups that are woken from the queue in one tick, at most.
const PORTION: usize = 128;
/// Groups that seek a leader at one time, at most, but for those with waiting clients.
const MOST_SEEKING: usize = 256;
/// Ticks that a group may seek a leader while others wait in the queue.
const SEEKING_TICKS: u32 = 80;
/// Ticks between two looks for groups that sleep behind a lost leader though nobody said so.
const SEARCH_TICKS: u32 = 20;

/// Why a replica woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waking {
    /// Its node starts.
    Start,
    /// A client's or the system's command.
    Proposal,
    /// A client's read.
    Read,
    /// Another member spoke.
    Message,
    /// Its leader's node, or a quorum of nodes, is lost.
    Lost,
    /// A node is back that lacks something.
    Found,
    /// Leadership is handed over, or the membership changes.
    Order,
}

impl Waking {
    /// Its name among the figures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Proposal => "proposal",
            Self::Read => "read",
            Self::Message => "message",
            Self::Lost => "lost_node",
            Self::Found => "found_node",
            Self::Order => "order",
        }
    }

    /// What simulations call it.
    const fn mark(self) -> &'static str {
        match self {
            Self::Start => "woken_at_the_start",
            Self::Proposal => "woken_by_a_proposal",
            Self::Read => "woken_by_a_read",
            Self::Message => "woken_by_a_message",
            Self::Lost => "woken_by_a_lost_node",
            Self::Found => "woken_by_a_found_node",
            Self::Order => "woken_by_an_order",
        }
    }

    const ALL: [Self; 7] =
        [Self::Start, Self::Proposal, Self::Read, Self::Message, Self::Lost, Self::Found, Self::Order];
}

/// What is counted of sleep.
#[derive(Debug, Default)]
pub(crate) struct SleepFigures {
    /// Replicas that are given Raft's time.
    pub(crate) awake: Cell<usize>,
    /// Of them those that know no leader.
    pub(crate) seeking: Cell<usize>,
    /// Replicas that wait for their turn to wake.
    pub(crate) queued: Cell<usize>,
    wakings: RefCell<BTreeMap<Waking, u64>>,
}

impl SleepFigures {
    fn woke(&self, why: Waking) {
        highwater_runtime::sometimes(why.mark());
        *self.wakings.borrow_mut().entry(why).or_default() += 1;
    }

    /// How often replicas woke up, by why; every reason is there.
    pub(crate) fn wakings(&self) -> Vec<(&'static str, u64)> {
        let wakings = self.wakings.borrow();
        Waking::ALL.iter().map(|why| (why.name(), wakings.get(why).copied().unwrap_or(0))).collect()
    }
}

/// A replica that is given Raft's time.
struct Awake {
    replica: Rc<Replica>,
    /// What has happened in the group so far.
    mark: Mark,
    /// Ticks since then.
    quiet: u32,
    /// Ticks without a leader.
    seeking: u32,
}

/// Whatever changes this is an event of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) last: raft::LogIndex,
    pub(super) term: raft::Term,
    pub(super) round: raft::ReadRound,
}

/// The sleep of one store's groups.
#[derive(Default)]
pub(super) struct Hibernation {
    awake: BTreeMap<u32, Awake>,
    queue: VecDeque<(u32, Waking)>,
    queued: BTreeSet<u32>,
    ticks: u32,
}

impl Hibernation {
    /// The groups of a store that starts: all wait for their turn, those that this node goes first in before the others.
    pub(super) fn of(host: &StoreHost) -> Self {
        let mut sleep = Self::default();
        if !host.is_alone {
            sleep.line_up(host, host.replicas(), Waking::Start);
        }
        sleep
    }

    /// A message is about to reach a replica. Who sleeps behind a leader that is doubted here, too, listens to who asks for votes.
    pub(super) fn hears(host: &StoreHost, replica: &Replica, message: &raft::Message) {
        let asks = matches!(message.kind, raft::MessageKind::PreVote { .. } | raft::MessageKind::Vote { .. });
        if asks && replica.is_asleep() && replica.leader().is_some_and(|leader| host.liveness.is_doubted(leader)) {
            replica.with_raft(raft::RawNode::forget_leader);
        }
    }

    /// The driver is about to look at a touched replica: if a client waits and there is no leader to answer, it need not sleep on.
    pub(super) fn before(&self, host: &StoreHost, replica: &Replica) {
        if host.is_alone
            || host.is_seat(replica.group())
            || self.awake.contains_key(&replica.group())
            || !replica.is_wanted()
        {
            return;
        }
        match replica.leader() {
            Some(leader) if host.liveness.is_lost(leader) => replica.with_raft(raft::RawNode::campaign),
            None if goes_first(&host.liveness, replica) => replica.with_raft(raft::RawNode::campaign),
            Some(_) | None => {}
        }
    }

    /// The driver has done what Raft wanted of a replica: it is awake, if Raft does not say otherwise.
    pub(super) fn after(&mut self, host: &StoreHost, replica: &Rc<Replica>) {
        let why = replica.take_stir();
        if host.is_alone
            || host.is_seat(replica.group())
            || replica.is_asleep()
            || (why.is_none() && self.is_known(replica.group()))
        {
            return;
        }
        self.wake(host, replica, why.unwrap_or(Waking::Order));
    }

    fn wake(&mut self, host: &StoreHost, replica: &Rc<Replica>, why: Waking) {
        let group = replica.group();
        // Its place in the queue is skipped when its turn comes.
        self.queued.remove(&group);
        self.awake.entry(group).or_insert_with(|| {
            host.sleep.woke(why);
            Awake { replica: Rc::clone(replica), mark: Mark::default(), quiet: 0, seeking: 0 }
        });
    }

    /// One tick of Raft's time. Whether a node was lost, or is back.
    pub(super) fn tick(&mut self, host: &StoreHost) -> bool {
        self.ticks = self.ticks.wrapping_add(1);
        let Changes { lost, found } = host.liveness.look();
        if !found.is_empty() {
            self.wake_for(host, &found);
        }
        if !lost.is_empty() || self.ticks.is_multiple_of(SEARCH_TICKS) {
            self.seek_orphans(host);
        }
        self.admit(host);
        self.pass(host);
        host.sleep.awake.set(self.awake.len());
        host.sleep.queued.set(self.queued.len());
        !(lost.is_empty() && found.is_empty())
    }

    /// The replicas that are awake.
    pub(super) fn awake(&self) -> impl Iterator<Item = &Rc<Replica>> {
        self.awake.values().map(|awake| &awake.replica)
    }

    /// Groups that are led here and of which a node that is back lacks something.
    fn wake_for(&mut self, host: &StoreHost, found: &[raft::NodeId]) {
        let lacking = host.replicas().into_iter().filter(|replica| replica.sleeps_ahead_of(found)).collect();
        self.line_up(host, lacking, Waking::Found);
    }

    /// Groups that sleep behind a leader that is lost, or as a leader without a quorum; and any that neither sleep nor tick.
    fn seek_orphans(&mut self, host: &StoreHost) {
        let liveness = &host.liveness;
        let is_lost = |node| liveness.is_lost(node);
        let orphaned = |replica: &Rc<Replica>| {
            let group = replica.group();
            !self.is_known(group) && !host.is_seat(group) && replica.is_orphaned(is_lost)
        };
        let orphans: Vec<_> = host.replicas().into_iter().filter(orphaned).collect();
        if !orphans.is_empty() {
            tracing::debug!(groups = orphans.len(), lost = ?liveness.lost(), "groups are woken to find a leader");
        }
        self.line_up(host, orphans, Waking::Lost);
    }

    /// Whether no group is given time, or waits for it.
    pub(super) fn all_asleep(&self) -> bool {
        self.awake.is_empty() && self.queued.is_empty()
    }

    fn is_known(&self, group: u32) -> bool {
        self.awake.contains_key(&group) || self.queued.contains(&group)
    }

    /// Puts replicas at the end of the queue, those that this node goes first in before the others.
    fn line_up(&mut self, host: &StoreHost, replicas: Vec<Rc<Replica>>, why: Waking) {
        let (first, then): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|replica| goes_first(&host.liveness, replica));
        for replica in first.into_iter().chain(then) {
            let group = replica.group();
            if !self.awake.contains_key(&group) && self.queued.insert(group) {
                self.queue.push_back((group, why));
            }
        }
    }

    /// Wakes the next portion.
    fn admit(&mut self, host: &StoreHost) {
        let mut room = PORTION.min(MOST_SEEKING.saturating_sub(host.sleep.seeking.get()));
        while room > 0
            && let Some((group, why)) = self.queue.pop_front()
        {
            let Some(replica) = host.replica(group).filter(|_| self.queued.remove(&group)) else { continue };
            if host.is_seat(group) {
                continue;
            }
            let is_lost = |node| host.liveness.is_lost(node);
            if replica.rouse(is_lost, goes_first(&host.liveness, &replica)) {
                room -= 1;
                self.wake(host, &replica, why);
                host.touch(&replica);
            }
        }
    }

    /// Time passes for those that are awake; some fall asleep.
    fn pass(&mut self, host: &StoreHost) {
        let (down, waits) = (host.liveness.lost(), !self.queued.is_empty());
        let (mut seeking, mut tired) = (0, Vec::new());
        self.awake.retain(|_, awake| {
            let Awake { replica, mark, quiet, seeking: sought } = awake;
            if host.is_seat(replica.group()) {
                return false;
            }
            let now = replica.mark();
            *quiet = if *mark == now { quiet.saturating_add(1) } else { 0 };
            *mark = now;
            let passed = replica.tick(if *quiet >= QUIET_TICKS { Some(&down) } else { None });
            if passed.has_work {
                host.touch(replica);
            }
            match passed.now {
                // What it still has to apply of its log is let go of with the rest.
                Footing::Asleep if !replica.is_at_rest() => true,
                Footing::Asleep => {
                    replica.rest();
                    host.release_at_rest(replica, down.is_empty());
                    false
                }
                Footing::Led => {
                    *sought = 0;
                    true
                }
                Footing::Seeking => {
                    *sought = sought.saturating_add(1);
                    let gives_way = waits && *sought > SEEKING_TICKS && !replica.is_wanted();
                    if gives_way {
                        tired.push(Rc::clone(replica));
                    } else {
                        seeking += 1;
                    }
                    !gives_way
                }
            }
        });
        host.sleep.seeking.set(seeking);
        self.line_up(host, tired, Waking::Lost);
    }
}

/// Whether this node is the one of a group's voters on living nodes that campaigns first.
fn goes_first(liveness: &Liveness, replica: &Replica) -> bool {
    replica.first_of(|node| !liveness.is_lost(node)) == Some(replica.me())
}
