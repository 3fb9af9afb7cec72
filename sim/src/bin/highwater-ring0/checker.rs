//! What must hold over all nodes and all of their lives, checked as it happens: I1 to I13 of the simulation plan.
//!
//! The committed log is kept once, as the canonical chain: whatever any node commits must be the next link or one of those
//! before. Entries are known by (index, term) with their content and the term before them, so that equal index and term
//! always mean equal logs up to there (log matching, by induction).

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_raft::{
    Entry, EntryKind, LogIndex, Membership, MembershipChange, Message, MessageKind, NodeId, RawNode, Term,
};

use crate::dice::chained;
use crate::disk::{Disk, State};
use crate::oracle::Members;

/// The result of a check: what is broken.
pub type Check = Result<(), String>;

/// One link of the canonical chain.
#[derive(Clone, Copy, Debug)]
struct Link {
    term: Term,
    /// Hash of every entry up to here.
    chain: u64,
    /// Term of the leader that committed it.
    committed_in: Term,
}

/// An entry that some node was asked to store.
#[derive(Clone, Copy, Debug)]
struct Known {
    term: Term,
    term_before: Option<Term>,
    hash: u64,
}

/// What is known of the whole history.
#[derive(Debug)]
pub struct Checker {
    canon: Vec<Link>,
    members: Vec<(LogIndex, Members)>,
    known: Vec<Vec<Known>>,
    changes: BTreeMap<(LogIndex, Term), Bytes>,
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<Term, Vec<(NodeId, NodeId)>>,
}

