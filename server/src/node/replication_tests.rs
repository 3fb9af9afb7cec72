//! Three replicas of one group, each with a driver and a store of its own, over a network that loses, doubles and delays messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a folder is made before the first executor starts")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use highwater_engine::{GroupId, Store, StoreOptions};
use highwater_net::rpc::{CallError, NotSent};
use highwater_raft::{self as raft, NodeId};
use highwater_runtime::queue::{self, Reply};
use highwater_runtime::{CpuSet, Env, Rt, launch};
use highwater_sql::catalog::Role;
use highwater_sql::diag::SqlState;
use highwater_state::command::{Command, MetaCommand, RequestHead};
use highwater_state::group::GroupState;
use highwater_state::outcome::Outcome;
use highwater_state::placement::{Layout, META};

use super::driver;
use super::host::{Cast, StoreHost};
use super::liveness::{Sign, Watch};
use super::mesh::{Admission, Applied, NotApplied, Proposal};
use super::replica::{Shared, Start};
use super::snapshots::folders;
use super::snapshots::of_store::{Carry, StoreSnapshots};
use super::start;

const LAYOUT: Layout = Layout { user_shards: 7, shared_shards: 1, stores: 1 };
pub(super) const TICK_MICROS: u64 = 4_000;
/// What a store keeps of its log for members that are behind.
const KEPT_BYTES: u64 = 256 << 10;
/// Nothing here takes as long as this.
const PATIENCE_MICROS: u64 = 20_000_000;

pub(super) type Answer = Reply<Result<Applied, NotApplied>>;

/// The nodes that run, and the network between them.
#[derive(Clone)]
pub(super) struct Trio(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) env: Rt,
    folder: PathBuf,
    pub(super) members: Vec<NodeId>,
    /// Those of the layout's groups that there are.
    groups: Vec<u32>,
    pub(super) hosts: RefCell<BTreeMap<NodeId, Rc<StoreHost>>>,
    /// Nodes that nothing reaches, and of which nothing is heard.
    pub(super) cut: RefCell<BTreeSet<NodeId>>,
    /// Messages of a thousand that are lost; as many are doubled, and delayed.
    faults: Cell<u64>,
    /// Messages that were sent.
    pub(super) sent: Cell<u64>,
    /// Whoever is not there or cut off is taken for alive all the same.
    pub(super) is_blind: Cell<bool>,
}

/// What a node is told of the others.
struct Eyes(Trio, NodeId);

impl Watch for Eyes {
    fn others(&self) -> Vec<NodeId> {
        self.0.0.members.iter().copied().filter(|node| *node != self.1).collect()
    }

    fn sign(&self, node: NodeId) -> Sign {
        let Inner { cut, hosts, is_blind, .. } = &*self.0.0;
        let is_cut = cut.borrow().contains(&node) || cut.borrow().contains(&self.1);
        let is_gone = is_cut || hosts.borrow().get(&node).is_none_or(|host| host.closing.get());
        if is_gone && !is_blind.get() { Sign::Lost } else { Sign::Alive }
    }

    fn may_lead(&self, _: NodeId) -> bool {
        true
    }
}

impl Trio {
    pub(super) async fn start(env: Rt, folder: PathBuf, faults: u64) -> Self {
        Self::start_groups(env, folder, faults, vec![META]).await
    }

    pub(super) async fn start_groups(env: Rt, folder: PathBuf, faults: u64, groups: Vec<u32>) -> Self {
        let trio = Self(Rc::new(Inner {
            env,
            folder,
            members: (1..=3).map(NodeId).collect(),
            groups,
            hosts: RefCell::default(),
            cut: RefCell::default(),
            faults: Cell::new(faults),
            sent: Cell::new(0),
            is_blind: Cell::new(false),
        }));
        for node in trio.0.members.clone() {
            trio.start_node(node).await;
        }
        trio
    }

    fn carry(&self, message: raft::Message) {
        self.0.sent.set(self.0.sent.get() + 1);
        let cut = self.0.cut.borrow();
        if cut.contains(&message.from) || cut.contains(&message.to) {
            return;
        }
        let happens = || self.0.env.random() % 1000 < self.0.faults.get();
        if happens() {
            return;
        }
        for _ in 0..=u32::from(happens()) {
            let (trio, message, late) = (self.clone(), message.clone(), happens());
            self.0.env.spawn("carry", async move {
                if late {
                    trio.0.env.sleep(2 * TICK_MICROS).await;
                }
                let host = trio.0.hosts.borrow().get(&message.to).cloned();
                if let Some(host) = host {
                    host.bring(message).await;
                }
            });
        }
    }

