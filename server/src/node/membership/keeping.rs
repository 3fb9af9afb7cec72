//! Which nodes keep a replica of a group, and what the roll is to say of that. Pure.
//!
//! The meta group is on every node. A data group is, as the [`Scope`] says, on every node or on its voters alone; where no more nodes stay than
//! vote, that is the same. The roll's homes follow in an order that leaves no reader without an answer: a node is named before it gets a
//! vote, and is named no more before its replica goes.

use std::collections::BTreeSet;

use highwater_state::placement::META;
use highwater_state::roll::Roll;

use super::REPLICATION_FACTOR;
use super::order::GroupStanding;
use super::plan::follows;

/// Where replicas of data groups are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// On every node; who does not vote is a learner.
    Everywhere,
    /// On the voters, where more nodes stay than vote.
    Voters,
}

/// Where they are in this release.
pub(crate) const SCOPE: Scope = Scope::Voters;

impl Scope {
    /// The nodes that are to be members of a group whose voters are to be `wanted`.
    pub(crate) fn keepers(self, roll: &Roll, group: u32, wanted: &BTreeSet<u64>) -> BTreeSet<u64> {
        let staying = roll.staying();
        if self.is_narrow(group, &staying) { wanted.intersection(&staying).copied().collect() } else { staying }
    }

    fn is_narrow(self, group: u32, staying: &BTreeSet<u64>) -> bool {
        self == Self::Voters && group != META && staying.len() > REPLICATION_FACTOR
    }

    /// The homes that the roll is to name for a group next, if others than it does; none for every node.
    pub(crate) fn homes(
        self,
        roll: &Roll,
        group: u32,
        wanted: &BTreeSet<u64>,
        standing: &GroupStanding,
    ) -> Option<BTreeSet<u64>> {
        let (staying, members) = (roll.staying(), standing.members());
        if group == META || members.is_empty() || members.is_joint() || !standing.known {
            return None;
        }
        let voters: BTreeSet<u64> = members.voters().iter().map(|node| node.0).collect();
        let there = |nodes: &BTreeSet<u64>| -> BTreeSet<u64> {
            nodes.iter().copied().filter(|node| follows(standing, *node)).collect()
        };
        let named = roll.homes_of(group);
        let next = if self.is_narrow(group, &staying) {
            if voters == *wanted { voters } else { named?.union(&there(wanted)).copied().collect() }
        } else {
            let follow = there(&staying);
            if follow == staying { BTreeSet::new() } else { named?.union(&follow).copied().collect() }
        };
        (named.cloned().unwrap_or_default() != next).then_some(next)
    }
}

/// Whether the roll lets a node have a vote in a group: who votes must be a home, or it would not know that time passes for it.
pub(crate) fn may_vote(roll: &Roll, group: u32, node: u64) -> bool {
    !roll.has_seat(node, group)
}

