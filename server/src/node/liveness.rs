//! Which other nodes are alive, for the groups of one store: while a group sleeps, nothing else tells whether its leader is there.
//!
//! A node answers pings, or its connection is gone: that is said of the node, once for all groups. It is advice and never an
//! answer of any group: it decides who is waited for, who is woken and who campaigns, not what is committed or read. Wrong advice
//! costs questions, and sleep.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;

use highwater_raft::NodeId;

/// A node that has not answered for so long is doubted, in microseconds: two pings are missing.
const DOUBT_MICROS: u64 = 550_000;
/// A node that has not answered for so long is lost, in microseconds: four pings are missing.
const LOST_MICROS: u64 = 1_000_000;
/// The same of a node to which there is no connection: its process has most likely ended.
const LOST_UNLINKED_MICROS: u64 = 300_000;

/// What is known of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It answers.
    Alive,
    /// It may be gone: who else says so is believed.
    Doubtful,
    /// It is gone, as far as this node can tell.
    Lost,
}

impl Sign {
    /// From whether there is a connection to the node, and for how long it has not answered, in microseconds.
    pub(crate) const fn of(is_linked: bool, silent_micros: u64) -> Self {
        let patience = if is_linked { LOST_MICROS } else { LOST_UNLINKED_MICROS };
        match silent_micros {
            micros if micros > patience => Self::Lost,
            micros if micros > DOUBT_MICROS || !is_linked => Self::Doubtful,
            _ => Self::Alive,
        }
    }
}

/// Who knows of the other nodes' lives.
pub(crate) trait Watch {
    /// The other nodes.
    fn others(&self) -> Vec<NodeId>;
    /// What is known of one.
    fn sign(&self, node: NodeId) -> Sign;
    /// Whether nothing is known that speaks against its leading: a wrong clock would.
    fn may_lead(&self, node: NodeId) -> bool;
}

/// The other nodes as of the last look at them. Without a watch all are alive and none is looked at.
#[derive(Default)]
pub(crate) struct Liveness {
    watch: OnceCell<Box<dyn Watch>>,
    lost: RefCell<BTreeSet<NodeId>>,
}

/// What a look at the nodes has found new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Nodes that were alive and are lost.
    pub(crate) lost: Vec<NodeId>,
    /// Nodes that were lost and answer.
    pub(crate) found: Vec<NodeId>,
}

impl Liveness {
    /// Who is asked from now on. Once.
    pub(crate) fn ask(&self, watch: impl Watch + 'static) {
        let _ = self.watch.set(Box::new(watch));
    }

    /// Looks at all other nodes. A node that is only doubted stays what it was.
    pub(crate) fn look(&self) -> Changes {
        let Some(watch) = self.watch.get() else { return Changes::default() };
        let (mut changes, mut lost) = (Changes::default(), self.lost.borrow_mut());
        let others = watch.others();
        for node in &others {
            match watch.sign(*node) {
                Sign::Alive if lost.remove(node) => changes.found.push(*node),
                Sign::Lost if lost.insert(*node) => changes.lost.push(*node),
                Sign::Alive | Sign::Doubtful | Sign::Lost => {}
            }
        }
        lost.retain(|node| others.contains(node));
        changes
    }

    /// The nodes that are lost, ascending.
    pub(crate) fn lost(&self) -> Vec<NodeId> {
        self.lost.borrow().iter().copied().collect()
    }

    /// Whether a node was lost at the last look.
    pub(crate) fn is_lost(&self, node: NodeId) -> bool {
        self.lost.borrow().contains(&node)
    }

    /// Whether a node is lost or doubted right now.
    pub(crate) fn is_doubted(&self, node: NodeId) -> bool {
        self.is_lost(node) || self.watch.get().is_some_and(|watch| watch.sign(node) != Sign::Alive)
    }

    /// Whether a node answers and nothing speaks against its leading.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        !self.is_doubted(node) && self.watch.get().is_none_or(|watch| watch.may_lead(node))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Told(Rc<Cell<Sign>>);

    impl Watch for Told {
        fn others(&self) -> Vec<NodeId> {
            vec![NodeId(2)]
        }

        fn sign(&self, _: NodeId) -> Sign {
            self.0.get()
        }

        fn may_lead(&self, _: NodeId) -> bool {
            true
        }
    }

    #[test]
    fn a_node_is_lost_after_a_second_of_silence_and_sooner_when_its_connection_is_gone() {
        assert_eq!(Sign::of(true, 200_000), Sign::Alive);
        assert_eq!(Sign::of(true, 600_000), Sign::Doubtful);
        assert_eq!(Sign::of(true, 1_000_001), Sign::Lost);
        assert_eq!(Sign::of(false, 100_000), Sign::Doubtful);
        assert_eq!(Sign::of(false, 300_001), Sign::Lost);
    }

    #[test]
    fn a_change_is_told_once_and_doubt_changes_nothing() {
        let (sign, liveness) = (Rc::new(Cell::new(Sign::Doubtful)), Liveness::default());
        liveness.ask(Told(Rc::clone(&sign)));
        let mut looks = Vec::new();
        for now in [Sign::Doubtful, Sign::Lost, Sign::Lost, Sign::Doubtful, Sign::Alive, Sign::Doubtful, Sign::Alive] {
            sign.set(now);
            let Changes { lost, found } = liveness.look();
            looks.push((lost.len(), found.len(), liveness.is_lost(NodeId(2))));
        }
        let (quiet, gone) = ((0, 0, false), (0, 0, true));
        assert_eq!(looks, [quiet, (1, 0, true), gone, gone, (0, 1, false), quiet, quiet]);
    }

    #[test]
    fn a_node_that_is_no_member_any_more_is_not_lost() {
        struct Leaves(Cell<usize>);
        impl Watch for Leaves {
            fn others(&self) -> Vec<NodeId> {
                [2, 3].map(NodeId).into_iter().take(self.0.replace(1)).collect()
            }
            fn sign(&self, _: NodeId) -> Sign {
                Sign::Lost
            }
            fn may_lead(&self, node: NodeId) -> bool {
                node != NodeId(3)
            }
        }
        let liveness = Liveness::default();
        liveness.ask(Leaves(Cell::new(2)));
        assert_eq!(liveness.look().lost, [2, 3].map(NodeId));
        assert_eq!((liveness.look(), liveness.lost()), (Changes::default(), vec![NodeId(2)]));
    }

    #[test]
    fn nobody_leads_on_a_node_of_which_something_speaks_against_it() {
        struct Wrong;
        impl Watch for Wrong {
            fn others(&self) -> Vec<NodeId> {
                [2, 3].map(NodeId).into()
            }
            fn sign(&self, _: NodeId) -> Sign {
                Sign::Alive
            }
            fn may_lead(&self, node: NodeId) -> bool {
                node != NodeId(3)
            }
        }
        let liveness = Liveness::default();
        liveness.ask(Wrong);
        assert!(liveness.may_lead(NodeId(2)) && !liveness.may_lead(NodeId(3)), "its clock is wrong");
    }

    #[test]
    fn nobody_leads_on_a_node_that_is_doubted() {
        let (sign, liveness) = (Rc::new(Cell::new(Sign::Alive)), Liveness::default());
        liveness.ask(Told(Rc::clone(&sign)));
        assert!(liveness.may_lead(NodeId(2)));
        sign.set(Sign::Doubtful);
        assert!(!liveness.may_lead(NodeId(2)) && liveness.is_doubted(NodeId(2)) && !liveness.is_lost(NodeId(2)));
    }
}
