//! What befalls a cluster besides crashes: partitions, pauses, slow and resetting links, clocks, and what an administrator orders. Pure:
//! drawn with the plan.

use highwater_runtime::network::Link;
use highwater_runtime::rng::Rng;

/// Whom something befalls; found out when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This node.
    Node(usize),
    /// The node that leads most groups just then.
    Leader,
    /// All nodes at once (crashes only; anything else takes the first).
    All,
}

/// What befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// \[N5\] \[N7\] Nothing passes between this node and the others; clients reach it.
    Isolate(Target),
    /// \[N6\] Nothing comes to this node from the others; it reaches them.
    Deafen(Target),
    /// \[N6\] Nothing goes from this node to the others; it hears them.
    Mute(Target),
    /// \[N5\] Two nodes do not reach each other, a third reaches both: this one.
    Bridge(Target),
    /// \[N14\] Clients do not reach this node; the nodes reach each other.
    Hide(Target),
    /// \[N8\] The nodes are isolated one by one and joined again in another order.
    Swizzle,
    /// \[N9\] Every connection between nodes is reset.
    Reset,
    /// \[N12\] Everything from and to this node is slow.
    Slow(Target),
    /// \[P4\] The process stops and goes on.
    Pause(Target),
    /// \[S8\] The node's disk has no space for anything new.
    Fill(Target),
    /// \[S12\] Every operation of the node's disk takes long.
    SlowDisk(Target),
    /// \[W1\] \[M8\] No client asks anything.
    Quiet,
    /// \[C3\] The wall clock jumps by so many microseconds.
    Jump(Target, i64),
}

/// One trouble and when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Once so many writes were acknowledged.
    pub after_writes: u64,
    /// And so many microseconds have passed.
    pub delay: u64,
    /// What.
    pub trouble: Trouble,
    /// For so many microseconds.
    pub lasts: u64,
}

/// What an administrator orders of a cluster that runs. Nodes are numbered from 0; the first one that joins is the first behind the founders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// \[M4\] This node is to lead the group.
    Transfer(u32, usize),
    /// \[M1\] This node is to vote in the group, in the place of another one where enough do.
    Move(u32, usize),
    /// \[M1\] Votes are to be spread evenly.
    Rebalance,
    /// \[M1\] A new machine is to be let in.
    Join,
    /// \[M1\] \[M3\] This node is to leave for good, whatever it leads.
    Leave(usize),
}

/// One order and when it is given: once so many writes were acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// So many.
    pub after_writes: u64,
    /// What.
    pub order: Order,
}

/// How a node's clocks go from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// \[C1\] Microseconds that the wall clock is ahead.
    pub offset: i64,
    /// \[C2\] Parts per million that it runs fast.
    pub drift: i64,
}

/// What a cluster's plan has besides a single node's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// In order of `after_writes`.
    pub disturbances: Vec<Disturbance>,
    /// From each node to each node, with the numbers of both.
    pub links: Vec<(usize, usize, Link)>,
    /// Between clients and nodes, either way.
    pub client_link: Link,
    /// One per node.
    pub skews: Vec<Skew>,
    /// The log is kept for whoever lacks it, however long that is: nobody needs a snapshot.
    pub keeps_log: bool,
    /// The node that stays down, for good, while the clients must be able to finish.
    pub stays_down: Option<usize>,
    /// \[P10\] Instead of staying down it comes back with an empty disk, under its old name.
    pub loses_disk: bool,
    /// The node whose disk fails operations; the others' only lose what a power cut may lose.
    pub bad_disk: usize,
    /// \[S9\] That disk turns bits over, too: the node is taken out at the end and has no part in what is verified.
    pub rots: bool,
    /// In order of `after_writes`.
    pub orders: Vec<Ordered>,
    /// Clients aim at nodes that are cut off or paused.
    pub probes: bool,
}

