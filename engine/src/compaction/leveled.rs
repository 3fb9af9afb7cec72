//! Leveled compaction: below level 0, one run per level.
//!
//! Level 0 gathers runs. It is merged down, oldest runs first, when it has enough of them and is not small against what it would
//! be merged with: rewriting much for little is put off, up to a limit of runs or until nobody writes. Of the other levels, the one
//! that exceeds its target most gives the table that overlaps least with the next level in relation to its size (as RocksDB and
//! TigerBeetle choose). What overlaps nothing moves without being rewritten. Tables that mostly delete go down out of turn.
//!
//! Where the disk has no room for a copy of level 0 and the base, level 0 gives one table of its oldest run at a time, or runs of it
//! become one, so that writes can go on.

use super::controller::{Input, Lane, Task, bytes_of, range};
use super::pace::patience;
use super::sizes::{BOTTOM, Sizes, level_bytes};
use crate::manifest::edit::SETTLED;
use crate::manifest::{Place, Run, TableMeta};

/// A table with fewer versions than this is not worth a compaction of its own.
const HEAVY_ENTRIES: u64 = 64;
/// Level 0 is merged once it has one byte per so many that it is merged with.
const WORTH: u64 = 2;

pub(super) fn pick(input: &Input<'_>, sizes: &Sizes, lane: Lane) -> Option<Task> {
    let settled = input.levels.iter().skip(1).flatten().all(|run| run.id == SETTLED);
    match lane {
        Lane::Upper if !settled => settle(input),
        Lane::Deep if !settled => None,
        Lane::Upper => level_zero(input, sizes),
        Lane::Deep => overfull(input, sizes).or_else(|| shed(input)).or_else(|| within_level_zero(input)),
    }
}

/// Makes one run of a level that another policy left with several.
fn settle(input: &Input<'_>) -> Option<Task> {
    for level in (1..=BOTTOM).rev() {
        let runs = input.runs(level);
        let loose: Vec<&Run> = runs.iter().filter(|run| run.id != SETTLED).collect();
        if loose.is_empty() || !runs.iter().all(|run| input.run_is_idle(run)) {
            continue;
        }
        let to = Place { level, run: SETTLED };
        if let ([only], []) = (loose.as_slice(), input.settled(level)) {
            return Some(Task::Move { tables: only.tables.iter().map(|table| table.table).collect(), to });
        }
        let inputs: Vec<Vec<&TableMeta>> = loose.iter().map(|run| run.tables.iter().collect()).collect();
        return input.merge(level, &inputs, to);
    }
    None
}

/// The oldest runs of level 0 on which nothing works, newest first.
pub(super) fn oldest_idle<'a>(input: &Input<'a>) -> &'a [Run] {
    let runs = input.runs(0);
    let idle = runs.iter().rev().take_while(|run| input.run_is_idle(run)).count();
    runs.get(runs.len() - idle..).unwrap_or_default()
}

/// Level 0 into the base.
fn level_zero(input: &Input<'_>, sizes: &Sizes) -> Option<Task> {
    let runs = oldest_idle(input);
    if runs.len() < input.options.level_zero_trigger {
        return None;
    }
    let to = Place { level: sizes.base, run: SETTLED };
    if let Some(task) = movable(input, runs, to) {
        return Some(task);
    }
    let (start, end) = range(runs.iter().flat_map(|run| &run.tables))?;
    let targets = input.overlapping(to.level, start, end);
    let (have, with) = (level_bytes(runs), bytes_of(targets));
    let worth = have.saturating_mul(WORTH) >= with;
    if !worth && runs.len() < patience(input.options) && !input.quiet {
        return None;
    }
    // The oldest runs that together stay under the cap, and the oldest one in any case. Where the base alone is about as large as the
    // cap, runs of half its size go with it: to rewrite it for one run at a time would cost many times as much.
    let most = input.cap().max(with.saturating_add(with / WORTH));
    let mut taken = with;
    let fits = |run: &&Run| {
        taken += run.bytes();
        taken <= most
    };
    let count = runs.iter().rev().take_while(fits).count().max(1);
    let oldest = runs.get(runs.len() - count..).unwrap_or_default();
    input.merge(0, &tables_of(oldest), to).or_else(|| input.room.lacking().and_then(|_| in_parts(input, runs, to)))
}

/// The tables of runs, run by run.
pub(super) fn tables_of(runs: &[Run]) -> Vec<Vec<&TableMeta>> {
    runs.iter().map(|run| run.tables.iter().collect()).collect()
}

