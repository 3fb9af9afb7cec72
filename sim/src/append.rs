//! Whether a history of transactions that append to lists and read them is strictly serializable, by the cycles of what depends on what.
//!
//! Every append of a key has an element of its own, so that a read tells the order of all appends before it: who wrote over whom, who saw
//! whose append, who missed whose. An order of all transactions that explains these, and real time, exists if and only if they have no
//! cycle; the kind of a cycle names the anomaly (Adya's G0, G1, G-single, G2), as in Kingsbury and Alvaro's "Elle" (VLDB 2020). Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// A part of a transaction, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It appended an element to a key's list; no other append of the key has it.
    Append(i64, i64),
    /// It read a key's whole list.
    Read(i64, Vec<i64>),
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered: it took effect.
    Committed,
    /// It was refused: it never will.
    Refused,
    /// Nobody knows. Its reads count for nothing.
    Unknown,
}

/// One transaction of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who, for messages.
    pub client: String,
    /// When it was sent, in microseconds.
    pub call: u64,
    /// When its answer came; not looked at unless it was committed.
    pub answer: u64,
    /// What became of it.
    pub fate: Fate,
    /// What it did.
    pub steps: Vec<Step>,
}

/// What can be wrong with a history, in the order in which it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// A read shows an element twice.
    Duplicate,
    /// A read shows what nobody appended.
    Invented,
    /// A transaction does not see its own appends, or two of its reads differ by more than these.
    Internal,
    /// G1a: a read shows what a refused transaction appended.
    Aborted,
    /// G1b: a read shows a part of what another transaction appended to a key.
    Intermediate,
    /// Two reads of a key: neither is a beginning of the other.
    Incompatible,
    /// An acknowledged append is in no read, though one began after its answer.
    Lost,
    /// G0: transactions wrote over each other in a circle.
    WriteCycle,
    /// G1c: transactions saw, or wrote over, each other in a circle.
    CircularInformation,
    /// G-single: the same, but that one missed what another had done.
    SingleMiss,
    /// G2: the same, but that several missed what others had done.
    Misses,
}

/// What was found, in words that name the transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub anomaly: Anomaly,
    /// Whether it takes the real time between answers and calls to see it.
    pub by_time: bool,
    /// Who and what.
    pub words: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_time = if self.by_time { " in real time" } else { "" };
        write!(f, "{:?}{by_time}: {}", self.anomaly, self.words)
    }
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    /// The other appended behind its element.
    WroteOver,
    /// The other saw its element last.
    SeenBy,
    /// It did not see the other's element.
    Missed,
    /// Its answer came before the other was sent.
    Earlier,
}

/// Judges a history; at most one finding of each kind, the plainest first. None: it is strictly serializable, as far as its reads tell.
#[must_use]
pub fn check(history: &[Transaction]) -> Vec<Finding> {
    let mut findings = Findings { history, found: BTreeMap::new() };
    let writers = writers(history);
    for (at, transaction) in history.iter().enumerate() {
        findings.look_inside(at, transaction, &writers);
    }
    let orders = findings.orders();
    findings.lost(&orders);
    // Cycles over lists that make no sense would say nothing.
    if findings.found.is_empty() {
        findings.cycles(&edges(history, &writers, &orders));
    }
    findings.found.into_values().collect()
}

/// A transaction by its place in the history.
type Place = usize;
/// Who appended an element to a key.
type Writers = BTreeMap<(i64, i64), Place>;

fn writers(history: &[Transaction]) -> Writers {
    let appends = |(at, transaction): (Place, &Transaction)| {
        let keys = transaction.steps.iter().filter_map(|step| match step {
            Step::Append(key, element) => Some((*key, *element)),
            Step::Read(..) => None,
        });
        keys.map(move |key| (key, at)).collect::<Vec<_>>()
    };
    history.iter().enumerate().flat_map(appends).collect()
}

/// What a transaction appended to a key, in order.
fn appended(transaction: &Transaction, wanted: i64) -> Vec<i64> {
    let of = |step: &Step| match step {
        Step::Append(key, element) if *key == wanted => Some(*element),
        Step::Append(..) | Step::Read(..) => None,
    };
    transaction.steps.iter().filter_map(of).collect()
}

