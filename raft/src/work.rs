//! What a replica has on its hands: questions without an answer, messages that have not left, what waits for the driver. A replica
//! that sleeps has nothing of that, and no memory for it.

use std::collections::VecDeque;

use crate::ids::{NodeId, ReadContext};
use crate::message::SnapshotMeta;
use crate::node::Campaign;
use crate::on_demand::Empty;
use crate::outbox::Outbox;
use crate::read::Reads;
use crate::ready::{InFlight, LogRead, ReadState};
use crate::transfer::Transfer;

/// Everything that is under way in one replica, but for the log's own.
#[derive(Debug)]
pub(crate) struct Work {
    /// Answers to this (pre-)candidate.
    pub(crate) votes: Vec<(NodeId, bool)>,
    /// Campaign as soon as what is known to be committed is applied.
    pub(crate) campaign_due: Option<Campaign>,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) outbox: Outbox,
    pub(crate) reads: Reads,
    pub(crate) in_flight: VecDeque<InFlight>,
    /// A snapshot to install, not given to the driver yet.
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) snapshots_wanted: Vec<NodeId>,
    pub(crate) log_reads: Vec<LogRead>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) failed_reads: Vec<ReadContext>,
}

impl Work {
    const fn new() -> Self {
        Self {
            votes: Vec::new(),
            campaign_due: None,
            transfer: None,
            outbox: Outbox::new(),
            reads: Reads::new(),
            in_flight: VecDeque::new(),
            snapshot: None,
            snapshots_wanted: Vec::new(),
            log_reads: Vec::new(),
            read_states: Vec::new(),
            failed_reads: Vec::new(),
        }
    }
}

impl Empty for Work {
    const EMPTY: &'static Self = &Self::new();

    fn new_empty() -> Self {
        Self::new()
    }

    fn is_empty(&self) -> bool {
        let Self {
            votes,
            campaign_due,
            transfer,
            outbox,
            reads,
            in_flight,
            snapshot,
            snapshots_wanted,
            log_reads,
            read_states,
            failed_reads,
        } = self;
        votes.is_empty()
            && campaign_due.is_none()
            && transfer.is_none()
            && outbox.is_empty()
            && reads.is_empty()
            && in_flight.is_empty()
            && snapshot.is_none()
            && snapshots_wanted.is_empty()
            && log_reads.is_empty()
            && read_states.is_empty()
            && failed_reads.is_empty()
    }
}
