//! Sleep of idle groups, on three replicas with drivers and stores of their own, and in one store with many groups.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use highwater_engine::{GroupId, RecoveredGroup, Store, StoreOptions};
use highwater_raft::{self as raft, NodeId};
use highwater_runtime::Env;
use highwater_sql::diag::SqlState;
use highwater_state::group::GroupState;
use highwater_state::placement::{Layout, META};

use super::hibernation::Hibernation;
use super::host::{Cast, StoreHost};
use super::liveness::{Sign, Watch};
use super::mesh::NotApplied;
use super::replica::{Shared, Start};
use super::replication_tests::{TICK_MICROS, Trio, bootstrap, names, on_a_core, user};

impl Trio {
    async fn until_asleep(&self) {
        let sleeps = |node: &NodeId| self.host(*node).replica(META).unwrap().status().hibernating;
        self.until("all sleep", || self.nodes().iter().all(sleeps).then_some(())).await;
    }

    fn wakings(&self, node: NodeId, why: &str) -> u64 {
        self.host(node).sleep.wakings().iter().find(|(name, _)| *name == why).unwrap().1
    }

    fn follower(&self) -> NodeId {
        self.nodes().into_iter().find(|node| !self.host(*node).leads(META)).unwrap()
    }
}

#[test]
fn an_idle_group_sleeps_on_all_members_and_sends_nothing_until_a_write_or_a_read_wakes_it() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        for name in names(3) {
            trio.until_asleep().await;
            let (leader, sent) = (trio.leader().await, trio.0.sent.get());
            env.sleep(40 * TICK_MICROS).await;
            assert_eq!(trio.0.sent.get(), sent, "a sleeping group talks");
            assert!(trio.nodes().iter().all(|node| trio.host(*node).sleep.awake.get() == 0), "a sleeping group ticks");
            trio.write_user(&name).await;
            assert!(trio.wakings(leader, "proposal") > 0);
            trio.until_asleep().await;
            for node in trio.nodes() {
                assert!(trio.users(node).await.contains(&name), "node {node} misses {name}");
                trio.until_asleep().await;
            }
            assert_eq!(trio.leader().await, leader, "to wake is no reason to elect");
        }
    });
}

#[test]
fn a_group_whose_leader_dies_in_its_sleep_is_led_again_though_no_client_asks() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 10).await;
        trio.write(bootstrap()).await;
        trio.write_user("before").await;
        trio.until_asleep().await;
        let old = trio.leader().await;
        trio.stop_node(old).await;
        let new = trio.leader().await;
        assert_ne!(new, old);
        assert!(trio.nodes().iter().any(|node| trio.wakings(*node, "lost_node") > 0));
        trio.until_asleep().await;
        trio.write_user("after").await;
        trio.until_asleep().await;
        // It lacks an entry, asks, and all sleep again.
        trio.start_node(old).await;
        trio.until_all_agree().await;
        trio.until_asleep().await;
        assert_eq!(trio.users(old).await, BTreeSet::from(["before".to_owned(), "after".to_owned()]));
    });
}

#[test]
fn a_leader_that_starts_again_before_anybody_missed_it_is_led_or_leads_again() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        trio.0.is_blind.set(true);
        trio.until_asleep().await;
        let old = trio.leader().await;
        trio.stop_node(old).await;
        trio.start_node(old).await;
        trio.until_asleep().await;
        trio.write_user("after").await;
        assert_eq!(trio.users(old).await.len(), 1);
    });
}

#[test]
fn a_member_that_was_cut_off_while_its_group_wrote_and_slept_is_brought_up_when_it_is_back() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        trio.until_asleep().await;
        let away = trio.follower();
        let lacked = trio.host(away).store.last_index(GroupId(META)).next();
        trio.0.cut.borrow_mut().insert(away);
        trio.write_user("meanwhile").await;
        let there: Vec<_> = trio.nodes().into_iter().filter(|node| *node != away).collect();
        let sleeps = |node: &NodeId| trio.host(*node).replica(META).unwrap().status().hibernating;
        trio.until("the others sleep without it", || there.iter().all(sleeps).then_some(())).await;
        // Whoever leads when it is back has what it lacks.
        for node in &there {
            let first = trio.host(*node).store.first_index(GroupId(META));
            assert!(first <= lacked, "node {node} let go of what a lost node lacks: its log begins at {first:?}");
        }
        trio.0.cut.borrow_mut().clear();
        trio.until_all_agree().await;
        trio.until_asleep().await;
    });
}