/// What a committed transaction read of other transactions' appends: each key once, without its own.
fn reads(transaction: &Transaction) -> Vec<(i64, Vec<i64>)> {
    if transaction.fate != Fate::Committed {
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    for step in &transaction.steps {
        if let Step::Read(key, list) = step {
            let own = appended(transaction, *key);
            let others: Vec<i64> = list.iter().copied().filter(|element| !own.contains(element)).collect();
            seen.entry(*key).or_insert(others);
        }
    }
    seen.into_iter().collect()
}

struct Findings<'a> {
    history: &'a [Transaction],
    found: BTreeMap<(Anomaly, bool), Finding>,
}

impl Findings<'_> {
    fn add(&mut self, anomaly: Anomaly, by_time: bool, words: impl FnOnce() -> String) {
        self.found.entry((anomaly, by_time)).or_insert_with(|| Finding { anomaly, by_time, words: words() });
    }

    fn name(&self, at: Place) -> String {
        self.history.get(at).map_or_else(String::new, |transaction| {
            let ends = match transaction.fate {
                Fate::Committed => format!("{} to {}", transaction.call, transaction.answer),
                Fate::Refused | Fate::Unknown => format!("{}, {:?}", transaction.call, transaction.fate),
            };
            format!("{} ({ends}) {:?}", transaction.client, transaction.steps)
        })
    }

    /// What one transaction's own reads show to be wrong.
    fn look_inside(&mut self, at: Place, transaction: &Transaction, writers: &Writers) {
        if transaction.fate != Fate::Committed {
            return;
        }
        let mut own: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut first: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for step in &transaction.steps {
            let (key, list) = match step {
                Step::Append(key, element) => {
                    own.entry(*key).or_default().push(*element);
                    continue;
                }
                Step::Read(key, list) => (*key, list),
            };
            let different: BTreeSet<&i64> = list.iter().collect();
            if different.len() != list.len() {
                self.add(Anomaly::Duplicate, false, || format!("key {key}: {list:?}"));
            }
            for element in list {
                match writers.get(&(key, *element)).map(|writer| (*writer, self.history.get(*writer))) {
                    None => self.add(Anomaly::Invented, false, || format!("key {key} element {element}")),
                    Some((writer, Some(by))) if by.fate == Fate::Refused => {
                        let (reader, writer) = (self.name(at), self.name(writer));
                        self.add(Anomaly::Aborted, false, || format!("{reader} saw {element} of {writer}"));
                    }
                    Some(_) => {}
                }
            }
            self.intermediate(at, key, list, writers);
            let own = own.get(&key).cloned().unwrap_or_default();
            let others = list.len().checked_sub(own.len()).map(|others| list.split_at(others));
            match others {
                Some((others, tail)) if tail == own.as_slice() => {
                    let before = first.entry(key).or_insert_with(|| others.to_vec());
                    if before != others {
                        let name = self.name(at);
                        self.add(Anomaly::Internal, false, || format!("{name} read key {key} twice, and not the same"));
                    }
                }
                Some(_) | None => {
                    let name = self.name(at);
                    self.add(Anomaly::Internal, false, || format!("{name} does not see its own appends to {key} last"));
                }
            }
        }
    }

    /// A read that ends within what another transaction appended.
    fn intermediate(&mut self, at: Place, key: i64, list: &[i64], writers: &Writers) {
        let Some(writer) = list.last().and_then(|last| writers.get(&(key, *last))).filter(|writer| **writer != at)
        else {
            return;
        };
        let all = self.history.get(*writer).map(|by| appended(by, key)).unwrap_or_default();
        if all.last() != list.last() {
            let (reader, writer) = (self.name(at), self.name(*writer));
            self.add(Anomaly::Intermediate, false, || format!("{reader} saw a part of {writer}"));
        }
    }

    /// The order of each key's elements: its longest read, of which all others must be beginnings.
    fn orders(&mut self) -> BTreeMap<i64, Vec<i64>> {
        let mut orders: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for step in self.history.iter().filter(|read| read.fate == Fate::Committed).flat_map(|read| &read.steps) {
            if let Step::Read(key, list) = step {
                let longest = orders.entry(*key).or_default();
                let (short, long) = if list.len() > longest.len() { (&*longest, list) } else { (list, &*longest) };
                if !long.starts_with(short) {
                    let words = format!("key {key}: {short:?} and {long:?}");
                    self.add(Anomaly::Incompatible, false, || words);
                }
                if list.len() > longest.len() {
                    longest.clone_from(list);
                }
            }
        }
        orders
    }

    fn lost(&mut self, orders: &BTreeMap<i64, Vec<i64>>) {
        for (at, transaction) in self.history.iter().enumerate().filter(|(_, by)| by.fate == Fate::Committed) {
            for step in &transaction.steps {
                let Step::Append(key, element) = step else { continue };
                if orders.get(key).is_none_or(|order| order.contains(element)) {
                    continue;
                }
                let read_later = |read: &Transaction| {
                    read.fate == Fate::Committed
                        && read.call > transaction.answer
                        && read.steps.iter().any(|step| matches!(step, Step::Read(other, _) if other == key))
                };
                if let Some(reader) = self.history.iter().position(read_later) {
                    let (writer, reader) = (self.name(at), self.name(reader));
                    self.add(Anomaly::Lost, false, || format!("{element} of {writer} is not in {reader}"));
                }
            }
        }
    }

    fn cycles(&mut self, edges: &Edges) {
        use Link::{Missed, SeenBy, WroteOver};
        let kinds: [(Anomaly, Link, &[Link]); 4] = [
            (Anomaly::WriteCycle, WroteOver, &[WroteOver]),
            (Anomaly::CircularInformation, SeenBy, &[WroteOver, SeenBy]),
            (Anomaly::SingleMiss, Missed, &[WroteOver, SeenBy]),
            (Anomaly::Misses, Missed, &[WroteOver, SeenBy, Missed]),
        ];
        for by_time in [false, true] {
            for (anomaly, first, rest) in kinds {
                let mut allowed: BTreeSet<Link> = rest.iter().copied().collect();
                if by_time {
                    allowed.insert(Link::Earlier);
                }
                if let Some(cycle) = cycle(edges, first, &allowed) {
                    let steps: Vec<String> =
                        cycle.iter().map(|(at, link)| format!("{} --{link:?}-->", self.name(*at))).collect();
                    self.add(anomaly, by_time, || format!("{} the first one", steps.join(" ")));
                }
            }
            // What is wrong anyway need not be said again.
            if !self.found.is_empty() {
                return;
            }
        }
    }
}

