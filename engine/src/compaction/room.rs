//! Room on the disk for compactions: one that cannot fit is not begun.
//!
//! A merge writes its output before its input can go, so it needs as many free bytes as it reads, at most. What is free does not
//! belong to compactions alone: a part stays for the next flush, and what a merge under way may still write is its own.

use std::cell::Cell;

use crate::options::StoreOptions;

/// What the compactions of one look at the tree may take.
#[derive(Debug)]
pub(crate) struct Room {
    free: u64,
    held_back: u64,
    /// The least that did not fit.
    refused: Cell<Option<u64>>,
}

/// Nothing of what is to be done fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// Bytes that must be free for the smallest step.
    pub(crate) needed: u64,
    /// Bytes that are.
    pub(crate) free: u64,
}

impl Room {
    /// The room on a disk with `free` bytes, while merges under way may write `promised` of them, and with so many runs in level 0.
    pub(crate) const fn of(free: u64, promised: u64, runs: usize, options: &StoreOptions) -> Self {
        // Where writes are refused until runs are merged, these come before the next flush, and only the manifest may have to grow.
        let stopped = runs >= options.level_zero_stop;
        let other = if stopped { options.manifest_bytes } else { options.memtable_bytes as u64 };
        Self { free, held_back: promised.saturating_add(other), refused: Cell::new(None) }
    }

    /// Bytes that one merge may take.
    pub(crate) const fn bytes(&self) -> u64 {
        self.free.saturating_sub(self.held_back)
    }

    /// Whether a merge of so many bytes fits. What does not is remembered.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let fits = bytes <= self.bytes();
        if !fits {
            self.refused.set(Some(self.refused.get().map_or(bytes, |least| least.min(bytes))));
        }
        fits
    }

    /// What would have been done with more room.
    pub(crate) fn lacking(&self) -> Option<NoRoom> {
        let needed = self.refused.get()?.saturating_add(self.held_back);
        Some(NoRoom { needed, free: self.free })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::collections::BTreeMap;

    use quickcheck::quickcheck;

    use super::super::controller::Lane;
    use super::super::drawing::Scene;
    use super::*;

    /// A level's run of tables of these sizes in KiB, one behind the other from key `a` on.
    fn run(sizes: &[u8], next: &mut u64) -> String {
        let table = |(at, size): (usize, &u8)| {
            *next += 1;
            let (start, end) = (b'a' + 2 * at as u8, b'a' + 2 * at as u8 + 1);
            format!("{next}:{}-{}:{}", start as char, end as char, 4 + u64::from(*size))
        };
        sizes.iter().take(12).enumerate().map(table).collect::<Vec<_>>().join(" ")
    }

    fn tree(upper: &[Vec<u8>], base: &[u8], bottom: &[u8]) -> String {
        let next = &mut 0;
        let (bottom, base) = (run(bottom, next), run(base, next));
        // The oldest run has the lowest ids.
        let mut runs: Vec<String> = upper.iter().filter(|run| !run.is_empty()).map(|sizes| run(sizes, next)).collect();
        runs.reverse();
        format!("L0 {}\nL5 {base}\nL6 {bottom}", runs.join("|"))
    }

    /// KiB of the tables that a drawn merge takes.
    fn merged(tree: &str, picked: &str) -> u64 {
        let Some((_, picked)) = picked.split_once("merge ") else { return 0 };
        let (tables, _) = picked.split_once(" to ").unwrap();
        let table = |text: &str| {
            let parts: Vec<&str> = text.split(':').collect();
            (parts.len() == 3).then(|| (parts[0].to_owned(), parts[2].parse::<u64>().unwrap()))
        };
        let kib: BTreeMap<String, u64> = tree.split([' ', '|', '\n']).filter_map(table).collect();
        let ids = tables.split(|letter: char| !letter.is_ascii_alphanumeric()).filter_map(|id| kib.get(id));
        ids.sum()
    }

    quickcheck! {
        fn what_is_chosen_fits_and_what_would_be_is_told(
            upper: Vec<Vec<u8>>, base: Vec<u8>, bottom: Vec<u8>, room: u16, quiet: bool, lazy: bool
        ) -> bool {
            let upper: Vec<Vec<u8>> = upper.into_iter().take(14).collect();
            let (tree, room) = (tree(&upper, &base, &bottom), u64::from(room % 2000));
            [Lane::Upper, Lane::Deep].into_iter().all(|lane| {
                let with = |room| Scene { room, quiet, lazy, ..Scene::default() }.pick(lane, &tree);
                let (free, picked) = (with(None), with(Some(room)));
                let Some(needs) = picked.strip_prefix("needs ") else {
                    // What there is to do is not forgotten for want of room.
                    return merged(&tree, &picked) <= room && (free == "nothing") == (picked == "nothing");
                };
                let needed = needs.split_once(' ').unwrap().0.parse::<u64>().unwrap();
                let would_be = with(Some(needed));
                needed > room && merged(&tree, &would_be) == needed && with(Some(needed - 1)) == format!("needs {needed} KiB of {}", needed - 1)
            })
        }
    }

    #[test]
    fn a_merge_fits_beside_a_flush_and_what_is_under_way() {
        let options = StoreOptions { memtable_bytes: 10, manifest_bytes: 1, ..StoreOptions::default() };
        let room = Room::of(100, 30, 4, &options);
        assert!(room.fits(60) && room.lacking().is_none());
        assert!(!room.fits(90) && !room.fits(61) && !room.fits(70));
        assert_eq!(room.lacking(), Some(NoRoom { needed: 101, free: 100 }), "the least that did not fit");
        assert!(Room::of(101, 30, 4, &options).fits(61));
        let none = Room::of(20, 30, 4, &options);
        assert!(none.fits(0) && !none.fits(1));
        let stopped = Room::of(100, 30, options.level_zero_stop, &options);
        assert!(stopped.fits(69) && !stopped.fits(70), "no flush comes before a merge");
    }

    #[test]
    fn a_disk_without_a_limit_has_room_for_everything_that_there_can_be() {
        let room = Room::of(u64::MAX, 1 << 40, 4, &StoreOptions::default());
        assert!(room.fits(1 << 60));
    }
}
