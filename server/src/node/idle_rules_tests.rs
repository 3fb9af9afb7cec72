//! The rules of idle groups, one by one, on one store whose other members answer at once or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cell::Cell;
use std::rc::Rc;

use highwater_raft::{self as raft, NodeId};
use highwater_runtime::Env;

use super::balance::Balance;
use super::hibernation::Hibernation;
use super::hibernation_tests::Lone;
use super::liveness::Sign;
use super::portions::in_portions;
use super::replica::Footing;
use super::replication_tests::on_a_core;
use super::rest::Rest;

impl Lone {
    /// Node 2 answers as a follower that holds everything, until nothing is left to do; node 3 does not answer.
    fn answered(&self, group: u32) {
        let replica = self.host.replica(group).unwrap();
        while replica.has_ready() {
            let ready = replica.with_raft(raft::RawNode::ready);
            let mut sent = ready.messages;
            sent.extend(ready.persisted_messages);
            replica.persisted(ready.number).unwrap();
            if let Some(committed) = ready.committed {
                replica.applied(committed.last).unwrap();
            }
            for message in sent.into_iter().filter(|message| message.to == NodeId(2)) {
                let kind = match message.kind {
                    raft::MessageKind::PreVote { .. } => raft::MessageKind::PreVoteResponse { granted: true },
                    raft::MessageKind::Vote { .. } => raft::MessageKind::VoteResponse { granted: true },
                    raft::MessageKind::Append { .. } => {
                        raft::MessageKind::AppendResponse { index: replica.status().last, reject_hint: None }
                    }
                    raft::MessageKind::Heartbeat { round, .. } => raft::MessageKind::HeartbeatResponse { round },
                    _ => continue,
                };
                let answer = raft::Message { from: NodeId(2), to: NodeId(1), kind, ..message };
                replica.step(answer).unwrap();
            }
        }
    }

    /// This node leads the group, and node 2 follows.
    fn lead(&mut self, group: u32) {
        let replica = self.host.replica(group).unwrap();
        replica.with_raft(raft::RawNode::campaign);
        self.answered(group);
        assert!(replica.leads() && replica.is_at_rest(), "{:?}", replica.status());
    }
}

#[test]
fn a_leader_lets_its_group_sleep_after_four_ticks_without_an_event_and_not_sooner() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 3).await;
        lone.signs.borrow_mut().insert(NodeId(3), Sign::Lost);
        lone.lead(0);
        let replica = lone.host.replica(0).unwrap();
        lone.host.touch(&replica);
        lone.turn();
        lone.answered(0);
        let mut ticks = 0;
        while !replica.is_asleep() {
            lone.sleep.tick(&lone.host);
            lone.answered(0);
            ticks += 1;
            assert!(ticks < 20, "it never sleeps");
        }
        // The first tick sees the last event.
        assert_eq!(ticks, 5);
    });
}

#[test]
fn a_leader_for_which_a_read_waits_does_not_sleep() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 3).await;
        lone.lead(0);
        let replica = lone.host.replica(0).unwrap();
        let passed = replica.wait_to_read().unwrap();
        assert_eq!(replica.tick(Some(&[NodeId(3)])).now, Footing::Led);
        drop(passed);
    });
}

#[test]
fn a_sleeper_forgets_its_doubted_leader_for_who_asks_for_votes_and_for_nobody_else() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 3).await;
        lone.put_to_sleep(0);
        lone.signs.borrow_mut().insert(NodeId(2), Sign::Doubtful);
        let replica = lone.host.replica(0).unwrap();
        let kind = raft::MessageKind::Heartbeat { commit: raft::LogIndex(0), round: raft::ReadRound(1) };
        let (group, from, to, term) = (raft::GroupId(0), NodeId(2), NodeId(1), raft::Term(1));
        Hibernation::hears(&lone.host, &replica, &raft::Message { group, from, to, term, kind });
        assert_eq!(replica.leader(), Some(NodeId(2)));
    });
}

#[test]
fn of_the_nodes_that_live_another_one_goes_first_from_group_to_group() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 6).await;
        (0..6).for_each(|group| lone.put_to_sleep(group));
        (0..12).for_each(|_| lone.tick());
        lone.signs.borrow_mut().insert(NodeId(2), Sign::Lost);
        lone.tick();
        // Nodes 1 and 3 are left: this one goes first in every other group, whatever node 2's turns were.
        assert_eq!((0..6).filter(|group| lone.seeks(*group)).collect::<Vec<_>>(), [0, 2, 4]);
    });
}

