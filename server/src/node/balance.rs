//! Leads that lie unevenly on the nodes, as after the loss and return of one, move back: slowly, a few at a time, in quiet times.
//!
//! Each node gives, none takes: against each other node it counts the groups of its store in which both vote, those that it leads and those
//! that the other one leads, and hands some of its surplus to the node against which that is largest. Groups that the other leads without
//! this node are not counted: where not every node keeps every group, this one does not see them, and who counted what it sees of the others
//! against all that it leads would give for ever. Only members that hold the whole log are given a lead, and groups that sleep go before
//! groups that work. Nothing is decided together: a part of the surplus is given at a time, so nodes that give to the same one at the same
//! time do not overdo it.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_raft::NodeId;

use super::host::StoreHost;
use super::replica::Replica;

/// Ticks between two rounds: nothing is given within five seconds of what was given before.
const ROUND_TICKS: u32 = 100;
/// Ticks without the loss or return of a node, or a start, before anything is given: half a minute.
const QUIET_TICKS: u32 = 600;
/// The part of a surplus that is given in one round: one n-th, at least one lead.
const PART: usize = 16;
/// Leads that are given in one round, at most.
const MOST_AT_ONCE: usize = 256;

/// When a store's node looks at who leads.
#[derive(Debug, Default)]
pub(super) struct Balance {
    quiet: u32,
    round: u32,
}

impl Balance {
    /// One tick of Raft's time; `disturbed`: a node was lost, or is back.
    pub(super) fn tick(&mut self, host: &StoreHost, disturbed: bool) {
        self.quiet = if disturbed || !host.ready.get() { 0 } else { self.quiet.saturating_add(1) };
        self.round = self.round.saturating_add(1);
        if self.quiet < QUIET_TICKS || self.round < ROUND_TICKS || host.draining.get() {
            return;
        }
        self.round = 0;
        let replicas = host.replicas();
        let mut counts = BTreeMap::<NodeId, Against>::new();
        for replica in replicas.iter().filter(|replica| !host.is_seat(replica.group())) {
            let (me, leader) = (host.cast.me, replica.leader());
            replica.with_raft(|raft| {
                let voters = raft.membership().voters();
                match leader {
                    Some(leader) if leader == me => {
                        let others = voters.iter().filter(|node| **node != me);
                        others.for_each(|node| counts.entry(*node).or_default().mine += 1);
                    }
                    Some(leader) if voters.contains(&me) => counts.entry(leader).or_default().theirs += 1,
                    Some(_) | None => {}
                }
            });
        }
        if let Some((to, count)) = to_give(&counts, |node| host.liveness.may_lead(node)) {
            give(host, replicas, to, count);
        }
    }
}

/// The groups in which this node and another one vote.
#[derive(Clone, Copy, Debug, Default)]
struct Against {
    /// Those that this node leads.
    mine: usize,
    /// Those that the other one leads.
    theirs: usize,
}

impl Against {
    /// What is to be given for both to lead as many.
    const fn surplus(self) -> usize {
        self.mine.saturating_sub(self.theirs) / 2
    }
}

/// To whom leads are given, and how many; none when that would make nothing more even.
fn to_give(counts: &BTreeMap<NodeId, Against>, may_lead: impl Fn(NodeId) -> bool) -> Option<(NodeId, usize)> {
    let others = counts.iter().filter(|(node, _)| may_lead(**node)).map(|(node, counts)| (*node, counts.surplus()));
    let (to, surplus) = others.rev().max_by_key(|(_, surplus)| *surplus)?;
    (surplus > 0).then(|| (to, (surplus / PART).clamp(1, MOST_AT_ONCE)))
}

