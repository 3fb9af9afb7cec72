//! Elections: sections 5.2 and 5.4.1 of the Raft paper, and pre-vote, section 9.6 of the thesis, always.
//!
//! A replica's own vote, like any other that it gives, counts only once it is durable: a vote that a crash could take back
//! could be given twice. A request for votes leaves only once the log that it speaks of is durable: answers to it may come
//! after a crash, and elect a log that has become shorter.

use bytes::Bytes;

use crate::entry::{EntryKind, Role};
use crate::ids::{LogIndex, NodeId, Term};
use crate::membership::VoteCount;
use crate::message::{Message, MessageKind};
use crate::node::{Campaign, RawNode};
use crate::progress::Peer;

impl RawNode {
    /// Campaigns now instead of waiting for a tick. Does nothing while this replica leads, has begun an election, or is no
    /// voter. What is known to be committed is applied first: it might change who votes.
    pub fn campaign(&mut self) {
        self.wake();
        if self.role == Role::Follower {
            self.hup(Campaign::Ordinary);
        }
    }

    /// Whether this replica is a voter that holds what its membership came with.
    pub(crate) fn may_campaign(&self) -> bool {
        self.membership.is_voter(self.id) && self.log.installing().is_none()
    }

    /// Begins an election, or notes that it is due.
    pub(crate) fn hup(&mut self, why: Campaign) {
        if self.role == Role::Leader || !self.may_campaign() {
            return;
        }
        if self.log.change_may_be_unapplied() && !self.mutant(67) {
            self.election_elapsed = 0;
            self.work.campaign_due = Some(why);
            return;
        }
        self.work.campaign_due = None;
        match why {
            Campaign::Ordinary if self.mutant(38) => self.become_candidate(why),
            Campaign::Ordinary => self.become_pre_candidate(),
            Campaign::Transfer => self.become_candidate(why),
        }
    }

    /// Begins the election that waited for something to be applied.
    pub(crate) fn hup_when_applied(&mut self) {
        if let Some(why) = self.work.campaign_due
            && self.role == Role::Follower
            && !self.log.change_may_be_unapplied()
        {
            self.hup(why);
        }
    }

    fn become_pre_candidate(&mut self) {
        self.begin_votes(Role::PreCandidate);
        self.work.votes.push((self.id, true));
        if self.vote_count() == VoteCount::Won {
            // A sole voter need not ask.
            self.become_candidate(Campaign::Ordinary);
            return;
        }
        let (last_index, last_term) = (self.log.last(), self.log.last_term());
        for to in self.other_voters() {
            self.send_unbound(to, self.term.next(), MessageKind::PreVote { last_index, last_term });
        }
        self.stepped("pre_campaign");
    }

    fn become_candidate(&mut self, why: Campaign) {
        self.term = self.term.next();
        self.vote = Some(self.id);
        self.work.outbox.forget_claims();
        self.begin_votes(Role::Candidate);
        let (last_index, last_term) = (self.log.last(), self.log.last_term());
        let transfer = why == Campaign::Transfer;
        for to in self.other_voters() {
            self.send_when_voted(to, last_index, MessageKind::Vote { last_index, last_term, transfer });
        }
        self.stepped("campaign");
    }

    fn begin_votes(&mut self, role: Role) {
        self.fail_reads();
        self.role = role;
        self.leader = None;
        self.work.votes.clear();
        self.election_elapsed = 0;
        self.draw_election_timeout();
    }

    fn other_voters(&self) -> Vec<NodeId> {
        let mut voters = self.membership.members();
        voters.retain(|node| *node != self.id && self.membership.is_voter(*node));
        voters
    }

