//! The inserts of a run and what became of them, and the check against the rows that are there afterwards.
//!
//! Events are ordered by tickets: numbers that rise over all threads. A ticket drawn after an answer came is above every
//! ticket drawn before its request went out.

use std::collections::BTreeMap;

use crate::plan::Place;
use crate::violation::Verdict;

/// What the generator knows of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server said that it is done: the row is there, once.
    Acknowledged,
    /// The server said that it is not done: no row may be there.
    Refused,
    /// No answer, or one that does not tell: none or one.
    Unknown,
}

/// One insert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) user: u32,
    pub(crate) fate: Fate,
    /// Ticket drawn before it was first sent.
    pub(crate) sent: u64,
    /// Ticket drawn after its answer; of meaning only when acknowledged.
    pub(crate) answered: u64,
}

/// The inserts of a run, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<i64, Entry>,
}

/// A row of the run as it was read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundRow {
    pub(crate) place: Place,
    /// Whether its text is the one that was sent.
    pub(crate) is_intact: bool,
}

impl Ledger {
    /// Writes an insert down.
    pub(crate) fn enter(&mut self, id: i64, entry: Entry) {
        self.entries.insert(id, entry);
    }

    /// Takes another thread's inserts over.
    pub(crate) fn merge(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }

    /// The insert with this key.
    pub(crate) fn get(&self, id: i64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Keys with what became of them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (i64, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many have this fate.
    pub(crate) fn count(&self, fate: Fate) -> usize {
        self.entries.values().filter(|entry| entry.fate == fate).count()
    }

    /// Compares with the rows of the run: zero lost, zero doubled, none that was refused, none that nobody sent.
    pub(crate) fn check(&self, rows: &[FoundRow]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.fact("acknowledged", self.count(Fate::Acknowledged));
        verdict.fact("refused", self.count(Fate::Refused));
        verdict.fact("unknown", self.count(Fate::Unknown));
        verdict.fact("rows found", rows.len());
        let mut found: BTreeMap<i64, u32> = BTreeMap::new();
        for row in rows {
            let Place { user, id } = row.place;
            *found.entry(id).or_default() += 1;
            match self.get(id) {
                None => verdict.violation(|| format!("row {id} of user {user} is there, and nobody inserted it")),
                Some(entry) if entry.user != user => verdict
                    .violation(|| format!("row {id} was inserted for user {} and is with user {user}", entry.user)),
                Some(_) if !row.is_intact => {
                    verdict.violation(|| format!("row {id} of user {user} has another text than was sent"));
                }
                Some(_) => {}
            }
        }
        for (id, entry) in &self.entries {
            let user = entry.user;
            match (entry.fate, found.get(id).copied().unwrap_or(0)) {
                (Fate::Acknowledged, 0) => {
                    verdict.violation(|| format!("row {id} of user {user} was acknowledged and is lost"));
                }
                (Fate::Refused, 1..) => {
                    verdict.violation(|| format!("row {id} of user {user} was refused and is there"));
                }
                (Fate::Acknowledged | Fate::Unknown, times @ 2..) => {
                    verdict.violation(|| format!("row {id} of user {user} is there {times} times"));
                }
                (Fate::Acknowledged, 1) | (Fate::Refused, 0) | (Fate::Unknown, 0 | 1) => {}
            }
        }
        verdict
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use quickcheck::quickcheck;

    /// Inserts 0, 1, 2 ... with these fates, one after the other, by two users in turn.
    pub(crate) fn ledger(fates: &[Fate]) -> Ledger {
        let mut ledger = Ledger::default();
        for (number, fate) in (0_u32..).zip(fates) {
            let (sent, answered) = (u64::from(number) * 10, u64::from(number) * 10 + 5);
            ledger.enter(i64::from(number), Entry { user: number % 2, fate: *fate, sent, answered });
        }
        ledger
    }

    fn row(id: i64) -> FoundRow {
        FoundRow { place: Place { user: (id % 2) as u32, id }, is_intact: true }
    }

    fn fates(draws: &[u8]) -> Vec<Fate> {
        draws.iter().map(|draw| [Fate::Acknowledged, Fate::Refused, Fate::Unknown][usize::from(draw % 3)]).collect()
    }

    /// The rows that a correct server has: `applied` decides over the unknown ones.
    fn correct(fates: &[Fate], applied: bool) -> Vec<FoundRow> {
        let is_there = |fate: &Fate| *fate == Fate::Acknowledged || (applied && *fate == Fate::Unknown);
        (0..).zip(fates).filter(|(_, fate)| is_there(fate)).map(|(id, _)| row(id)).collect()
    }

    quickcheck! {
        fn a_correct_server_breaks_nothing(draws: Vec<u8>, applied: bool) -> bool {
            let fates = fates(&draws);
            ledger(&fates).check(&correct(&fates, applied)).violations == 0
        }

        fn one_lost_row_is_one_violation(draws: Vec<u8>, which: usize) -> bool {
            let fates = fates(&draws);
            let mut rows = correct(&fates, false);
            if rows.is_empty() {
                return true;
            }
            let lost = rows.remove(which % rows.len());
            let verdict = ledger(&fates).check(&rows);
            verdict.violations == 1 && verdict.named[0].contains(&format!("row {} ", lost.place.id))
        }

        fn one_doubled_row_is_one_violation(draws: Vec<u8>, which: usize) -> bool {
            let fates = fates(&draws);
            let mut rows = correct(&fates, true);
            if rows.is_empty() {
                return true;
            }
            rows.push(rows[which % rows.len()]);
            ledger(&fates).check(&rows).violations == 1
        }

        fn a_refused_row_that_is_there_is_a_violation(draws: Vec<u8>) -> bool {
            let fates = fates(&draws);
            let mut rows = correct(&fates, true);
            let refused = (0..).zip(&fates).filter(|(_, fate)| **fate == Fate::Refused);
            rows.extend(refused.map(|(id, _)| row(id)));
            ledger(&fates).check(&rows).violations as usize == fates.iter().filter(|fate| **fate == Fate::Refused).count()
        }
    }

    #[test]
    fn foreign_misplaced_and_damaged_rows_are_named() {
        let ledger = ledger(&[Fate::Acknowledged; 2]);
        let misplaced = FoundRow { place: Place { user: 1, id: 0 }, is_intact: true };
        let damaged = FoundRow { is_intact: false, ..row(1) };
        let verdict = ledger.check(&[misplaced, damaged, row(7)]);
        assert_eq!(
            verdict.named,
            [
                "row 0 was inserted for user 0 and is with user 1",
                "row 1 of user 1 has another text than was sent",
                "row 7 of user 1 is there, and nobody inserted it",
            ]
        );
    }
}
