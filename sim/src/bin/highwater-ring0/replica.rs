//! One machine: a disk, and while it is up a replica with what its driver has in hand.

use std::collections::VecDeque;
use std::rc::Rc;

use highwater_raft::{
    Config, Entry, LogIndex, LogRead, Membership, NodeId, RawNode, ReadContext, Role, SnapshotMeta, Term,
};

use crate::disk::{Disk, State, Write};

/// A linearizable read on its way.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The attempt.
    pub context: ReadContext,
    /// What was committed when it was asked for: it must not be answered with less.
    pub floor: LogIndex,
    /// The index that it was given, once it was.
    pub index: Option<LogIndex>,
}

/// How a snapshot's transfer ended, before its sender's driver knows.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// To whom it went.
    pub to: NodeId,
    /// Its end, if it arrived.
    pub arrived: Option<LogIndex>,
}

/// What a node showed after its last step of this life.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Its commit index.
    pub commit: LogIndex,
    /// Its applied index.
    pub applied: LogIndex,
}

/// One machine.
#[derive(Debug)]
pub struct Replica {
    /// Its identity; another one after its disk was lost.
    pub id: NodeId,
    /// The replica; `None` while it is down.
    pub raft: Option<RawNode>,
    /// What survives.
    pub disk: Disk,
    /// The state machine in memory.
    pub state: State,
    /// Writes under way, oldest first.
    pub writes: VecDeque<Write>,
    /// Committed entries to apply.
    pub applies: VecDeque<Entry>,
    /// Reads of the log for followers.
    pub log_reads: VecDeque<LogRead>,
    /// Members that want a snapshot.
    pub wanted: VecDeque<NodeId>,
    /// Ends of transfers that it does not know of yet.
    pub reports: VecDeque<Report>,
    /// Snapshots that arrived whole.
    pub staged: Vec<(SnapshotMeta, State)>,
    /// Reads asked for here.
    pub reads: Vec<Reading>,
    /// The newest attempt's number.
    pub last_context: u64,
    /// The last change of membership that it proposed in this life.
    pub proposed_change: (Term, LogIndex),
    /// What it showed last.
    pub seen: Seen,
}

impl Replica {
    /// A machine that is down, with an empty disk.
    pub fn new(id: NodeId, membership: Membership) -> Self {
        Self {
            id,
            raft: None,
            disk: Disk::new(membership),
            state: State::default(),
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            log_reads: VecDeque::new(),
            wanted: VecDeque::new(),
            reports: VecDeque::new(),
            staged: Vec::new(),
            reads: Vec::new(),
            last_context: 0,
            proposed_change: (Term(0), LogIndex(0)),
            seen: Seen { role: Role::Follower, term: Term(0), commit: LogIndex(0), applied: LogIndex(0) },
        }
    }

    /// Starts from the disk. Contexts of reads begin anew in every life.
    pub fn start(&mut self, template: &Config, random_seed: u64) -> Result<(), String> {
        let mut config = template.clone();
        config.id = self.id;
        config.random_seed = random_seed;
        config.membership = Rc::new(self.disk.flushed.membership.clone());
        let raft = RawNode::restart(config, self.disk.hard_state, self.disk.bounds()?, self.disk.flushed.index);
        let raft = raft.map_err(|error| format!("node {} cannot start: {error}", self.id))?;
        let status = raft.status();
        self.state = self.disk.flushed.clone();
        self.seen = Seen { role: status.role, term: status.term, commit: status.commit, applied: status.applied };
        self.raft = Some(raft);
        Ok(())
    }

    /// Loses power: everything but the disk.
    pub fn stop(&mut self) {
        let (id, disk) = (self.id, self.disk.clone());
        *self = Self { disk, ..Self::new(id, Membership::default()) };
    }
}
