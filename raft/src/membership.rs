//! Who belongs to a group, and what a quorum of them is. Pure arithmetic; changing a membership is `change`'s.
//!
//! Invariants: every list is sorted and free of repetitions; a learner is in neither half of the voters; who is to become a
//! learner is an outgoing voter. Decisions of a joint membership need a majority of both halves, each counted by itself.

use crate::ids::{LogIndex, NodeId};

/// The members of a group: two sets of voters while a change is under way (joint consensus), else one.
///
/// Encoded (integers little-endian):
///
/// ```text
/// 0       version, 1
/// 1       flags: bit 0, left without being told to
/// 2..10   four counts, u16 each: voters, outgoing, learners, learners to be
/// 10..    that many node ids, u64 each, every list ascending
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub(crate) voters: Vec<NodeId>,
    pub(crate) outgoing: Vec<NodeId>,
    pub(crate) learners: Vec<NodeId>,
    pub(crate) learners_next: Vec<NodeId>,
    pub(crate) auto_leave: bool,
}

/// Version of the encoding.
const VERSION: u8 = 1;

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteCount {
    /// A quorum granted it.
    Won,
    /// Who has not answered cannot turn it any more.
    Lost,
    /// Neither yet.
    Open,
}

impl Membership {
    /// A membership that is not in a change. Order and repetitions do not matter.
    #[must_use]
    pub fn new(voters: &[NodeId], learners: &[NodeId]) -> Self {
        Self { voters: sorted(voters), learners: sorted(learners), ..Self::default() }
    }

    /// The nodes whose majority decides; while joint, those that it will be when the change is left.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The voters before the change, whose majority is needed as well; empty when no change is under way.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// The nodes that receive the log without a vote.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Outgoing voters that become learners when the change is left.
    #[must_use]
    pub fn learners_next(&self) -> &[NodeId] {
        &self.learners_next
    }

    /// Whether a change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the leader leaves the change by itself.
    #[must_use]
    pub fn leaves_by_itself(&self) -> bool {
        self.is_joint() && self.auto_leave
    }

    /// Whether it holds nobody: that of a replica which has not learned it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether `node` votes, in either half.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether `node` is a voter or a learner.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Everybody, ascending.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let all: Vec<NodeId> = self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect();
        sorted(&all)
    }

    /// The largest value that a quorum has reached, given each voter's; of a joint membership, that a majority of each half
    /// has. The default for an empty membership.
    pub fn reached<T: Ord + Copy + Default>(&self, of: impl Fn(NodeId) -> T) -> T {
        let new = median(&self.voters, &of);
        if self.outgoing.is_empty() { new } else { new.min(median(&self.outgoing, &of)) }
    }

    /// How a vote stands, given each voter's answer, if there is one.
    pub fn count(&self, answer: impl Fn(NodeId) -> Option<bool>) -> VoteCount {
        match (count_half(&self.voters, &answer), count_half(&self.outgoing, &answer)) {
            (VoteCount::Lost, _) | (_, VoteCount::Lost) => VoteCount::Lost,
            (VoteCount::Won, VoteCount::Won) if !self.voters.is_empty() => VoteCount::Won,
            (VoteCount::Won | VoteCount::Open, VoteCount::Won | VoteCount::Open) => VoteCount::Open,
        }
    }

    /// The encoding, for snapshots and for storage beside the applied index.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lists = [&self.voters, &self.outgoing, &self.learners, &self.learners_next];
        let mut bytes = vec![VERSION, u8::from(self.auto_leave)];
        for list in lists {
            bytes.extend_from_slice(&u16::try_from(list.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        for node in lists.into_iter().flat_map(|list| list.iter().take(usize::from(u16::MAX))) {
            bytes.extend_from_slice(&node.0.to_le_bytes());
        }
        bytes
    }

    /// Reads an encoding. `None` when it is none, or when what it says is no membership.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, flags], rest) = bytes.split_first_chunk::<2>()?;
        if version != VERSION || flags > 1 {
            return None;
        }
        let (counts, mut rest) = rest.split_first_chunk::<8>()?;
        let mut lists = counts.chunks_exact(2).map(|count| {
            let count = u16::from_le_bytes(count.try_into().ok()?);
            let mut list = Vec::new();
            for _ in 0..count {
                let (node, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                list.push(NodeId(u64::from_le_bytes(*node)));
            }
            Some(list)
        });
        let (voters, outgoing) = (lists.next()??, lists.next()??);
        let (learners, learners_next) = (lists.next()??, lists.next()??);
        drop(lists);
        let membership = Self { voters, outgoing, learners, learners_next, auto_leave: flags == 1 };
        (rest.is_empty() && membership.check().is_ok()).then_some(membership)
    }

    /// Whether the lists belong together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let ascending = |list: &[NodeId]| list.iter().zip(list.iter().skip(1)).all(|(a, b)| a < b);
        if ![&self.voters, &self.outgoing, &self.learners, &self.learners_next].into_iter().all(|list| ascending(list))
        {
            return Err("a node is named twice among voters or learners, or they are out of order");
        }
        if self.contains(NodeId(0)) {
            return Err("node id 0 is reserved");
        }
        if self.voters.is_empty() && !(self.outgoing.is_empty() && self.learners.is_empty()) {
            return Err("a group needs at least one voter");
        }
        if self.learners.iter().any(|node| self.is_voter(*node)) {
            return Err("a node is named twice among voters and learners");
        }
        if !self.learners_next.iter().all(|node| self.outgoing.contains(node) && !self.voters.contains(node)) {
            return Err("who becomes a learner must be an outgoing voter");
        }
        if self.auto_leave && self.outgoing.is_empty() {
            return Err("only a joint membership is left");
        }
        Ok(())
    }
}

