//! Changes of membership: what a leader may propose, how it is written into an entry, and which membership follows. Pure:
//! every replica that applies the same entry to the same membership gets the same one.
//!
//! One voter more or less is a simple change, as two majorities then always share a node (section 4.1 of the Raft thesis).
//! Anything larger goes through a joint membership (section 4.3): one entry enters it, a second one leaves it.

use bytes::Bytes;

use crate::ids::NodeId;
use crate::membership::Membership;

/// One step of a change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChange {
    /// A node that receives the log and has no vote: a new one, or a voter that gives its vote up.
    AddLearner(NodeId),
    /// A node that votes; a learner is promoted.
    AddVoter(NodeId),
    /// A node that leaves.
    Remove(NodeId),
}

/// By which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Simple when at most one voter comes or goes, else joint and left by itself.
    Auto,
    /// Joint, left by the leader as soon as it is entered.
    Joint,
    /// Joint, left by [`MembershipChange::leave`] only.
    JointUntilLeft,
}

/// A change of membership, as it stands in an entry.
///
/// Encoded (integers little-endian):
///
/// ```text
/// 0       version, 1
/// 1       transition: 0 auto, 1 joint, 2 joint until left
/// 2..4    number of steps, u16
/// 4..     per step 9 bytes: kind (0 add learner, 1 add voter, 2 remove), node id u64
/// rest    context, which this crate does not look into
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// By which way it goes.
    pub transition: Transition,
    /// What changes, in this order. Nothing: a joint membership is left.
    pub steps: Vec<ConfChange>,
    /// The proposer's own (a request's id, a node's address); at the end of the entry.
    pub context: Bytes,
}

/// Version of the encoding.
const VERSION: u8 = 1;
/// Steps that one change may have.
pub(crate) const MAX_STEPS: usize = 64;

/// Why a change cannot follow a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A change is under way; it must be left first.
    #[error("the group is in a joint membership; it must be left before the next change")]
    AlreadyJoint,
    /// There is nothing to leave.
    #[error("the group is in no joint membership; there is nothing to leave")]
    NotJoint,
    /// Nobody would be left to vote.
    #[error("the change would leave no voter")]
    NoVoters,
    /// Node id 0 is reserved.
    #[error("node id 0 is reserved")]
    ReservedNode,
    /// More steps than one change may have.
    #[error("a change takes at most {MAX_STEPS} steps")]
    TooManySteps,
}

impl ConfChange {
    /// Whom it is about.
    #[must_use]
    pub const fn node(self) -> NodeId {
        match self {
            Self::AddLearner(node) | Self::AddVoter(node) | Self::Remove(node) => node,
        }
    }
}

impl From<ConfChange> for MembershipChange {
    fn from(step: ConfChange) -> Self {
        Self { transition: Transition::Auto, steps: vec![step], context: Bytes::new() }
    }
}

impl MembershipChange {
    /// The change that leaves a joint membership.
    #[must_use]
    pub const fn leave() -> Self {
        Self { transition: Transition::Auto, steps: Vec::new(), context: Bytes::new() }
    }

