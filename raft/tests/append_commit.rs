//! What a follower takes for committed: never more than the append that says so has shown to agree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;
use highwater_raft::{
    Config, Entry, EntryKind, GroupId, HardState, LogBounds, LogIndex, Membership, Message, MessageKind, NodeId,
    RawNode, Term,
};

fn follower_with_two_entries_of_term_1() -> RawNode {
    let config = Config::member(NodeId(2), GroupId(7), Membership::new(&[NodeId(1), NodeId(2), NodeId(3)], &[]));
    let mut bounds = LogBounds::empty();
    bounds.push(LogIndex(1), Term(1)).unwrap();
    bounds.push(LogIndex(2), Term(1)).unwrap();
    let hard_state = HardState { term: Term(1), vote: None, commit: LogIndex(0) };
    RawNode::restart(config, hard_state, bounds, LogIndex(0)).unwrap()
}

fn append(prev: (u64, u64), entries: &[(u64, u64)], commit: u64) -> Message {
    let entries = entries.iter().map(|(index, term)| Entry {
        index: LogIndex(*index),
        term: Term(*term),
        kind: EntryKind::Normal,
        data: Bytes::new(),
    });
    Message {
        group: GroupId(7),
        from: NodeId(1),
        to: NodeId(2),
        term: Term(2),
        kind: MessageKind::Append {
            prev_index: LogIndex(prev.0),
            prev_term: Term(prev.1),
            entries: entries.collect(),
            commit: LogIndex(commit),
        },
    }
}

#[test]
fn an_append_commits_no_further_than_its_own_last_entry() {
    let mut node = follower_with_two_entries_of_term_1();
    // The leader's entry 2 is another one; that it is committed says nothing about this follower's.
    node.step(append((0, 0), &[(1, 1)], 2)).unwrap();
    assert_eq!((node.status().commit, node.status().last), (LogIndex(1), LogIndex(2)));
    node.step(append((1, 1), &[(2, 2)], 2)).unwrap();
    assert_eq!((node.status().commit, node.term_at(LogIndex(2))), (LogIndex(2), Some(Term(2))));
}

#[test]
fn an_older_append_takes_nothing_away() {
    let mut node = follower_with_two_entries_of_term_1();
    node.step(append((2, 1), &[(3, 2), (4, 2)], 3)).unwrap();
    node.step(append((2, 1), &[(3, 2)], 2)).unwrap();
    node.step(append((0, 0), &[(1, 1)], 0)).unwrap();
    assert_eq!((node.status().commit, node.status().last), (LogIndex(3), LogIndex(4)));
}

#[test]
fn entries_that_do_not_follow_one_another_are_refused() {
    let mut node = follower_with_two_entries_of_term_1();
    for entries in [&[(3, 2), (5, 2)][..], &[(4, 2)], &[(3, 2), (4, 1)], &[(3, 3)]] {
        assert!(node.step(append((2, 1), entries, 0)).is_err(), "{entries:?}");
        assert_eq!(node.status().last, LogIndex(2));
    }
}

#[test]
fn a_leader_that_contradicts_what_is_committed_is_an_error_that_stops_the_node() {
    let mut node = follower_with_two_entries_of_term_1();
    node.step(append((2, 1), &[(3, 2)], 3)).unwrap();
    let mut other = append((2, 1), &[(3, 2)], 3);
    other.from = NodeId(3);
    let error = node.step(other).unwrap_err();
    assert_eq!(error.to_string(), "group 7: node 3 leads in term 2, in which another node leads");
}