fn give(host: &StoreHost, replicas: Vec<Rc<Replica>>, to: NodeId, count: usize) {
    let (asleep, awake): (Vec<_>, Vec<_>) =
        replicas.into_iter().filter(|replica| replica.could_lead_next(to)).partition(|replica| replica.is_asleep());
    for replica in asleep.into_iter().chain(awake).take(count) {
        if replica.give_lead(to) {
            host.leads_given.set(host.leads_given.get().saturating_add(1));
            host.touch(&replica);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// Three nodes vote in every group and lead so many.
    fn led(counts: [usize; 3]) -> BTreeMap<NodeId, usize> {
        (1..).map(NodeId).zip(counts).collect()
    }

    /// What one of them counts.
    fn seen(me: NodeId, led: &BTreeMap<NodeId, usize>) -> BTreeMap<NodeId, Against> {
        let others = led.iter().filter(|(node, _)| **node != me);
        others.map(|(node, theirs)| (*node, Against { mine: led[&me], theirs: *theirs })).collect()
    }

    fn given(counts: [usize; 3]) -> Option<(u64, usize)> {
        to_give(&seen(NodeId(1), &led(counts)), |_| true).map(|(to, count)| (to.0, count))
    }

    #[test]
    fn the_node_that_leads_fewest_is_given_a_part_of_the_surplus_and_at_least_one_lead() {
        assert_eq!(given([5, 4, 0]), Some((3, 1)));
        assert_eq!(given([5000, 5000, 0]), Some((3, 156)));
        assert_eq!(given([100_000, 0, 0]), Some((2, 256)));
    }

    #[test]
    fn who_leads_one_more_than_another_gives_nothing() {
        for even in [[4, 3, 3], [3, 3, 3], [0, 9, 1], [1, 0, 0]] {
            assert_eq!(given(even), None, "{even:?}");
        }
    }

    #[test]
    fn nothing_is_given_to_a_node_that_may_not_lead() {
        let but_three = to_give(&seen(NodeId(1), &led([5, 5, 0])), |node| node != NodeId(3));
        assert_eq!(but_three, None);
        let but_three = to_give(&seen(NodeId(1), &led([9, 5, 0])), |node| node != NodeId(3));
        assert_eq!(but_three, Some((NodeId(2), 1)));
    }

    #[test]
    fn whatever_the_leads_all_nodes_that_give_come_to_an_even_spread_and_stay_there() {
        for start in [[30, 0, 0], [1, 17, 80], [3334, 3333, 0], [10, 10, 9], [0, 0, 1]] {
            let mut counts = led(start);
            let mut rounds = 0;
            loop {
                let gift = |me: &NodeId| Some((*me, to_give(&seen(*me, &counts), |_| true)?));
                let gifts: Vec<_> = counts.keys().filter_map(gift).collect();
                if gifts.is_empty() {
                    break;
                }
                for (from, (to, count)) in gifts {
                    *counts.get_mut(&from).unwrap() -= count;
                    *counts.get_mut(&to).unwrap() += count;
                }
                rounds += 1;
                assert!(rounds < 400, "{start:?} goes on for ever: {counts:?}");
            }
            let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
            assert!(most - least <= 1, "{start:?} ends as {counts:?}");
        }
    }

    #[test]
    fn where_nodes_keep_some_groups_only_they_come_to_rest_too_and_lead_about_as_many_each() {
        let mut seed = 3_u64;
        let mut draw = |upto: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % upto
        };
        for nodes in [4_usize, 5, 7] {
            // Three nodes in a row vote in a group, as many groups begin with each; all are led by the first of the three, or by any.
            for is_drawn in [false, true] {
                let voters: Vec<[usize; 3]> =
                    (0..60).map(|group| [group % nodes, (group + 1) % nodes, (group + 2) % nodes]).collect();
                let mut leaders: Vec<usize> = voters
                    .iter()
                    .map(|voters| if is_drawn { voters[draw(3)] } else { *voters.iter().min().unwrap() })
                    .collect();
                let mut rounds = 0;
                loop {
                    let mut gifts = Vec::new();
                    for me in 0..nodes {
                        let mut counts = BTreeMap::<NodeId, Against>::new();
                        for (voters, leader) in voters.iter().zip(&leaders).filter(|(voters, _)| voters.contains(&me)) {
                            if *leader == me {
                                for other in voters.iter().filter(|other| **other != me) {
                                    counts.entry(NodeId(*other as u64)).or_default().mine += 1;
                                }
                            } else {
                                counts.entry(NodeId(*leader as u64)).or_default().theirs += 1;
                            }
                        }
                        gifts.extend(to_give(&counts, |_| true).map(|(to, count)| (me, to.0 as usize, count)));
                    }
                    if gifts.is_empty() {
                        break;
                    }
                    for (from, to, count) in gifts {
                        let fit = (0..60).filter(|group| leaders[*group] == from && voters[*group].contains(&to));
                        let fit: Vec<usize> = fit.take(count).collect();
                        fit.into_iter().for_each(|group| leaders[group] = to);
                    }
                    rounds += 1;
                    assert!(rounds < 400, "{nodes} nodes give for ever: {leaders:?}");
                }
                let counts: Vec<usize> =
                    (0..nodes).map(|node| leaders.iter().filter(|leader| **leader == node).count()).collect();
                let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
                assert!(most - least <= 6, "{counts:?}");
            }
        }
    }
}
