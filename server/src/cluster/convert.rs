//! Raft's messages as `net` carries them, and back. Field by field; nothing is decided here.
//!
//! A wire message names neither sender nor addressee: the connection's ends are meant, which have proven who they are. It names
//! no entry's index either: entries follow the previous index one by one.

use bytes::Bytes;
use highwater_net::rpc::{self, GroupMessage, MessageBody, WireEntry};
use highwater_raft::{Entry, EntryKind, Membership, Message, MessageKind, SnapshotMeta};
use highwater_raft::{GroupId, LogIndex, NodeId, ReadContext, ReadRound, Term};

/// Entries up to this many bytes are copied out of the buffer that they arrived in. The log keeps recent entries in memory, and a few bytes
/// must not keep the whole buffer there.
const COPIED: usize = 4096;

/// A Raft node as `net` names it.
pub(crate) const fn wire_node(node: NodeId) -> rpc::NodeId {
    rpc::NodeId(node.0)
}

/// A node of a connection as Raft names it.
pub(crate) const fn raft_node(node: rpc::NodeId) -> NodeId {
    NodeId(node.0)
}

const fn wire_index(index: LogIndex) -> rpc::LogIndex {
    rpc::LogIndex(index.0)
}

const fn raft_index(index: rpc::LogIndex) -> LogIndex {
    LogIndex(index.0)
}

const fn wire_term(term: Term) -> rpc::Term {
    rpc::Term(term.0)
}

const fn raft_term(term: rpc::Term) -> Term {
    Term(term.0)
}

const fn wire_kind(kind: EntryKind) -> rpc::EntryKind {
    match kind {
        EntryKind::Normal => rpc::EntryKind::Normal,
        EntryKind::ConfChange => rpc::EntryKind::ConfChange,
        EntryKind::Noop => rpc::EntryKind::Noop,
    }
}

const fn raft_kind(kind: rpc::EntryKind) -> EntryKind {
    match kind {
        rpc::EntryKind::Normal => EntryKind::Normal,
        rpc::EntryKind::ConfChange => EntryKind::ConfChange,
        rpc::EntryKind::Noop => EntryKind::Noop,
    }
}

/// The message as it travels on a connection between its sender and its addressee.
pub(crate) fn to_wire(message: Message) -> GroupMessage {
    let Message { group, from: _, to: _, term, kind } = message;
    GroupMessage { group: rpc::GroupId(group.0), term: wire_term(term), body: to_body(kind) }
}

fn to_body(kind: MessageKind) -> MessageBody {
    match kind {
        MessageKind::PreVote { last_index, last_term } => {
            MessageBody::PreVote { last_index: wire_index(last_index), last_term: wire_term(last_term) }
        }
        MessageKind::PreVoteResponse { granted } => MessageBody::PreVoteResponse { granted },
        MessageKind::Vote { last_index, last_term, transfer } => {
            MessageBody::Vote { last_index: wire_index(last_index), last_term: wire_term(last_term), transfer }
        }
        MessageKind::VoteResponse { granted } => MessageBody::VoteResponse { granted },
        MessageKind::Append { prev_index, prev_term, entries, commit } => MessageBody::Append {
            prev_index: wire_index(prev_index),
            prev_term: wire_term(prev_term),
            commit: wire_index(commit),
            entries: entries
                .into_iter()
                .map(|Entry { index: _, term, kind, data }| WireEntry {
                    term: wire_term(term),
                    kind: wire_kind(kind),
                    data,
                })
                .collect(),
        },
        MessageKind::AppendResponse { index, reject_hint } => MessageBody::AppendResponse {
            index: wire_index(index),
            reject_hint: reject_hint.map(|(index, term)| (wire_index(index), wire_term(term))),
        },
        MessageKind::Heartbeat { commit, round } => {
            MessageBody::Heartbeat { commit: wire_index(commit), round: round.0 }
        }
        MessageKind::HeartbeatResponse { round } => MessageBody::HeartbeatResponse { round: round.0 },
        MessageKind::Snapshot(SnapshotMeta { index, term, membership }) => MessageBody::Snapshot {
            index: wire_index(index),
            term: wire_term(term),
            membership: membership.encode().into(),
        },
        MessageKind::SnapshotWanted => MessageBody::SnapshotWanted,
        MessageKind::ReadIndex { life, context } => MessageBody::ReadIndex { life, context: context.0 },
        MessageKind::ReadIndexResponse { life, context, index } => {
            MessageBody::ReadIndexResponse { life, context: context.0, index: index.map(wire_index) }
        }
        MessageKind::Committed { index, index_term } => {
            MessageBody::Committed { index: wire_index(index), index_term: wire_term(index_term) }
        }
        MessageKind::TimeoutNow => MessageBody::TimeoutNow,
        MessageKind::Wake => MessageBody::Wake,
        MessageKind::Hibernate { index } => MessageBody::Hibernate { index: wire_index(index) },
    }
}

