//! A replica's configuration and its checks. Read once, when the replica starts.

use crate::error::RaftError;
use crate::ids::{GroupId, NodeId};

/// How one replica of one group is set up. Times are in ticks, whose length the driver chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// The group.
    pub group: GroupId,
    /// Nodes that vote, in any order, each once.
    pub voters: Vec<NodeId>,
    /// Nodes that receive the log without a vote, each once, none of them a voter.
    pub learners: Vec<NodeId>,
    /// A follower that hears nothing for this many ticks, up to twice as many, campaigns. Above `heartbeat_ticks`.
    /// A sole voter has nobody to wait for and campaigns on its first tick.
    pub election_ticks: u32,
    /// A leader shows itself to its followers this often. At least 1.
    pub heartbeat_ticks: u32,
    /// A leader refuses proposals while its uncommitted entries hold more bytes than this; also the largest entry.
    pub max_uncommitted_bytes: usize,
    /// Soft limit on the bytes of [`crate::Ready::entries`] and on those handed over to apply and not applied yet; one entry
    /// always fits.
    pub max_ready_bytes: usize,
    /// Reads that may wait for their index at one time.
    pub max_pending_reads: usize,
    /// Randomness for this replica's election timeouts; different on every node and at every start.
    pub random_seed: u64,
}

impl Config {
    /// The configuration of a group's only voter, with default limits: election after 10 ticks, heartbeat every 2, 64 MiB
    /// uncommitted, 4 MiB per ready, 65,536 waiting reads.
    #[must_use]
    pub fn sole_voter(id: NodeId, group: GroupId) -> Self {
        Self {
            id,
            group,
            voters: vec![id],
            learners: Vec::new(),
            election_ticks: 10,
            heartbeat_ticks: 2,
            max_uncommitted_bytes: 64 << 20,
            max_ready_bytes: 4 << 20,
            max_pending_reads: 65_536,
            random_seed: 0,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), RaftError> {
        let invalid = |reason: &'static str| Err(RaftError::InvalidConfig { group: self.group, reason });
        if self.id == NodeId(0) || self.voters.contains(&NodeId(0)) || self.learners.contains(&NodeId(0)) {
            return invalid("node id 0 is reserved");
        }
        if self.voters.is_empty() {
            return invalid("a group needs at least one voter");
        }
        let mut members: Vec<NodeId> = self.voters.iter().chain(&self.learners).copied().collect();
        members.sort_unstable();
        if members.windows(2).any(|pair| pair.first() == pair.last()) {
            return invalid("a node is named twice among voters and learners");
        }
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return invalid("heartbeat_ticks must be at least 1 and below election_ticks");
        }
        if self.max_uncommitted_bytes == 0 || self.max_ready_bytes == 0 || self.max_pending_reads == 0 {
            return invalid("limits must be above zero");
        }
        if self.voters != [self.id] || !self.learners.is_empty() {
            return Err(RaftError::UnsupportedMembership {
                group: self.group,
                voters: self.voters.len(),
                learners: self.learners.len(),
            });
        }
        Ok(())
    }
}
