//! Members that come and go: a group of three founders and a fourth node, each with a driver and a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use highwater_raft::{self as raft, ConfChange, Membership, MembershipChange, NodeId, Transition};
use highwater_runtime::Env;
use highwater_state::placement::META;

use super::replication_tests::{TICK_MICROS, Trio, bootstrap, names, on_a_core};

const FOURTH: NodeId = NodeId(4);

impl Trio {
    /// The membership that a node's replica has.
    fn membership(&self, node: NodeId) -> Membership {
        self.host(node).replica(META).unwrap().with_raft(|raft| raft.membership().clone())
    }

    /// Has the leader propose a change as soon as it may.
    async fn change(&self, steps: Vec<ConfChange>) {
        let change = MembershipChange { transition: Transition::Auto, steps, context: bytes::Bytes::new() };
        self.until("a change is proposed", || {
            let leader = self.nodes().into_iter().find(|node| self.host(*node).leads(META))?;
            self.try_change(leader, &change).ok()
        })
        .await;
    }

    fn try_change(&self, leader: NodeId, change: &MembershipChange) -> Result<(), raft::ProposeError> {
        let host = self.host(leader);
        let replica = host.replica(META).unwrap();
        let proposed = replica.with_raft(|raft| raft.propose_membership_change(change));
        host.touch(&replica);
        host.work.notify();
        proposed.map(|_| ())
    }

    async fn until_members(&self, nodes: &[NodeId], voters: &[u64], learners: &[u64]) {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let wanted = Membership::new(&ids(voters), &ids(learners));
        self.until("the membership", || nodes.iter().all(|node| self.membership(*node) == wanted).then_some(())).await;
    }
}

#[test]
fn a_node_that_joins_has_no_part_until_it_holds_the_group_and_keeps_its_membership_through_restarts() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 10).await;
        trio.write(bootstrap()).await;
        for name in names(20) {
            trio.write_user(&name).await;
        }
        trio.start_node(FOURTH).await;
        assert!(
            trio.membership(FOURTH).is_empty(),
            "who was not there at first learns from a snapshot who belongs to the group"
        );
        env.sleep(60 * TICK_MICROS).await;
        let alone = trio.host(FOURTH).replica(META).unwrap().status();
        assert_eq!((alone.role, alone.term), (raft::Role::Follower, raft::Term(0)), "it asks for no votes");

        trio.change(vec![ConfChange::AddLearner(FOURTH)]).await;
        let all = [1, 2, 3, 4].map(NodeId);
        trio.until_members(&all, &[1, 2, 3], &[4]).await;
        assert_eq!(trio.users(FOURTH).await, names(20));
        trio.until_all_agree().await;

        // From its own disk, whatever the others say.
        trio.stop_node(FOURTH).await;
        for node in &all[..3] {
            trio.0.cut.borrow_mut().insert(*node);
        }
        trio.start_node(FOURTH).await;
        trio.until_members(&[FOURTH], &[1, 2, 3], &[4]).await;
        trio.0.cut.borrow_mut().clear();

        trio.change(vec![ConfChange::AddVoter(FOURTH), ConfChange::Remove(NodeId(3))]).await;
        let stay = [1, 2, 4].map(NodeId);
        trio.until_members(&stay, &[1, 2, 4], &[]).await;
        for node in all {
            trio.stop_node(node).await;
        }
        for node in stay {
            trio.start_node(node).await;
        }
        trio.until_members(&stay, &[1, 2, 4], &[]).await;
        trio.write_user("of the new three").await;
        let expected: BTreeSet<String> = names(20).into_iter().chain(["of the new three".to_owned()]).collect();
        for node in stay {
            assert_eq!(trio.users(node).await, expected);
        }
    });
}

