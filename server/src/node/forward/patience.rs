//! How long a command waits for the leader that it was sent to. Pure: what is seen goes in, whether to go on waiting comes out.
//!
//! A leader that is paused, or cut off without a word, answers neither yes nor no, and its connections may stay for long. Whoever
//! waits for it looks now and then at what its own replica says and at the node's signs of life, and leaves when they agree that no
//! answer is to be had there. To leave says nothing of the command: it may still be applied.

use highwater_raft::NodeId;

use crate::node::liveness::Sign;

/// The first look comes so late that an answer of a sound leader is there before it, in microseconds.
pub(super) const FIRST_LOOK_MICROS: u64 = 150_000;
/// Between two looks, in microseconds.
pub(super) const LOOK_MICROS: u64 = 100_000;
/// In so many looks, one after the other, the own replica must name somebody else: once, it may be the one that is behind.
const LOOKS: u32 = 2;

/// What one command has seen of the leader that it waits for.
#[derive(Debug)]
pub(super) struct Patience {
    asked: NodeId,
    others_named: u32,
}

impl Patience {
    /// With `asked`, from now on.
    pub(super) const fn new(asked: NodeId) -> Self {
        Self { asked, others_named: 0 }
    }

    /// One more look: whom this node's replica takes for the leader, if for anyone, and what is known of the asked node's life. Whether
    /// the command is to wait no longer.
    pub(super) fn is_over(&mut self, named: Option<NodeId>, sign: Sign) -> bool {
        match named {
            // Its heartbeats still count, or are missed too shortly; were it gone, the replica would soon say so.
            Some(leader) if leader == self.asked => {
                self.others_named = 0;
                false
            }
            Some(_) => {
                self.others_named += 1;
                self.others_named >= LOOKS
            }
            None => {
                self.others_named = 0;
                sign == Sign::Lost
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NodeId = NodeId(2);
    const THREE: NodeId = NodeId(3);

    #[test]
    fn a_leader_that_the_own_replica_follows_is_waited_for_however_long() {
        let mut patience = Patience::new(TWO);
        assert!((0..1000).all(|_| !patience.is_over(Some(TWO), Sign::Alive)));
        assert!(!patience.is_over(Some(TWO), Sign::Lost), "an election comes first");
    }

    #[test]
    fn a_leader_that_another_one_has_replaced_is_left_at_the_second_look_that_says_so() {
        let mut patience = Patience::new(TWO);
        assert!(!patience.is_over(Some(THREE), Sign::Alive));
        assert!(patience.is_over(Some(THREE), Sign::Alive));
    }

    #[test]
    fn a_replica_that_was_only_behind_leaves_nobody() {
        let mut patience = Patience::new(TWO);
        assert!(!patience.is_over(Some(THREE), Sign::Alive));
        assert!(!patience.is_over(Some(TWO), Sign::Alive));
        assert!(!patience.is_over(Some(THREE), Sign::Alive));
    }

    #[test]
    fn while_nobody_leads_only_a_lost_node_is_left() {
        let mut patience = Patience::new(TWO);
        assert!(!patience.is_over(None, Sign::Alive));
        assert!(!patience.is_over(None, Sign::Doubtful));
        assert!(patience.is_over(None, Sign::Lost));
    }
}
