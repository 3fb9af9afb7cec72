//! Links between honest nodes.

use bytes::Bytes;
use futures_lite::future;
use highwater_net::rpc::*;
use highwater_runtime::Env;
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::Sim;

use super::cluster::*;

#[test]
fn messages_arrive_in_order_and_share_writes() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        let sent: Vec<_> = (0..5000).map(|commit| heartbeat(commit % 7, u64::from(commit))).collect();
        for message in &sent {
            peer.send(message.clone()).unwrap();
        }
        node.until("all arrived", |node| node.notes.messages.borrow().len() == 5000).await;
        assert_eq!(*node.notes.messages.borrow(), sent);
        let counters = peer.counters();
        assert!(counters.writes < 20, "{counters:?}");
        assert_eq!((counters.messages_sent, counters.attempts, counters.links), (5000, 1, 1));
    });
}

#[test]
fn an_idle_link_is_kept_open_by_pings_that_measure_it() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        env.sleep(20_000_000).await;
        let status = peer.status();
        assert_eq!(peer.counters().links, 1);
        assert!(node.notes.pings.get() >= 30);
        assert_eq!(status.incarnation, Some(Incarnation(102)));
        assert!(env.now().micros_since(status.heard.unwrap()) <= 1_000_000);
        assert!(status.clock_ahead_micros.unwrap().abs() < 10_000, "{status:?}");
    });
}

#[test]
fn calls_are_answered_refused_or_said_to_be_unknown() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        let echoed = peer.call(CallKind(1), Bytes::from("what"), 1_000_000).await;
        assert_eq!(echoed, Ok(Bytes::from("what")));
        let refused = peer.call(CallKind(3), Bytes::from("who leads"), 1_000_000).await;
        let refusal = Refusal { code: RefusalCode(300), text: "not the leader".into(), payload: "who leads".into() };
        assert_eq!(refused, Err(CallError::Refused(refusal)));
        let slow = peer.call(CallKind(2), vec![5].into(), 1_000_000).await;
        assert!(matches!(slow, Err(CallError::Unknown(_))), "{slow:?}");
        env.sleep(6_000_000).await;
        assert_eq!(
            (peer.depth(), node.notes.at_work.get()),
            (QueueDepth::default(), 1),
            "the late one was dropped at work"
        );
    });
}

#[test]
fn a_lost_connection_is_made_again_and_calls_under_way_are_unknown() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        node.until("a link", |node| node.listener.links().len() == 1).await;
        let call = peer.call(CallKind(2), vec![9].into(), 30_000_000);
        let cut = async {
            env.sleep(1_000_000).await;
            node.listener.disconnect(NodeId(1));
            future::pending().await
        };
        let outcome = future::or(call, cut).await;
        assert_eq!(outcome, Err(CallError::Unknown(Unknown::Disconnected)));
        node.until("a second link", |node| node.notes.opened.get() == 2).await;
        peer.send(heartbeat(1, 1)).unwrap();
        node.until("a message", |node| node.notes.messages.borrow().len() == 1).await;
        assert_eq!(node.notes.closed.get(), 1);
    });
}

#[test]
fn nothing_is_kept_for_a_peer_that_cannot_be_reached() {
    Sim::new(3, Faults::none())
        .run(|env| async move {
            let peer = peer(&env, Limits::default());
            peer.send(heartbeat(1, 1)).unwrap();
            let call = peer.call(CallKind(1), Bytes::new(), 60_000_000).await;
            assert_eq!(call, Err(CallError::NotSent(NotSent::Unreachable)));
            assert_eq!(peer.send(heartbeat(1, 1)), Err(Dropped::Unreachable));
            assert_eq!(peer.depth(), QueueDepth::default());
            env.sleep(60_000_000).await;
            let attempts = peer.counters().attempts;
            assert!((50..200).contains(&attempts), "{attempts}");
        })
        .unwrap();
}

#[test]
fn snapshot_chunks_arrive_whole_and_are_answered() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        let chunk = SnapshotChunk {
            group: GroupId(4),
            index: LogIndex(9),
            term: Term(2),
            part: 0,
            parts: 1,
            offset: 0,
            part_bytes: 3 << 20,
            data: vec![5; 3 << 20].into(),
        };
        assert_eq!(peer.chunk(chunk.clone(), 60_000_000).await, Ok(Bytes::new()));
        assert_eq!(*node.notes.chunks.borrow(), [chunk]);
    });
}