    /// The entry's data.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let transition = match self.transition {
            Transition::Auto => 0,
            Transition::Joint => 1,
            Transition::JointUntilLeft => 2,
        };
        let mut bytes = vec![VERSION, transition];
        bytes.extend_from_slice(&u16::try_from(self.steps.len()).unwrap_or(u16::MAX).to_le_bytes());
        for step in self.steps.iter().take(usize::from(u16::MAX)) {
            bytes.push(match step {
                ConfChange::AddLearner(_) => 0,
                ConfChange::AddVoter(_) => 1,
                ConfChange::Remove(_) => 2,
            });
            bytes.extend_from_slice(&step.node().0.to_le_bytes());
        }
        bytes.extend_from_slice(&self.context);
        Bytes::from(bytes)
    }

    /// Reads an entry's data; `None` when it is no change.
    #[must_use]
    pub fn decode(data: &Bytes) -> Option<Self> {
        let (&[version, transition, low, high], mut rest) = data.split_first_chunk::<4>()?;
        let transition = match transition {
            0 => Transition::Auto,
            1 => Transition::Joint,
            2 => Transition::JointUntilLeft,
            _ => return None,
        };
        let count = usize::from(u16::from_le_bytes([low, high]));
        if version != VERSION || count > MAX_STEPS {
            return None;
        }
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let (kind, after) = rest.split_first()?;
            let (node, after) = after.split_first_chunk::<8>()?;
            let node = NodeId(u64::from_le_bytes(*node));
            steps.push(match kind {
                0 => ConfChange::AddLearner(node),
                1 => ConfChange::AddVoter(node),
                2 => ConfChange::Remove(node),
                _ => return None,
            });
            rest = after;
        }
        let context = data.slice(data.len().saturating_sub(rest.len())..);
        Some(Self { transition, steps, context })
    }

    /// The membership that follows `before`.
    ///
    /// # Errors
    /// [`ChangeError`]; on every replica alike.
    pub fn apply(&self, before: &Membership) -> Result<Membership, ChangeError> {
        if self.steps.is_empty() {
            return left(before);
        }
        if before.is_joint() {
            return Err(ChangeError::AlreadyJoint);
        }
        if self.steps.len() > MAX_STEPS {
            return Err(ChangeError::TooManySteps);
        }
        let mut after = before.clone();
        after.outgoing.clone_from(&before.voters);
        for step in &self.steps {
            change_one(&mut after, *step)?;
        }
        if after.voters.is_empty() {
            return Err(ChangeError::NoVoters);
        }
        let moved = after.voters.iter().filter(|node| !before.voters.contains(node)).count()
            + before.voters.iter().filter(|node| !after.voters.contains(node)).count();
        match self.transition {
            Transition::Auto if moved <= 1 => {
                after.auto_leave = false;
                left(&after)
            }
            Transition::Auto | Transition::Joint => {
                after.auto_leave = true;
                Ok(after)
            }
            Transition::JointUntilLeft => Ok(after),
        }
    }
}

fn left(joint: &Membership) -> Result<Membership, ChangeError> {
    if !joint.is_joint() {
        return Err(ChangeError::NotJoint);
    }
    let learners: Vec<NodeId> = joint.learners.iter().chain(&joint.learners_next).copied().collect();
    Ok(Membership::new(&joint.voters, &learners))
}

