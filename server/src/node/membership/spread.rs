//! Where the votes of groups go: evenly over the nodes that stay, with as few moves as that takes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::REPLICATION_FACTOR;

/// How many groups each node votes in.
pub(crate) fn votes(voters: &BTreeMap<u32, BTreeSet<u64>>) -> BTreeMap<u64, usize> {
    let mut votes = BTreeMap::new();
    for node in voters.values().flatten() {
        *votes.entry(*node).or_default() += 1;
    }
    votes
}

/// The voters of the groups that are to change, so that no node that stays votes in two groups more than another. Groups have the replication
/// factor of voters, or all nodes where there are fewer.
pub(crate) fn even(voters: &BTreeMap<u32, BTreeSet<u64>>, staying: &BTreeSet<u64>) -> BTreeMap<u32, BTreeSet<u64>> {
    let mut after = voters.clone();
    let mut load: BTreeMap<u64, usize> = staying.iter().map(|node| (*node, 0)).collect();
    for group in after.values_mut() {
        group.retain(|node| staying.contains(node));
        for node in group.iter() {
            *load.entry(*node).or_default() += 1;
        }
    }
    let wanted = REPLICATION_FACTOR.min(staying.len());
    for group in after.values_mut() {
        while group.len() > wanted {
            let Some(node) = group.iter().copied().max_by_key(|node| (load.get(node).copied(), *node)) else { break };
            group.remove(&node);
            *load.entry(node).or_default() -= 1;
        }
        while group.len() < wanted {
            let free = staying.iter().copied().filter(|node| !group.contains(node));
            let Some(node) = free.min_by_key(|node| (load.get(node).copied(), *node)) else { break };
            group.insert(node);
            *load.entry(node).or_default() += 1;
        }
    }
    // Each move takes one from a node that has two more than another: the sum of squares falls, so this ends.
    while let Some((from, to)) = farthest(&load)
        && let Some(group) = after.values_mut().find(|group| group.contains(&from) && !group.contains(&to))
    {
        group.remove(&from);
        group.insert(to);
        *load.entry(from).or_default() -= 1;
        *load.entry(to).or_default() += 1;
    }
    after.retain(|group, nodes| voters.get(group) != Some(nodes) && !nodes.is_empty());
    after
}

/// The voters of the groups that have more of them than the replication factor, as those have that a larger cluster was formed with: no more
/// than it, and evenly. `merit` says of a group's voter whether it is there and holds the log, and whether it leads: who does keeps its vote
/// before who does not.
pub(crate) fn narrowed(
    voters: &BTreeMap<u32, BTreeSet<u64>>,
    staying: &BTreeSet<u64>,
    merit: impl Fn(u32, u64) -> (bool, bool),
) -> BTreeMap<u32, BTreeSet<u64>> {
    let is_wide = |group: &BTreeSet<u64>| group.intersection(staying).count() > REPLICATION_FACTOR;
    let rest = voters.iter().filter(|(_, nodes)| !is_wide(nodes)).map(|(group, nodes)| (*group, nodes.clone()));
    let mut load = votes(&rest.collect());
    let mut after = BTreeMap::new();
    for (group, nodes) in voters.iter().filter(|(_, nodes)| is_wide(nodes)) {
        let mut kept: BTreeSet<u64> = BTreeSet::new();
        while kept.len() < REPLICATION_FACTOR {
            let rest = nodes.intersection(staying).copied().filter(|node| !kept.contains(node));
            let Some(node) = rest.min_by_key(|node| {
                let (is_there, leads) = merit(*group, *node);
                (!is_there, !leads, load.get(node).copied().unwrap_or(0), *node)
            }) else {
                break;
            };
            kept.insert(node);
            *load.entry(node).or_default() += 1;
        }
        after.insert(*group, kept);
    }
    after
}

/// The nodes with most and fewest votes, if they are two or more apart.
fn farthest(load: &BTreeMap<u64, usize>) -> Option<(u64, u64)> {
    let (most, high) = load.iter().max_by_key(|(node, count)| (**count, **node))?;
    let (fewest, low) = load.iter().min_by_key(|(node, count)| (**count, **node))?;
    (*high >= *low + 2).then_some((*most, *fewest))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn groups(count: u32, voters: &[u64]) -> BTreeMap<u32, BTreeSet<u64>> {
        (0..count).map(|group| (group, voters.iter().copied().collect())).collect()
    }

    #[test]
    fn a_fourth_node_gets_its_part_and_who_has_it_keeps_the_rest() {
        let before = groups(32, &[1, 2, 3]);
        let moved = even(&before, &(1..=4).collect());
        assert_eq!(moved.len(), 24, "a quarter of 96 votes goes to node 4, each by one move");
        assert!(moved.values().all(|voters| voters.len() == 3 && voters.contains(&4)));
        let mut after = before.clone();
        after.extend(moved);
        assert_eq!(votes(&after).into_values().collect::<Vec<_>>(), [24; 4]);
        assert!(even(&after, &(1..=4).collect()).is_empty(), "nothing is moved twice");
    }

    #[test]
    fn of_the_founders_of_a_larger_cluster_three_keep_their_votes_in_each_group_evenly_and_its_leader_among_them() {
        for nodes in 4..=7_u64 {
            let all: BTreeSet<u64> = (1..=nodes).collect();
            let before: BTreeMap<u32, BTreeSet<u64>> = (0..33).map(|group| (group, all.clone())).collect();
            let leader = |group: u32| 1 + u64::from(group) % nodes;
            let after = narrowed(&before, &all, |group, node| (true, node == leader(group)));
            assert!(after.iter().all(|(group, voters)| voters.len() == 3 && voters.contains(&leader(*group))));
            let votes = votes(&after);
            let (high, low) = (votes.values().max(), votes.values().min());
            assert_eq!(after.len(), 33);
            assert!(votes.len() as u64 == nodes && high <= low.map(|low| low + 1).as_ref(), "{nodes}: {votes:?}");
        }
    }

    #[test]
    fn a_node_that_is_down_or_leaves_keeps_no_vote_where_three_others_have_one() {
        let before = groups(9, &[1, 2, 3, 4, 5]);
        let after = narrowed(&before, &(2..=5).collect(), |_, node| (node != 4, node == 4));
        assert!(after.len() == 9 && after.values().all(|voters| *voters == [2, 3, 5].into()));
        let few = groups(9, &[1, 2, 3, 4]);
        assert!(
            narrowed(&few, &[1, 2, 3, 5].into(), |_, _| (true, false)).is_empty(),
            "three stay: nothing is narrowed"
        );
    }

    quickcheck! {
        fn votes_are_even_whatever_was_there(raw: Vec<Vec<u8>>, nodes: Vec<u8>) -> bool {
            let staying: BTreeSet<u64> = nodes.iter().take(9).map(|node| u64::from(node % 9) + 1).collect();
            if staying.is_empty() {
                return true;
            }
            let voters = raw.iter().take(40).map(|nodes| nodes.iter().map(|node| u64::from(node % 9) + 1).collect());
            let before: BTreeMap<u32, BTreeSet<u64>> = (0..).zip(voters).collect();
            let mut after = before.clone();
            after.extend(even(&before, &staying));
            let load = votes(&after);
            let of = |node: &u64| load.get(node).copied().unwrap_or(0);
            let (high, low) = (staying.iter().map(of).max(), staying.iter().map(of).min());
            after.values().all(|voters| voters.len() == REPLICATION_FACTOR.min(staying.len()) && voters.is_subset(&staying))
                && high <= low.map(|low| low + 1)
        }
    }
}