/// Whether the roll lets a member that is not to keep a group go.
pub(crate) fn may_go(roll: &Roll, group: u32, node: u64) -> bool {
    !roll.staying().contains(&node) || roll.has_seat(node, group)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_raft::{Membership, MembershipChange, NodeId};
    use highwater_state::roll::Member;

    use super::super::order::{Follower, Order};
    use super::super::plan::{self, Next};
    use super::*;

    const GROUP: u32 = 1;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn roll(staying: &[u64], leaving: &[u64]) -> Roll {
        let member = |node: u64, leaving| {
            (node, Member { incarnation: node, rpc_addr: format!("n{node}:1"), leaving, since: 0 })
        };
        let members =
            staying.iter().map(|node| member(*node, false)).chain(leaving.iter().map(|node| member(*node, true)));
        Roll { version: 2, members: members.collect(), ..Roll::default() }
    }

    fn standing(membership: &Membership, leader: u64, behind: &[u64]) -> GroupStanding {
        let others = membership.members().into_iter().filter(|node| node.0 != leader);
        let follower = |node: NodeId| {
            let follows = !behind.contains(&node.0);
            Follower { node: node.0, matched: if follows { 10 } else { 0 }, follows, active: true }
        };
        let others = others.map(follower).collect();
        GroupStanding { leader, last: 10, membership: membership.encode(), known: true, others }
    }

    fn group(voters: &[u64], learners: &[u64]) -> Membership {
        let ids = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        Membership::new(&ids(voters), &ids(learners))
    }

    #[test]
    fn the_meta_group_is_everywhere_and_so_is_all_where_no_more_nodes_stay_than_vote() {
        let (five, three) = (roll(&[1, 2, 3, 4, 5], &[]), roll(&[1, 2, 3], &[4, 5]));
        let voters = set(&[1, 2, 3]);
        assert_eq!(Scope::Voters.keepers(&five, META, &voters), set(&[1, 2, 3, 4, 5]));
        assert_eq!(Scope::Voters.keepers(&five, GROUP, &voters), voters);
        assert_eq!(Scope::Everywhere.keepers(&five, GROUP, &voters), set(&[1, 2, 3, 4, 5]));
        assert_eq!(Scope::Voters.keepers(&three, GROUP, &voters), voters);
        let stands = standing(&group(&[1, 2, 3], &[]), 1, &[]);
        assert_eq!(Scope::Voters.homes(&three, GROUP, &voters, &stands), None, "no homes are named in a small cluster");
        assert_eq!(Scope::Voters.homes(&five, META, &voters, &stands), None);
        assert_eq!(Scope::Everywhere.homes(&five, GROUP, &voters, &stands), None);
    }

    #[test]
    fn a_learner_goes_once_the_roll_names_it_no_more_and_a_node_is_named_before_it_votes() {
        let mut five = roll(&[1, 2, 3, 4, 5], &[]);
        let step = |roll: &Roll, wanted: &BTreeSet<u64>, stands: &GroupStanding| {
            plan::next(roll, Scope::Voters, GROUP, wanted, stands)
        };
        let wide = standing(&group(&[1, 2, 3], &[4, 5]), 1, &[]);
        let voters = set(&[1, 2, 3]);
        assert_eq!(step(&five, &voters, &wide), Next::Wait, "nodes 4 and 5 are read from");
        let homes = Scope::Voters.homes(&five, GROUP, &voters, &wide).unwrap();
        assert_eq!(homes, voters);
        five.homes.insert(GROUP, homes);
        assert!(matches!(step(&five, &voters, &wide), Next::Order(Order::Change { .. })), "now they go");

        let moved = set(&[1, 2, 4]);
        let arrived = standing(&group(&[1, 2, 3], &[4]), 1, &[]);
        assert_eq!(step(&five, &moved, &arrived), Next::Wait, "node 4 would not know that it votes");
        let behind = standing(&group(&[1, 2, 3], &[4]), 1, &[4]);
        assert_eq!(Scope::Voters.homes(&five, GROUP, &moved, &behind), None, "it holds nothing to be read yet");
        five.homes.insert(GROUP, Scope::Voters.homes(&five, GROUP, &moved, &arrived).unwrap());
        assert_eq!(five.homes[&GROUP], set(&[1, 2, 3, 4]));
        assert!(matches!(step(&five, &moved, &arrived), Next::Order(Order::Change { .. })));
    }

    #[test]
    fn every_way_of_any_cluster_ends_with_a_group_on_its_voters_and_never_names_who_has_nothing() {
        let mut seed = 11_u64;
        let mut draw = |upto: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % upto
        };
        for _ in 0..500 {
            let nodes: Vec<u64> = (1..=2 + draw(6)).collect();
            let (mut staying, mut leaving): (Vec<u64>, Vec<u64>) = nodes.iter().partition(|_| draw(5) > 0);
            if staying.is_empty() {
                staying.extend(leaving.pop());
            }
            let mut roll = roll(&staying, &leaving);
            if draw(2) == 0 {
                let mut target = || staying[draw(staying.len() as u64) as usize];
                let target = [target(), target(), target()].into();
                roll.targets.insert(GROUP, target);
            }
            let voters: Vec<u64> = nodes.iter().copied().take(1 + draw(3) as usize).collect();
            let mut membership = group(&voters, &[]);
            if draw(2) == 0 {
                roll.homes.insert(GROUP, voters.iter().copied().collect());
            }
            let mut leader = voters[draw(voters.len() as u64) as usize];
            let mut settled = false;
            for _ in 0..60 {
                let stands = standing(&membership, leader, &[]);
                let wanted = plan::wanted_voters(&roll, GROUP, &stands, |_| (false, 0));
                let homes = Scope::Voters.homes(&roll, GROUP, &wanted, &stands);
                let next = plan::next(&roll, Scope::Voters, GROUP, &wanted, &stands);
                match homes.clone() {
                    Some(homes) if homes.is_empty() => _ = roll.homes.remove(&GROUP),
                    Some(homes) => _ = roll.homes.insert(GROUP, homes),
                    None => {}
                }
                match next {
                    Next::Nothing if homes.is_none() => {
                        settled = true;
                        break;
                    }
                    Next::Nothing | Next::Wait => {}
                    Next::Order(Order::Transfer(to)) => leader = to.0,
                    Next::Order(Order::Change { change, .. }) => membership = change.apply(&membership).unwrap(),
                    Next::Order(Order::Look) => panic!("a look is no step"),
                }
                if membership.is_joint() {
                    membership = MembershipChange::leave().apply(&membership).unwrap();
                }
                if !membership.is_voter(NodeId(leader)) {
                    leader = membership.voters()[0].0;
                }
                let stays = |node: &&u64| roll.staying().contains(node);
                let named: Vec<u64> = roll.homes.get(&GROUP).into_iter().flatten().filter(stays).copied().collect();
                assert!(named.iter().all(|node| membership.contains(NodeId(*node))), "{roll:?}: {membership:?}");
                let votes = membership.voters().iter().all(|node| may_vote(&roll, GROUP, node.0));
                assert!(votes, "a voter is no home: {roll:?}: {membership:?}");
            }
            assert!(settled, "{roll:?}: {membership:?}");
            let members: BTreeSet<u64> = membership.members().iter().map(|node| node.0).collect();
            let votes: BTreeSet<u64> = membership.voters().iter().map(|node| node.0).collect();
            if roll.staying().len() > REPLICATION_FACTOR {
                assert_eq!((Some(&members), &members), (roll.homes.get(&GROUP), &votes));
            } else {
                assert_eq!((members, roll.homes.get(&GROUP)), (roll.staying(), None));
            }
        }
    }
}
