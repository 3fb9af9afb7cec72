//! Whether a history of one key is linearizable: Wing and Gong's search with Lowe's memory (WGL), bounded by a budget of steps.
//!
//! Every operation took effect at one moment between its call and its return. One whose outcome nobody knows may take effect at any
//! moment after its call, or never. Keys are independent of each other, so each is judged alone. Pure.

use std::collections::BTreeSet;

/// What an operation did to a register that also counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It read this; `None` if there was no row.
    Read(Option<i64>),
    /// It set the value.
    Write(i64),
    /// It added to the value, and did nothing if there was none.
    Add(i64),
}

impl Act {
    /// The value after it, if it may take effect on `state`.
    fn step(self, state: Option<i64>) -> Option<Option<i64>> {
        match self {
            Self::Read(found) => (found == state).then_some(state),
            Self::Write(value) => Some(Some(value)),
            Self::Add(more) => Some(state.map(|value| value.wrapping_add(more))),
        }
    }
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who, for messages.
    pub client: String,
    /// When it was sent, in microseconds.
    pub call: u64,
    /// When its answer came; `None` if the outcome is unknown.
    pub answer: Option<u64>,
    /// What it did.
    pub act: Act,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none; why, in words.
    Broken(String),
    /// The budget ended first.
    Undecided,
}

/// Judges the history of one key that starts as `initial`, with at most `budget` steps.
#[must_use]
pub fn check(history: &[Entry], initial: Option<i64>, budget: u64) -> Verdict {
    Search::new(history, initial).run(budget)
}

/// A choice that the search made: which operation took effect, and the state before it.
struct Choice {
    operation: usize,
    before: Option<i64>,
}

struct Search {
    /// By call.
    entries: Vec<Entry>,
    initial: Option<i64>,
    /// Which operations have taken effect, as bits.
    done: Vec<u64>,
    /// How many of those with an answer have.
    answered: usize,
    seen: BTreeSet<(Vec<u64>, Option<i64>)>,
    /// The longest order so far: how many with an answer, the state after it, and which operation had to come next.
    best: (usize, Option<i64>, Option<usize>),
}

impl Search {
    fn new(history: &[Entry], initial: Option<i64>) -> Self {
        let mut entries: Vec<Entry> = history.to_vec();
        // A read without an answer says nothing.
        entries.retain(|entry| entry.answer.is_some() || !matches!(entry.act, Act::Read(_)));
        entries.sort_by_key(|entry| entry.call);
        let words = entries.len().div_ceil(64);
        Self { entries, initial, done: vec![0; words], answered: 0, seen: BTreeSet::new(), best: (0, initial, None) }
    }

    fn run(mut self, budget: u64) -> Verdict {
        let all = self.entries.iter().filter(|entry| entry.answer.is_some()).count();
        let mut order: Vec<Choice> = Vec::new();
        let (mut state, mut from, mut steps) = (self.initial, 0, 0);
        while self.answered < all {
            steps += 1;
            if steps > budget {
                return Verdict::Undecided;
            }
            match self.next(state, from) {
                Some((operation, after)) => {
                    order.push(Choice { operation, before: state });
                    self.mark(operation, true);
                    if self.seen.insert((self.done.clone(), after)) {
                        (state, from) = (after, 0);
                        if self.answered > self.best.0 {
                            self.best = (self.answered, state, None);
                        }
                    } else {
                        // Known to lead nowhere.
                        order.pop();
                        self.mark(operation, false);
                        from = operation + 1;
                    }
                }
                None => {
                    if self.answered == self.best.0 && self.best.2.is_none() {
                        self.best.2 = self.first_due();
                    }
                    let Some(choice) = order.pop() else { return Verdict::Broken(self.explain()) };
                    self.mark(choice.operation, false);
                    (state, from) = (choice.before, choice.operation + 1);
                }
            }
        }
        Verdict::Linearizable
    }

    fn is_done(&self, operation: usize) -> bool {
        self.done.get(operation / 64).is_some_and(|word| word & (1 << (operation % 64)) != 0)
    }

