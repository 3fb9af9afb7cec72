//! What the members of a group were given and what they committed, and the check against the inserts that caused it.

use std::collections::BTreeMap;

use crate::ledger::{Fate, Ledger};
use crate::plan::Place;
use crate::violation::Verdict;

/// A message as one consumer got it; a message that came twice is here twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// The row whose insert caused it; `None` for another run's.
    pub(crate) change: Option<Place>,
    /// Ticket drawn before it was asked for.
    pub(crate) asked: u64,
}

/// An acknowledgement that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) partition: u32,
    /// The group's committed offset in the answer.
    pub(crate) committed: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
}

/// Everything that a group did in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumption {
    deliveries: Vec<Delivery>,
    commits: Vec<Commit>,
    /// Where each row's message was last seen.
    seen: BTreeMap<i64, (u32, u64)>,
    /// Highest committed offset of each partition in an answer.
    committed: BTreeMap<u32, u64>,
}

impl Consumption {
    /// Writes a message down.
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        self.seen.extend(delivery.change.map(|place| (place.id, (delivery.partition, delivery.offset))));
        self.deliveries.push(delivery);
    }

    /// Writes an answered ack down.
    pub(crate) fn commit(&mut self, commit: Commit) {
        let highest = self.committed.entry(commit.partition).or_insert(commit.committed);
        *highest = (*highest).max(commit.committed);
        self.commits.push(commit);
    }

    /// Acknowledged inserts whose message has not come, or is not committed.
    pub(crate) fn open(&self, ledger: &Ledger) -> usize {
        let is_settled = |id| {
            let (partition, offset) = self.seen.get(&id)?;
            (self.committed.get(partition)? >= offset).then_some(())
        };
        ledger.entries().filter(|(id, entry)| entry.fate == Fate::Acknowledged && is_settled(*id).is_none()).count()
    }

    /// Every acknowledged change consumed and its message committed, once; in order per user and partition; no gap, no
    /// commit that falls back, nothing again after its commit.
    pub(crate) fn check(&self, ledger: &Ledger) -> Verdict {
        let mut verdict = Verdict::default();
        let messages = self.messages(&mut verdict);
        verdict.fact("acknowledged", ledger.count(Fate::Acknowledged));
        verdict.fact("messages", messages.len());
        verdict.fact("delivered again", self.deliveries.len() - messages.len());
        verdict.fact("commits", self.commits.len());
        let places = check_changes(ledger, &messages, &mut verdict);
        check_offsets(&messages, &mut verdict);
        check_order(ledger, &messages, &mut verdict);
        let last = self.check_commits(&messages, &mut verdict);
        for (id, (partition, offset)) in places {
            let is_acknowledged = ledger.get(id).is_some_and(|entry| entry.fate == Fate::Acknowledged);
            if is_acknowledged && last.get(&partition).is_none_or(|committed| *committed < offset) {
                verdict.violation(|| format!("the message of row {id} ({partition}:{offset}) was never committed"));
            }
        }
        verdict
    }

    /// The messages by partition and offset; an offset that carried two changes is a violation.
    fn messages(&self, verdict: &mut Verdict) -> BTreeMap<(u32, u64), Option<Place>> {
        let mut messages = BTreeMap::new();
        for Delivery { partition, offset, change, .. } in &self.deliveries {
            let first = *messages.entry((*partition, *offset)).or_insert(*change);
            if first != *change {
                verdict.violation(|| format!("{partition}:{offset} was delivered with two different messages"));
            }
        }
        messages
    }

    /// Committed offsets as they rise; gives the last of every partition.
    fn check_commits(
        &self,
        messages: &BTreeMap<(u32, u64), Option<Place>>,
        verdict: &mut Verdict,
    ) -> BTreeMap<u32, u64> {
        let mut answered: Vec<&Commit> = self.commits.iter().collect();
        answered.sort_by_key(|commit| commit.answered);
        let mut sent = answered.clone();
        sent.sort_by_key(|commit| commit.sent);
        let mut known = Known::new(&answered);
        for commit in sent {
            let Commit { partition, committed, .. } = *commit;
            if let Some(before) = known.at(commit.sent, partition).filter(|before| *before > committed) {
                verdict.violation(|| {
                    format!("the committed offset of partition {partition} fell from {before} to {committed}")
                });
            }
        }
        let mut asked: Vec<&Delivery> = self.deliveries.iter().collect();
        asked.sort_by_key(|delivery| delivery.asked);
        let mut known = Known::new(&answered);
        for delivery in asked {
            let Delivery { partition, offset, .. } = *delivery;
            if let Some(committed) = known.at(delivery.asked, partition).filter(|committed| *committed >= offset) {
                verdict.violation(|| {
                    format!("{partition}:{offset} was delivered again after offset {committed} was committed")
                });
            }
        }
        let last = Known::new(&answered).end();
        for (partition, committed) in &last {
            let highest =
                messages.range((*partition, 0)..=(*partition, u64::MAX)).next_back().map(|((_, offset), _)| *offset);
            if highest.is_none_or(|highest| highest < *committed) {
                verdict.violation(|| {
                    format!("offset {committed} of partition {partition} is committed and was never delivered")
                });
            }
        }
        last
    }
}

