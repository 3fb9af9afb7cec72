//! What happens to a group next, given the roll and how the group stands. Pure.
//!
//! One step at a time, each safe by itself and none that could not be done again:
//!
//! 1. A group in a joint membership is left alone until its leader has left it, and one whose members do not yet know for certain what
//!    its membership is until they do.
//! 2. Nodes that are to keep the group and that it does not know become learners: they are given its state and its log, and have no vote.
//! 3. Who is to vote and holds the log gets its vote, in one change with those who give theirs up.
//! 4. Nodes that leave, or are not in the roll, go; and learners that are not to keep the group, once the roll no longer names them as homes.
//!
//! Invariants: nobody gets a vote who does not follow the log closely; no change is proposed after which the voters that are heard of would be
//! no majority.

use std::collections::BTreeSet;

use bytes::Bytes;
use highwater_raft::{ConfChange, MembershipChange, NodeId, Transition};
use highwater_state::roll::Roll;

use super::REPLICATION_FACTOR;
use super::keeping::{self, Scope};
use super::order::{GroupStanding, Order};

/// A member that lacks no more entries than this follows closely enough to vote.
pub(crate) const CLOSE: u64 = 1024;

/// The next step of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is as the roll wants it.
    Nothing,
    /// Something is under way, or somebody is not far enough.
    Wait,
    /// This is to be ordered of its leader.
    Order(Order),
}

/// Who is to vote in a group: as the roll says where it is being moved, else those who do, filled up with members that follow closely to the
/// replication factor. `burden` says of a node whether it is down, and in how many groups it votes, to choose who has fewest.
pub(crate) fn wanted_voters(
    roll: &Roll,
    group: u32,
    standing: &GroupStanding,
    burden: impl Fn(u64) -> (bool, usize),
) -> BTreeSet<u64> {
    let staying = roll.staying();
    if let Some(target) = roll.targets.get(&group) {
        let target: BTreeSet<u64> = target.intersection(&staying).copied().collect();
        if !target.is_empty() {
            return target;
        }
    }
    let members = standing.members();
    let mut wanted: BTreeSet<u64> =
        members.voters().iter().map(|node| node.0).filter(|node| staying.contains(node)).collect();
    while wanted.len() < REPLICATION_FACTOR.min(staying.len()) {
        let fit = staying.iter().copied().filter(|node| !wanted.contains(node));
        // Who is there before who is not, even if that one was to come: a vote is not promised to a node that may never come back. Then who
        // is on its way to hold the group.
        let rank = |node: &u64| {
            let (is_down, votes) = burden(*node);
            (!follows(standing, *node), is_down, !members.contains(NodeId(*node)), votes, *node)
        };
        let Some(node) = fit.min_by_key(rank) else { break };
        wanted.insert(node);
    }
    wanted
}