    /// Follows in `term`, at least the present one; `leader` if it is known.
    pub(crate) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        self.fail_reads();
        if term > self.term {
            self.term = term;
            self.vote = None;
            self.work.outbox.forget_claims();
        }
        self.role = Role::Follower;
        self.leader = leader;
        self.work.votes.clear();
        self.peers.clear();
        self.log.keep_from(LogIndex(u64::MAX));
        self.appends_due = false;
        self.term_start = LogIndex(0);
        self.work.transfer = None;
        self.work.campaign_due = None;
        self.work.log_reads.clear();
        self.work.snapshots_wanted.clear();
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        self.draw_election_timeout();
    }

    fn become_leader(&mut self) {
        self.role = Role::Leader;
        self.leader = Some(self.id);
        self.work.votes.clear();
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        // Whatever is in the log might hold a change that is not applied yet.
        self.pending_change = self.log.last();
        let next = self.log.last().next();
        self.peers = self.other_members().into_iter().map(|node| Peer::new(node, next)).collect();
        // Earlier terms' entries are committed only through one of this term (section 5.4.2 of the Raft paper).
        self.term_start = self.log.append(self.term, EntryKind::Noop, Bytes::new());
        self.appends_due = true;
        self.stepped("lead");
    }

    pub(crate) fn other_members(&self) -> Vec<NodeId> {
        let mut members = self.membership.members();
        members.retain(|node| *node != self.id);
        members
    }

    /// Whether an entry of this leader's own term is committed: only then does it know every entry that was committed before.
    pub(crate) fn committed_in_own_term(&self) -> bool {
        self.role == Role::Leader && self.term_start > LogIndex(0) && self.log.commit() >= self.term_start
    }

    /// A request for a (pre-)vote whose term was looked at already.
    pub(crate) fn answer_vote(&mut self, message: &Message) {
        let (last_index, last_term, pre) = match message.kind {
            MessageKind::PreVote { last_index, last_term } => (last_index, last_term, true),
            MessageKind::Vote { last_index, last_term, .. } => (last_index, last_term, false),
            _ => return,
        };
        let free = self.vote == Some(message.from)
            || (self.vote.is_none() && self.leader.is_none())
            || (pre && message.term > self.term);
        let up_to_date = match () {
            () if self.mutant(9) => true,
            () if self.mutant(62) => last_index >= self.log.last(),
            () => self.log.is_matched_by(last_index, last_term),
        };
        let granted = free && up_to_date;
        match (pre, granted) {
            (true, true) => {
                self.send_unbound(message.from, message.term, MessageKind::PreVoteResponse { granted });
            }
            (true, false) => {
                self.tell_commit(message.from);
                self.send(message.from, MessageKind::PreVoteResponse { granted });
            }
            (false, true) => {
                self.vote = Some(message.from);
                self.election_elapsed = 0;
                self.send_when_voted(message.from, LogIndex(0), MessageKind::VoteResponse { granted });
            }
            (false, false) => {
                self.tell_commit(message.from);
                self.send(message.from, MessageKind::VoteResponse { granted });
            }
        }
    }

    /// Tells `to` what is committed. Two replicas may each wait for the other: one needs the vote of a node that has left by an
    /// entry which it does not know to be committed; the other holds the longer log and may not campaign.
    fn tell_commit(&mut self, to: NodeId) {
        let index = self.log.commit();
        if let Some(index_term) = self.log.term(index).filter(|_| index > LogIndex(0))
            && !self.mutant(71)
        {
            self.send(to, MessageKind::Committed { index, index_term });
        }
    }

    /// Somebody knows that this entry is committed. If it is in this log, so is everything before it; and what that changes
    /// is applied before any election goes on.
    pub(crate) fn take_committed(&mut self, index: LogIndex, index_term: Term) {
        if self.role == Role::Leader || self.log.term(index) != Some(index_term) {
            return;
        }
        self.commit_to(index);
        if self.role != Role::Follower && self.log.change_may_be_unapplied() {
            self.become_follower(self.term, None);
            self.work.campaign_due = Some(Campaign::Ordinary);
        }
    }

    /// The answer to a (pre-)vote of this replica.
    pub(crate) fn take_vote(&mut self, from: NodeId, role: Role, granted: bool) {
        if self.role != role || self.work.votes.iter().any(|(node, _)| *node == from) {
            return;
        }
        self.work.votes.push((from, granted));
        if !granted {
            self.tell_commit(from);
        }
        self.decide_votes();
    }

    /// Term and vote became durable: counts the own vote, if it is for this very candidacy.
    pub(crate) fn count_own_vote(&mut self) {
        let id = self.id;
        if self.role == Role::Candidate && self.durable_vote == (self.term, Some(id)) {
            self.take_vote(id, Role::Candidate, true);
        }
    }

    fn decide_votes(&mut self) {
        match (self.vote_count(), self.role) {
            (VoteCount::Won, Role::PreCandidate) => self.become_candidate(Campaign::Ordinary),
            // The answers may be quicker than the own disk: a leader's vote is durable.
            (VoteCount::Won, Role::Candidate) if self.durable_vote == (self.term, self.vote) => self.become_leader(),
            (VoteCount::Lost, Role::PreCandidate | Role::Candidate) => self.become_follower(self.term, None),
            (VoteCount::Open, _) | (_, Role::Follower | Role::Leader) | (VoteCount::Won, Role::Candidate) => {}
        }
    }

    fn vote_count(&self) -> VoteCount {
        let answer =
            |node: NodeId| self.work.votes.iter().find(|(voter, _)| *voter == node).map(|(_, granted)| *granted);
        if self.mutant(36) && self.membership.is_joint() {
            let mut new = crate::membership::Membership::clone(&self.membership);
            new.outgoing.clear();
            return new.count(answer);
        }
        self.membership.count(answer)
    }
}