    fn mark(&mut self, operation: usize, done: bool) {
        if let Some(word) = self.done.get_mut(operation / 64) {
            if done { *word |= 1 << (operation % 64) } else { *word &= !(1 << (operation % 64)) }
        }
        if self.entries.get(operation).is_some_and(|entry| entry.answer.is_some()) {
            if done { self.answered += 1 } else { self.answered -= 1 }
        }
    }

    /// The operation that must take effect before any other answer comes.
    fn first_due(&self) -> Option<usize> {
        let open = self.entries.iter().enumerate().filter(|(at, _)| !self.is_done(*at));
        open.filter_map(|(at, entry)| Some((entry.answer?, at))).min().map(|(_, at)| at)
    }

    /// The next operation at or after `from` that may take effect now: it was called before every open answer, and fits the state.
    fn next(&self, state: Option<i64>, from: usize) -> Option<(usize, Option<i64>)> {
        let horizon = self.first_due().and_then(|at| self.entries.get(at)?.answer).unwrap_or(u64::MAX);
        let open = self.entries.iter().enumerate().skip(from).filter(|(at, _)| !self.is_done(*at));
        open.take_while(|(_, entry)| entry.call <= horizon)
            .find_map(|(at, entry)| entry.act.step(state).map(|after| (at, after)))
    }