/// Level 0 into the base with less room than that takes: the table of the oldest run that costs least, if that is no more than a step
/// between levels costs; when runs are many, some of them as one; at last a table of the oldest run, whatever it costs.
fn in_parts(input: &Input<'_>, runs: &[Run], to: Place) -> Option<Task> {
    let oldest = runs.last()?;
    let overlap = |table: &TableMeta| bytes_of(input.overlapping(to.level, &table.start, &table.end));
    let cost = |table: &&TableMeta| (u128::from(overlap(table)) * 1000 / u128::from(table.bytes().max(1)), table.table);
    let part = |most: u64| {
        let is_cheap = |table: &&TableMeta| overlap(table) <= table.bytes().saturating_mul(most);
        let fits = |table: &&TableMeta| input.room.fits(table.bytes() + overlap(table));
        let table = oldest.tables.iter().filter(is_cheap).filter(fits).min_by_key(cost)?;
        input.merge(0, &[vec![table]], to)
    };
    let cheap = part(input.options.level_ratio);
    if cheap.is_some() || runs.len() < patience(input.options) {
        return cheap;
    }
    gather(input, runs).or_else(|| part(u64::MAX))
}

/// Neighbouring runs of level 0 as one, those that cost least for each run less.
pub(super) fn gather(input: &Input<'_>, runs: &[Run]) -> Option<Task> {
    let windows = (2..=runs.len()).flat_map(|count| runs.windows(count));
    let cost = |window: &&[Run]| level_bytes(window) / (window.len() as u64 - 1).max(1);
    let chosen = windows.filter(|window| input.room.fits(level_bytes(window))).min_by_key(cost)?;
    input.merge(0, &tables_of(chosen), Place { level: 0, run: chosen.first()?.id })
}

/// The oldest runs as they are, when they overlap neither each other nor anything at `to`.
fn movable(input: &Input<'_>, runs: &[Run], to: Place) -> Option<Task> {
    let mut moved: Vec<&TableMeta> = Vec::new();
    for run in runs.iter().rev() {
        let free = |table: &TableMeta| {
            let above = moved.iter().any(|held| held.overlaps(&table.start, Some(&table.end)));
            let below = !input.overlapping(to.level, &table.start, &table.end).is_empty();
            !above && !below && !input.sheds(table, to)
        };
        if !run.tables.iter().all(free) {
            break;
        }
        moved.extend(&run.tables);
    }
    let tables: Vec<u64> = moved.iter().map(|table| table.table).collect();
    (!tables.is_empty()).then_some(Task::Move { tables, to })
}

/// While the upper lane works on old runs of level 0, the newest become one when there are many, so that reads stay fast and
/// writes go on. A run much larger than the newer ones together is left as it is.
fn within_level_zero(input: &Input<'_>) -> Option<Task> {
    let runs = input.runs(0);
    let idle = runs.iter().take_while(|run| input.run_is_idle(run)).count();
    if idle == runs.len() || runs.len() < patience(input.options) {
        return None;
    }
    let mut sum = 0;
    let similar = |run: &&Run| {
        let fits = sum == 0 || run.bytes() <= sum * 2;
        sum += run.bytes();
        fits
    };
    let newest: Vec<&Run> = runs.iter().take(idle).take_while(similar).collect();
    if newest.len() < input.options.level_zero_trigger {
        return None;
    }
    let inputs: Vec<Vec<&TableMeta>> = newest.iter().map(|run| run.tables.iter().collect()).collect();
    input.merge(0, &inputs, Place { level: 0, run: newest.first()?.id })
}

/// Of the levels that exceed their target, the one that does so most.
fn overfull(input: &Input<'_>, sizes: &Sizes) -> Option<Task> {
    // Level 0 waits for the base, all of which it overlaps: as long as the base is not far over its target, it goes first.
    let waits = oldest_idle(input).len() >= input.options.level_zero_trigger;
    let score = |level: usize| {
        let target = sizes.target(level);
        let bytes = level_bytes(input.runs(level));
        let yields = waits && level == sizes.base && target > 0 && bytes < target.saturating_mul(2);
        (bytes > target && !yields).then(|| (u128::from(bytes) * 1000 / u128::from(target.max(1)), level))
    };
    let mut scores: Vec<(u128, usize)> = (1..BOTTOM).filter_map(score).collect();
    // Of equal scores the upper level goes first.
    scores.sort_by_key(|(score, level)| (std::cmp::Reverse(*score), *level));
    scores.into_iter().find_map(|(_, level)| least_overlap(input, level))
}