    /// The way of a node's snapshots.
    fn chunks_of(&self, from: NodeId) -> Carry {
        let trio = self.clone();
        Rc::new(move |to, chunk| {
            let (trio, host) = (trio.clone(), trio.0.hosts.borrow().get(&to).cloned());
            Box::pin(async move {
                let is_cut = trio.0.cut.borrow().contains(&from) || trio.0.cut.borrow().contains(&to);
                match host.filter(|host| !is_cut && !host.closing.get()) {
                    Some(host) => {
                        host.snapshots.get().unwrap().take(&host, from, chunk).await.map_err(CallError::Refused)
                    }
                    None => Err(CallError::NotSent(NotSent::Unreachable)),
                }
            })
        })
    }

    pub(super) async fn start_node(&self, node: NodeId) {
        let env = &self.0.env;
        let path = self.0.folder.join(format!("node-{}", node.0));
        // Far from the limit at which groups let go of what others lack: that depends on how quickly the disk flushes.
        let options = StoreOptions { database_id: node.0, log_limit_bytes: 64 << 20, ..StoreOptions::small() };
        folders::remove_leftovers(env, &path).await.unwrap();
        let (store, recovery) = Store::open(env.clone(), &path, options).await.unwrap();
        let cast = Cast { me: node, members: self.0.members.clone(), is_alone: false };
        let (mut states, mut replicas, mut shared) = (BTreeMap::new(), Vec::new(), Shared::default());
        for group in self.0.groups.iter().copied() {
            let state = GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap();
            let start = Start {
                group,
                me: node,
                members: &cast.members,
                seed: env.random(),
                shared: &mut shared,
                recovered: &recovery.groups.get(&GroupId(group)).cloned().unwrap_or_default(),
                terms: store.term_runs(GroupId(group)),
                state: &state,
            };
            replicas.push(start.start().unwrap());
            states.insert(group, state);
        }
        let snapshots = StoreSnapshots::new(env, &store, Arc::default(), self.chunks_of(node), 0);
        let host = Rc::new(StoreHost::new(env.clone(), store, cast));
        assert!(host.snapshots.set(snapshots).is_ok());
        host.keep_at_most(KEPT_BYTES);
        host.liveness.ask(Eyes(self.clone(), node));
        replicas.into_iter().for_each(|replica| host.add(replica));
        let trio = self.clone();
        env.spawn("driver", driver::drive(env.clone(), Rc::clone(&host), states, move |message| trio.carry(message)));
        env.spawn("ticks", driver::tick(env.clone(), Rc::clone(&host), TICK_MICROS));
        env.spawn("readiness", start::readiness(env.clone(), Rc::clone(&host), || false));
        self.0.hosts.borrow_mut().insert(node, host);
    }

    pub(super) async fn stop_node(&self, node: NodeId) {
        let host = self.0.hosts.borrow_mut().remove(&node).unwrap();
        let seen = host.stopped.seen();
        host.closing.set(true);
        host.work.notify();
        host.stopped.changed_since(seen).await;
    }

    pub(super) fn host(&self, node: NodeId) -> Rc<StoreHost> {
        Rc::clone(&self.0.hosts.borrow()[&node])
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.0.hosts.borrow().keys().copied().collect()
    }

    pub(super) fn propose(&self, node: NodeId, command: Command) -> Answer {
        self.propose_in(META, node, command)
    }

    fn propose_in(&self, group: u32, node: NodeId, command: Command) -> Answer {
        let (reply, answer) = queue::reply();
        let host = self.host(node);
        let proposal = Proposal { group, command, catalog: None, admission: Admission::System, reply };
        host.pending.borrow_mut().push_back(proposal);
        host.work.notify();
        answer
    }

