//! A replica's configuration and its checks. Read once, when the replica starts.

use std::rc::Rc;

use crate::error::RaftError;
use crate::ids::{GroupId, NodeId};
use crate::membership::Membership;

/// How one replica of one group is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// The group.
    pub group: GroupId,
    /// Who belongs to the group, as of the last applied entry that the replica is started with. The empty membership is that
    /// of a replica that was only just placed here: it learns everything from a snapshot. Groups with the same one may share it.
    pub membership: Rc<Membership>,
    /// Times and sizes; the groups of a node share them.
    pub limits: Rc<Limits>,
    /// Randomness for this replica's election timeouts; different on every node and at every start. It also tells answers to
    /// this life's reads from answers to an earlier one's.
    pub random_seed: u64,
    /// A planted bug to switch on; 0 for none.
    #[cfg(feature = "mutants")]
    pub mutant: u32,
}

/// The times and sizes that a replica keeps to. Times are in ticks, whose length the driver chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
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
    /// Soft limit on the bytes of entries in one message; one entry always fits.
    pub max_message_bytes: usize,
    /// Appends that may be on their way to one follower without an answer.
    pub max_inflight_messages: usize,
    /// Soft limit on the bytes of entries on their way to one follower; one message always fits.
    pub max_inflight_bytes: usize,
    /// A leader keeps entries that are done with in memory for followers that lack them, up to so many bytes in all. What is
    /// not in memory is asked of the driver ([`crate::Ready::log_reads`]).
    pub max_retained_bytes: usize,
    /// Reads that may wait for their index at one time.
    pub max_pending_reads: usize,
}

impl Default for Limits {
    /// Election after 10 ticks, heartbeat every 2, 64 MiB uncommitted, 4 MiB per ready, 1 MiB per message, 256 messages and 16 MiB in
    /// flight to a follower, 4 MiB retained for followers, 65,536 waiting reads.
    fn default() -> Self {
        Self {
            election_ticks: 10,
            heartbeat_ticks: 2,
            max_uncommitted_bytes: 64 << 20,
            max_ready_bytes: 4 << 20,
            max_message_bytes: 1 << 20,
            max_inflight_messages: 256,
            max_inflight_bytes: 16 << 20,
            max_retained_bytes: 4 << 20,
            max_pending_reads: 65_536,
        }
    }
}

impl Config {
    /// The configuration of a group's only voter, with default limits.
    #[must_use]
    pub fn sole_voter(id: NodeId, group: GroupId) -> Self {
        Self::member(id, group, Membership::new(&[id], &[]))
    }

    /// The configuration of one replica of a group, with default limits of its own.
    #[must_use]
    pub fn member(id: NodeId, group: GroupId, membership: impl Into<Rc<Membership>>) -> Self {
        Self {
            id,
            group,
            membership: membership.into(),
            limits: Rc::default(),
            random_seed: 0,
            #[cfg(feature = "mutants")]
            mutant: 0,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), RaftError> {
        let invalid = |reason: &'static str| Err(RaftError::InvalidConfig { group: self.group, reason });
        if self.id == NodeId(0) {
            return invalid("node id 0 is reserved");
        }
        if let Err(reason) = self.membership.check() {
            return invalid(reason);
        }
        let limits = &*self.limits;
        if limits.heartbeat_ticks == 0 || limits.election_ticks <= limits.heartbeat_ticks {
            return invalid("heartbeat_ticks must be at least 1 and below election_ticks");
        }
        let sizes = [
            limits.max_uncommitted_bytes,
            limits.max_ready_bytes,
            limits.max_message_bytes,
            limits.max_inflight_messages,
            limits.max_inflight_bytes,
            limits.max_pending_reads,
        ];
        if sizes.contains(&0) {
            return invalid("limits must be above zero");
        }
        Ok(())
    }
}