/// The table of a level that costs least to merge into the next one, with those beside it that cost nothing more.
fn least_overlap(input: &Input<'_>, level: usize) -> Option<Task> {
    let to = Place { level: level + 1, run: SETTLED };
    let next = |table: &TableMeta| input.overlapping(to.level, &table.start, &table.end);
    let cost = |table: &&TableMeta| {
        let overlap = bytes_of(next(table));
        let large = overlap + table.bytes() > input.cap();
        (large, u128::from(overlap) * 1000 / u128::from(table.bytes().max(1)), table.table)
    };
    let idle = |table: &&TableMeta| input.is_idle(table) && next(table).iter().all(|below| input.is_idle(below));
    let moves = |table: &TableMeta| next(table).is_empty() && !input.sheds(table, to);
    let fits = |table: &&TableMeta| moves(table) || input.room.fits(table.bytes() + bytes_of(next(table)));
    let tables = input.settled(level);
    let chosen = tables.iter().filter(|table| idle(table) && fits(table)).min_by_key(cost)?;
    down(input, level, chosen, to)
}

/// One table to the next level: moved, or merged with what it overlaps there, together with neighbours that overlap no more.
fn down(input: &Input<'_>, level: usize, chosen: &TableMeta, to: Place) -> Option<Task> {
    let targets = input.overlapping(to.level, &chosen.start, &chosen.end);
    if targets.is_empty() && !input.sheds(chosen, to) {
        return Some(Task::Move { tables: vec![chosen.table], to });
    }
    let (low, high) = range(std::iter::once(chosen).chain(targets))?;
    let mut taken = chosen.bytes() + bytes_of(targets);
    let fits = |bytes| bytes <= input.cap() && input.room.would_fit(bytes);
    let mut inputs = Vec::new();
    for table in input.overlapping(level, low, high) {
        let here = table.table == chosen.table;
        let free = input
            .overlapping(to.level, &table.start, &table.end)
            .iter()
            .all(|below| targets.iter().any(|target| target.table == below.table));
        if here {
            inputs.push(table);
        } else if free && input.is_idle(table) && fits(taken + table.bytes()) {
            taken += table.bytes();
            inputs.push(table);
        }
    }
    input.merge(level, &[inputs], to)
}

/// Whether a table mostly deletes.
fn is_heavy(table: &TableMeta) -> bool {
    table.deletes * 2 > table.entries.max(HEAVY_ENTRIES)
}

/// Whether something below a level overlaps with the table.
fn deletes_something(input: &Input<'_>, level: usize, table: &TableMeta) -> bool {
    let below = input.levels.iter().skip(level + 1).flatten();
    below.into_iter().any(|run| !run.overlapping(&table.start, Some(&table.end)).is_empty())
}