/// Ends a check with what is broken, unless it holds.
macro_rules! must {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use must;

impl Checker {
    /// The history of a group that starts with `members`.
    pub fn new(members: Members) -> Self {
        Self {
            canon: Vec::new(),
            members: vec![(LogIndex(0), members)],
            known: Vec::new(),
            changes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
        }
    }

    /// Everything up to here was committed by somebody.
    pub fn committed(&self) -> LogIndex {
        LogIndex(self.canon.len() as u64)
    }

    /// Leaders so far.
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// The membership as of the canonical entry at `index`.
    pub fn members_at(&self, index: LogIndex) -> Option<&Members> {
        self.members.iter().rev().find(|(from, _)| *from <= index).map(|(_, members)| members)
    }

    /// Every membership that is canonical last, or could become so by a change that some log holds.
    pub fn possible_members(&self) -> Vec<Members> {
        let Some((_, last)) = self.members.last() else { return Vec::new() };
        let pending = self.changes.iter().filter(|((index, _), _)| *index > self.committed());
        let mut all: Vec<Members> =
            pending.filter_map(|(_, data)| MembershipChange::decode(data)).map(|change| last.after(&change)).collect();
        all.push(last.clone());
        all
    }

    /// The first canonical change of membership above `index`.
    pub fn first_change_after(&self, index: LogIndex) -> Option<LogIndex> {
        let at = self.members.partition_point(|(from, _)| *from <= index);
        self.members.get(at).map(|(from, _)| *from)
    }

    fn link(&self, index: LogIndex) -> Option<&Link> {
        self.canon.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// A node is asked to store `entries`, of which `term_before` precedes the first.
    pub fn given(&mut self, entries: &[Entry], mut term_before: Option<Term>) -> Check {
        for entry in entries {
            let at = usize::try_from(entry.index.0).unwrap_or(0);
            if self.known.len() <= at {
                self.known.resize(at + 1, Vec::new());
            }
            let hash = hash_of(entry);
            let known = self.known.get_mut(at).ok_or("no place for an entry")?;
            match known.iter_mut().find(|known| known.term == entry.term) {
                Some(known) => {
                    must!(known.hash == hash, "I4: two entries {}/{} differ", entry.index, entry.term);
                    let same = known.term_before.is_none() || term_before.is_none() || known.term_before == term_before;
                    must!(same, "I4: logs that agree at {}/{} differ before it", entry.index, entry.term);
                    known.term_before = known.term_before.or(term_before);
                }
                None => {
                    known.push(Known { term: entry.term, term_before, hash });
                    if entry.kind == EntryKind::ConfChange {
                        self.changes.insert((entry.index, entry.term), entry.data.clone());
                    }
                }
            }
            term_before = Some(entry.term);
        }
        Ok(())
    }

    /// A vote became durable.
    pub fn voted(&mut self, term: Term, voter: NodeId, candidate: NodeId) -> Check {
        let votes = self.votes.entry(term).or_default();
        match votes.iter().find(|(node, _)| *node == voter) {
            Some((_, before)) => {
                must!(*before == candidate, "I2: node {voter} votes for {before} and for {candidate} in term {term}");
            }
            None => votes.push((voter, candidate)),
        }
        Ok(())
    }

    /// A node leads in a term that it did not lead in before.
    pub fn leads(&mut self, id: NodeId, raft: &RawNode) -> Check {
        let term = raft.term();
        let leader = *self.leaders.entry(term).or_insert(id);
        must!(leader == id, "I1: nodes {leader} and {id} lead in term {term}");
        let members = Members::of(raft.membership());
        let votes = self.votes.get(&term);
        let voted = |node| votes.is_some_and(|votes| votes.contains(&(node, id)));
        must!(members.is_quorum(voted), "I13: node {id} leads in term {term} without a quorum of durable votes");
        // Of what leaders of later terms have committed, one that was elected late need not know.
        let known = self.canon.partition_point(|link| link.committed_in < term);
        if let Some(last) = known.checked_sub(1).and_then(|at| self.canon.get(at)) {
            let at = LogIndex(known as u64);
            must!(
                raft.term_at(at) == Some(last.term),
                "I5: node {id} leads in term {term} without the committed entry {at}/{} (it has {:?})",
                last.term,
                raft.term_at(at)
            );
        }
        Ok(())
    }

    /// A node raised its commit index from `before`. `led`: it led at some time of the step. `holds` tells of a node whether
    /// its disk holds an entry.
    pub fn commits(
        &mut self,
        id: NodeId,
        raft: &RawNode,
        before: LogIndex,
        led: bool,
        holds: impl Fn(NodeId, LogIndex, Term) -> bool,
    ) -> Check {
        let commit = raft.status().commit;
        let end = commit.min(self.committed());
        for index in before.0 + 1..=end.0 {
            let index = LogIndex(index);
            let term = raft.term_at(index);
            let link = self.link(index).map(|link| link.term);
            // What a snapshot covers has no terms any more; its state is compared instead.
            must!(term.is_none() || term == link, "I6: node {id} commits {index}/{term:?}, committed was {link:?}");
        }
        if commit <= self.committed() {
            return Ok(());
        }
        must!(led, "I6: node {id} follows and commits {commit}, of which nobody leading knows");
        let term = raft.term_at(commit).unwrap_or_default();
        must!(term == raft.term(), "I8: node {id} commits {commit}/{term} in term {}", raft.term());
        let members = Members::of(raft.membership());
        must!(
            members.is_quorum(|node| holds(node, commit, term)),
            "I7: node {id} commits {commit}/{term}, which no quorum of {members:?} holds durably"
        );
        while self.committed() < commit {
            self.extend(raft)?;
        }
        Ok(())
    }

    fn extend(&mut self, raft: &RawNode) -> Check {
        let index = self.committed().next();
        let term = raft.term_at(index).unwrap_or_default();
        let known = self.known.get(usize::try_from(index.0).unwrap_or(0));
        let known = known.and_then(|known| known.iter().find(|known| known.term == term));
        let Some(known) = known else {
            return Err(format!("I6: {index}/{term} is committed and no disk was given it"));
        };
        let chain = chained(self.canon.last().map_or(0, |link| link.chain), known.hash);
        self.canon.push(Link { term, chain, committed_in: raft.term() });
        if let Some(data) = self.changes.get(&(index, term)) {
            let change = MembershipChange::decode(data).ok_or("a change of membership cannot be read")?;
            let (_, before) = self.members.last().ok_or("no membership")?;
            let after = before.after(&change);
            self.members.push((index, after));
        }
        Ok(())
    }

    /// The state after `state.index` must be the canonical one.
    pub fn applied(&self, id: NodeId, state: &State) -> Check {
        if state.index == LogIndex(0) {
            return Ok(());
        }
        let Some(link) = self.link(state.index) else {
            return Err(format!("I9: node {id} applied {}, which nobody committed", state.index));
        };
        must!(
            link.chain == state.chain,
            "I10: the state of node {id} at {} is another than that of others",
            state.index
        );
        Ok(())
    }

    /// The membership after `index` must be the canonical one.
    pub fn membership(&self, id: NodeId, membership: &Membership, index: LogIndex) -> Check {
        let members = Members::of(membership);
        let expected = self.members_at(index);
        must!(
            members == Members::default() || expected == Some(&members),
            "I12: node {id} has {members:?} at {index}, the log says {expected:?}"
        );
        Ok(())
    }

    /// What a message claims of its sender must be on its disk.
    pub fn says(&self, disk: &Disk, message: &Message) -> Check {
        let stored = disk.hard_state;
        let (from, term) = (message.from, message.term);
        let later = stored.term > term;
        match &message.kind {
            MessageKind::PreVote { .. } | MessageKind::PreVoteResponse { granted: true } => return Ok(()),
            MessageKind::VoteResponse { granted: true } => {
                let kept = later || (stored.term == term && stored.vote == Some(message.to));
                must!(
                    kept,
                    "I3: node {from} gives its vote in term {term} to {}, its disk says {stored:?}",
                    message.to
                );
            }
            MessageKind::Vote { last_index, last_term, .. } => {
                let kept = later
                    || (stored.term == term && stored.vote == Some(from) && disk.holds(*last_index, *last_term))
                    || *last_index == LogIndex(0);
                must!(
                    kept,
                    "I3: node {from} asks for votes with a log up to {last_index}/{last_term} that is not on its disk"
                );
            }
            MessageKind::AppendResponse { index, reject_hint: None } => {
                must!(disk.last() >= *index, "I11: node {from} accepts {index}, its disk ends at {}", disk.last());
            }
            MessageKind::AppendResponse { .. }
            | MessageKind::PreVoteResponse { .. }
            | MessageKind::VoteResponse { .. }
            | MessageKind::Append { .. }
            | MessageKind::Heartbeat { .. }
            | MessageKind::HeartbeatResponse { .. }
            | MessageKind::Snapshot(_)
            | MessageKind::SnapshotWanted
            | MessageKind::ReadIndex { .. }
            | MessageKind::ReadIndexResponse { .. }
            | MessageKind::Committed { .. }
            | MessageKind::Wake
            | MessageKind::TimeoutNow
            | MessageKind::Hibernate { .. } => {}
        }
        must!(stored.term >= term, "I3: node {from} speaks in term {term}, its disk is at {}", stored.term);
        Ok(())
    }

    /// The whole of one node, which is too dear for every step.
    pub fn whole(&self, id: NodeId, raft: &RawNode, disk: &Disk) -> Check {
        raft.invariants().map_err(|error| format!("node {id}: {error}"))?;
        let status = raft.status();
        for index in status.first.0..=status.commit.0 {
            let link = self.link(LogIndex(index)).map(|link| link.term);
            let term = raft.term_at(LogIndex(index));
            must!(term == link, "I6: node {id} has {index}/{term:?} committed, committed was {link:?}");
        }
        for entry in &disk.log {
            let known = self.known.get(usize::try_from(entry.index.0).unwrap_or(0));
            let known = known.and_then(|known| known.iter().find(|known| known.term == entry.term));
            must!(
                known.is_some_and(|known| known.hash == hash_of(entry)),
                "the disk of node {id} holds {}/{} which it was never given",
                entry.index,
                entry.term
            );
        }
        Ok(())
    }
}

/// A hash of an entry's content.
pub fn hash_of(entry: &Entry) -> u64 {
    let kind = match entry.kind {
        EntryKind::Normal => 1,
        EntryKind::ConfChange => 2,
        EntryKind::Noop => 3,
    };
    chained(xxhash_rust::xxh3::xxh3_64(&entry.data), kind)
}
