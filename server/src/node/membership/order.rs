//! What one node asks of the node that leads a group: how the group stands, to hand the lead over, to change the membership.
//!
//! ```text
//! request (call kind 18)  version u8 = 1 | group u32 LE | kind u8 | ...
//!   1 look                nothing more
//!   2 transfer the lead   node u64 LE
//!   3 change              length u32 LE | the membership that it is to follow | the change, both in the Raft crate's encoding
//! answer                  version u8 = 1 | postcard(OrderAnswer)
//! ```
//!
//! An order is taken or refused at once; what becomes of it is seen by looking again. A change names the membership that it is to follow, so
//! that two who order at the same time cannot undo one another's change.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use highwater_net::rpc::CallKind;
use highwater_raft::{self as raft, Membership, MembershipChange, NodeId};
use highwater_runtime::{Env, Monotonic};
use highwater_sql::diag::{Diag, SqlState};
use serde::{Deserialize, Serialize};

use super::super::mesh::Question;
use super::super::{Node, shutting_down};

/// The kind of this call.
pub(crate) const MEMBERSHIP: CallKind = CallKind(18);
const VERSION: u8 = 1;
/// Pause before a group whose leader is not found is asked for again, in microseconds.
const PAUSE_MICROS: u64 = 50_000;
/// How long one call may take, in microseconds.
const CALL_MICROS: u64 = 2_000_000;

/// What is asked of a group's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// How the group stands.
    Look,
    /// Hand the lead over.
    Transfer(NodeId),
    /// Change the membership, if it is `before`.
    Change {
        /// What it is now.
        before: Membership,
        /// What happens.
        change: MembershipChange,
    },
}

/// What the leader's node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderAnswer {
    /// It was taken; the group as it stands now.
    Standing(GroupStanding),
    /// This replica does not lead; who does, if it knows.
    NotLeader(Option<u64>),
    /// It was not taken.
    Refused(Diag),
}

/// How a group stands, as its leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupStanding {
    /// Who leads.
    pub(crate) leader: u64,
    /// The last entry of its log.
    pub(crate) last: u64,
    /// Its membership, in the Raft crate's encoding.
    pub(crate) membership: Vec<u8>,
    /// A majority of the members has stored that this is the membership.
    pub(crate) known: bool,
    /// The other members.
    pub(crate) others: Vec<Follower>,
}

/// What a leader knows of another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follower {
    /// Its id.
    pub(crate) node: u64,
    /// It holds the log up to here.
    pub(crate) matched: u64,
    /// It takes entries as they come: it needs no snapshot.
    pub(crate) follows: bool,
    /// Its node is there, as far as the leader's node can tell.
    pub(crate) active: bool,
}

impl GroupStanding {
    /// Its membership; empty when it cannot be read.
    pub(crate) fn members(&self) -> Membership {
        Membership::decode(&self.membership).unwrap_or_default()
    }
}

impl Order {
    fn encode(&self, group: u32) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u32_le(group);
        match self {
            Self::Look => bytes.put_u8(1),
            Self::Transfer(node) => {
                bytes.put_u8(2);
                bytes.put_u64_le(node.0);
            }
            Self::Change { before, change } => {
                let before = before.encode();
                bytes.put_u8(3);
                bytes.put_u32_le(u32::try_from(before.len()).unwrap_or(u32::MAX));
                bytes.put_slice(&before);
                bytes.put_slice(&change.encode());
            }
        }
        bytes.freeze()
    }

    /// The group and the order; `None` for bytes that are none.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<(u32, Self)> {
        if bytes.len() < 6 || bytes.get_u8() != VERSION {
            return None;
        }
        let group = bytes.get_u32_le();
        let order = match bytes.get_u8() {
            1 if bytes.is_empty() => Self::Look,
            2 if bytes.len() == 8 => Self::Transfer(NodeId(bytes.get_u64_le())),
            3 if bytes.len() >= 4 => {
                let length = usize::try_from(bytes.get_u32_le()).ok().filter(|length| *length <= bytes.len())?;
                let before = Membership::decode(&bytes.split_to(length))?;
                Self::Change { before, change: MembershipChange::decode(&bytes)? }
            }
            _ => return None,
        };
        Some((group, order))
    }
}

impl OrderAnswer {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(postcard::to_extend(self, vec![VERSION]).unwrap_or_default())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, body)) => postcard::from_bytes(body).ok(),
            Some(_) | None => None,
        }
    }
}

/// Carries an order out on the core that hosts the group.
pub(crate) fn obey(node: &Node, group: u32, order: &Order) -> OrderAnswer {
    let found = node.host_of(group).and_then(|host| host.replica(group).map(|replica| (host, replica)));
    let Some((host, replica)) = found.filter(|(host, _)| !host.draining.get()) else {
        return OrderAnswer::NotLeader(None);
    };
    if !replica.leads() {
        return OrderAnswer::NotLeader(replica.leader().map(|leader| leader.0));
    }
    let taken = replica.with_raft(|raft| match order {
        Order::Look => Ok(()),
        Order::Transfer(to) => raft.transfer_leader(*to).map_err(|error| error.to_string()),
        Order::Change { before, change } if raft.membership() == before => {
            raft.propose_membership_change(change).map(|_| ()).map_err(|error| error.to_string())
        }
        Order::Change { .. } => Err("its membership has changed meanwhile".to_owned()),
    });
    let known = replica.makes_membership_known();
    if *order != Order::Look || !known {
        host.touch(&replica);
        host.work.notify();
    }
    match taken {
        Ok(()) => OrderAnswer::Standing(
            replica.with_raft(|raft| standing(raft, known, |node| !host.liveness.is_doubted(node))),
        ),
        Err(why) => OrderAnswer::Refused(
            Diag::new(SqlState::OBJECT_STATE, format!("group {group}: {why}")).hint("Retry after a short pause."),
        ),
    }
}