/// A table that mostly deletes, on its way down; or one that would become much smaller if it were rewritten where it is, because
/// what it deletes is gone or most of it has expired.
pub(super) fn shed(input: &Input<'_>) -> Option<Task> {
    for level in 1..=BOTTOM {
        let here = Place { level, run: SETTLED };
        let below_is_settled = input.runs(level + 1).iter().all(|run| run.id == SETTLED);
        for table in input.settled(level).iter().filter(|table| input.is_idle(table)) {
            let expired = input.clocks.has_expired_within(&table.start, &table.end, table.last_expiry)
                && table.expiring * 2 > table.entries
                && input.snapshots.last().is_none_or(|newest| newest.0 < table.oldest);
            if (is_heavy(table) && input.sheds(table, here))
                || (expired && input.is_bottom(here, &table.start, &table.end))
            {
                if let Some(task) = input.merge(level, &[vec![table]], here) {
                    return Some(task);
                }
                continue;
            }
            let next = input.overlapping(level + 1, &table.start, &table.end);
            let free = next.iter().all(|below| input.is_idle(below));
            if is_heavy(table)
                && level < BOTTOM
                && free
                && below_is_settled
                && deletes_something(input, level, table)
                && let Some(task) = down(input, level, table, Place { level: level + 1, run: SETTLED })
            {
                return Some(task);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::drawing::Scene;

    const FOUR: &str = "L0 9:a-z:20|8:a-z:20|7:a-z:20|6:a-z:20";

    fn upper(drawing: &str) -> String {
        Scene::default().upper(drawing)
    }

    fn deep(drawing: &str) -> String {
        Scene::default().deep(drawing)
    }

    #[test]
    fn level_zero_goes_to_the_deepest_level_while_that_is_small() {
        assert_eq!(upper("L0 9:a-b:10|8:a-b:10|7:a-b:10"), "nothing");
        assert_eq!(upper(FOUR), "move [6] to L6.0", "the first finds nothing there");
        let three = "L6 1:a-c:50 2:d-g:50 3:zz-zzz:50";
        assert_eq!(upper(&format!("{FOUR}\n{three}")), "merge L0 [[9], [8], [7], [6]] with [1, 2] to L6.0 bottom");
    }

    #[test]
    fn much_is_not_rewritten_for_little_until_there_are_many_runs_or_it_is_quiet() {
        let large = "L6 1:a-m:200 2:n-z:200";
        assert_eq!(upper(&format!("{FOUR}\n{large}")), "nothing");
        let quiet = Scene { quiet: true, ..Scene::default() };
        assert_eq!(
            quiet.upper(&format!("{FOUR}\n{large}")),
            "merge L0 [[9], [8], [7], [6]] with [1, 2] to L6.0 bottom"
        );
        let six = "L0 11:a-z:20|10:a-z:20|9:a-z:20|8:a-z:20|7:a-z:20|6:a-z:20";
        assert_eq!(
            upper(&format!("{six}\n{large}")),
            "merge L0 [[11], [10], [9], [8], [7], [6]] with [1, 2] to L6.0 bottom"
        );
    }

    #[test]
    fn a_merge_reads_at_most_its_cap_oldest_runs_first() {
        let large = "L0 9:a-z:200|8:a-z:200|7:a-z:200|6:a-z:200\nL6 1:a-m:100";
        assert_eq!(upper(large), "merge L0 [[7], [6]] with [1] to L6.0 bottom");
    }

    #[test]
    fn a_base_as_large_as_the_cap_takes_runs_of_half_its_size_at_once() {
        let six = "L0 11:a-z:60|10:a-z:60|9:a-z:60|8:a-z:60|7:a-z:60|6:a-z:60";
        let base = "L6 1:a-m:300 2:n-z:300";
        assert_eq!(upper(&format!("{six}\n{base}")), "merge L0 [[10], [9], [8], [7], [6]] with [1, 2] to L6.0 bottom");
    }

    #[test]
    fn runs_that_overlap_nothing_move_as_they_are() {
        let rising = "L0 9:m-n:20|8:k-l:20|7:i-j:20|6:g-h:20\nL6 1:a-c:90";
        assert_eq!(upper(rising), "move [6, 7, 8, 9] to L6.0");
        let some = "L0 9:m-n:20|8:a-l:20|7:i-j:20|6:g-h:20\nL6 1:a-c:90";
        assert_eq!(upper(some), "move [6, 7] to L6.0");
        let deletes = "L0 9:m-n:20|8:k-l:20|7:i-j:20|6:g-h:20!\nL6 1:a-c:90";
        assert_eq!(
            upper(deletes),
            "merge L0 [[9], [8], [7], [6]] with [] to L6.0 bottom",
            "deletes with nothing to delete go"
        );
    }

    #[test]
    fn level_zero_goes_to_the_highest_level_that_should_hold_data() {
        let between = "L5 2:a-f:70 3:g-k:70\nL6 1:a-z:1600";
        assert_eq!(upper(&format!("{FOUR}\n{between}")), "merge L0 [[9], [8], [7], [6]] with [2, 3] to L5.0");
        assert_eq!(upper(&format!("{FOUR}\nL6 1:a-z:1600")), "move [6] to L5.0");
    }

    #[test]
    fn nothing_passes_a_level_that_still_holds_data() {
        let draining = "L5 2:a-f:90\nL6 1:a-z:200";
        assert_eq!(upper(&format!("{FOUR}\n{draining}")), "merge L0 [[9], [8], [7], [6]] with [2] to L5.0");
        assert_eq!(deep(draining), "merge L5 [[2]] with [1] to L6.0 bottom");
    }

    #[test]
    fn the_fullest_level_gives_the_table_that_overlaps_least() {
        let over = "L5 2:a-d:300 3:e-k:300\nL6 1:a-d:800 4:e-g:90 5:h-k:90 6:l-z:900";
        assert_eq!(deep(over), "merge L5 [[3]] with [4, 5] to L6.0 bottom");
        let free = "L5 2:a-d:300 3:e-k:300\nL6 1:a-d:800 6:l-z:900";
        assert_eq!(deep(free), "move [3] to L6.0");
        let full = "L5 2:a-d:160 3:e-k:160\nL6 1:a-d:800 6:l-z:900";
        assert_eq!(deep(full), "nothing", "a level within its target gives nothing");
    }

    #[test]
    fn neighbours_that_overlap_no_more_go_along() {
        let over = "L5 2:a-c:80 3:d-f:80 4:g-i:80 7:j-z:400\nL6 1:a-m:200 6:n-z:1500";
        assert_eq!(deep(over), "merge L5 [[2, 3, 4]] with [1] to L6.0 bottom");
    }

    #[test]
    fn what_is_under_way_is_left_alone() {
        let over = "L5 2:a-d:300 3:e-k:300\nL6 1:a-d:800 4:e-g:90 5:h-k:90 6:l-z:900";
        let busy = |busy| Scene { busy, ..Scene::default() };
        assert_eq!(busy(&[5]).deep(over), "merge L5 [[2]] with [1] to L6.0 bottom");
        assert_eq!(busy(&[5, 2]).deep(over), "nothing");
        assert_eq!(busy(&[2]).upper(&format!("{FOUR}\n{over}")), "nothing", "the base is busy");
        assert_eq!(busy(&[9, 8]).upper(FOUR), "nothing", "too few idle runs");
    }

    fn within(room: u64) -> Scene {
        Scene { room: Some(room), ..Scene::default() }
    }

    const SIX: &str = "L0 11:a-z:20|10:a-z:20|9:a-z:20|8:a-z:20|7:a-z:20|6:a-z:20";

    #[test]
    fn level_zero_that_does_not_fit_beside_its_copy_becomes_fewer_runs_when_they_are_many() {
        let base = "L6 1:a-m:200 2:n-z:200";
        let six = format!("{SIX}\n{base}");
        assert_eq!(within(520).upper(&six), "merge L0 [[11], [10], [9], [8], [7], [6]] with [1, 2] to L6.0 bottom");
        assert_eq!(within(519).upper(&six), "merge L0 [[11], [10], [9], [8], [7], [6]] with [] to L0.11");
        assert_eq!(within(119).upper(&six), "merge L0 [[11], [10], [9], [8], [7]] with [] to L0.11");
        assert_eq!(within(40).upper(&six), "merge L0 [[11], [10]] with [] to L0.11");
        assert_eq!(within(39).upper(&six), "needs 40 KiB of 39");
        let grown = "L0 11:a-z:20|10:a-z:20|9:a-z:20|8:a-z:25|7:a-z:90|6:a-z:100";
        assert_eq!(within(300).upper(&format!("{grown}\n{base}")), "merge L0 [[11], [10], [9], [8]] with [] to L0.11");
        let few = "L0 9:a-z:60|8:a-z:60|7:a-z:60|6:a-z:20";
        assert_eq!(within(599).upper(&format!("{few}\n{base}")), "needs 600 KiB of 599", "four are not many");
        assert_eq!(
            within(600).upper(&format!("{few}\n{base}")),
            "merge L0 [[9], [8], [7], [6]] with [1, 2] to L6.0 bottom"
        );
    }

    #[test]
    fn level_zero_that_does_not_fit_beside_its_copy_gives_a_table_of_its_oldest_run() {
        let base = "L6 1:a-f:150 2:g-m:100 3:n-z:150";
        let tables = format!("L0 9:a-z:50|8:a-z:50|7:a-z:50|4:a-f:25 5:g-m:25 6:n-z:25\n{base}");
        assert_eq!(within(624).upper(&tables), "merge L0 [[5]] with [2] to L6.0 bottom", "the one that costs least");
        assert_eq!(within(125).upper(&tables), "merge L0 [[5]] with [2] to L6.0 bottom");
        assert_eq!(within(124).upper(&tables), "needs 125 KiB of 124");
        let dear = format!("{SIX}\nL6 1:a-m:200 2:n-z:200");
        let dear = dear.replace("6:a-z:20", "6:a-m:20");
        assert_eq!(
            within(300).upper(&dear),
            "merge L0 [[11], [10], [9], [8], [7], [6]] with [] to L0.11",
            "ten for one"
        );
    }

    #[test]
    fn what_moves_or_goes_needs_no_room() {
        let none = within(0);
        assert_eq!(none.upper(FOUR), "move [6] to L6.0");
        assert_eq!(none.deep("L5 2:a-d:300 3:e-k:300\nL6 1:a-d:800 6:l-z:900"), "move [3] to L6.0");
        let covered = Scene { range_deletes: &[("a", "m", 99)], ..none };
        assert_eq!(covered.upper(&format!("{FOUR}\nL6 1:a-c:50")), "drop [1] covered");
    }

    #[test]
    fn of_deeper_levels_the_table_goes_that_fits() {
        let over = "L5 2:a-d:300 3:e-k:90\nL6 1:a-d:300 4:e-g:90 5:h-k:90 6:l-z:900";
        assert_eq!(deep(over), "merge L5 [[2]] with [1] to L6.0 bottom");
        assert_eq!(within(599).deep(over), "merge L5 [[3]] with [4, 5] to L6.0 bottom");
        assert_eq!(within(269).deep(over), "needs 270 KiB of 269");
        let beside = "L5 2:a-c:80 3:d-f:80 4:g-i:80 7:j-z:400\nL6 1:a-m:200 6:n-z:1500";
        assert_eq!(within(400).deep(beside), "merge L5 [[2, 3]] with [1] to L6.0 bottom", "with as many beside it");
        let heavy = "L5 2:a-d:20! 3:m-n:20!\nL6 1:a-d:900 4:m-n:50";
        assert_eq!(within(100).deep(heavy), "merge L5 [[3]] with [4] to L6.0 bottom");
    }

    #[test]
    fn level_zero_goes_before_a_base_that_is_not_far_over_its_target() {
        let base = "L5 2:a-d:250 3:e-k:250\nL6 1:a-d:800 6:l-z:800";
        assert_eq!(deep(base), "move [3] to L6.0");
        assert_eq!(deep(&format!("{FOUR}\n{base}")), "nothing");
        let far = "L5 2:a-d:450 3:e-k:450\nL6 1:a-d:800 6:l-z:800";
        assert_eq!(deep(&format!("{FOUR}\n{far}")), "move [3] to L6.0");
    }

    #[test]
    fn while_old_runs_are_merged_down_many_new_ones_become_one() {
        let busy = Scene { busy: &[1, 2, 3], ..Scene::default() };
        let six = "L0 9:a-z:20|8:a-z:20|7:a-z:20|3:a-z:20|2:a-z:20|1:a-z:20";
        assert_eq!(busy.deep(six), "nothing", "three are not many");
        let seven = "L0 10:a-z:20|9:a-z:20|8:a-z:20|7:a-z:20|3:a-z:20|2:a-z:20|1:a-z:20";
        assert_eq!(busy.deep(seven), "merge L0 [[10], [9], [8], [7]] with [] to L0.10");
        let large = "L0 11:a-z:20|10:a-z:20|9:a-z:20|8:a-z:20|7:a-z:900|3:a-z:20|2:a-z:20|1:a-z:20";
        assert_eq!(busy.deep(large), "merge L0 [[11], [10], [9], [8]] with [] to L0.11", "a large one stays as it is");
    }

    #[test]
    fn tables_of_deletes_go_down_to_what_they_delete_and_vanish_where_nothing_is_left() {
        assert_eq!(deep("L5 2:a-d:20!\nL6 1:a-d:900"), "merge L5 [[2]] with [1] to L6.0 bottom");
        assert_eq!(deep("L5 2:a-d:20!\nL6 1:x-z:900"), "merge L5 [[2]] with [] to L5.0 bottom");
        assert_eq!(deep("L6 2:a-d:20!"), "merge L6 [[2]] with [] to L6.0 bottom");
        let held = Scene { snapshots: &[3], ..Scene::default() };
        assert_eq!(held.deep("L6 2:a-d:20!"), "nothing", "a snapshot needs them");
    }

    #[test]
    fn what_mostly_expired_is_rewritten_where_it_is() {
        let table = "L6 2:aaaa-aaaab:20~50 3:b-d:20";
        let at = |clock, snapshots| Scene { clock, snapshots, ..Scene::default() };
        assert_eq!(at(49, &[]).deep(table), "nothing");
        assert_eq!(at(50, &[]).deep(table), "drop [2] expired");
        assert_eq!(at(50, &[25]).deep(table), "nothing", "a snapshot may want it");
    }

    #[test]
    fn runs_that_another_policy_left_become_one() {
        assert_eq!(upper("L5 +4:a-d:20\nL6 1:a-d:900"), "move [4] to L5.0");
        let several = "L5 4:a-d:20|3:a-f:20|=2:a-c:20 5:g-h:20\nL6 1:a-d:900";
        assert_eq!(upper(several), "merge L5 [[4], [3]] with [2] to L5.0");
        assert_eq!(deep(several), "nothing");
    }
}