    pub(super) async fn until<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = self.0.env.now().after_micros(PATIENCE_MICROS);
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(self.0.env.now() < end, "it never came: {what}");
            self.0.env.sleep(TICK_MICROS).await;
        }
    }

    /// Who leads and is not cut off.
    pub(super) async fn leader(&self) -> NodeId {
        let leads = |node: &NodeId| !self.0.cut.borrow().contains(node) && self.host(*node).leads(META);
        self.until("a leader", || self.nodes().into_iter().find(leads)).await
    }

    /// Proposes where the leader is until it is applied.
    pub(super) async fn write(&self, command: Command) -> Applied {
        let end = self.0.env.now().after_micros(PATIENCE_MICROS);
        while self.0.env.now() < end {
            let leader = self.leader().await;
            match self.propose(leader, command.clone()).await.unwrap() {
                Ok(applied) => return applied,
                Err(NotApplied::NotLeader(_)) => {}
                Err(NotApplied::Refused(diag)) => panic!("{diag}"),
            }
        }
        panic!("no leader took the command");
    }

    pub(super) async fn write_user(&self, name: &str) {
        let applied = self.write(user(name)).await;
        assert!(matches!(applied.outcome, Outcome::Defined { .. }), "{name}: {:?}", applied.outcome);
    }

    /// The users that a linearizable read on a node shows, root aside.
    pub(super) async fn users(&self, node: NodeId) -> BTreeSet<String> {
        let host = self.host(node);
        host.barrier(META, self.0.env.now().after_micros(PATIENCE_MICROS)).await.unwrap();
        let names = host.view(META).unwrap().catalog().users.keys().cloned().collect::<BTreeSet<_>>();
        names.into_iter().filter(|name| name != "root").collect()
    }

    pub(super) async fn until_all_agree(&self) {
        self.until("the same state on all nodes", || {
            let of = |node: &NodeId| {
                let view = self.host(*node).view(META).unwrap();
                (view.applied(), view.chain())
            };
            let marks: BTreeSet<_> = self.nodes().iter().map(of).collect();
            (marks.len() == 1).then_some(())
        })
        .await;
    }
}

pub(super) fn bootstrap() -> Command {
    Command::Meta(MetaCommand::Bootstrap {
        cluster_id: 7,
        layout: LAYOUT,
        token_key: [1; 32],
        root_verifier: "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA".to_owned(),
    })
}

pub(super) fn user(name: &str) -> Command {
    let head = RequestHead {
        principal: "root".to_owned(),
        role: Role::System,
        auth_epoch: u64::MAX,
        request: None,
        statement_hash: 0,
    };
    let (name, role) = (name.to_owned(), Role::User);
    Command::Meta(MetaCommand::CreateUser { head, name, verifier: None, role, email: None, if_not_exists: true })
}

pub(super) fn names(count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("user{number}")).collect()
}

/// Runs `body` on the real runtime with a folder of its own.
pub(super) fn on_a_core<Fut: Future<Output = ()>>(body: impl Fn(Rt, PathBuf) -> Fut + Clone + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = Path::to_path_buf(folder.path());
    let (tell, told) = mpsc::channel();
    let body = move |env: Rt| {
        let (path, tell, body) = (path.clone(), tell.clone(), body.clone());
        async move {
            body(env, path).await;
            tell.send(()).unwrap();
        }
    };
    launch(&CpuSet::parse("1").unwrap(), body).unwrap().join().unwrap();
    told.recv().unwrap();
}

#[test]
fn what_is_acknowledged_is_seen_behind_a_barrier_on_every_node_though_messages_are_lost_doubled_and_late() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 50).await;
        trio.write(bootstrap()).await;
        for (count, name) in names(12).iter().enumerate() {
            trio.write_user(name).await;
            let seen = trio.users(NodeId(count as u64 % 3 + 1)).await;
            assert!(seen.contains(name), "{name} is missing in {seen:?}");
        }
        trio.until_all_agree().await;
    });
}

#[test]
fn when_the_leader_stops_another_leads_with_all_that_was_acknowledged_and_the_stopped_node_catches_up_from_its_disk() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 10).await;
        trio.write(bootstrap()).await;
        for name in names(10) {
            trio.write_user(&name).await;
        }
        let first = trio.leader().await;
        trio.stop_node(first).await;
        trio.write_user("afterwards").await;
        let second = trio.leader().await;
        assert_ne!(first, second);
        let expected: BTreeSet<_> = names(10).into_iter().chain(["afterwards".to_owned()]).collect();
        for node in trio.nodes() {
            assert_eq!(trio.users(node).await, expected);
        }
        trio.start_node(first).await;
        assert_eq!(trio.users(first).await, expected);
        trio.until_all_agree().await;
    });
}

