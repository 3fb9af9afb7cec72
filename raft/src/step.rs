//! Messages in: what a term says about a message is decided here once, then each goes to the file of its concern.

use crate::entry::Role;
use crate::error::StepError;
use crate::ids::NodeId;
use crate::message::{Message, MessageKind};
use crate::node::{Campaign, RawNode};

impl RawNode {
    /// Takes one message of a peer. Stale messages and repeated ones change nothing. A sender need not be a known member: a
    /// replica may learn only from the message's effects that it became one.
    ///
    /// # Errors
    /// [`StepError`]. [`StepError::WrongGroup`], [`StepError::WrongNode`] and [`StepError::WrongSender`] are for a message that
    /// was led astray; after any other the node must stop: somebody broke the protocol.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        if message.group != self.group {
            return Err(StepError::WrongGroup { group: self.group, got: message.group });
        }
        if message.to != self.id {
            return Err(StepError::WrongNode { id: self.id, got: message.to });
        }
        if message.from == self.id || message.from == NodeId(0) {
            return Err(StepError::WrongSender { group: self.group, from: message.from });
        }
        self.trace.message("receive", &message);
        let asks = matches!(message.kind, MessageKind::PreVote { .. } | MessageKind::Vote { .. } | MessageKind::Wake);
        let stayed = matches!(message.kind, MessageKind::Hibernate { .. }) || (asks && self.mutant(47));
        if !stayed {
            self.wake();
        }
        if self.takes_term_of(&message) {
            self.dispatch(message)?;
        }
        self.stepped("step");
        Ok(())
    }

    /// Compares terms. Whether the message is then to be looked at.
    fn takes_term_of(&mut self, message: &Message) -> bool {
        if message.term == self.term || matches!(message.kind, MessageKind::Committed { .. }) {
            return true;
        }
        if message.term > self.term {
            return self.takes_higher_term_of(message);
        }
        match message.kind {
            // An old leader must learn that there are higher terms: with pre-vote, nobody else would tell it, and who
            // answers nothing could never be led again.
            MessageKind::Append { .. }
            | MessageKind::Heartbeat { .. }
            | MessageKind::Snapshot(_)
            | MessageKind::Hibernate { .. } => {
                if !self.mutant(39) {
                    let index = self.log.commit();
                    self.send(
                        message.from,
                        MessageKind::AppendResponse { index, reject_hint: Some(Default::default()) },
                    );
                }
            }
            MessageKind::PreVote { .. } => {
                self.send(message.from, MessageKind::PreVoteResponse { granted: false });
            }
            MessageKind::Vote { .. } => self.send(message.from, MessageKind::VoteResponse { granted: false }),
            MessageKind::HeartbeatResponse { .. } if self.mutant(22) => return true,
            MessageKind::PreVoteResponse { .. }
            | MessageKind::VoteResponse { .. }
            | MessageKind::AppendResponse { .. }
            | MessageKind::HeartbeatResponse { .. }
            | MessageKind::SnapshotWanted
            | MessageKind::ReadIndex { .. }
            | MessageKind::ReadIndexResponse { .. }
            | MessageKind::Committed { .. }
            | MessageKind::Wake
            | MessageKind::TimeoutNow => {}
        }
        false
    }

    fn takes_higher_term_of(&mut self, message: &Message) -> bool {
        match message.kind {
            // Who asks leads no more: of this very leader nobody need wait to hear.
            MessageKind::PreVote { .. } | MessageKind::Vote { transfer: false, .. }
                if self.leader_is_alive() && self.leader != Some(message.from) && !self.mutant(38) =>
            {
                false
            }
            // Asking binds nobody, and neither does the promise to vote.
            MessageKind::PreVote { .. } | MessageKind::PreVoteResponse { granted: true } => true,
            MessageKind::Append { .. }
            | MessageKind::Heartbeat { .. }
            | MessageKind::Snapshot(_)
            | MessageKind::Hibernate { .. } => {
                self.become_follower(message.term, Some(message.from));
                true
            }
            MessageKind::Vote { .. }
            | MessageKind::PreVoteResponse { granted: false }
            | MessageKind::VoteResponse { .. }
            | MessageKind::AppendResponse { .. }
            | MessageKind::HeartbeatResponse { .. }
            | MessageKind::SnapshotWanted
            | MessageKind::ReadIndex { .. }
            | MessageKind::ReadIndexResponse { .. }
            | MessageKind::Committed { .. }
            | MessageKind::Wake
            | MessageKind::TimeoutNow => {
                self.become_follower(message.term, None);
                true
            }
        }
    }

    fn dispatch(&mut self, message: Message) -> Result<(), StepError> {
        let from = message.from;
        match message.kind {
            MessageKind::PreVote { .. } | MessageKind::Vote { .. } => self.answer_vote(&message),
            MessageKind::PreVoteResponse { granted } => {
                // A granted one carries the term that would follow; of any other election it says nothing.
                if !granted || message.term == self.term.next() {
                    self.take_vote(from, Role::PreCandidate, granted);
                }
            }
            MessageKind::VoteResponse { granted } => self.take_vote(from, Role::Candidate, granted),
            MessageKind::Committed { index, index_term } => self.take_committed(index, index_term),
            MessageKind::Append { prev_index, prev_term, entries, commit } => {
                self.follow(from)?;
                self.take_append(from, prev_index, prev_term, entries, commit)?;
            }
            MessageKind::Heartbeat { commit, round } => {
                self.follow(from)?;
                self.take_heartbeat(from, commit, round);
            }
            MessageKind::Snapshot(meta) => {
                self.follow(from)?;
                self.take_snapshot(from, meta)?;
            }
            MessageKind::Hibernate { index } => {
                self.follow(from)?;
                self.take_hibernate(from, index);
            }
            MessageKind::AppendResponse { index, reject_hint } => self.take_append_response(from, index, reject_hint),
            MessageKind::HeartbeatResponse { round } => self.take_heartbeat_response(from, round),
            MessageKind::SnapshotWanted => self.take_snapshot_wanted(from),
            MessageKind::ReadIndex { life, context } => self.take_read_index(from, life, context),
            MessageKind::ReadIndexResponse { life, context, index } => {
                self.take_read_index_response(life, context, index)
            }
            MessageKind::Wake => {}
            MessageKind::TimeoutNow => {
                if self.role == Role::Follower && self.leader == Some(from) {
                    self.hup(Campaign::Transfer);
                }
            }
        }
        Ok(())
    }

    /// `from` leads the present term.
    fn follow(&mut self, from: NodeId) -> Result<(), StepError> {
        if self.role == Role::Leader || self.leader.is_some_and(|leader| leader != from) {
            return Err(StepError::TwoLeaders { group: self.group, term: self.term, from });
        }
        if self.role != Role::Follower || self.leader.is_none() {
            self.become_follower(self.term, Some(from));
        }
        self.election_elapsed = 0;
        self.work.campaign_due = None;
        Ok(())
    }
}