/// Who is there is said by the nodes' lives, and not by what the group has heard: a leader begins to count anew who it heard of, once per
/// election's time and when the group wakes up. A node that lives would be taken for one that is down, whose vote goes at once, and one that
/// is down would be given a vote.
fn standing(raft: &raft::RawNode, known: bool, lives: impl Fn(NodeId) -> bool) -> GroupStanding {
    let status = raft.status();
    let others = raft.peers().map(|peer| Follower {
        node: peer.id.0,
        matched: peer.matched.0,
        follows: peer.state == raft::ProgressState::Replicate,
        active: lives(peer.id),
    });
    GroupStanding {
        leader: status.id.0,
        last: status.last.0,
        membership: raft.membership().encode(),
        known,
        others: others.collect(),
    }
}

impl Node {
    /// Asks the node that leads a group, wherever that is.
    ///
    /// # Errors
    /// It was refused; 57014 when no leader was found until the deadline.
    pub(super) async fn order(&self, group: u32, order: Order, deadline: Monotonic) -> Result<GroupStanding, Diag> {
        let mut hint = None;
        loop {
            let leader = match hint.take() {
                Some(leader) => Some(leader),
                None if self.is_elsewhere(group) => self.known_leader(group).or_else(|| self.likely_home(group)),
                None => self.leader_of(group).await,
            };
            let answer = match leader {
                None => OrderAnswer::NotLeader(None),
                Some(leader) => self.order_of(leader, group, &order, deadline).await?,
            };
            match answer {
                OrderAnswer::Standing(standing) => {
                    self.learn_leader(group, Some(NodeId(standing.leader)));
                    return Ok(standing);
                }
                OrderAnswer::Refused(diag) => return Err(diag),
                OrderAnswer::NotLeader(told) => {
                    hint = told.map(NodeId).filter(|told| Some(*told) != leader);
                    self.learn_leader(group, hint);
                }
            }
            if self.env().now() >= deadline {
                return Err(Diag::new(
                    SqlState::TIMEOUT,
                    format!("group {group} had no leader that could be reached in time"),
                )
                .hint(
                    "CLUSTER LIST shows which nodes are up, CLUSTER LIST GROUPS what this node knows of the group.",
                ));
            }
            if self.is_closing() {
                return Err(shutting_down());
            }
            if hint.is_none() {
                self.env().sleep_until(deadline.min(self.env().now().after_micros(PAUSE_MICROS))).await;
            }
        }
    }

    async fn order_of(
        &self,
        leader: NodeId,
        group: u32,
        order: &Order,
        deadline: Monotonic,
    ) -> Result<OrderAnswer, Diag> {
        if leader == self.links().me() {
            return self.ask(group, |reply| Question::Order(group, order.clone(), reply)).await;
        }
        let deadline = deadline.min(self.env().now().after_micros(CALL_MICROS));
        let answer = self.links().call(leader, group, MEMBERSHIP, order.encode(group), deadline).await;
        Ok(answer.ok().and_then(|bytes| OrderAnswer::decode(&bytes)).unwrap_or(OrderAnswer::NotLeader(None)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_raft::ConfChange;
    use quickcheck::quickcheck;

    use super::*;

    fn orders() -> [Order; 3] {
        let before = Membership::new(&[NodeId(1), NodeId(2)], &[NodeId(3)]);
        let change = MembershipChange::from(ConfChange::AddVoter(NodeId(3)));
        [Order::Look, Order::Transfer(NodeId(7)), Order::Change { before, change }]
    }

    #[test]
    fn an_order_survives_its_bytes_and_a_part_of_it_is_none() {
        for order in orders() {
            let bytes = order.encode(9);
            assert_eq!(Order::decode(bytes.clone()), Some((9, order)));
            assert!((0..bytes.len()).all(|end| Order::decode(bytes.slice(..end)).is_none()));
        }
    }

    #[test]
    fn the_bytes_are_these() {
        assert_eq!(&orders()[1].encode(9)[..], b"\x01\x09\0\0\0\x02\x07\0\0\0\0\0\0\0");
    }

    quickcheck! {
        fn any_bytes_are_survived(bytes: Vec<u8>, sound: bool) -> bool {
            let head: &[u8] = if sound { &[VERSION, 0, 0, 0, 0, 3] } else { &[] };
            let _ = Order::decode(Bytes::from([head, &bytes].concat()));
            let _ = OrderAnswer::decode(&[&[VERSION], &bytes[..]].concat());
            true
        }

        fn an_answer_survives_its_bytes(leader: u64, last: u64, others: Vec<(u64, u64, bool, bool)>) -> bool {
            let others = others.into_iter().map(|(node, matched, follows, active)| Follower { node, matched, follows, active });
            let standing = GroupStanding { leader, last, membership: vec![1, 2], known: true, others: others.collect() };
            let answer = OrderAnswer::Standing(standing);
            OrderAnswer::decode(&answer.encode()) == Some(answer)
        }
    }
}
