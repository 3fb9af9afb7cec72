//! Linearizable reads: ReadIndex, section 6.4 of the Raft thesis, on any member.
//!
//! A read's index is the commit index at the time it reached the leader, or later, and it is given out only by a leader that
//! has committed in its own term (before that it may not know everything that was committed: etcd issue 7331) and only once
//! a quorum has confirmed, after the read came, that it still follows. Reads that come between two readies share one round
//! of heartbeats. Rounds are numbered and confirmed in order, so that any later confirmation makes up for a lost one.
//!
//! An answer is bound to the attempt that asked: to its context, to the asker's life and to the term (etcd issue 20418).

use std::collections::VecDeque;

use crate::entry::Role;
use crate::error::ReadError;
use crate::ids::{LogIndex, NodeId, ReadContext, ReadRound};
use crate::message::MessageKind;
use crate::node::RawNode;
use crate::ready::ReadState;
use crate::work::Work;

/// Who asked.
#[derive(Clone, Copy, Debug)]
struct Request {
    from: NodeId,
    life: u64,
    context: ReadContext,
}

/// A read whose index is known, and which waits for a quorum to confirm `round`.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: Request,
    index: LogIndex,
    round: ReadRound,
}

/// A read that this follower passed on, and the ticks that it waits on.
#[derive(Clone, Copy, Debug)]
struct Forwarded {
    context: ReadContext,
    ticks_left: u32,
}

/// The reads of one replica that have no answer yet.
#[derive(Debug)]
pub(crate) struct Reads {
    postponed: VecDeque<Request>,
    waiting: VecDeque<Waiting>,
    /// A read waits for the round after the newest that was begun.
    unsent: bool,
    forwarded: VecDeque<Forwarded>,
}

impl Reads {
    pub(crate) const fn new() -> Self {
        Self { postponed: VecDeque::new(), waiting: VecDeque::new(), unsent: false, forwarded: VecDeque::new() }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.postponed.len().saturating_add(self.waiting.len()).saturating_add(self.forwarded.len())
    }

    /// Whether nobody waits, and no round is to be begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting() == 0 && !self.unsent
    }

    pub(crate) fn has_unsent_round(&self) -> bool {
        self.unsent
    }

    pub(crate) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    pub(crate) fn has_rounds(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn has_forwarded(&self) -> bool {
        !self.forwarded.is_empty()
    }
}

impl RawNode {
    /// Asks for an index at which a read is linearizable, of the leader if this replica does not lead. The answer comes in
    /// [`crate::Ready::read_states`], or, when leadership changes first or the leader does not answer within an election
    /// timeout, in [`crate::Ready::failed_reads`]. Every attempt, a retry too, takes a context above all earlier ones.
    ///
    /// # Errors
    /// [`ReadError`]; no answer follows then.
    pub fn read_index(&mut self, context: ReadContext) -> Result<(), ReadError> {
        let leader = match (self.role, self.leader) {
            (Role::Leader, _) => None,
            (Role::Follower, Some(leader)) => Some(leader),
            (Role::Follower | Role::PreCandidate | Role::Candidate, leader) => {
                return Err(ReadError::NotLeader { leader });
            }
        };
        if let Some(last) = self.last_read.filter(|last| context <= *last) {
            return Err(ReadError::StaleContext { context, last });
        }
        let limit = self.limits.max_pending_reads;
        if self.work.reads.waiting().saturating_add(self.work.read_states.len()) >= limit {
            return Err(ReadError::TooManyPending { limit });
        }
        self.wake();
        self.last_read = Some(context);
        let life = self.seed;
        if let Some(leader) = leader {
            self.work.reads.forwarded.push_back(Forwarded { context, ticks_left: self.limits.election_ticks });
            self.send(leader, MessageKind::ReadIndex { life, context });
        } else {
            self.work.reads.postponed.push_back(Request { from: self.id, life, context });
            self.release_reads();
        }
        self.stepped("read_index");
        Ok(())
    }