/// The message that came on a connection of `from` to `to`. `None` when it carries a membership that is none, or entries
/// past the last index that there is: whoever sent that does not speak Raft.
pub(crate) fn from_wire(from: NodeId, to: NodeId, message: GroupMessage) -> Option<Message> {
    let GroupMessage { group, term, body } = message;
    Some(Message { group: GroupId(group.0), from, to, term: raft_term(term), kind: from_body(body)? })
}

fn from_body(body: MessageBody) -> Option<MessageKind> {
    Some(match body {
        MessageBody::PreVote { last_index, last_term } => {
            MessageKind::PreVote { last_index: raft_index(last_index), last_term: raft_term(last_term) }
        }
        MessageBody::PreVoteResponse { granted } => MessageKind::PreVoteResponse { granted },
        MessageBody::Vote { last_index, last_term, transfer } => {
            MessageKind::Vote { last_index: raft_index(last_index), last_term: raft_term(last_term), transfer }
        }
        MessageBody::VoteResponse { granted } => MessageKind::VoteResponse { granted },
        MessageBody::Append { prev_index, prev_term, commit, entries } => MessageKind::Append {
            prev_index: raft_index(prev_index),
            prev_term: raft_term(prev_term),
            entries: from_entries(prev_index.0, entries)?,
            commit: raft_index(commit),
        },
        MessageBody::AppendResponse { index, reject_hint } => MessageKind::AppendResponse {
            index: raft_index(index),
            reject_hint: reject_hint.map(|(index, term)| (raft_index(index), raft_term(term))),
        },
        MessageBody::Heartbeat { commit, round } => {
            MessageKind::Heartbeat { commit: raft_index(commit), round: ReadRound(round) }
        }
        MessageBody::HeartbeatResponse { round } => MessageKind::HeartbeatResponse { round: ReadRound(round) },
        MessageBody::Snapshot { index, term, membership } => MessageKind::Snapshot(SnapshotMeta {
            index: raft_index(index),
            term: raft_term(term),
            membership: Membership::decode(&membership)?,
        }),
        MessageBody::SnapshotWanted => MessageKind::SnapshotWanted,
        MessageBody::ReadIndex { life, context } => MessageKind::ReadIndex { life, context: ReadContext(context) },
        MessageBody::ReadIndexResponse { life, context, index } => {
            MessageKind::ReadIndexResponse { life, context: ReadContext(context), index: index.map(raft_index) }
        }
        MessageBody::Committed { index, index_term } => {
            MessageKind::Committed { index: raft_index(index), index_term: raft_term(index_term) }
        }
        MessageBody::TimeoutNow => MessageKind::TimeoutNow,
        MessageBody::Wake => MessageKind::Wake,
        MessageBody::Hibernate { index } => MessageKind::Hibernate { index: raft_index(index) },
    })
}