#[test]
fn a_leader_that_sleeps_and_is_cut_off_answers_no_read_whatever_is_said_of_the_nodes() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        trio.until_asleep().await;
        let old = trio.leader().await;
        trio.0.is_blind.set(true);
        trio.0.cut.borrow_mut().insert(old);
        // A node that says that all live is believed by the sleepers; a client that waits is served all the same.
        let others: Vec<_> = trio.nodes().into_iter().filter(|node| *node != old).collect();
        for node in &others {
            trio.host(*node).barrier(META, env.now().after_micros(30_000_000)).await.unwrap();
        }
        trio.write_user("elsewhere").await;
        let late = env.now().after_micros(10 * TICK_MICROS);
        let diag = trio.host(old).barrier(META, late).await.unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::TIMEOUT);
        trio.0.cut.borrow_mut().clear();
        trio.0.is_blind.set(false);
        assert_eq!(trio.users(old).await, BTreeSet::from(["elsewhere".to_owned()]));
    });
}

#[test]
fn a_leader_that_sleeps_and_loses_its_quorum_leads_no_more() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        trio.until_asleep().await;
        let old = trio.leader().await;
        for node in trio.nodes() {
            trio.0.cut.borrow_mut().insert(node);
        }
        trio.until("it steps down", || (!trio.host(old).leads(META)).then_some(())).await;
        let refused = trio.propose(old, user("refused")).await.unwrap();
        assert!(matches!(refused, Err(NotApplied::NotLeader(None))), "{refused:?}");
        trio.0.cut.borrow_mut().clear();
        trio.write_user("again").await;
    });
}

#[test]
fn after_the_loss_and_return_of_a_node_the_leads_lie_evenly_again() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start_groups(env, folder, 0, (0..9).collect()).await;
        let led = |node: &NodeId| {
            let host = trio.host(*node);
            host.groups().into_iter().filter(|group| host.leads(*group)).count()
        };
        let spread = || {
            let led: Vec<_> = trio.nodes().iter().map(led).collect();
            (led.iter().sum::<usize>() == 9).then_some(led)
        };
        assert_eq!(trio.until("all are led", spread).await.len(), 3);
        trio.until_asleep().await;
        trio.stop_node(NodeId(2)).await;
        trio.until("two nodes lead all", spread).await;
        trio.start_node(NodeId(2)).await;
        trio.until("the leads are even", || spread().filter(|led| led == &[3, 3, 3])).await;
        assert!(trio.nodes().iter().map(|node| trio.host(*node).leads_given.get()).sum::<u64>() >= 3);
    });
}

/// A store with replicas of many groups of three members, of which the others are as the test says.
pub(super) struct Lone {
    pub(super) host: Rc<StoreHost>,
    pub(super) sleep: Hibernation,
    pub(super) signs: Rc<RefCell<BTreeMap<NodeId, Sign>>>,
}

struct Told(Rc<RefCell<BTreeMap<NodeId, Sign>>>);

impl Watch for Told {
    fn others(&self) -> Vec<NodeId> {
        self.0.borrow().keys().copied().collect()
    }

    fn sign(&self, node: NodeId) -> Sign {
        self.0.borrow()[&node]
    }

    fn may_lead(&self, _: NodeId) -> bool {
        true
    }
}

impl Lone {
    pub(super) async fn start(env: &highwater_runtime::Rt, folder: &std::path::Path, groups: u32) -> Self {
        let (store, _) = Store::open(env.clone(), &folder.join("store"), StoreOptions::small()).await.unwrap();
        let layout = Layout { user_shards: groups - 2, shared_shards: 1, stores: 1 };
        let members: Vec<_> = (1..=3).map(NodeId).collect();
        let host = Rc::new(StoreHost::new(
            env.clone(),
            Rc::clone(&store),
            Cast { me: NodeId(1), members: members.clone(), is_alone: false },
        ));
        let mut shared = Shared::default();
        for group in layout.groups() {
            let state = GroupState::open(Rc::clone(&store), group, layout).await.unwrap();
            let start = Start {
                group,
                me: NodeId(1),
                members: &members,
                seed: env.random(),
                shared: &mut shared,
                recovered: &RecoveredGroup::default(),
                terms: Vec::new(),
                state: &state,
            };
            host.add(start.start().unwrap());
        }
        let alive = [2, 3].map(|node| (NodeId(node), Sign::Alive));
        let signs = Rc::new(RefCell::new(BTreeMap::from(alive)));
        host.liveness.ask(Told(Rc::clone(&signs)));
        let sleep = Hibernation::of(&host);
        Self { host, sleep, signs }
    }

    /// A turn of the driver with a tick. Nobody answers what is sent.
    pub(super) fn tick(&mut self) {
        self.sleep.tick(&self.host);
        self.turn();
    }