/// Votes that win among `voters`: more than half. For none, one (nobody can win).
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest index that a majority has reached, given every voter's durable index (in any order; it is sorted in place).
/// 0 for no voters.
#[must_use]
pub fn committed_index(durable: &mut [LogIndex]) -> LogIndex {
    majority_reached(durable)
}

/// Voters up to this many are counted without allocating.
const SMALL: usize = 8;

fn median<T: Ord + Copy + Default>(voters: &[NodeId], of: &impl Fn(NodeId) -> T) -> T {
    let mut small = [T::default(); SMALL];
    if let Some(values) = small.get_mut(..voters.len()) {
        for (value, node) in values.iter_mut().zip(voters) {
            *value = of(*node);
        }
        return majority_reached(values);
    }
    majority_reached(&mut voters.iter().map(|node| of(*node)).collect::<Vec<T>>())
}

fn majority_reached<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(majority(values.len()).saturating_sub(1)).copied().unwrap_or_default()
}

fn count_half(voters: &[NodeId], answer: &impl Fn(NodeId) -> Option<bool>) -> VoteCount {
    if voters.is_empty() {
        return VoteCount::Won;
    }
    let granted = voters.iter().filter(|node| answer(**node) == Some(true)).count();
    let refused = voters.iter().filter(|node| answer(**node) == Some(false)).count();
    let needed = majority(voters.len());
    if granted >= needed {
        VoteCount::Won
    } else if voters.len().saturating_sub(refused) < needed {
        VoteCount::Lost
    } else {
        VoteCount::Open
    }
}

pub(crate) fn sorted(nodes: &[NodeId]) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn nodes(ids: &[u8]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(u64::from(id % 12) + 1)).collect()
    }

    /// The slow way: tries every value from above and counts heads in each half.
    fn by_counting(halves: [&[NodeId]; 2], reached: &[u8]) -> u64 {
        let of = |node: NodeId| u64::from(reached.get(node.0 as usize).copied().unwrap_or(0));
        (0..=255_u64)
            .rev()
            .find(|&value| {
                halves
                    .iter()
                    .filter(|half| !half.is_empty())
                    .all(|half| 2 * half.iter().filter(|node| of(**node) >= value).count() > half.len())
            })
            .unwrap_or(0)
    }

    quickcheck::quickcheck! {
        fn the_committed_index_is_what_counting_gives(durable: Vec<u8>) -> bool {
            let mut indexes: Vec<LogIndex> = durable.iter().map(|&index| LogIndex(u64::from(index))).collect();
            let counted = (0..=255_u64)
                .rev()
                .find(|&index| durable.iter().filter(|&&reached| u64::from(reached) >= index).count() >= majority(durable.len()))
                .unwrap_or(0);
            committed_index(&mut indexes) == LogIndex(counted)
        }

        fn a_joint_quorum_is_a_majority_of_each_half(voters: Vec<u8>, outgoing: Vec<u8>, reached: Vec<u8>) -> bool {
            let mut membership = Membership::new(&nodes(&voters), &[]);
            if membership.is_empty() {
                return true;
            }
            membership.outgoing = sorted(&nodes(&outgoing));
            let value = membership.reached(|node| u64::from(reached.get(node.0 as usize).copied().unwrap_or(0)));
            value == by_counting([&membership.voters, &membership.outgoing], &reached)
        }

        fn a_vote_is_won_when_a_quorum_granted_it_and_lost_when_none_can(voters: Vec<u8>, outgoing: Vec<u8>, answers: Vec<u8>) -> bool {
            let mut membership = Membership::new(&nodes(&voters), &[]);
            if membership.is_empty() {
                return true;
            }
            membership.outgoing = sorted(&nodes(&outgoing));
            let answer = |node: NodeId| match answers.get(node.0 as usize).map_or(0, |answer| answer % 3) {
                0 => None,
                1 => Some(true),
                _ => Some(false),
            };
            let quorum = |with: &dyn Fn(NodeId) -> bool| membership.reached(|node| u8::from(with(node))) == 1;
            let expected = if quorum(&|node| answer(node) == Some(true)) {
                VoteCount::Won
            } else if quorum(&|node| answer(node) != Some(false)) {
                VoteCount::Open
            } else {
                VoteCount::Lost
            };
            membership.count(answer) == expected
        }

        fn decoding_any_bytes_gives_a_membership_that_encodes_to_them_or_nothing(bytes: Vec<u8>) -> bool {
            Membership::decode(&bytes).is_none_or(|membership| membership.encode() == bytes)
        }

        fn a_membership_survives_its_encoding(voters: Vec<u8>, learners: Vec<u8>) -> bool {
            let voters = nodes(&voters);
            let learners: Vec<NodeId> = nodes(&learners).into_iter().filter(|node| !voters.contains(node)).collect();
            let membership = Membership::new(&voters, &learners);
            membership.is_empty() || Membership::decode(&membership.encode()) == Some(membership)
        }
    }

    #[test]
    fn half_is_no_majority() {
        assert_eq!((1..=6).map(majority).collect::<Vec<_>>(), [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn the_encoding_is_fixed() {
        let membership = Membership {
            voters: vec![NodeId(1), NodeId(2)],
            outgoing: vec![NodeId(1), NodeId(3)],
            learners: vec![NodeId(258)],
            learners_next: vec![NodeId(3)],
            auto_leave: true,
        };
        let golden = [
            &[1, 1, 2, 0, 2, 0, 1, 0, 1, 0][..],
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(membership.encode(), golden);
        assert_eq!(Membership::decode(&golden), Some(membership));
    }
}