/// The next step of a group whose voters are to be `wanted`.
pub(crate) fn next(roll: &Roll, scope: Scope, group: u32, wanted: &BTreeSet<u64>, standing: &GroupStanding) -> Next {
    let before = standing.members();
    if before.is_empty() || before.is_joint() || !standing.known {
        return Next::Wait;
    }
    let order = |steps: Vec<ConfChange>| {
        let change = MembershipChange { transition: Transition::Auto, steps, context: Bytes::new() };
        Next::Order(Order::Change { before: before.clone(), change })
    };
    let staying = roll.staying();
    let keepers = scope.keepers(roll, group, wanted);
    let new: Vec<ConfChange> = keepers
        .iter()
        .map(|node| NodeId(*node))
        .filter(|node| !before.contains(*node))
        .map(ConfChange::AddLearner)
        .collect();
    if !new.is_empty() {
        return order(new);
    }
    let voters: BTreeSet<u64> = before.voters().iter().map(|node| node.0).collect();
    let learners: BTreeSet<u64> = before.learners().iter().map(|node| node.0).collect();
    // Those who are not far enough wait, and who goes waits for them.
    let is_fit = |node: &u64| follows(standing, *node) && keeping::may_vote(roll, group, *node);
    let come: BTreeSet<u64> = wanted.difference(&voters).copied().filter(is_fit).collect();
    let waits = wanted.difference(&voters).any(|node| !come.contains(node));
    let must_go: BTreeSet<u64> = voters.difference(&staying).copied().collect();
    let may_go: BTreeSet<u64> = voters.difference(wanted).filter(|node| staying.contains(node)).copied().collect();
    let mut after: BTreeSet<u64> = voters.union(&come).copied().collect();
    after.retain(|node| !must_go.contains(node));
    if !waits {
        after.retain(|node| !may_go.contains(node));
    }
    if after != voters {
        // A node that leaves gives its vote up only when another one has taken it, where there is one to take it, although it may be gone for
        // good: of three voters two are needed as of two, and the third may be back.
        if waits && come.is_empty() {
            return Next::Wait;
        }
        if !after.contains(&standing.leader) {
            let heir = standing.others.iter().filter(|other| {
                after.contains(&other.node) && voters.contains(&other.node) && follows(standing, other.node)
            });
            if let Some(heir) = heir.max_by_key(|other| other.matched) {
                return Next::Order(Order::Transfer(NodeId(heir.node)));
            }
        }
        if !is_majority_heard(standing, &after) || !is_majority_heard(standing, &voters) {
            return Next::Wait;
        }
        let comes = after.difference(&voters).map(|node| ConfChange::AddVoter(NodeId(*node)));
        let goes = voters.difference(&after).map(|node| {
            if staying.contains(node) {
                ConfChange::AddLearner(NodeId(*node))
            } else {
                ConfChange::Remove(NodeId(*node))
            }
        });
        return order(comes.chain(goes).collect());
    }
    let surplus: BTreeSet<u64> = learners.difference(&keepers).copied().collect();
    let gone = surplus.iter().filter(|node| keeping::may_go(roll, group, **node));
    let gone: Vec<ConfChange> = gone.map(|node| ConfChange::Remove(NodeId(*node))).collect();
    if !gone.is_empty() {
        return order(gone);
    }
    if waits || !surplus.is_empty() { Next::Wait } else { Next::Nothing }
}

/// What a group of which [`next`] says [`Next::Wait`] waits for.
pub(crate) fn waits_for(wanted: &BTreeSet<u64>, standing: &GroupStanding) -> String {
    let before = standing.members();
    let voters: BTreeSet<u64> = before.voters().iter().map(|node| node.0).collect();
    let list = |nodes: &BTreeSet<u64>| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let unheard: BTreeSet<u64> = voters.iter().copied().filter(|node| !is_heard(standing, *node)).collect();
    if !is_majority_heard(standing, &voters) {
        return format!("node {} to be there again, as too few voters are", list(&unheard));
    }
    let lacking: BTreeSet<u64> = wanted.difference(&voters).copied().filter(|node| !follows(standing, *node)).collect();
    if !lacking.is_empty() && !before.is_joint() {
        return format!("node {} to be there and to hold all of it", list(&lacking));
    }
    if !unheard.is_empty() && !is_majority_heard(standing, wanted) {
        return format!("node {} to be there, without which too few of its next voters are", list(&unheard));
    }
    "a change of its members to be known to them".to_owned()
}

/// Whether a node holds the log closely enough to vote, and is there.
pub(crate) fn follows(standing: &GroupStanding, node: u64) -> bool {
    if node == standing.leader {
        return true;
    }
    let close =
        |other: &super::order::Follower| other.matched.saturating_add(CLOSE) >= standing.last && other.matched > 0;
    standing.others.iter().any(|other| other.node == node && other.active && other.follows && close(other))
}

