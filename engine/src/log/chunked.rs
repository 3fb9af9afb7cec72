//! A queue in parts of bounded size: however long it becomes, no item is ever moved to make room for others, so that to append costs the same
//! at any length. A contiguous queue of a million entries would be copied whole when it is full, while every group of the store waits.
//!
//! Invariants: no part is empty; every part but the first and the last has exactly [`PART`] items.

use std::collections::VecDeque;

/// Items of a part.
const PART: usize = 1024;

/// A queue of items, indexed from its front.
#[derive(Clone, Debug)]
pub(super) struct Chunked<T>(VecDeque<VecDeque<T>>);

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Chunked<T> {
    /// Number of items.
    pub(super) fn len(&self) -> usize {
        let (first, last) = (self.0.front().map_or(0, VecDeque::len), self.0.back().map_or(0, VecDeque::len));
        match self.0.len() {
            0 | 1 => first,
            parts => first + (parts - 2) * PART + last,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part of an item, and its place there.
    fn place(&self, index: usize) -> (usize, usize) {
        let first = self.0.front().map_or(0, VecDeque::len);
        match index.checked_sub(first) {
            None => (0, index),
            Some(behind) => (1 + behind / PART, behind % PART),
        }
    }

    /// The item at `index`.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (part, at) = self.place(index);
        self.0.get(part)?.get(at)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (part, at) = self.place(index);
        self.0.get_mut(part)?.get_mut(at)
    }

    /// The first item.
    pub(super) fn front(&self) -> Option<&T> {
        self.0.front()?.front()
    }

    /// Takes the first item out.
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let part = self.0.front_mut()?;
        let item = part.pop_front();
        if part.is_empty() {
            self.0.pop_front();
        }
        item
    }

    /// Puts items at the end.
    pub(super) fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        for item in items {
            match self.0.back_mut().filter(|part| part.len() < PART) {
                Some(part) => part.push_back(item),
                None => self.0.push_back(VecDeque::from([item])),
            }
        }
    }

    /// Keeps the first `kept` items.
    pub(super) fn truncate(&mut self, kept: usize) {
        let mut surplus = self.len().saturating_sub(kept);
        while surplus > 0
            && let Some(part) = self.0.back_mut()
        {
            let cut = surplus.min(part.len());
            part.truncate(part.len() - cut);
            surplus -= cut;
            if part.is_empty() {
                self.0.pop_back();
            }
        }
    }

    /// All items, from the front.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn it_is_the_queue_that_one_part_would_be(steps: Vec<(u8, u16)>) -> bool {
            let (mut parts, mut whole) = (Chunked::default(), VecDeque::new());
            let mut next = 0_u64;
            for (kind, count) in steps {
                let count = usize::from(count) % (3 * PART);
                match kind % 4 {
                    0 | 1 => {
                        let items = next..next + count as u64;
                        next = items.end;
                        parts.extend(items.clone());
                        whole.extend(items);
                    }
                    2 => {
                        for _ in 0..count {
                            if parts.pop_front() != whole.pop_front() {
                                return false;
                            }
                        }
                    }
                    _ => {
                        let kept = whole.len().saturating_sub(count);
                        parts.truncate(kept);
                        whole.truncate(kept);
                    }
                }
                let is_whole = parts.0.iter().all(|part| !part.is_empty() && part.len() <= PART);
                let places = [0, 1, count, whole.len().saturating_sub(1), whole.len()];
                let same = places.into_iter().all(|at| {
                    parts.get(at) == whole.get(at) && parts.get_mut(at).map(|item| *item) == whole.get(at).copied()
                });
                let ends = (parts.len(), parts.is_empty(), parts.front()) == (whole.len(), whole.is_empty(), whole.front());
                if !(is_whole && same && ends && parts.iter().eq(whole.iter())) {
                    return false;
                }
            }
            true
        }
    }
}