fn from_entries(prev_index: u64, entries: Vec<WireEntry>) -> Option<Vec<Entry>> {
    let mut index = prev_index;
    let mut converted = Vec::with_capacity(entries.len());
    for WireEntry { term, kind, data } in entries {
        index = index.checked_add(1)?;
        let data = if data.len() <= COPIED { Bytes::copy_from_slice(&data) } else { data };
        converted.push(Entry { index: LogIndex(index), term: raft_term(term), kind: raft_kind(kind), data });
    }
    Some(converted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use bytes::BytesMut;
    use highwater_net::rpc::{BATCH_HEADER_BYTES, decode_messages, encode_messages};
    use quickcheck::{Arbitrary, Gen, quickcheck};

    #[derive(Clone, Debug)]
    struct Any(Message);

    fn index(g: &mut Gen) -> LogIndex {
        LogIndex(u64::arbitrary(g))
    }

    fn term(g: &mut Gen) -> Term {
        Term(u64::arbitrary(g))
    }

    fn nodes(g: &mut Gen) -> Vec<NodeId> {
        (0..u8::arbitrary(g) % 4).map(|_| NodeId(1 + u64::from(u8::arbitrary(g)))).collect()
    }

    fn membership(g: &mut Gen) -> Membership {
        let voters = [nodes(g), vec![NodeId(300)]].concat();
        let learners: Vec<NodeId> = nodes(g).into_iter().filter(|node| !voters.contains(node)).collect();
        Membership::new(&voters, &learners)
    }

    fn entries(g: &mut Gen, prev_index: LogIndex) -> Vec<Entry> {
        let kinds = [EntryKind::Normal, EntryKind::ConfChange, EntryKind::Noop];
        (1..=u64::from(u8::arbitrary(g) % 5))
            .map(|at| Entry {
                index: LogIndex(prev_index.0 + at),
                term: term(g),
                kind: *g.choose(&kinds).unwrap(),
                data: Bytes::from(Vec::<u8>::arbitrary(g)),
            })
            .collect()
    }

    fn kind(g: &mut Gen) -> MessageKind {
        match u8::arbitrary(g) % 16 {
            0 => MessageKind::PreVote { last_index: index(g), last_term: term(g) },
            1 => MessageKind::PreVoteResponse { granted: bool::arbitrary(g) },
            2 => MessageKind::Vote { last_index: index(g), last_term: term(g), transfer: bool::arbitrary(g) },
            3 => MessageKind::VoteResponse { granted: bool::arbitrary(g) },
            4 => {
                let prev_index = LogIndex(u64::arbitrary(g) / 2);
                MessageKind::Append {
                    prev_index,
                    prev_term: term(g),
                    entries: entries(g, prev_index),
                    commit: index(g),
                }
            }
            5 => MessageKind::AppendResponse {
                index: index(g),
                reject_hint: if bool::arbitrary(g) { Some((index(g), term(g))) } else { None },
            },
            6 => MessageKind::Heartbeat { commit: index(g), round: ReadRound(u64::arbitrary(g)) },
            7 => MessageKind::HeartbeatResponse { round: ReadRound(u64::arbitrary(g)) },
            8 => MessageKind::Snapshot(SnapshotMeta { index: index(g), term: term(g), membership: membership(g) }),
            9 => MessageKind::SnapshotWanted,
            10 => MessageKind::ReadIndex { life: u64::arbitrary(g), context: ReadContext(u64::arbitrary(g)) },
            11 => MessageKind::ReadIndexResponse {
                life: u64::arbitrary(g),
                context: ReadContext(u64::arbitrary(g)),
                index: if bool::arbitrary(g) { Some(index(g)) } else { None },
            },
            12 => MessageKind::Committed { index: index(g), index_term: term(g) },
            13 => MessageKind::TimeoutNow,
            14 => MessageKind::Wake,
            _ => MessageKind::Hibernate { index: index(g) },
        }
    }

    impl Arbitrary for Any {
        fn arbitrary(g: &mut Gen) -> Self {
            let group = GroupId(u32::arbitrary(g));
            let (from, to) = (NodeId(u64::arbitrary(g)), NodeId(u64::arbitrary(g)));
            Self(Message { group, from, to, term: term(g), kind: kind(g) })
        }
    }

    quickcheck! {
        fn every_message_comes_back_through_its_bytes(messages: Vec<Any>) -> bool {
            let wire: Vec<GroupMessage> = messages.iter().map(|message| to_wire(message.0.clone())).collect();
            let mut bytes = BytesMut::new();
            encode_messages(&wire, &mut bytes);
            let claimed: usize = wire.iter().map(GroupMessage::encoded_len).sum();
            let came = decode_messages(&bytes.clone().freeze()).unwrap();
            let back: Option<Vec<Message>> = came
                .into_iter()
                .zip(&messages)
                .map(|(wire, Any(sent))| from_wire(sent.from, sent.to, wire))
                .collect();
            let sent: Vec<Message> = messages.into_iter().map(|message| message.0).collect();
            bytes.len() == claimed + BATCH_HEADER_BYTES && back == Some(sent)
        }
    }

    #[test]
    fn a_sender_cannot_speak_in_another_ones_name() {
        let sent =
            Message { group: GroupId(1), from: NodeId(1), to: NodeId(2), term: Term(1), kind: MessageKind::TimeoutNow };
        let came = from_wire(NodeId(3), NodeId(2), to_wire(sent)).unwrap();
        assert_eq!(came.from, NodeId(3));
    }

    #[test]
    fn what_is_no_message_of_raft_is_nothing() {
        let message = |body| GroupMessage { group: rpc::GroupId(1), term: rpc::Term(1), body };
        let snapshot = MessageBody::Snapshot {
            index: rpc::LogIndex(1),
            term: rpc::Term(1),
            membership: Bytes::from_static(b"no membership"),
        };
        assert_eq!(from_wire(NodeId(1), NodeId(2), message(snapshot)), None);
        let entry = WireEntry { term: rpc::Term(1), kind: rpc::EntryKind::Noop, data: Bytes::new() };
        let append = MessageBody::Append {
            prev_index: rpc::LogIndex(u64::MAX),
            prev_term: rpc::Term(1),
            commit: rpc::LogIndex(0),
            entries: vec![entry],
        };
        assert_eq!(from_wire(NodeId(1), NodeId(2), message(append)), None);
    }
}
