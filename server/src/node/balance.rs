//! Leads that lie unevenly on the nodes, as after the loss and return of one, move back: slowly, a few at a time, in quiet times.
//!
//! Each node gives, none takes: it counts who leads the groups of its store, and hands some of what it leads beyond its part to the node
//! that leads fewest. Only members that hold the whole log are given a lead, and groups that sleep go before groups that work. Nothing
//! is decided together: a part of the surplus is given at a time, so nodes that give to the same one at the same time do not overdo it.

use std::collections::{BTreeMap, BTreeSet};
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
        let (mut led, mut voters) = (BTreeMap::<NodeId, usize>::new(), BTreeSet::from([host.cast.me]));
        for replica in &replicas {
            if replica.leads() {
                replica.with_raft(|raft| voters.extend(raft.membership().voters()));
            }
            if let Some(leader) = replica.leader() {
                *led.entry(leader).or_default() += 1;
            }
        }
        // Who votes in nothing that is led here can be given nothing.
        led.retain(|node, _| voters.contains(node));
        voters.into_iter().for_each(|node| _ = led.entry(node).or_default());
        if let Some((to, count)) = to_give(host.cast.me, &led, |node| host.liveness.may_lead(node)) {
            give(host, replicas, to, count);
        }
    }
}

/// To whom `me` gives leads, and how many; none when that would make nothing more even.
fn to_give(me: NodeId, led: &BTreeMap<NodeId, usize>, may_lead: impl Fn(NodeId) -> bool) -> Option<(NodeId, usize)> {
    let mine = led.get(&me).copied()?;
    let others = led.iter().filter(|(node, _)| **node != me && may_lead(**node));
    let (to, theirs) = others.min_by_key(|(node, count)| (**count, **node))?;
    let surplus = mine.checked_sub(*theirs)? / 2;
    (surplus > 0).then(|| (*to, (surplus / PART).clamp(1, MOST_AT_ONCE)))
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

    fn led(counts: [usize; 3]) -> BTreeMap<NodeId, usize> {
        (1..).map(NodeId).zip(counts).collect()
    }

    fn given(counts: [usize; 3]) -> Option<(u64, usize)> {
        to_give(NodeId(1), &led(counts), |_| true).map(|(to, count)| (to.0, count))
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
        let but_three = to_give(NodeId(1), &led([5, 5, 0]), |node| node != NodeId(3));
        assert_eq!(but_three, None);
        let but_three = to_give(NodeId(1), &led([9, 5, 0]), |node| node != NodeId(3));
        assert_eq!(but_three, Some((NodeId(2), 1)));
    }

    #[test]
    fn whatever_the_leads_all_nodes_that_give_come_to_an_even_spread_and_stay_there() {
        for start in [[30, 0, 0], [1, 17, 80], [3334, 3333, 0], [10, 10, 9], [0, 0, 1]] {
            let mut counts = led(start);
            let mut rounds = 0;
            loop {
                let gifts: Vec<_> =
                    counts.keys().filter_map(|me| Some((*me, to_give(*me, &counts, |_| true)?))).collect();
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
}