/// The highest committed offsets that answers had told up to a ticket; asked with rising tickets.
struct Known<'a> {
    commits: std::iter::Peekable<std::slice::Iter<'a, &'a Commit>>,
    highest: BTreeMap<u32, u64>,
}

impl<'a> Known<'a> {
    /// Over commits in the order of their answers.
    fn new(answered: &'a [&'a Commit]) -> Self {
        Self { commits: answered.iter().peekable(), highest: BTreeMap::new() }
    }

    fn at(&mut self, ticket: u64, partition: u32) -> Option<u64> {
        while let Some(commit) = self.commits.next_if(|commit| commit.answered < ticket) {
            let highest = self.highest.entry(commit.partition).or_insert(commit.committed);
            *highest = (*highest).max(commit.committed);
        }
        self.highest.get(&partition).copied()
    }

    fn end(mut self) -> BTreeMap<u32, u64> {
        self.at(u64::MAX, 0);
        self.highest
    }
}

/// Every acknowledged change has one message, no other change has one; gives where they are.
fn check_changes(
    ledger: &Ledger,
    messages: &BTreeMap<(u32, u64), Option<Place>>,
    verdict: &mut Verdict,
) -> BTreeMap<i64, (u32, u64)> {
    let mut places = BTreeMap::new();
    for ((partition, offset), change) in messages {
        let Some(Place { user, id }) = *change else { continue };
        if let Some((p, o)) = places.insert(id, (*partition, *offset)) {
            verdict.violation(|| format!("row {id} has two messages, {p}:{o} and {partition}:{offset}"));
        }
        match ledger.get(id) {
            None => verdict.violation(|| format!("{partition}:{offset} tells of row {id}, which nobody inserted")),
            Some(entry) if entry.fate == Fate::Refused => {
                verdict.violation(|| format!("{partition}:{offset} tells of row {id}, whose insert was refused"));
            }
            Some(entry) if entry.user != user => {
                verdict.violation(|| format!("{partition}:{offset} tells of row {id} with another user"));
            }
            Some(_) => {}
        }
    }
    for (id, entry) in ledger.entries() {
        if entry.fate == Fate::Acknowledged && !places.contains_key(&id) {
            verdict
                .violation(|| format!("row {id} of user {} was acknowledged and its message never came", entry.user));
        }
    }
    places
}

/// Offsets of a partition follow each other without a gap.
fn check_offsets(messages: &BTreeMap<(u32, u64), Option<Place>>, verdict: &mut Verdict) {
    for ((p, o), (partition, offset)) in messages.keys().zip(messages.keys().skip(1)) {
        if p == partition && o + 1 != *offset {
            verdict.violation(|| format!("partition {p} has a gap: nothing between {o} and {offset} was delivered"));
        }
    }
}

/// Within a partition, a user's change that was acknowledged before another was sent comes before it.
fn check_order(ledger: &Ledger, messages: &BTreeMap<(u32, u64), Option<Place>>, verdict: &mut Verdict) {
    // Per partition and user: the latest sending among the messages so far.
    let mut latest: BTreeMap<(u32, u32), (u64, i64)> = BTreeMap::new();
    for ((partition, offset), change) in messages {
        let Some((Place { user, id }, entry)) = change.and_then(|place| Some((place, ledger.get(place.id)?))) else {
            continue;
        };
        let last = latest.entry((*partition, user)).or_insert((entry.sent, id));
        if entry.fate == Fate::Acknowledged && entry.answered < last.0 {
            let later = last.1;
            verdict.violation(|| {
                format!("row {id} ({partition}:{offset}) stands after row {later}, which was sent when {id} was acknowledged")
            });
        }
        *last = (*last).max((entry.sent, id));
    }
}

#[cfg(test)]
mod tests;