type Edges = BTreeMap<Place, BTreeSet<(Place, Link)>>;

fn edges(history: &[Transaction], writers: &Writers, orders: &BTreeMap<i64, Vec<i64>>) -> Edges {
    let mut edges = Edges::new();
    let mut add = |from: Place, to: Place, link: Link| {
        if from != to {
            edges.entry(from).or_default().insert((to, link));
        }
    };
    // Committed appends that no read shows come behind all that one shows.
    let mut unseen: BTreeMap<i64, BTreeSet<Place>> = BTreeMap::new();
    for ((key, element), writer) in writers {
        let is_committed = history.get(*writer).is_some_and(|by| by.fate == Fate::Committed);
        if is_committed && !orders.get(key).is_some_and(|order| order.contains(element)) {
            unseen.entry(*key).or_default().insert(*writer);
        }
    }
    for (key, order) in orders {
        let by: Vec<Place> = order.iter().filter_map(|element| writers.get(&(*key, *element)).copied()).collect();
        for (one, next) in by.iter().zip(by.iter().skip(1)) {
            add(*one, *next, Link::WroteOver);
        }
        for (last, next) in
            by.last().into_iter().flat_map(|last| unseen.get(key).into_iter().flatten().map(move |next| (last, next)))
        {
            add(*last, *next, Link::WroteOver);
        }
    }
    for (reader, transaction) in history.iter().enumerate() {
        for (key, list) in reads(transaction) {
            let Some(order) = orders.get(&key) else { continue };
            if let Some(writer) = list.last().and_then(|last| writers.get(&(key, *last))) {
                add(*writer, reader, Link::SeenBy);
            }
            // Its own appends behind what it saw are no one's that it missed.
            let next = order
                .iter()
                .skip(list.len())
                .find_map(|element| writers.get(&(key, *element)).copied().filter(|writer| *writer != reader));
            match next {
                Some(next) => add(reader, next, Link::Missed),
                None => unseen.get(&key).into_iter().flatten().for_each(|next| add(reader, *next, Link::Missed)),
            }
        }
    }
    for (from, to) in earlier(history) {
        add(from, to, Link::Earlier);
    }
    edges
}