#[test]
fn all_nodes_start_again_from_their_disks_with_all_that_was_acknowledged() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 10).await;
        trio.write(bootstrap()).await;
        for name in names(10) {
            trio.write_user(&name).await;
        }
        for round in 0..3 {
            for node in trio.nodes() {
                trio.stop_node(node).await;
            }
            for node in trio.0.members.clone() {
                trio.start_node(node).await;
            }
            trio.write_user(&format!("round{round}")).await;
        }
        for node in trio.nodes() {
            assert_eq!(trio.users(node).await.len(), 13);
        }
        trio.until_all_agree().await;
    });
}

#[test]
fn a_leader_that_is_cut_off_answers_what_it_proposed_when_it_learns_that_it_is_gone() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        let old = trio.leader().await;
        trio.0.cut.borrow_mut().insert(old);
        let lost = trio.propose(old, user("lost"));
        trio.write_user("kept").await;
        trio.until("the old leader steps down", || (!trio.host(old).leads(META)).then_some(())).await;
        let refused = trio.propose(old, user("refused")).await.unwrap();
        assert!(matches!(refused, Err(NotApplied::NotLeader(None))), "{refused:?}");
        trio.0.cut.borrow_mut().clear();
        let lost = lost.await.unwrap();
        assert!(matches!(lost, Err(NotApplied::NotLeader(_))), "{lost:?}");
        let refused = trio.propose(old, user("refused")).await.unwrap();
        assert!(matches!(refused, Err(NotApplied::NotLeader(Some(leader))) if leader != old), "{refused:?}");
        assert_eq!(trio.users(old).await, BTreeSet::from(["kept".to_owned()]));
    });
}

#[test]
fn what_a_leader_proposed_before_it_handed_over_gets_its_result() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        let old = trio.leader().await;
        let heir = trio.nodes().into_iter().find(|node| *node != old).unwrap();
        let (host, (reply, answer)) = (trio.host(old), queue::reply());
        let replica = host.replica(META).unwrap();
        // Between two turns of the driver: it leads no more when its entry is committed.
        let command = user("handed over");
        let proposal = Proposal { group: META, command, catalog: None, admission: Admission::System, reply };
        host.propose(&replica, proposal, 1, 1);
        replica.with_raft(|raft| raft.transfer_leader(heir)).unwrap();
        host.touch(&replica);
        host.work.notify();
        let applied = answer.await.unwrap().unwrap();
        assert!(matches!(applied.outcome, Outcome::Defined { .. }), "{applied:?}");
        trio.until("the heir leads", || trio.host(heir).leads(META).then_some(())).await;
        assert_eq!(trio.users(heir).await, BTreeSet::from(["handed over".to_owned()]));
    });
}

#[test]
fn a_node_that_reaches_no_majority_passes_no_barrier() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        for node in trio.nodes() {
            trio.0.cut.borrow_mut().insert(node);
        }
        for node in trio.nodes() {
            let deadline = trio.0.env.now().after_micros(10 * TICK_MICROS);
            let diag = trio.host(node).barrier(META, deadline).await.unwrap_err();
            assert_eq!(diag.sqlstate, SqlState::TIMEOUT);
        }
        trio.0.cut.borrow_mut().clear();
        assert!(trio.users(NodeId(1)).await.is_empty());
    });
}

