//! Messages on their way out, and what must be durable before each may leave.
//!
//! What a message claims about this replica (a vote, entries that it holds, the end of its log, its very term) must survive a
//! crash; so it waits for the write that makes it true. A leader's appends and heartbeats claim nothing that is not durable:
//! its term was before it led.

use crate::ids::{LogIndex, NodeId, Term};
use crate::message::{Message, MessageKind};
use crate::node::RawNode;

/// A message that waits until everything up to `last` and the present term and vote are durable.
#[derive(Clone, Debug)]
struct Claim {
    last: LogIndex,
    message: Message,
}

/// The queues.
#[derive(Debug)]
pub(crate) struct Outbox {
    now: Vec<Message>,
    claims: Vec<Claim>,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self { now: Vec::new(), claims: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.claims.is_empty()
    }

    /// A new term began: what was to be said in earlier ones is stale, and would be said without ever having been durable.
    pub(crate) fn forget_claims(&mut self) {
        self.claims.clear();
    }

    /// Entries above `index` were dropped before they were given to the driver: nobody may claim them any more.
    pub(crate) fn forget_claims_above(&mut self, index: LogIndex) {
        self.claims.retain(|claim| claim.last <= index);
    }
}

impl RawNode {
    /// Sends to `to`, in the present term, as soon as that term is durable.
    pub(crate) fn send(&mut self, to: NodeId, kind: MessageKind) {
        let message = self.message(to, self.term, kind);
        if self.durable_vote.0 == self.term {
            self.post(message);
        } else {
            self.work.outbox.claims.push(Claim { last: LogIndex(0), message });
        }
    }

    /// Sends about an election in `term` that has not begun and binds nobody: at once.
    pub(crate) fn send_unbound(&mut self, to: NodeId, term: Term, kind: MessageKind) {
        let message = self.message(to, term, kind);
        self.post(message);
    }

    /// Sends what claims that this replica holds everything up to `last`, in the present term, once it does durably.
    pub(crate) fn send_when_held(&mut self, to: NodeId, last: LogIndex, kind: MessageKind) {
        let message = self.message(to, self.term, kind);
        let durable =
            self.durable_vote.0 == self.term && self.log.persisted() >= last && self.log.installing().is_none();
        if durable || self.mutant(4) {
            self.post(message);
        } else {
            self.work.outbox.claims.push(Claim { last, message });
        }
    }

    /// Sends what claims the present vote, and a log up to `last`, once both are durable.
    pub(crate) fn send_when_voted(&mut self, to: NodeId, last: LogIndex, kind: MessageKind) {
        let message = self.message(to, self.term, kind);
        let durable = self.durable_vote == (self.term, self.vote)
            && self.log.persisted() >= last
            && self.log.installing().is_none();
        let granted = matches!(message.kind, MessageKind::VoteResponse { .. });
        if durable || (self.mutant(2) && granted) || (self.mutant(61) && !granted) {
            self.post(message);
        } else {
            self.work.outbox.claims.push(Claim { last, message });
        }
    }

    fn message(&self, to: NodeId, term: Term, kind: MessageKind) -> Message {
        Message { group: self.group, from: self.id, to, term, kind }
    }

    fn post(&mut self, message: Message) {
        self.trace.message("send", &message);
        self.work.outbox.now.push(message);
    }

    /// What a ready takes along: messages to send at once, and those to send after its write
    /// (and all before it) is durable. `writes`: whether it has one.
    pub(crate) fn take_messages(&mut self, writes: bool) -> (Vec<Message>, Vec<Message>) {
        let given = self.log.given();
        let mut after = Vec::new();
        if !self.work.outbox.claims.is_empty() {
            let (due, later) =
                std::mem::take(&mut self.work.outbox.claims).into_iter().partition(|claim| claim.last <= given);
            self.work.outbox.claims = later;
            after = Vec::from_iter(due.into_iter().map(|claim: Claim| claim.message));
            for message in &after {
                self.trace.message("send", message);
            }
        }
        let mut now = std::mem::take(&mut self.work.outbox.now);
        if !writes && self.work.in_flight.is_empty() {
            now.append(&mut after);
        }
        (now, after)
    }
}