    fn explain(&self) -> String {
        let (count, state, due) = &self.best;
        let text = |entry: &Entry| {
            let end = entry.answer.map_or_else(|| "?".to_owned(), |at| at.to_string());
            format!("{} {:?} from {} to {end} us", entry.client, entry.act, entry.call)
        };
        let due = due.and_then(|at| self.entries.get(at));
        let near = due.map_or_else(Vec::new, |due| {
            let (call, answer) = (due.call, due.answer.unwrap_or(u64::MAX));
            let overlaps =
                |entry: &&Entry| entry.answer.is_none_or(|end| end + 2_000_000 >= call) && entry.call <= answer;
            self.entries.iter().filter(overlaps).map(text).collect()
        });
        format!(
            "no order explains it: at most {count} operations can be put in order, the value is {state:?} then, and {} does not fit; near it: {}",
            due.map_or_else(|| "the next one".to_owned(), text),
            near.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use highwater_runtime::rng::Rng;

    const BUDGET: u64 = 1_000_000;

    fn entry(call: u64, answer: u64, act: Act) -> Entry {
        Entry { client: "c".into(), call, answer: Some(answer), act }
    }

    fn unknown(call: u64, act: Act) -> Entry {
        Entry { client: "c".into(), call, answer: None, act }
    }

    fn is_broken(history: &[Entry], initial: Option<i64>) -> bool {
        matches!(check(history, initial, BUDGET), Verdict::Broken(_))
    }

    #[test]
    fn what_overlaps_may_be_seen_in_either_order() {
        let history = [
            entry(0, 10, Act::Write(1)),
            entry(5, 15, Act::Read(None)),
            entry(6, 16, Act::Read(Some(1))),
            entry(20, 30, Act::Add(2)),
            entry(31, 32, Act::Read(Some(3))),
        ];
        assert_eq!(check(&history, None, BUDGET), Verdict::Linearizable);
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [entry(0, 10, Act::Write(1)), entry(11, 12, Act::Read(None))];
        assert!(is_broken(&history, None));
        let Verdict::Broken(why) = check(&history, None, BUDGET) else { panic!() };
        assert!(why.contains("Read(None) from 11 to 12"), "{why}");
    }

    #[test]
    fn reads_that_go_back_are_found() {
        let history =
            [entry(0, 100, Act::Write(1)), entry(10, 20, Act::Read(Some(1))), entry(30, 40, Act::Read(Some(0)))];
        assert!(is_broken(&history, Some(0)));
    }

    #[test]
    fn lost_and_doubled_additions_are_found() {
        let lost = [entry(0, 1, Act::Add(1)), entry(2, 3, Act::Add(1)), entry(4, 5, Act::Read(Some(1)))];
        assert!(is_broken(&lost, Some(0)));
        let doubled = [entry(0, 1, Act::Add(1)), entry(4, 5, Act::Read(Some(2)))];
        assert!(is_broken(&doubled, Some(0)));
    }

    #[test]
    fn an_unknown_outcome_may_come_late_or_never_but_not_go_back() {
        let late = [unknown(0, Act::Write(7)), entry(5, 6, Act::Read(Some(0))), entry(50, 60, Act::Read(Some(7)))];
        assert_eq!(check(&late, Some(0), BUDGET), Verdict::Linearizable);
        let never = [unknown(0, Act::Write(7)), entry(5, 6, Act::Read(Some(0)))];
        assert_eq!(check(&never, Some(0), BUDGET), Verdict::Linearizable);
        let mut back = late.to_vec();
        back.push(entry(70, 80, Act::Read(Some(0))));
        assert!(is_broken(&back, Some(0)));
        let early = [entry(5, 6, Act::Read(Some(7))), unknown(10, Act::Write(7))];
        assert!(is_broken(&early, Some(0)), "it was seen before it was sent");
    }

    #[test]
    fn a_write_after_an_acknowledged_one_is_not_undone_by_it() {
        let history = [entry(0, 10, Act::Write(1)), entry(11, 20, Act::Write(2)), entry(21, 22, Act::Read(Some(1)))];
        assert!(is_broken(&history, None));
    }

    #[test]
    fn a_search_that_is_too_long_is_said_to_be() {
        let mut history: Vec<Entry> = (0..30).map(|at| unknown(0, Act::Add(1 << at))).collect();
        history.push(entry(1, 2, Act::Read(Some(1 << 40))));
        assert_eq!(check(&history, Some(0), 10_000), Verdict::Undecided);
    }

    /// A history that some order made: clients of a register, each operation taking effect at a moment of its own.
    fn made(rng: &mut Rng, operations: usize) -> Vec<Entry> {
        let mut moments: Vec<(u64, Entry)> = (0..operations)
            .map(|number| {
                let moment = rng.below(2_000);
                let (before, after) = (rng.below(150), rng.below(150));
                let value = i64::try_from(number).unwrap();
                let act =
                    [Act::Read(None), Act::Write(1000 + value), Act::Add(1)][usize::try_from(rng.below(3)).unwrap()];
                let answer = (act == Act::Read(None) || rng.chance(0.9)).then_some(moment + after);
                (moment, Entry { client: format!("c{number}"), call: moment.saturating_sub(before), answer, act })
            })
            .collect();
        moments.sort_by_key(|(moment, _)| *moment);
        let mut state = Some(0);
        for (_, entry) in &mut moments {
            match entry.act {
                Act::Read(_) => entry.act = Act::Read(state),
                // An unknown outcome may be that it never came.
                Act::Write(_) | Act::Add(_) if entry.answer.is_none() && rng.chance(0.5) => {}
                act => state = act.step(state).unwrap(),
            }
        }
        moments.into_iter().map(|(_, entry)| entry).collect()
    }

    #[test]
    fn every_history_that_an_order_made_is_accepted_and_a_changed_read_never_is() {
        let mut rng = Rng::new(3);
        let (mut tried, mut found) = (0, 0);
        for _ in 0..100 {
            let history = made(&mut rng, 60);
            assert_eq!(check(&history, Some(0), BUDGET), Verdict::Linearizable, "{history:#?}");
            let mut changed = history;
            let reads: Vec<usize> = (0..changed.len()).filter(|at| matches!(changed[*at].act, Act::Read(_))).collect();
            let Some(at) = reads.get(usize::try_from(rng.below(reads.len() as u64)).unwrap()) else { continue };
            changed[*at].act = Act::Read(Some(-5));
            tried += 1;
            match check(&changed, Some(0), BUDGET) {
                Verdict::Linearizable => panic!("nobody wrote that: {changed:#?}"),
                // Some searches are longer than the budget, and say so.
                Verdict::Undecided => {}
                Verdict::Broken(_) => found += 1,
            }
        }
        assert!(tried > 75 && found * 10 >= tried * 9, "{found} of {tried} decided");
    }
}