    pub(crate) fn take_read_index(&mut self, from: NodeId, life: u64, context: ReadContext) {
        let full =
            self.work.reads.waiting().saturating_add(self.work.read_states.len()) >= self.limits.max_pending_reads;
        if self.role != Role::Leader || full {
            self.send(from, MessageKind::ReadIndexResponse { life, context, index: None });
            return;
        }
        self.work.reads.postponed.push_back(Request { from, life, context });
        self.release_reads();
    }

    pub(crate) fn take_read_index_response(&mut self, life: u64, context: ReadContext, index: Option<LogIndex>) {
        let reused = self.mutant(21);
        let asked = |forwarded: &Forwarded| reused || forwarded.context == context;
        if life != self.seed && !reused && !self.mutant(74) {
            return;
        }
        let Some(at) = self.work.reads.forwarded.iter().position(asked) else { return };
        let context = self.work.reads.forwarded.remove(at).map_or(context, |forwarded| forwarded.context);
        match index {
            Some(index) => self.work.read_states.push(ReadState { context, index }),
            None => self.work.failed_reads.push(context),
        }
    }

    /// Begins the reads that were put off, if this leader knows the commit index, and answers those that need nobody else.
    pub(crate) fn release_reads(&mut self) {
        if !(self.committed_in_own_term() || (self.role == Role::Leader && self.mutant(20))) {
            return;
        }
        let (index, round) = (self.log.commit(), ReadRound(self.read_round.0.saturating_add(1)));
        if !self.work.reads.postponed.is_empty() {
            self.work.reads.unsent = true;
        }
        while let Some(request) = self.work.reads.postponed.pop_front() {
            self.work.reads.waiting.push_back(Waiting { request, index, round });
        }
        self.confirm_reads();
    }

    /// Begins the round that reads wait for.
    pub(crate) fn begin_read_round(&mut self) {
        if std::mem::take(&mut self.work.reads.unsent) {
            self.read_round = ReadRound(self.read_round.0.saturating_add(1));
            self.heartbeat_elapsed = 0;
            self.send_heartbeats();
        }
    }

    /// Answers the reads whose round a quorum has confirmed. This leader confirms every round by itself.
    pub(crate) fn confirm_reads(&mut self) {
        if self.work.reads.waiting.is_empty() {
            return;
        }
        let id = self.id;
        let every = ReadRound(u64::MAX);
        let confirmed = |node: NodeId| {
            if node == id { every } else { self.peer(node).map_or(ReadRound(0), |peer| peer.round) }
        };
        let reached = if self.mutant(19) { every } else { self.membership.reached(confirmed) };
        while let Some(read) = self.work.reads.waiting.pop_front_if(|read| read.round <= reached) {
            let Request { from, life, context } = read.request;
            if from == id {
                self.work.read_states.push(ReadState { context, index: read.index });
            } else {
                self.send(from, MessageKind::ReadIndexResponse { life, context, index: Some(read.index) });
            }
        }
        if self.work.reads.waiting.is_empty() {
            self.work.reads.unsent = false;
        }
    }

    /// The leader changed: what this node asked for is to be asked again.
    pub(crate) fn fail_reads(&mut self) {
        let id = self.id;
        let Work { reads, failed_reads, .. } = &mut *self.work;
        let requests = reads.postponed.drain(..).chain(reads.waiting.drain(..).map(|read| read.request));
        let own = requests.filter(|request| request.from == id).map(|request| request.context);
        failed_reads.extend(own);
        failed_reads.extend(reads.forwarded.drain(..).map(|forwarded| forwarded.context));
        reads.unsent = false;
    }

    /// One tick of waiting for the leader's answer.
    pub(crate) fn give_up_forwarded_reads(&mut self) {
        for forwarded in &mut self.work.reads.forwarded {
            forwarded.ticks_left = forwarded.ticks_left.saturating_sub(1);
        }
        while let Some(given_up) = self.work.reads.forwarded.pop_front_if(|forwarded| forwarded.ticks_left == 0) {
            self.work.failed_reads.push(given_up.context);
        }
    }
}
