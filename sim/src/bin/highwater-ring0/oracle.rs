//! Memberships and quorums once more, written slowly and from the thesis rather than from the crate: sets, and counting.

use std::collections::BTreeSet;

use highwater_raft::{ConfChange, Membership, MembershipChange, NodeId, Transition};

/// A membership as sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The voters, or the incoming ones.
    pub new: BTreeSet<NodeId>,
    /// The outgoing voters of a joint membership.
    pub old: BTreeSet<NodeId>,
    /// Who gets the log without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Outgoing voters that will be learners.
    pub later: BTreeSet<NodeId>,
    /// Whether the leader leaves it by itself.
    pub auto: bool,
}

impl Members {
    /// What the crate says, as sets.
    pub fn of(membership: &Membership) -> Self {
        let set = |nodes: &[NodeId]| nodes.iter().copied().collect();
        Self {
            new: set(membership.voters()),
            old: set(membership.outgoing()),
            learners: set(membership.learners()),
            later: set(membership.learners_next()),
            auto: membership.leaves_by_itself(),
        }
    }

    /// Whether those for which `holds` is true are a quorum.
    pub fn is_quorum(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        let most = |half: &BTreeSet<NodeId>| 2 * half.iter().filter(|node| holds(**node)).count() > half.len();
        !self.new.is_empty() && most(&self.new) && (self.old.is_empty() || most(&self.old))
    }

    /// What follows when `change` is applied; unchanged when it cannot be.
    pub fn after(&self, change: &MembershipChange) -> Self {
        let joint = !self.old.is_empty();
        if change.steps.is_empty() {
            return if joint { self.left() } else { self.clone() };
        }
        if joint {
            return self.clone();
        }
        let mut next =
            Self { old: self.new.clone(), auto: change.transition != Transition::JointUntilLeft, ..self.clone() };
        for step in &change.steps {
            match step {
                ConfChange::AddVoter(node) => {
                    next.learners.remove(node);
                    next.later.remove(node);
                    next.new.insert(*node);
                }
                ConfChange::AddLearner(node) => {
                    next.new.remove(node);
                    if !next.learners.contains(node) {
                        let list = if next.old.contains(node) { &mut next.later } else { &mut next.learners };
                        list.insert(*node);
                    }
                }
                ConfChange::Remove(node) => {
                    next.new.remove(node);
                    next.learners.remove(node);
                    next.later.remove(node);
                }
            }
        }
        if next.new.is_empty() {
            return self.clone();
        }
        let moved = next.new.symmetric_difference(&self.new).count();
        if change.transition == Transition::Auto && moved <= 1 { next.left() } else { next }
    }

    fn left(&self) -> Self {
        let learners = self.learners.union(&self.later).copied().collect();
        Self { new: self.new.clone(), learners, ..Self::default() }
    }
}