    pub(super) fn turn(&mut self) {
        for replica in self.host.take_touched() {
            self.sleep.before(&self.host, &replica);
            replica.ask_to_read();
            while replica.has_ready() {
                replica.with_raft(raft::RawNode::ready);
            }
            self.sleep.after(&self.host, &replica);
        }
    }

    pub(super) fn seeks(&self, group: u32) -> bool {
        self.host.replica(group).unwrap().status().role == raft::Role::PreCandidate
    }

    /// The group sleeps behind node 2, which leads it in term 1.
    pub(super) fn put_to_sleep(&mut self, group: u32) {
        let replica = self.host.replica(group).unwrap();
        let (from, to) = (NodeId(2), NodeId(1));
        let index = raft::LogIndex(0);
        let kind = raft::MessageKind::Hibernate { index };
        let message = raft::Message { group: raft::GroupId(group), from, to, term: raft::Term(1), kind };
        replica.step(message).unwrap();
        replica.take_stir();
        while replica.has_ready() {
            let ready = replica.with_raft(raft::RawNode::ready);
            replica.persisted(ready.number).unwrap();
        }
        assert!(replica.is_asleep());
    }
}

#[test]
fn a_node_with_many_groups_wakes_them_in_portions_and_those_first_that_it_goes_first_in() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 900).await;
        lone.turn();
        assert_eq!(lone.host.sleep.awake.get(), 0);
        lone.tick();
        assert_eq!(lone.host.sleep.awake.get(), 128);
        for group in 0..lone.host.groups().len() as u32 {
            assert_eq!(lone.seeks(group), group % 3 == 0 && group < 3 * 128, "group {group}");
        }
        for _ in 0..60 {
            lone.tick();
            assert!(lone.host.sleep.awake.get() <= 256, "{}", lone.host.sleep.awake.get());
        }
        // Nobody answers: others get their turn, in the end all.
        let mut sought = BTreeSet::new();
        for _ in 0..600 {
            lone.tick();
            sought.extend(lone.host.groups().into_iter().filter(|group| lone.seeks(*group)));
        }
        assert_eq!(sought.len(), 900);
    });
}

#[test]
fn when_a_node_is_lost_only_groups_behind_it_wake_in_portions_and_one_that_a_client_waits_for_at_once() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 700).await;
        (0..700).for_each(|group| lone.put_to_sleep(group));
        (0..12).for_each(|_| lone.tick());
        assert_eq!(lone.host.sleep.awake.get(), 0, "all sleep, and nobody has a reason to wake");
        lone.signs.borrow_mut().insert(NodeId(3), Sign::Lost);
        (0..30).for_each(|_| lone.tick());
        assert_eq!(lone.host.sleep.awake.get(), 0, "node 3 leads nothing");
        lone.signs.borrow_mut().insert(NodeId(2), Sign::Lost);
        lone.tick();
        assert_eq!(lone.host.sleep.awake.get(), 128);
        assert!(!lone.seeks(699));
        let _passed = lone.host.replica(699).unwrap().wait_to_read().unwrap();
        lone.host.touch(&lone.host.replica(699).unwrap());
        lone.turn();
        assert!(lone.seeks(699), "a read waits for it");
        let wakings: BTreeMap<_, _> = lone.host.sleep.wakings().into_iter().collect();
        assert_eq!((wakings["lost_node"], wakings["read"]), (128, 1));
    });
}

#[test]
fn who_sleeps_behind_a_doubted_leader_votes_for_who_asks_and_behind_one_that_lives_does_not() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 10).await;
        for (group, sign, granted) in [(3, Sign::Alive, false), (4, Sign::Doubtful, true), (5, Sign::Lost, true)] {
            lone.put_to_sleep(group);
            lone.signs.borrow_mut().insert(NodeId(2), sign);
            let kind = raft::MessageKind::PreVote { last_index: raft::LogIndex(0), last_term: raft::Term(0) };
            let (from, to, term) = (NodeId(3), NodeId(1), raft::Term(2));
            let message = raft::Message { group: raft::GroupId(group), from, to, term, kind };
            let replica = lone.host.replica(group).unwrap();
            Hibernation::hears(&lone.host, &replica, &message);
            replica.step(message).unwrap();
            let ready = replica.with_raft(raft::RawNode::ready);
            let is_grant = |m: &raft::Message| m.kind == raft::MessageKind::PreVoteResponse { granted: true };
            assert_eq!(ready.messages.iter().any(is_grant), granted, "{sign:?}");
        }
    });
}