fn change_one(membership: &mut Membership, step: ConfChange) -> Result<(), ChangeError> {
    let node = step.node();
    if node == NodeId(0) {
        return Err(ChangeError::ReservedNode);
    }
    let is_learner = membership.learners.contains(&node) || membership.learners_next.contains(&node);
    if is_learner && matches!(step, ConfChange::AddLearner(_)) {
        return Ok(());
    }
    for list in [&mut membership.voters, &mut membership.learners, &mut membership.learners_next] {
        list.retain(|member| *member != node);
    }
    let list = match step {
        ConfChange::Remove(_) => return Ok(()),
        ConfChange::AddVoter(_) => &mut membership.voters,
        // Whoever still votes in the outgoing half cannot be a learner at the same time.
        ConfChange::AddLearner(_) if membership.outgoing.contains(&node) => &mut membership.learners_next,
        ConfChange::AddLearner(_) => &mut membership.learners,
    };
    list.push(node);
    list.sort_unstable();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn steps(raw: &[u8]) -> Vec<ConfChange> {
        raw.iter()
            .take(6)
            .map(|raw| {
                let node = NodeId(u64::from(raw / 3 % 6) + 1);
                match raw % 3 {
                    0 => ConfChange::AddLearner(node),
                    1 => ConfChange::AddVoter(node),
                    _ => ConfChange::Remove(node),
                }
            })
            .collect()
    }

    /// Every way of choosing more than half of `voters`.
    fn majorities(voters: &[NodeId]) -> impl Iterator<Item = Vec<NodeId>> {
        (0..1_u32 << voters.len()).filter_map(|mask| {
            let chosen: Vec<NodeId> =
                voters.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, node)| *node).collect();
            (2 * chosen.len() > voters.len()).then_some(chosen)
        })
    }

    fn quorums(membership: &Membership) -> Vec<Vec<NodeId>> {
        if membership.outgoing.is_empty() {
            return majorities(&membership.voters).collect();
        }
        majorities(&membership.voters)
            .flat_map(|new| majorities(&membership.outgoing).map(move |old| [new.clone(), old].concat()))
            .collect()
    }

    quickcheck::quickcheck! {
        fn quorums_before_and_after_any_change_share_a_node(voters: Vec<u8>, raw: Vec<u8>, joint: u8) -> bool {
            let voters: Vec<NodeId> = voters.iter().take(5).map(|raw| NodeId(u64::from(raw % 6) + 1)).collect();
            let before = Membership::new(&voters, &[]);
            if before.is_empty() {
                return true;
            }
            let transition = [Transition::Auto, Transition::Joint, Transition::JointUntilLeft][usize::from(joint % 3)];
            let change = MembershipChange { transition, steps: steps(&raw), context: Bytes::new() };
            let Ok(after) = change.apply(&before) else { return true };
            let mut chain = vec![before, after.clone()];
            if after.is_joint() {
                chain.push(MembershipChange::leave().apply(&after).unwrap());
            }
            chain.iter().all(|membership| membership.check().is_ok())
                && chain.windows(2).all(|pair| {
                    let later = quorums(&pair[1]);
                    quorums(&pair[0]).iter().all(|a| later.iter().all(|b| a.iter().any(|node| b.contains(node))))
                })
        }

        fn a_change_survives_its_encoding(raw: Vec<u8>, context: Vec<u8>) -> bool {
            let change =
                MembershipChange { transition: Transition::Joint, steps: steps(&raw), context: Bytes::from(context) };
            MembershipChange::decode(&change.encode()) == Some(change)
        }

        fn decoding_any_bytes_gives_a_change_that_encodes_to_them_or_nothing(bytes: Vec<u8>) -> bool {
            let bytes = Bytes::from(bytes);
            MembershipChange::decode(&bytes).is_none_or(|change| change.encode() == bytes)
        }
    }

    #[test]
    fn the_encoding_is_fixed() {
        let change = MembershipChange {
            transition: Transition::JointUntilLeft,
            steps: vec![ConfChange::AddVoter(NodeId(4)), ConfChange::Remove(NodeId(0x0102))],
            context: Bytes::from_static(b"hi"),
        };
        let golden = [&[1, 2, 2, 0][..], &[1, 4, 0, 0, 0, 0, 0, 0, 0], &[2, 2, 1, 0, 0, 0, 0, 0, 0], b"hi"].concat();
        assert_eq!(change.encode(), golden);
    }

    #[test]
    fn a_voter_that_becomes_a_learner_votes_in_the_outgoing_half_until_the_change_is_left() {
        let before = Membership::new(&[NodeId(1), NodeId(2), NodeId(3)], &[NodeId(4)]);
        let change = MembershipChange {
            transition: Transition::Auto,
            steps: vec![ConfChange::AddVoter(NodeId(4)), ConfChange::AddLearner(NodeId(3))],
            context: Bytes::new(),
        };
        let joint = change.apply(&before).unwrap();
        assert_eq!(joint.voters(), [NodeId(1), NodeId(2), NodeId(4)]);
        assert_eq!(joint.outgoing(), [NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!((joint.learners(), joint.learners_next()), (&[][..], &[NodeId(3)][..]));
        assert!(joint.leaves_by_itself());
        let after = MembershipChange::leave().apply(&joint).unwrap();
        assert_eq!(after, Membership::new(&[NodeId(1), NodeId(2), NodeId(4)], &[NodeId(3)]));
        assert_eq!(MembershipChange::leave().apply(&after), Err(ChangeError::NotJoint));
        assert_eq!(change.apply(&joint), Err(ChangeError::AlreadyJoint));
    }
}
