//! Where a command goes next, given what was answered so far. Pure: values in, values out.
//!
//! A node that does not lead names who does, as far as it knows; its word is taken once. When everybody who was named has
//! refused or cannot be reached, there is a pause, and then this node's own replica is asked again: heartbeats tell it of a new
//! leader first. So a group without a leader costs one question per pause, and never a busy loop.

use highwater_raft::NodeId;

/// First pause, in microseconds.
const FIRST_PAUSE_MICROS: u64 = 10_000;
/// Longest pause, in microseconds.
const LONGEST_PAUSE_MICROS: u64 = 160_000;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Propose on this node.
    Here,
    /// Ask this node to propose.
    There(NodeId),
    /// Wait for so many microseconds.
    Pause(u64),
}

/// The way of one command.
#[derive(Debug)]
pub(super) struct Route {
    me: NodeId,
    next: Option<NodeId>,
    /// Who did not lead, or was not reachable, since the last pause.
    refused: Vec<NodeId>,
    /// The nodes that have a replica, when this one has none.
    homes: Vec<NodeId>,
    pause_micros: u64,
}

impl Route {
    /// A way that begins at `first`, or at this node when nobody is known to lead.
    pub(super) fn new(me: NodeId, first: Option<NodeId>) -> Self {
        let next = Some(first.unwrap_or(me));
        Self { me, next, refused: Vec::new(), homes: Vec::new(), pause_micros: FIRST_PAUSE_MICROS }
    }

    /// A way from a node that has no replica: it begins at `first` or else at the first of the `homes`, and these are asked in turn who
    /// leads.
    pub(super) fn of_seat(me: NodeId, first: Option<NodeId>, homes: Vec<NodeId>) -> Self {
        let next = first.or(homes.first().copied());
        Self { me, next, refused: Vec::new(), homes, pause_micros: FIRST_PAUSE_MICROS }
    }

    /// The next step. `random` spreads the pauses of many commands: each lasts between half of its length and all of it.
    pub(super) fn step(&mut self, random: u64) -> Step {
        match self.next {
            Some(node) if node == self.me => Step::Here,
            Some(node) => Step::There(node),
            None => {
                let half = self.pause_micros / 2;
                self.pause_micros = self.pause_micros.saturating_mul(2).min(LONGEST_PAUSE_MICROS);
                self.refused.clear();
                // Who was asked first the last time is asked last the next.
                let homes = self.homes.len().min(1);
                self.homes.rotate_left(homes);
                self.next = Some(self.homes.first().copied().unwrap_or(self.me));
                Step::Pause(half + random % half.max(1))
            }
        }
    }

    /// `node` does not lead; it believes that `leader` does.
    pub(super) fn not_leader(&mut self, node: NodeId, leader: Option<NodeId>) {
        self.refused.push(node);
        let untried = |node: &NodeId| !self.refused.contains(node);
        self.next = leader.filter(untried).or_else(|| self.homes.iter().copied().find(untried));
    }

    /// `node` cannot be asked now. This node's own replica may know of another leader meanwhile.
    pub(super) fn not_reached(&mut self, node: NodeId) {
        let own = self.homes.is_empty().then_some(self.me);
        self.not_leader(node, own);
    }

    /// The same again, after a pause.
    pub(super) fn later(&mut self) {
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const THREE: NodeId = NodeId(3);

    fn pause(route: &mut Route) -> u64 {
        match route.step(0) {
            Step::Pause(micros) => micros,
            step @ (Step::Here | Step::There(_)) => unreachable!("{step:?} is no pause"),
        }
    }

    #[test]
    fn the_known_leader_is_asked_first_and_without_one_this_node() {
        assert_eq!(Route::new(ME, Some(TWO)).step(0), Step::There(TWO));
        assert_eq!(Route::new(ME, Some(ME)).step(0), Step::Here);
        assert_eq!(Route::new(ME, None).step(0), Step::Here);
    }

    #[test]
    fn a_hint_is_followed_at_once_and_to_this_node_too() {
        let mut route = Route::new(ME, Some(TWO));
        route.not_leader(TWO, Some(THREE));
        assert_eq!(route.step(0), Step::There(THREE));
        route.not_leader(THREE, Some(ME));
        assert_eq!(route.step(0), Step::Here);
    }

    #[test]
    fn nodes_that_name_each_other_are_asked_once_each_before_a_pause() {
        let mut route = Route::new(ME, Some(TWO));
        route.not_leader(TWO, Some(THREE));
        route.not_leader(THREE, Some(TWO));
        assert!(pause(&mut route) > 0);
        assert_eq!(route.step(0), Step::Here);
        route.not_leader(ME, Some(TWO));
        assert_eq!(route.step(0), Step::There(TWO), "after a pause it may be asked again");
    }

    #[test]
    fn a_leader_that_cannot_be_reached_is_left_for_the_own_replicas_word_and_then_for_a_pause() {
        let mut route = Route::new(ME, Some(TWO));
        route.not_reached(TWO);
        assert_eq!(route.step(0), Step::Here);
        route.not_leader(ME, Some(TWO));
        pause(&mut route);
    }

    #[test]
    fn without_a_replica_the_homes_are_asked_in_turn_and_this_node_never() {
        let mut route = Route::of_seat(ME, None, vec![TWO, THREE]);
        assert_eq!(route.step(0), Step::There(TWO));
        route.not_leader(TWO, None);
        assert_eq!(route.step(0), Step::There(THREE), "who knows of no leader is no reason not to ask the next");
        route.not_reached(THREE);
        pause(&mut route);
        assert_eq!(route.step(0), Step::There(THREE), "another one comes first after a pause");
        route.not_leader(THREE, Some(NodeId(4)));
        assert_eq!(route.step(0), Step::There(NodeId(4)), "a hint is followed wherever it leads");
        assert_eq!(Route::of_seat(ME, Some(THREE), vec![TWO]).step(0), Step::There(THREE));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_spread() {
        let mut route = Route::new(ME, None);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            route.not_leader(ME, None);
            pauses.push(pause(&mut route));
        }
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 80_000, 80_000, 80_000]);
        route.later();
        assert_eq!(route.step(u64::MAX), Step::Pause(80_000 + u64::MAX % 80_000));
    }
}