#[test]
fn a_change_of_membership_is_stored_with_the_state_and_found_again() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 10).await;
        trio.write(bootstrap()).await;
        let leader = trio.leader().await;
        let leaves = trio.nodes().into_iter().find(|node| *node != leader).unwrap();
        let host = trio.host(leader);
        let change = raft::ConfChange::Remove(leaves);
        trio.until("the change is proposed", || {
            let replica = host.replica(META).unwrap();
            let proposed = replica.with_raft(|raft| raft.propose_conf_change(change)).is_ok();
            host.touch(&replica);
            host.work.notify();
            proposed.then_some(())
        })
        .await;
        let stays: Vec<NodeId> = trio.nodes().into_iter().filter(|node| *node != leaves).collect();
        let stored = |node: &NodeId| {
            let view = trio.host(*node).view(META).unwrap();
            view.membership().and_then(|bytes| raft::Membership::decode(bytes))
        };
        trio.until("both know the change", || stays.iter().all(|node| stored(node).is_some()).then_some(())).await;
        trio.stop_node(leaves).await;
        for node in &stays {
            trio.stop_node(*node).await;
            trio.start_node(*node).await;
            let found = || stored(node).filter(|membership| membership.voters() == stays).map(|_| ());
            trio.until("the change is found again", found).await;
        }
        trio.write_user("of two").await;
        for node in &stays {
            assert_eq!(trio.users(*node).await, BTreeSet::from(["of two".to_owned()]));
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_while_nodes_are_cut_off_and_come_back_and_all_agree_in_the_end() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 30).await;
        trio.write(bootstrap()).await;
        let mut acknowledged = BTreeSet::new();
        for name in names(60) {
            let node = NodeId(env.random() % 3 + 1);
            if env.random() % 4 == 0 {
                trio.0.cut.borrow_mut().clear();
                trio.0.cut.borrow_mut().insert(node);
            }
            let target = trio.nodes().into_iter().find(|node| trio.host(*node).leads(META)).unwrap_or(node);
            let answer = async { Some(trio.propose(target, user(&name)).await.unwrap()) };
            let too_late = async {
                env.sleep(10 * TICK_MICROS).await;
                None
            };
            match futures_lite::future::or(answer, too_late).await {
                Some(Ok(applied)) => {
                    assert!(matches!(applied.outcome, Outcome::Defined { .. }), "{applied:?}");
                    acknowledged.insert(name);
                }
                Some(Err(NotApplied::Refused(diag))) => panic!("{diag}"),
                Some(Err(NotApplied::NotLeader(_))) => env.sleep(2 * TICK_MICROS).await,
                None => {}
            }
        }
        trio.0.cut.borrow_mut().clear();
        trio.write_user("last").await;
        assert!(acknowledged.len() > 5, "{acknowledged:?}");
        for node in trio.nodes() {
            let users = trio.users(node).await;
            assert!(users.is_superset(&acknowledged), "{acknowledged:?} {users:?}");
        }
        trio.until_all_agree().await;
    });
}

#[test]
fn a_leader_that_hands_over_is_followed_at_once() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        let old = trio.leader().await;
        trio.until("the others are there", || trio.host(old).leads_others().then_some(())).await;
        trio.host(old).hand_over(|_| true);
        trio.until("another leads", || (!trio.host(old).leads(META)).then_some(())).await;
        trio.write_user("after").await;
        assert_ne!(trio.leader().await, old);
    });
}

#[test]
fn what_every_member_has_leaves_the_leaders_log_and_what_one_lacks_stays() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        let leader = trio.leader().await;
        let absent = trio.nodes().into_iter().find(|node| *node != leader).unwrap();
        trio.stop_node(absent).await;
        let stopped_at = trio.host(leader).replica(META).unwrap().status().applied;
        for name in names(20) {
            trio.write_user(&name).await;
        }
        let leader = trio.leader().await;
        let host = trio.host(leader);
        assert!(host.store.first_index(GroupId(META)).0 <= stopped_at.0 + 1);
        trio.start_node(absent).await;
        assert_eq!(trio.users(absent).await, names(20));
        trio.until("the log is let go", || {
            let applied = host.replica(META).unwrap().status().applied;
            (host.store.first_index(GroupId(META)).0 > applied.0 || !host.leads(META)).then_some(())
        })
        .await;
    });
}

/// A user with so many bytes about it that a few of them are more than a store keeps for a member that is behind.
fn large_user(name: &str) -> Command {
    let Command::Meta(MetaCommand::CreateUser { head, name, role, if_not_exists, .. }) = user(name) else {
        unreachable!()
    };
    let email = Some("x".repeat(20_000));
    Command::Meta(MetaCommand::CreateUser { head, name, verifier: None, role, email, if_not_exists })
}