#[test]
fn a_group_that_a_client_waits_for_gives_its_place_to_no_other() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 600).await;
        lone.tick();
        let replica = lone.host.replica(0).unwrap();
        let _passed = replica.wait_to_read().unwrap();
        let awake = |lone: &Lone, group: u32| lone.sleep.awake().any(|replica| replica.group() == group);
        let mut gave_way = false;
        for _ in 0..200 {
            // The driver does not look, so the read goes on waiting.
            lone.sleep.tick(&lone.host);
            gave_way |= !awake(&lone, 3);
            assert!(awake(&lone, 0), "a client waits for it");
        }
        assert!(gave_way, "others wait in the queue");
    });
}

#[test]
fn work_in_portions_is_done_for_every_group_and_for_so_many_at_one_time() {
    on_a_core(|env, _| async move {
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (own, highest, clock) = (Rc::clone(&running), Rc::clone(&most), env.clone());
        let work = move |group: u32| {
            let (running, most, env) = (Rc::clone(&own), Rc::clone(&highest), clock.clone());
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                env.sleep(1_000).await;
                running.set(running.get() - 1);
                group
            }
        };
        let mut done = in_portions(&env, "portion", (0..50).collect(), 8, work).await;
        done.sort_unstable();
        assert_eq!((done, most.get()), ((0..50).collect(), 8));
    });
}

#[test]
fn leads_are_given_in_quiet_times_a_few_at_a_time_and_those_of_sleeping_groups_first() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 8).await;
        (0..8).for_each(|group| lone.lead(group));
        let last = lone.host.replica(7).unwrap();
        last.with_raft(|raft| raft.hibernate(&[NodeId(3)]));
        assert!(last.is_asleep());
        let host = &lone.host;
        let mut balance = Balance::default();
        let mut ticks = |count: u32, disturbed: bool| {
            (0..count).for_each(|_| balance.tick(host, disturbed));
            host.leads_given.get()
        };
        assert_eq!(ticks(700, false), 0, "a node that is not ready gives nothing");
        host.ready.set(true);
        assert_eq!(ticks(599, false), 0);
        assert_eq!((ticks(1, true), ticks(599, false)), (0, 0), "a node was lost: half a minute more");
        host.draining.set(true);
        assert_eq!(ticks(5, false), 0, "a node that stops hands over by itself");
        host.draining.set(false);
        assert_eq!(ticks(1, false), 1);
        assert!(last.with_raft(|raft| raft.transferring_to()) == Some(NodeId(2)), "the group that sleeps goes first");
        assert_eq!((ticks(99, false), ticks(1, false)), (1, 2), "five seconds between two rounds");
    });
}

#[test]
fn a_lead_is_given_to_nobody_who_lacks_a_part_of_the_log() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 8).await;
        (0..8).for_each(|group| lone.lead(group));
        lone.host.ready.set(true);
        // Node 3 leads as few as node 2, and node 2 may lead nothing: it lacks what node 3 never had.
        lone.signs.borrow_mut().insert(NodeId(2), Sign::Lost);
        lone.host.liveness.look();
        let mut balance = Balance::default();
        (0..1_000).for_each(|_| balance.tick(&lone.host, false));
        assert_eq!(lone.host.leads_given.get(), 0);
    });
}

#[test]
fn a_store_rests_when_all_have_slept_for_two_seconds_and_there_is_something_to_flush() {
    on_a_core(|env, folder| async move {
        let lone = Lone::start(&env, &folder, 3).await;
        let host = &lone.host;
        let worth = host.store.options().memtable_bytes as u64 / 64;
        let mut rest = Rest::default();
        let mut ticks = |count: u32, asleep: bool| {
            (0..count).for_each(|_| rest.tick(host, asleep));
            host.unflushed.get()
        };
        host.unflushed.set(worth - 1);
        assert_eq!(ticks(100, true), worth - 1, "too little to be worth a table");
        host.unflushed.set(worth);
        assert_eq!((ticks(1, false), ticks(39, true)), (worth, worth), "a group was awake a moment ago");
        assert_eq!(ticks(1, true), 0, "it flushes");
    });
}

#[test]
fn a_node_that_is_back_wakes_the_groups_of_which_it_lacks_something_and_no_others() {
    on_a_core(|env, folder| async move {
        let mut lone = Lone::start(&env, &folder, 3).await;
        lone.lead(0);
        let replica = lone.host.replica(0).unwrap();
        // Node 2 holds everything, node 3 nothing.
        assert!(replica.with_raft(|raft| raft.hibernate(&[NodeId(3)])));
        assert!(!replica.sleeps_ahead_of(&[NodeId(2)]));
        assert!(replica.sleeps_ahead_of(&[NodeId(3)]) && replica.sleeps_ahead_of(&[NodeId(2), NodeId(3)]));
    });
}