impl Surroundings {
    /// Of a cluster of `nodes`; `spread` is the number of writes that troubles are spread over.
    #[must_use]
    pub fn draw(rng: &mut Rng, nodes: usize, spread: u64) -> Self {
        let mut surroundings = Self { bad_disk: pick(rng, nodes), ..Self::default() };
        surroundings.skews = vec![Skew::default(); nodes];
        if nodes == 1 {
            return surroundings;
        }
        let troubled = !rng.chance(0.15);
        if troubled {
            surroundings.disturbances = (0..2 + rng.below(8)).map(|_| draw_disturbance(rng, nodes, spread)).collect();
            surroundings.disturbances.sort_by_key(|disturbance| disturbance.after_writes);
        }
        let bad_links = rng.chance(0.5);
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                let link = if bad_links { Link::swarm(rng, true) } else { Link::sound() };
                surroundings.links.push((from, to, link));
            }
        }
        surroundings.client_link =
            if rng.chance(0.5) { Link { refuse: 0.0, ..Link::swarm(rng, false) } } else { Link::sound() };
        if rng.chance(0.5) {
            let within = |rng: &mut Rng, bound: i64| draw_signed(rng, bound);
            surroundings.skews =
                (0..nodes).map(|_| Skew { offset: within(rng, 200_000), drift: within(rng, 500) }).collect();
        }
        surroundings.keeps_log = rng.chance(0.5);
        surroundings.stays_down = rng.chance(0.5).then(|| pick(rng, nodes));
        surroundings.loses_disk = surroundings.stays_down.is_some() && rng.chance(0.4);
        surroundings
    }

    /// What is done to the membership while clients work, what rots, and whether anybody probes. `groups` is how many there are.
    pub fn draw_orders(&mut self, rng: &mut Rng, nodes: usize, groups: u32, spread: u64) {
        if nodes == 1 {
            return;
        }
        self.probes = !rng.chance(0.1);
        if rng.chance(0.1) {
            (self.rots, self.stays_down, self.loses_disk) = (true, None, false);
        }
        let mut orders = Vec::new();
        let mut give = |after_writes, order| orders.push(Ordered { after_writes, order });
        let group = |rng: &mut Rng| u32::try_from(rng.below(u64::from(groups))).unwrap_or(0);
        let transfers = if rng.chance(0.5) { 1 + rng.below(4) } else { 0 };
        for _ in 0..transfers {
            give(5 + rng.below(spread), Order::Transfer(group(rng), pick(rng, nodes)));
        }
        if !self.rots && rng.chance(0.4) {
            let joined = 5 + rng.below(spread / 2);
            give(joined, Order::Join);
            for _ in 0..rng.below(4) {
                give(joined + rng.below(spread / 2), Order::Move(group(rng), pick(rng, nodes + 1)));
            }
            if rng.chance(0.4) {
                give(joined + rng.below(spread / 2), Order::Rebalance);
            }
            // Who stays down for good is not asked to leave, or three would be left of whom one is down.
            let leaver = pick(rng, nodes + 1);
            if rng.chance(0.6) && self.stays_down.is_none_or(|node| self.loses_disk && node != leaver) {
                give(joined + 10 + rng.below(spread / 2), Order::Leave(leaver));
            }
        }
        orders.sort_by_key(|ordered| ordered.after_writes);
        self.orders = orders;
    }
}

fn pick(rng: &mut Rng, nodes: usize) -> usize {
    usize::try_from(rng.below(nodes as u64)).unwrap_or(0)
}

fn draw_signed(rng: &mut Rng, bound: i64) -> i64 {
    let span = bound.unsigned_abs() * 2 + 1;
    i64::try_from(rng.below(span)).unwrap_or(0) - bound
}

/// Leaders are where most can go wrong: half of what needs a node takes one.
#[must_use]
pub fn draw_target(rng: &mut Rng, nodes: usize) -> Target {
    if nodes > 1 && rng.chance(0.5) { Target::Leader } else { Target::Node(pick(rng, nodes)) }
}

