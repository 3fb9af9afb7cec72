//! Values of an aggregate with ORDER BY: kept until all have come, then given one by one in their order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::expr::SortDirection;
use crate::runs::{Merged, Runs, Step};
use crate::value::{Row, SortValue, Value, sort_compare};

/// The values of one aggregate over one group.
#[derive(Clone, Debug)]
pub(super) struct OrderedValues {
    kept: Kept,
    arrivals: u64,
    order: Arc<[SortDirection]>,
    /// With DISTINCT: what was given.
    seen: Option<BTreeSet<Vec<SortValue>>>,
    is_over: bool,
}

#[derive(Clone, Debug)]
enum Kept {
    /// As they come.
    Coming(Runs<Ordered>),
    /// One by one in their order.
    Leaving(Merged<Ordered>),
}

/// A row's arguments with what they are ordered by. Those that the keys do not tell apart keep the order in which they came.
#[derive(Clone, Debug)]
struct Ordered {
    keys: Row,
    arrival: u64,
    values: Row,
    order: Arc<[SortDirection]>,
}

/// What one step gave.
pub(super) enum Given {
    /// A value that counts.
    Values(Row),
    /// Nothing yet.
    Nothing,
    /// There are no more.
    End,
}

impl OrderedValues {
    pub(super) fn new(order: &[SortDirection], is_distinct: bool) -> Self {
        Self {
            kept: Kept::Coming(Runs::default()),
            arrivals: 0,
            order: order.into(),
            seen: is_distinct.then(BTreeSet::new),
            is_over: false,
        }
    }

    /// How many keys each value comes with.
    pub(super) fn key_count(&self) -> usize {
        self.order.len()
    }

    /// Keeps a value; answers its bytes.
    pub(super) fn keep(&mut self, keys: Row, values: Row) -> usize {
        let size = keys.iter().chain(&values).map(Value::size).sum();
        if let Kept::Coming(runs) = &mut self.kept {
            runs.push(Ordered { keys, arrival: self.arrivals, values, order: Arc::clone(&self.order) });
            self.arrivals += 1;
        }
        size
    }

    /// Keeps another's values behind its own; answers their bytes.
    pub(super) fn merge(&mut self, other: Self) -> usize {
        let (Kept::Coming(runs), Kept::Coming(more)) = (&mut self.kept, other.kept) else { return 0 };
        let (mut grown, before) = (0, self.arrivals);
        for ordered in more.into_items() {
            grown += ordered.keys.iter().chain(&ordered.values).map(Value::size).sum::<usize>();
            runs.push(Ordered { arrival: before + ordered.arrival, ..ordered });
        }
        self.arrivals += other.arrivals;
        grown
    }

    /// The next value in order, now that all have come. Every call does a bounded piece of work.
    pub(super) fn step(&mut self) -> Given {
        if self.is_over {
            // What told values apart is given back.
            return match self.seen.as_mut().and_then(BTreeSet::pop_first) {
                Some(_) => Given::Nothing,
                None => Given::End,
            };
        }
        let merged = match &mut self.kept {
            Kept::Coming(runs) => {
                self.kept = Kept::Leaving(std::mem::take(runs).merged());
                return Given::Nothing;
            }
            Kept::Leaving(merged) => merged,
        };
        match merged.step() {
            Step::Opened => Given::Nothing,
            Step::Item(Ordered { values, .. }) => {
                let is_new = self
                    .seen
                    .as_mut()
                    .is_none_or(|seen| seen.insert(values.iter().cloned().map(SortValue::same).collect::<Vec<_>>()));
                if is_new { Given::Values(values) } else { Given::Nothing }
            }
            Step::End => {
                self.is_over = true;
                Given::Nothing
            }
        }
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_keys(&self.keys, &other.keys, &self.order).then(self.arrival.cmp(&other.arrival))
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

fn compare_keys(left: &[Value], right: &[Value], order: &[SortDirection]) -> Ordering {
    let mut pairs =
        left.iter().zip(right).zip(order).map(|((left, right), direction)| match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if direction.nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if direction.nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) if direction.descending => sort_compare(right, left),
            (false, false) => sort_compare(left, right),
        });
    pairs.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}
