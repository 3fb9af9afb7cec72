//! Sorting in portions: items come one by one, are put in order in runs of a bounded length, and are merged one by one.
//!
//! No call compares more than a run and the heads of the others, however many items there are: who sorts can give its core away
//! between two calls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Items that are put in order in one go.
const RUN: usize = 512;

/// Steps that may be taken before the core is given away.
#[derive(Debug)]
pub(crate) struct Portion(usize);

impl Portion {
    pub(crate) const fn new(steps: usize) -> Self {
        Self(steps)
    }

    /// Whether one more step may be taken; it counts then.
    pub(crate) const fn step(&mut self) -> bool {
        let is_left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_left
    }
}

/// Items on their way into order. Their order tells every two apart, or those that it does not come in any.
#[derive(Clone, Debug)]
pub(crate) struct Runs<T> {
    full: Vec<Vec<T>>,
    open: Vec<T>,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { full: Vec::new(), open: Vec::new() }
    }
}

impl<T: Ord> Runs<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.open.push(item);
        if self.open.len() >= RUN {
            self.close();
        }
    }

    fn close(&mut self) {
        self.open.sort_unstable();
        self.full.push(std::mem::take(&mut self.open));
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * RUN + self.open.len()
    }

    /// The items in order.
    pub(crate) fn merged(mut self) -> Merged<T> {
        self.close();
        Merged { closed: self.full, runs: Vec::new(), heads: BinaryHeap::new() }
    }

    /// The items in no order.
    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        self.full.into_iter().flatten().chain(self.open)
    }
}

/// Runs that are being merged.
#[derive(Clone, Debug)]
pub(crate) struct Merged<T> {
    /// Runs of which nothing was taken yet.
    closed: Vec<Vec<T>>,
    runs: Vec<std::vec::IntoIter<T>>,
    /// The first item of each run, and the place of the run.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

/// What one step of a merge gave.
pub(crate) enum Step<T> {
    /// Nothing yet.
    Opened,
    /// The next item in order.
    Item(T),
    /// There are no more.
    End,
}

impl<T: Ord> Merged<T> {
    pub(crate) fn step(&mut self) -> Step<T> {
        if let Some(run) = self.closed.pop() {
            let mut run = run.into_iter();
            if let Some(head) = run.next() {
                self.heads.push(Reverse((head, self.runs.len())));
                self.runs.push(run);
            }
            return Step::Opened;
        }
        let Some(mut head) = self.heads.peek_mut() else { return Step::End };
        let run = self.runs.get_mut(head.0.1);
        match run {
            Some(run) => match run.next() {
                Some(next) => Step::Item(std::mem::replace(&mut head.0.0, next)),
                None => {
                    // Its memory is given back before the others end.
                    *run = Vec::new().into_iter();
                    Step::Item(PeekMut::pop(head).0.0)
                }
            },
            None => Step::Item(PeekMut::pop(head).0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::cell::Cell;
    use std::cmp::Ordering;

    use quickcheck::quickcheck;

    use super::*;

    fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut runs = Runs::default();
        items.into_iter().for_each(|item| runs.push(item));
        let (mut merged, mut all) = (runs.merged(), Vec::new());
        loop {
            match merged.step() {
                Step::Opened => {}
                Step::Item(item) => all.push(item),
                Step::End => return all,
            }
        }
    }

    quickcheck! {
        fn runs_are_merged_into_order(items: Vec<u8>, times: u8) -> bool {
            let items: Vec<u8> = (0..times).flat_map(|_| items.iter().copied()).collect();
            let mut wanted = items.clone();
            wanted.sort_unstable();
            sorted(items) == wanted
        }
    }

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A number that counts how often it is compared.
    struct Watched(u64);

    impl Ord for Watched {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Watched {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Watched {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Watched {}

    #[test]
    fn no_call_compares_more_for_more_items() {
        let most = |items: u64| {
            let (mut runs, mut most) = (Runs::default(), 0);
            for item in 0..items {
                COMPARED.set(0);
                runs.push(Watched(item.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                most = most.max(COMPARED.get());
            }
            COMPARED.set(0);
            let mut merged = runs.merged();
            while !matches!(merged.step(), Step::End) {
                most = most.max(COMPARED.get());
                COMPARED.set(0);
            }
            most
        };
        let few = most(2_000);
        assert!(few < RUN * 12, "{few}");
        assert!(most(200_000) < few * 3 / 2);
    }
}