#[test]
fn two_changes_at_once_are_refused() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        let leader = trio.leader().await;
        let learner = |node| MembershipChange::from(ConfChange::AddLearner(NodeId(node)));
        // Nothing is applied between the two calls.
        trio.try_change(leader, &learner(5)).unwrap();
        let second = trio.try_change(leader, &learner(6));
        assert!(matches!(second, Err(raft::ProposeError::ChangePending { .. })), "{second:?}");
        trio.until_members(&[leader], &[1, 2, 3], &[5]).await;
    });
}

#[test]
fn a_change_that_is_known_outlives_the_leader_that_made_it_and_who_was_removed() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env, folder, 0).await;
        trio.write(bootstrap()).await;
        trio.start_node(FOURTH).await;
        trio.change(vec![ConfChange::AddLearner(FOURTH)]).await;
        trio.until_members(&[1, 2, 3, 4].map(NodeId), &[1, 2, 3], &[4]).await;
        trio.write_user("before").await;
        trio.until_all_agree().await;
        let leader = trio.leader().await;
        let lost = trio.nodes().into_iter().find(|node| *node != leader && *node != FOURTH).unwrap();
        // Its disk is gone, its place is given to the fourth, and the group has nothing else to do.
        trio.stop_node(lost).await;
        trio.change(vec![ConfChange::AddVoter(FOURTH), ConfChange::Remove(lost)]).await;
        let replica = trio.host(leader).replica(META).unwrap();
        let is_known = || {
            let is_left = replica.with_raft(|raft| !raft.membership().is_joint() && raft.membership().is_voter(FOURTH));
            let known = is_left && replica.makes_membership_known();
            trio.host(leader).touch(&replica);
            trio.host(leader).work.notify();
            known.then_some(())
        };
        trio.until("a majority has stored the change", is_known).await;
        let stay: Vec<NodeId> = trio.nodes();
        for node in &stay {
            trio.stop_node(*node).await;
        }
        let rest: Vec<NodeId> = stay.into_iter().filter(|node| *node != leader).collect();
        for node in &rest {
            trio.start_node(*node).await;
        }
        trio.write_user("afterwards").await;
        let expected = BTreeSet::from(["before".to_owned(), "afterwards".to_owned()]);
        for node in &rest {
            assert_eq!(trio.users(*node).await, expected);
        }
    });
}

#[test]
fn a_removed_node_neither_votes_nor_disturbs() {
    on_a_core(|env, folder| async move {
        let trio = Trio::start(env.clone(), folder, 0).await;
        trio.write(bootstrap()).await;
        let leader = trio.leader().await;
        let removed = trio.nodes().into_iter().find(|node| *node != leader).unwrap();
        let stay: Vec<NodeId> = trio.nodes().into_iter().filter(|node| *node != removed).collect();
        // It does not learn of it: its own membership is the old one.
        trio.0.cut.borrow_mut().insert(removed);
        trio.change(vec![ConfChange::Remove(removed)]).await;
        let voters: Vec<u64> = stay.iter().map(|node| node.0).collect();
        trio.until_members(&stay, &voters, &[]).await;
        let term = trio.host(leader).replica(META).unwrap().status().term;
        trio.0.cut.borrow_mut().clear();
        let asks = || (trio.host(removed).replica(META).unwrap().status().role != raft::Role::Follower).then_some(());
        trio.until("the removed node asks for votes", asks).await;
        for number in 0..20 {
            trio.write_user(&format!("user{number}")).await;
            env.sleep(5 * TICK_MICROS).await;
        }
        let status = trio.host(leader).replica(META).unwrap().status();
        assert_eq!((status.role, status.term), (raft::Role::Leader, term), "nobody listens to it");
        // Its vote would make a majority of the old membership with one other: it does not count.
        let other = stay.into_iter().find(|node| *node != leader).unwrap();
        trio.stop_node(leader).await;
        env.sleep(60 * TICK_MICROS).await;
        assert!(!trio.host(other).leads(META) && !trio.host(removed).leads(META));
    });
}