fn is_heard(standing: &GroupStanding, node: u64) -> bool {
    node == standing.leader || standing.others.iter().any(|other| other.node == node && other.active)
}

fn is_majority_heard(standing: &GroupStanding, voters: &BTreeSet<u64>) -> bool {
    2 * voters.iter().filter(|node| is_heard(standing, **node)).count() > voters.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_raft::Membership;
    use highwater_state::roll::Member;

    use super::super::order::Follower;
    use super::*;

    fn roll(staying: &[u64], leaving: &[u64]) -> Roll {
        let member = |node: u64, leaving| {
            (node, Member { incarnation: node, rpc_addr: format!("n{node}:1"), leaving, since: 0 })
        };
        let members =
            staying.iter().map(|node| member(*node, false)).chain(leaving.iter().map(|node| member(*node, true)));
        Roll { version: 2, members: members.collect(), ..Roll::default() }
    }

    fn ids(nodes: &[u64]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// Led by the first voter; everybody follows but `behind`, and is there but `down`.
    fn stands(voters: &[u64], learners: &[u64], behind: &[u64], down: &[u64]) -> GroupStanding {
        let leader = voters[0];
        let others = voters.iter().chain(learners).filter(|node| **node != leader).map(|node| {
            let (follows, active) = (!behind.contains(node), !down.contains(node));
            Follower { node: *node, matched: if follows { 5000 } else { 0 }, follows, active }
        });
        let others = others.collect();
        let membership = Membership::new(&ids(voters), &ids(learners)).encode();
        GroupStanding { leader, last: 5000, membership, known: true, others }
    }

    fn step(roll: &Roll, standing: &GroupStanding) -> Next {
        next(roll, Scope::Everywhere, 1, &wanted_voters(roll, 1, standing, |_| (false, 0)), standing)
    }

    fn steps(next: &Next) -> Vec<ConfChange> {
        match next {
            Next::Order(Order::Change { change, .. }) => change.steps.clone(),
            other => panic!("{other:?}"),
        }
    }

    use ConfChange::{AddLearner, AddVoter, Remove};

    #[test]
    fn a_new_node_becomes_a_learner_and_nothing_more_where_enough_vote() {
        let roll = roll(&[1, 2, 3, 4], &[]);
        assert_eq!(steps(&step(&roll, &stands(&[1, 2, 3], &[], &[], &[]))), [AddLearner(NodeId(4))]);
        for behind in [&[][..], &[4]] {
            assert_eq!(step(&roll, &stands(&[1, 2, 3], &[4], behind, &[])), Next::Nothing);
        }
    }

    #[test]
    fn what_a_change_waits_for_is_named() {
        let waits = |roll: &Roll, standing: &GroupStanding| {
            assert_eq!(step(roll, standing), Next::Wait);
            waits_for(&wanted_voters(roll, 1, standing, |_| (false, 0)), standing)
        };
        let one_leaves = roll(&[1, 2, 4], &[3]);
        let behind = waits(&one_leaves, &stands(&[1, 2, 3], &[4], &[4], &[]));
        assert_eq!(behind, "node 4 to be there and to hold all of it");
        let down = waits(&one_leaves, &stands(&[1, 2, 3], &[4], &[], &[2, 3]));
        assert_eq!(down, "node 2, 3 to be there again, as too few voters are");
        let mut unknown = stands(&[1, 2, 3], &[4], &[], &[]);
        unknown.known = false;
        assert_eq!(waits(&one_leaves, &unknown), "a change of its members to be known to them");
    }

    #[test]
    fn the_place_of_a_voter_that_leaves_is_promised_to_nobody_who_is_down_while_another_is_up() {
        let leaving = roll(&[1, 2, 4, 5], &[3]);
        let wanted = |learners: &[u64], behind: &[u64], down: &[u64]| {
            let standing = stands(&[1, 2, 3], learners, behind, down);
            wanted_voters(&leaving, 1, &standing, |node| (down.contains(&node), 0))
        };
        assert_eq!(wanted(&[], &[], &[]), BTreeSet::from([1, 2, 4]));
        assert_eq!(wanted(&[5], &[5], &[]), BTreeSet::from([1, 2, 5]), "node 5 is on its way");
        assert_eq!(wanted(&[5], &[5], &[5]), BTreeSet::from([1, 2, 4]), "it may never come back");
        assert_eq!(
            wanted(&[5], &[5], &[4, 5]),
            BTreeSet::from([1, 2, 5]),
            "and is not changed for one that may not either"
        );
    }

    #[test]
    fn a_node_never_gets_a_vote_before_it_is_caught_up() {
        let two = roll(&[1, 2, 4], &[]);
        assert_eq!(step(&two, &stands(&[1, 2], &[4], &[4], &[])), Next::Wait);
        assert_eq!(step(&two, &stands(&[1, 2], &[4], &[], &[4])), Next::Wait);
        assert_eq!(steps(&step(&two, &stands(&[1, 2], &[4], &[], &[]))), [AddVoter(NodeId(4))]);
        let mut moved = roll(&[1, 2, 3, 4], &[]);
        moved.targets = [(1, [1, 2, 4].into())].into();
        assert_eq!(step(&moved, &stands(&[1, 2, 3], &[4], &[4], &[])), Next::Wait, "node 3 keeps its vote until then");
        let change = steps(&step(&moved, &stands(&[1, 2, 3], &[4], &[], &[])));
        assert_eq!(change, [AddVoter(NodeId(4)), AddLearner(NodeId(3))]);
    }

    #[test]
    fn who_leaves_is_replaced_first_and_then_goes() {
        let leaving = roll(&[1, 2, 4], &[3]);
        assert_eq!(step(&leaving, &stands(&[1, 2, 3], &[4], &[4], &[])), Next::Wait, "node 4 is not far enough");
        let change = steps(&step(&leaving, &stands(&[1, 2, 3], &[4], &[], &[])));
        assert_eq!(change, [AddVoter(NodeId(4)), Remove(NodeId(3))]);
        assert_eq!(step(&leaving, &stands(&[1, 2, 4], &[], &[], &[])), Next::Nothing);
        let learner = roll(&[1, 2, 3], &[4]);
        assert_eq!(steps(&step(&learner, &stands(&[1, 2, 3], &[4], &[4], &[4]))), [Remove(NodeId(4))]);
    }

    #[test]
    fn who_leaves_hands_over_what_it_leads() {
        let leaving = roll(&[1, 2, 4], &[3]);
        let standing = stands(&[3, 1, 2], &[4], &[], &[]);
        assert!(matches!(step(&leaving, &standing), Next::Order(Order::Transfer(NodeId(1 | 2)))));
    }

    #[test]
    fn a_node_that_is_gone_for_good_goes_when_nobody_is_to_take_its_place_or_somebody_has() {
        let leaving = roll(&[1, 2], &[3]);
        assert_eq!(steps(&step(&leaving, &stands(&[1, 2, 3], &[], &[], &[3]))), [Remove(NodeId(3))]);
        let replaced = roll(&[1, 2, 4], &[3]);
        for (behind, down) in [(&[4][..], &[3][..]), (&[4], &[3, 4]), (&[], &[3, 4]), (&[], &[4])] {
            assert_eq!(step(&replaced, &stands(&[1, 2, 3], &[4], behind, down)), Next::Wait, "{behind:?} {down:?}");
        }
        let change = steps(&step(&replaced, &stands(&[1, 2, 3], &[4], &[], &[3])));
        assert_eq!(change, [AddVoter(NodeId(4)), Remove(NodeId(3))]);
        let both = steps(&step(&roll(&[1, 2], &[3, 4]), &stands(&[1, 2, 3], &[4], &[4], &[3, 4])));
        assert_eq!(both, [Remove(NodeId(3))], "who was to take its place leaves, too");
    }

    #[test]
    fn no_change_leaves_a_majority_that_is_not_there() {
        // Node 2 is down: without node 3, nodes 1 and 2 could not go on.
        let leaving = roll(&[1, 2], &[3]);
        assert_eq!(step(&leaving, &stands(&[1, 2, 3], &[], &[2], &[2])), Next::Wait);
    }

    #[test]
    fn a_group_in_a_change_is_left_alone() {
        let before = Membership::new(&ids(&[1, 2, 3]), &ids(&[4]));
        let steps = vec![AddVoter(NodeId(4)), AddLearner(NodeId(3))];
        let change = MembershipChange { transition: Transition::Auto, steps, context: Bytes::new() };
        let joint = change.apply(&before).unwrap();
        let standing = GroupStanding { membership: joint.encode(), ..stands(&[1, 2, 3], &[4], &[], &[]) };
        assert_eq!(step(&roll(&[1, 2, 4, 5], &[3]), &standing), Next::Wait);
        let unknown = GroupStanding { known: false, ..stands(&[1, 2, 4], &[], &[], &[]) };
        assert_eq!(step(&roll(&[1, 2, 4, 5], &[3]), &unknown), Next::Wait, "who restarts may not know it yet");
    }

    #[test]
    fn every_way_of_any_cluster_ends_as_the_roll_wants_it_and_never_without_a_majority() {
        let mut seed = 7_u64;
        let mut draw = |upto: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % upto
        };
        for _ in 0..500 {
            let nodes: Vec<u64> = (1..=2 + draw(5)).collect();
            let (mut staying, mut leaving): (Vec<u64>, Vec<u64>) = nodes.iter().partition(|_| draw(4) > 0);
            if staying.is_empty() {
                staying.extend(leaving.pop());
            }
            let mut roll = roll(&staying, &leaving);
            if draw(2) == 0 {
                let first = staying[draw(staying.len() as u64) as usize];
                roll.targets.insert(1, [first, staying[0]].into());
            }
            let voters: Vec<u64> = nodes.iter().copied().take(1 + draw(3) as usize).collect();
            let mut membership = Membership::new(&ids(&voters), &[]);
            let mut leader = voters[draw(voters.len() as u64) as usize];
            let mut settled = false;
            for _ in 0..40 {
                let members = membership.members();
                let others = members.iter().filter(|node| node.0 != leader);
                let others = others.map(|node| Follower { node: node.0, matched: 10, follows: true, active: true });
                let standing = GroupStanding {
                    leader,
                    last: 10,
                    membership: membership.encode(),
                    known: true,
                    others: others.collect(),
                };
                match step(&roll, &standing) {
                    Next::Nothing => {
                        settled = true;
                        break;
                    }
                    Next::Wait => {}
                    Next::Order(Order::Transfer(to)) => {
                        assert!(membership.is_voter(to));
                        leader = to.0;
                    }
                    Next::Order(Order::Change { change, .. }) => membership = change.apply(&membership).unwrap(),
                    Next::Order(Order::Look) => panic!("a look is no step"),
                }
                if membership.is_joint() {
                    membership = MembershipChange::leave().apply(&membership).unwrap();
                }
                if !membership.is_voter(NodeId(leader)) {
                    leader = membership.voters()[0].0;
                }
            }
            assert!(settled, "{roll:?}: {membership:?}");
            let all: BTreeSet<u64> = membership.members().iter().map(|node| node.0).collect();
            assert_eq!(all, roll.staying());
            let votes: BTreeSet<u64> = membership.voters().iter().map(|node| node.0).collect();
            match roll.targets.get(&1) {
                Some(target) => assert_eq!(&votes, target),
                None => assert!(votes.len() >= REPLICATION_FACTOR.min(staying.len()), "{roll:?}: {membership:?}"),
            }
        }
    }
}
