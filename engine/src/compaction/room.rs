//! Room on the disk for compactions: one that cannot fit is not begun.
//!
//! A merge writes its output before its input can go, so it needs as many free bytes as it reads, at most. What is free does not
//! belong to compactions alone: a part stays for the next flush and for what is written while a merge goes on, and what another merge
//! under way may still write is its own.

use std::cell::Cell;

use highwater_runtime::Monotonic;

use crate::options::StoreOptions;

/// Writes let compactions go on by at least so many bytes for each of theirs ([`super::pace`]), so while a merge of some bytes is under way,
/// not more than this part of them is written and flushed.
const BYTES_PER_WRITTEN: u64 = 4;
/// A merge that found no space although there seemed to be is not begun again before so many times what the try took.
const DOUBT_TIMES: u64 = 9;
/// The longest such wait, in microseconds.
const DOUBT_MOST_MICROS: u64 = 60_000_000;

/// What the compactions of one look at the tree may take.
#[derive(Debug)]
pub(crate) struct Room {
    free: u64,
    held_back: u64,
    /// Writes are refused until runs are merged.
    is_stopped: bool,
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
        let is_stopped = runs >= options.level_zero_stop;
        let other = if is_stopped { options.manifest_bytes } else { options.memtable_bytes as u64 };
        Self { free, held_back: promised.saturating_add(other), is_stopped, refused: Cell::new(None) }
    }

    /// Bytes that must be free for a merge of so many.
    const fn needed(&self, bytes: u64) -> u64 {
        let beside = if self.is_stopped { 0 } else { bytes / BYTES_PER_WRITTEN };
        bytes.saturating_add(beside).saturating_add(self.held_back)
    }

    /// Whether a merge of so many bytes fits. What does not is remembered.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let fits = self.would_fit(bytes);
        if !fits {
            self.refused.set(Some(self.refused.get().map_or(bytes, |least| least.min(bytes))));
        }
        fits
    }

    /// Whether a merge of so many bytes would fit, for one that need not be as large.
    pub(crate) const fn would_fit(&self, bytes: u64) -> bool {
        bytes == 0 || self.needed(bytes) <= self.free
    }

    /// What would have been done with more room.
    pub(crate) fn lacking(&self) -> Option<NoRoom> {
        let refused = self.refused.get()?;
        Some(NoRoom { needed: self.needed(refused), free: self.free })
    }
}

/// What a merge learned that found no space although there seemed to be: others wrote meanwhile, or a quota is not the file system's
/// free space. For a while the disk counts as that full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubt {
    most: u64,
    until: u64,
}

impl Doubt {
    /// After a merge of so many bytes that took so many microseconds to fail.
    pub(crate) fn after(self, bytes: u64, took: u64, now: Monotonic) -> Self {
        let wait = took.saturating_mul(DOUBT_TIMES).min(DOUBT_MOST_MICROS);
        Self { most: bytes / 2, until: self.until.max(now.after_micros(wait).0) }
    }

    /// What to believe of so many bytes that the file system says are free.
    pub(crate) fn believed(self, free: u64, now: Monotonic) -> u64 {
        if now.0 < self.until { free.min(self.most) } else { free }
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
    fn a_merge_fits_beside_a_flush_what_is_written_meanwhile_and_what_is_under_way() {
        let options = StoreOptions { memtable_bytes: 10, manifest_bytes: 1, ..StoreOptions::default() };
        let room = Room::of(100, 30, 4, &options);
        assert!(room.fits(48) && room.would_fit(48) && !room.would_fit(49) && room.lacking().is_none());
        assert!(!room.fits(90) && !room.fits(49) && !room.fits(70));
        assert_eq!(room.lacking(), Some(NoRoom { needed: 101, free: 100 }), "the least that did not fit");
        assert!(Room::of(101, 30, 4, &options).fits(49));
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

    #[test]
    fn after_a_merge_that_failed_half_of_it_is_believed_for_a_while_and_less_after_each_more() {
        let at = Monotonic;
        let once = Doubt::default().after(1000, 5_000_000, at(10_000_000));
        assert_eq!(Doubt::default().believed(7000, at(0)), 7000);
        assert_eq!((once.believed(7000, at(54_999_999)), once.believed(7000, at(55_000_000))), (500, 7000));
        assert_eq!(once.believed(300, at(20_000_000)), 300);
        let twice = once.after(400, 2_000_000, at(20_000_000));
        assert_eq!((twice.believed(7000, at(54_999_999)), twice.believed(7000, at(55_000_000))), (200, 7000));
        assert_eq!(once.after(1, u64::MAX, at(0)).until, 60_000_000, "a minute at most");
    }
}