/// Who was answered before whom was sent: enough pairs that all others follow from them.
fn earlier(history: &[Transaction]) -> Vec<(Place, Place)> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Moment {
        // At equal times a call comes first: nothing is then earlier that may not be.
        Call,
        Answer,
    }
    let mut moments: Vec<(u64, Moment, Place)> = Vec::new();
    for (at, transaction) in history.iter().enumerate().filter(|(_, of)| of.fate != Fate::Refused) {
        moments.push((transaction.call, Moment::Call, at));
        if transaction.fate == Fate::Committed {
            moments.push((transaction.answer, Moment::Answer, at));
        }
    }
    moments.sort();
    let (mut last, mut before, mut pairs) = (BTreeSet::new(), BTreeMap::<Place, BTreeSet<Place>>::new(), Vec::new());
    for (_, moment, at) in moments {
        match moment {
            Moment::Call => {
                pairs.extend(last.iter().map(|from| (*from, at)));
                before.insert(at, last.clone());
            }
            Moment::Answer => {
                for past in before.remove(&at).unwrap_or_default() {
                    last.remove(&past);
                }
                last.insert(at);
            }
        }
    }
    pairs
}

/// A shortest cycle that begins with a link of one kind and goes on with others.
fn cycle(edges: &Edges, first: Link, allowed: &BTreeSet<Link>) -> Option<Vec<(Place, Link)>> {
    let mut all = allowed.clone();
    all.insert(first);
    let within = in_cycles(edges, &all);
    let starts = edges.iter().flat_map(|(from, to)| to.iter().map(move |(to, link)| (*from, *to, *link)));
    starts
        .filter(|(from, to, link)| *link == first && within.contains(from) && within.contains(to))
        .filter_map(|(from, to, link)| {
            let mut cycle = vec![(from, link)];
            cycle.extend(path(edges, to, from, allowed, &within)?);
            Some(cycle)
        })
        .min_by_key(Vec::len)
}

/// Those that may be on a cycle: what is left when all that nothing leads to, or that leads to nothing, is taken away again and again.
fn in_cycles(edges: &Edges, allowed: &BTreeSet<Link>) -> BTreeSet<Place> {
    let mut ahead: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    let mut behind: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    for (from, links) in edges {
        for (to, _) in links.iter().filter(|(_, link)| allowed.contains(link)) {
            ahead.entry(*from).or_default().insert(*to);
            behind.entry(*to).or_default().insert(*from);
        }
    }
    take_ends(&mut ahead, &mut behind);
    take_ends(&mut behind, &mut ahead);
    ahead.into_keys().collect()
}

/// Takes those away that lead to nothing, until all that is left leads to something. `back` is `out` the other way round.
fn take_ends(out: &mut BTreeMap<Place, BTreeSet<Place>>, back: &mut BTreeMap<Place, BTreeSet<Place>>) {
    let mut ends: Vec<Place> = back.keys().filter(|at| !out.contains_key(at)).copied().collect();
    while let Some(end) = ends.pop() {
        for from in back.remove(&end).unwrap_or_default() {
            if let Some(links) = out.get_mut(&from) {
                links.remove(&end);
                if links.is_empty() {
                    out.remove(&from);
                    ends.push(from);
                }
            }
        }
    }
}