#[test]
fn a_node_that_lacks_what_the_log_no_longer_holds_is_rebuilt_from_a_snapshot_while_writes_go_on() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 10).await;
        trio.write(bootstrap()).await;
        let mut expected = names(5);
        for name in &expected {
            trio.write_user(name).await;
        }
        let leader = trio.leader().await;
        let behind = trio.nodes().into_iter().find(|node| *node != leader).unwrap();
        trio.stop_node(behind).await;
        for number in 0..40 {
            let name = format!("large{number}");
            trio.write(large_user(&name)).await;
            expected.insert(name);
        }
        for node in trio.nodes() {
            let store = Rc::clone(&trio.host(node).store);
            let first = store.first_index(GroupId(META)).0;
            assert!(first > 10, "node {node} let go of what nobody is waited for with: its log begins at {first}");
            assert!(store.last_index(GroupId(META)).0 > first, "node {node} keeps what it has room for");
        }
        trio.start_node(behind).await;
        let (mut number, end) = (0, trio.0.env.now().after_micros(PATIENCE_MICROS));
        while trio.host(behind).store.stats().ingests == 0 {
            assert!(trio.0.env.now() < end, "no snapshot came");
            let name = format!("meanwhile{number}");
            trio.write_user(&name).await;
            expected.insert(name);
            number += 1;
        }
        assert_eq!(trio.users(behind).await, expected);
        trio.until_all_agree().await;
        // It is a member like the others: with one of them it goes on alone, and finds everything again.
        trio.stop_node(trio.leader().await).await;
        trio.write_user("of two").await;
        expected.insert("of two".to_owned());
        trio.stop_node(behind).await;
        trio.start_node(behind).await;
        assert_eq!(trio.users(behind).await, expected);
        trio.until_all_agree().await;
        for node in trio.nodes() {
            for slot in 0..2 {
                let folder = trio.host(node).store.folder().to_path_buf();
                for folder in [folders::sent(&folder, slot), folders::staged(&folder, slot)] {
                    let empty = async || trio.0.env.list_dir(&folder).await.unwrap_or_default().is_empty();
                    let end = trio.0.env.now().after_micros(PATIENCE_MICROS);
                    while !empty().await {
                        assert!(trio.0.env.now() < end, "files stay in {}", folder.display());
                        trio.0.env.sleep(TICK_MICROS).await;
                    }
                }
            }
        }
    });
}

#[test]
fn while_a_snapshot_of_one_group_is_put_in_place_the_other_groups_of_the_store_take_writes() {
    const OTHER: u32 = 1;
    on_a_core(|env, folder| async move {
        let trio = Trio::start_groups(env, folder, 0, vec![META, OTHER]).await;
        trio.write(bootstrap()).await;
        let leader = trio.leader().await;
        let behind = trio.nodes().into_iter().find(|node| *node != leader).unwrap();
        trio.stop_node(behind).await;
        for number in 0..40 {
            trio.write(large_user(&format!("large{number}"))).await;
        }
        trio.start_node(behind).await;
        let host = trio.host(behind);
        host.holds_installs.set(true);
        let (group, other) = (host.replica(META).unwrap(), host.replica(OTHER).unwrap());
        trio.until("a snapshot is being put in place", || group.is_installing.get().then_some(())).await;
        // Without the third node nothing is committed that this one has not in its log.
        let third = trio.nodes().into_iter().find(|node| ![leader, behind].contains(node)).unwrap();
        trio.stop_node(third).await;
        let applied = || host.view(OTHER).unwrap().applied();
        for _ in 0..5 {
            let before = applied();
            trio.until("a write to the other group", || {
                let leads = |node: &NodeId| trio.host(*node).leads(OTHER);
                trio.nodes().into_iter().find(leads).map(|node| {
                    let write = Command::Trim { destination: META, upto: 0 };
                    trio.propose_in(OTHER, node, write)
                })
            })
            .await
            .await
            .unwrap()
            .unwrap();
            trio.until("it is applied here, too", || (applied() > before).then_some(())).await;
        }
        assert!(group.is_installing.get() && !other.is_installing.get());
        assert_eq!(host.store.stats().ingests, 0);
        host.holds_installs.set(false);
        trio.until_all_agree().await;
        assert_eq!(host.store.stats().ingests, 1);
    });
}

#[test]
fn a_store_whose_groups_all_sleep_flushes_and_no_member_keeps_a_log_that_nobody_lacks() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        for name in names(3) {
            trio.write_user(&name).await;
        }
        let rests = |node: &NodeId| {
            let host = trio.host(*node);
            let applied = host.replica(META).unwrap().status().applied.0;
            host.store.first_index(GroupId(META)).0 > applied && host.unflushed.get() == 0
        };
        trio.until("every store rests", || trio.nodes().iter().all(rests).then_some(())).await;
        // A follower that keeps nothing for others leads all the same when it must.
        let leader = trio.leader().await;
        trio.stop_node(leader).await;
        trio.write_user("afterwards").await;
        trio.start_node(leader).await;
        assert_eq!(trio.users(leader).await.len(), 4);
        trio.until_all_agree().await;
    });
}