fn draw_disturbance(rng: &mut Rng, nodes: usize, spread: u64) -> Disturbance {
    let target = draw_target(rng, nodes);
    let trouble = match rng.below(18) {
        0..3 => Trouble::Isolate(target),
        3 => Trouble::Deafen(target),
        4 => Trouble::Mute(target),
        5 => Trouble::Bridge(target),
        6 => Trouble::Hide(target),
        7 => Trouble::Swizzle,
        8 => Trouble::Reset,
        9 => Trouble::Slow(target),
        10..12 => Trouble::Pause(target),
        12 => Trouble::Fill(target),
        13 => Trouble::SlowDisk(target),
        14..16 => Trouble::Quiet,
        _ => {
            let bound = if rng.chance(0.5) { 300_000 } else { 20_000_000 };
            Trouble::Jump(target, draw_signed(rng, bound))
        }
    };
    // Shorter than an election, about one, or longer than anyone's patience with a connection.
    let lasts = match rng.below(4) {
        0 => 5_000 + rng.below(400_000),
        3 => 5_000_000 + rng.below(15_000_000),
        _ => 400_000 + rng.below(3_000_000),
    };
    Disturbance { after_writes: 5 + rng.below(spread), delay: rng.below(200_000), trouble, lasts }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_lone_node_has_no_network_to_trouble() {
        let lone = Surroundings::draw(&mut Rng::new(1), 1, 200);
        assert!(lone.disturbances.is_empty() && lone.links.is_empty() && lone.stays_down.is_none());
    }

    #[test]
    fn every_trouble_comes_in_some_seeds_and_every_kind_of_link_and_clock() {
        let drawn: Vec<Surroundings> = (0..200).map(|seed| Surroundings::draw(&mut Rng::new(seed), 3, 200)).collect();
        let kinds: std::collections::BTreeSet<String> = drawn
            .iter()
            .flat_map(|surroundings| &surroundings.disturbances)
            .map(|disturbance| format!("{:?}", disturbance.trouble).split(['(', ' ']).next().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.len(), 13, "{kinds:?}");
        let any = |holds: fn(&Surroundings) -> bool| assert!(drawn.iter().any(holds) && !drawn.iter().all(holds));
        any(|drawn| drawn.disturbances.is_empty());
        any(|drawn| drawn.links.iter().any(|(_, _, link)| link.reset > 0.0));
        any(|drawn| drawn.links.iter().any(|(_, _, link)| link.corrupt > 0.0));
        any(|drawn| drawn.links.iter().any(|(_, _, link)| link.bytes_per_second > 0));
        any(|drawn| drawn.skews.iter().any(|skew| skew.offset != 0));
        any(|drawn| drawn.stays_down.is_some());
        any(|drawn| drawn.loses_disk);
        assert!(drawn.iter().all(|drawn| drawn.client_link.corrupt == 0.0), "HTTP has no checksums");
    }

    #[test]
    fn every_order_is_given_in_some_seeds_and_nobody_leaves_before_another_one_has_joined() {
        let drawn = (0..300).map(|seed| {
            let rng = &mut Rng::new(seed);
            let mut surroundings = Surroundings::draw(rng, 3, 200);
            surroundings.draw_orders(rng, 3, 7, 200);
            surroundings
        });
        let mut kinds = std::collections::BTreeSet::new();
        for surroundings in drawn {
            let orders = &surroundings.orders;
            let at = |wanted: fn(&Order) -> bool| orders.iter().position(|ordered| wanted(&ordered.order));
            if let Some(leave) = at(|order| matches!(order, Order::Leave(_))) {
                assert!(at(|order| *order == Order::Join).is_some_and(|join| join < leave));
                assert!(surroundings.stays_down.is_none() || surroundings.loses_disk);
            }
            assert!(!surroundings.rots || surroundings.stays_down.is_none());
            kinds.extend(
                orders.iter().map(|ordered| std::mem::discriminant(&ordered.order)).map(|kind| format!("{kind:?}")),
            );
            kinds.extend(surroundings.rots.then(|| "rots".to_owned()));
            kinds.extend((!surroundings.probes).then(|| "nobody probes".to_owned()));
        }
        assert_eq!(kinds.len(), 7, "{kinds:?}");
    }
}