/// The shortest way from one to another over allowed links, as the links of those it leaves.
fn path(
    edges: &Edges,
    from: Place,
    to: Place,
    allowed: &BTreeSet<Link>,
    within: &BTreeSet<Place>,
) -> Option<Vec<(Place, Link)>> {
    let mut came: BTreeMap<Place, (Place, Link)> = BTreeMap::new();
    let mut due = VecDeque::from([from]);
    while let Some(at) = due.pop_front() {
        if at == to {
            let mut way = Vec::new();
            let mut here = to;
            while here != from {
                let (before, link) = came.get(&here).copied()?;
                way.push((before, link));
                here = before;
            }
            way.reverse();
            return Some(way);
        }
        for (next, link) in edges.get(&at).into_iter().flatten() {
            if allowed.contains(link) && within.contains(next) && *next != from && !came.contains_key(next) {
                came.insert(*next, (at, *link));
                due.push_back(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use highwater_runtime::rng::Rng;

    /// A committed transaction that overlaps all others unless it is told when.
    fn txn(steps: &[Step]) -> Transaction {
        at(0, 1_000_000, steps)
    }

    fn at(call: u64, answer: u64, steps: &[Step]) -> Transaction {
        Transaction { client: "c".into(), call, answer, fate: Fate::Committed, steps: steps.to_vec() }
    }

    fn a(key: i64, element: i64) -> Step {
        Step::Append(key, element)
    }

    fn r(key: i64, list: &[i64]) -> Step {
        Step::Read(key, list.to_vec())
    }

    /// The plainest thing that is wrong.
    fn first(history: &[Transaction]) -> Option<(Anomaly, bool)> {
        check(history).first().map(|finding| (finding.anomaly, finding.by_time))
    }

    #[test]
    fn reads_of_one_growing_list_are_explained() {
        let history = [
            at(0, 10, &[a(1, 1), a(2, 1)]),
            at(11, 20, &[r(1, &[1]), a(1, 2), r(1, &[1, 2])]),
            at(15, 30, &[r(1, &[1]), r(2, &[1])]),
            at(31, 40, &[r(1, &[1, 2]), r(2, &[1])]),
        ];
        assert_eq!(check(&history), []);
    }

    #[test]
    fn g0_two_that_wrote_over_each_other_are_found() {
        let history = [txn(&[a(1, 1), a(2, 1)]), txn(&[a(1, 2), a(2, 2)]), txn(&[r(1, &[1, 2]), r(2, &[2, 1])])];
        assert_eq!(first(&history), Some((Anomaly::WriteCycle, false)));
        let between = [txn(&[a(1, 1), a(1, 3)]), txn(&[a(1, 2)]), txn(&[r(1, &[1, 2, 3])])];
        assert_eq!(first(&between), Some((Anomaly::WriteCycle, false)));
    }

    #[test]
    fn g1a_what_was_refused_and_is_seen_is_found() {
        let mut refused = txn(&[a(1, 1)]);
        refused.fate = Fate::Refused;
        assert_eq!(first(&[refused.clone(), txn(&[r(1, &[1])])]), Some((Anomaly::Aborted, false)));
        refused.fate = Fate::Unknown;
        assert_eq!(check(&[refused, txn(&[r(1, &[1])])]), []);
    }

    #[test]
    fn g1b_half_of_a_transaction_is_found() {
        let history = [txn(&[a(1, 1), a(1, 2)]), txn(&[r(1, &[1])])];
        assert_eq!(first(&history), Some((Anomaly::Intermediate, false)));
    }

    #[test]
    fn g1c_two_that_saw_each_other_are_found() {
        let history = [txn(&[a(1, 1), r(2, &[1])]), txn(&[a(2, 1), r(1, &[1])])];
        assert_eq!(first(&history), Some((Anomaly::CircularInformation, false)));
    }

    #[test]
    fn g_single_a_read_that_saw_one_half_of_the_world_is_found() {
        // It saw the second of two appends to different keys by one transaction and not the first.
        let history = [txn(&[a(1, 1), a(2, 1)]), txn(&[r(1, &[]), r(2, &[1])]), txn(&[r(1, &[1])])];
        assert_eq!(first(&history), Some((Anomaly::SingleMiss, false)));
    }

    #[test]
    fn g2_two_that_missed_each_other_are_found() {
        let history = [txn(&[r(1, &[]), a(2, 1)]), txn(&[r(2, &[]), a(1, 1)]), txn(&[r(1, &[1]), r(2, &[1])])];
        assert_eq!(first(&history), Some((Anomaly::Misses, false)));
    }

    #[test]
    fn a_lost_append_is_found_and_one_of_unknown_outcome_may_be_lost() {
        let history = [at(0, 10, &[a(1, 1)]), at(11, 20, &[r(1, &[])])];
        assert_eq!(first(&history), Some((Anomaly::Lost, false)));
        let mut unknown = history.to_vec();
        unknown[0].fate = Fate::Unknown;
        assert_eq!(check(&unknown), []);
        let overlaps = [at(0, 12, &[a(1, 1)]), at(11, 20, &[r(1, &[])])];
        assert_eq!(check(&overlaps), []);
    }

    #[test]
    fn a_stale_read_is_found_by_its_time() {
        let history = [at(0, 10, &[a(1, 1)]), at(11, 20, &[r(1, &[])]), at(12, 30, &[r(1, &[1])])];
        assert_eq!(first(&history), Some((Anomaly::SingleMiss, true)));
    }

    #[test]
    fn duplicated_invented_and_reordered_elements_are_found() {
        assert_eq!(first(&[txn(&[a(1, 1)]), txn(&[r(1, &[1, 1])])]), Some((Anomaly::Duplicate, false)));
        assert_eq!(first(&[txn(&[r(1, &[7])])]), Some((Anomaly::Invented, false)));
        let both = [txn(&[a(1, 1)]), txn(&[a(1, 2)]), txn(&[r(1, &[1, 2])]), txn(&[r(1, &[2])])];
        assert_eq!(first(&both), Some((Anomaly::Incompatible, false)));
        assert_eq!(first(&[txn(&[a(1, 1), r(1, &[])])]), Some((Anomaly::Internal, false)));
    }

    /// A history that some order made: each transaction takes effect at a moment between its call and its answer.
    fn made(rng: &mut Rng, transactions: usize) -> Vec<Transaction> {
        let mut moments: Vec<u64> = (0..transactions).map(|_| rng.below(20_000)).collect();
        moments.sort_unstable();
        let mut lists: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut next = 0;
        let mut history = Vec::new();
        for moment in moments {
            let (before, after) = (rng.below(800), rng.below(800));
            let fate = match rng.below(20) {
                0 => Fate::Refused,
                1 | 2 => Fate::Unknown,
                _ => Fate::Committed,
            };
            // An unknown outcome may be that it never came.
            let applies = fate == Fate::Committed || fate == Fate::Unknown && rng.chance(0.5);
            let steps = (0..=rng.below(3))
                .map(|_| {
                    let key = i64::try_from(rng.below(4)).unwrap();
                    if rng.chance(0.5) {
                        return Step::Read(key, lists.get(&key).cloned().unwrap_or_default());
                    }
                    next += 1;
                    if applies {
                        lists.entry(key).or_default().push(next);
                    }
                    Step::Append(key, next)
                })
                .collect();
            let (call, answer) = (moment.saturating_sub(before), moment + after);
            history.push(Transaction { client: format!("c{}", history.len()), call, answer, fate, steps });
        }
        let last: Vec<Step> = (0..4).map(|key| Step::Read(key, lists.get(&key).cloned().unwrap_or_default())).collect();
        history.push(at(30_000, 30_001, &last));
        history
    }

    #[test]
    fn every_history_that_an_order_made_is_accepted() {
        let mut rng = Rng::new(11);
        for round in 0..60 {
            let history = made(&mut rng, 80);
            assert_eq!(check(&history), [], "round {round}: {history:#?}");
        }
    }

    #[test]
    fn a_history_whose_last_look_lacks_or_doubles_something_is_never_accepted() {
        let mut rng = Rng::new(5);
        let mut changed = 0;
        for round in 0..60 {
            let mut history = made(&mut rng, 60);
            let certain: BTreeSet<i64> = history
                .iter()
                .filter(|by| by.fate == Fate::Committed)
                .flat_map(|by| (0..4).flat_map(|key| appended(by, key)))
                .collect();
            let steps = &mut history.last_mut().unwrap().steps;
            let lists = steps.iter_mut().filter_map(|step| match step {
                Step::Read(_, list) => Some(list),
                Step::Append(..) => None,
            });
            // One of unknown outcome may be lost, if it is the last one and nobody else saw it.
            let Some(list) = lists.filter(|list| list.len() > 2 && certain.contains(&list[list.len() - 1])).last()
            else {
                continue;
            };
            if round % 2 == 0 {
                list.pop();
            } else {
                list.push(list[0]);
            }
            changed += 1;
            assert_ne!(check(&history), [], "round {round}: {history:#?}");
        }
        assert!(changed > 40, "{changed}");
    }
}