#[test]
fn a_handler_that_takes_nothing_makes_the_sender_drop_within_its_limits() {
    let limits = Limits { queue_bytes: 1 << 20, queue_messages: 100, idle_micros: 60_000_000, ..Limits::default() };
    with_node(limits, |env, node| async move {
        node.notes.takes.set(false);
        let peer = peer(&env, limits);
        let mut dropped = 0_u64;
        for _ in 0..1000 {
            dropped += u64::from(peer.send(append(20_000)) == Err(Dropped::Full));
            let depth = peer.depth();
            // Counted anew: what the queue says of itself and what it holds are two things.
            assert_eq!(depth.message_bytes, depth.messages * append(20_000).encoded_len());
            assert!(depth.message_bytes <= limits.queue_bytes && depth.messages <= 100, "{depth:?}");
            env.sleep(2_000).await;
        }
        assert!(dropped > 800, "{dropped}");
        assert!(node.listener.counters().bytes_received < 1 << 20);
        node.notes.takes.set(true);
        node.until("the rest", |node| node.notes.messages.borrow().len() as u64 == 1000 - dropped).await;
        assert_eq!(peer.counters().dropped_full, dropped);
        assert_eq!(peer.depth(), QueueDepth::default());
    });
}

#[test]
fn no_more_calls_are_at_work_than_the_callee_allows() {
    let limits = Limits { calls: 4, ..Limits::default() };
    with_node(limits, |env, node| async move {
        let peer = peer(&env, Limits::default());
        let calls = std::rc::Rc::new(std::cell::Cell::new(0));
        for _ in 0..20 {
            let (peer, calls) = (peer.clone(), calls.clone());
            env.spawn("caller", async move {
                peer.call(CallKind(2), vec![1].into(), 60_000_000).await.unwrap();
                calls.set(calls.get() + 1);
            });
        }
        node.until("all answered", |_| calls.get() == 20).await;
        assert_eq!(node.notes.most_at_work.get(), 4);
    });
}

#[test]
fn an_answer_that_the_caller_cannot_take_is_unknown_and_not_lost() {
    with_node(Limits::default(), |env, _node| async move {
        let peer = peer(&env, Limits { frame_bytes: 100_000, ..Limits::default() });
        let answer = peer.call(CallKind(4), Bytes::new(), 5_000_000).await;
        assert_eq!(answer, Err(CallError::Unknown(Unknown::AnswerLost)));
        assert_eq!(peer.call(CallKind(1), Bytes::new(), 5_000_000).await, Ok(Bytes::new()));
        assert_eq!(peer.send(append(200_000)), Ok(()), "the other side takes larger frames");
    });
}

#[test]
fn a_newer_link_of_the_same_cores_replaces_the_older() {
    with_node(Limits::default(), |env, node| async move {
        let _one = peer(&env, Limits::default());
        node.until("a link", |node| node.listener.links().len() == 1).await;
        let other = peer(&env, Limits::default());
        node.until("replaced", |node| node.listener.counters().replaced == 1).await;
        assert_eq!(node.listener.links().len(), 1);
        other.stop();
        let call = other.call(CallKind(1), Bytes::new(), 1_000_000).await;
        assert_eq!(call, Err(CallError::NotSent(NotSent::Stopped)));
    });
}

#[test]
fn who_waits_learns_of_every_link_and_of_the_peers_no() {
    with_node(Limits::default(), |env, node| async move {
        let peer = peer(&env, Limits::default());
        peer.changed().await;
        assert!(peer.status().link.is_some());
        node.notes.admits.set(false);
        node.listener.disconnect(NodeId(1));
        while peer.status().refused.is_none() {
            peer.changed().await;
        }
        let status = peer.status();
        let (reason, text) = (hello::RefusedReason::NotAdmitted, "the node was removed".to_owned());
        assert_eq!(status.refused, Some(hello::Refused { reason, text }));
        assert!(status.trouble.unwrap().contains("the node was removed"));
        node.notes.admits.set(true);
        while peer.status().link.is_none() {
            peer.changed().await;
        }
        assert_eq!(peer.status().refused, None);
    });
}
