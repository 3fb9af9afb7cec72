//! Lazy leveling (Dayan and Idreos, Dostoevsky): several runs per level, but one at the deepest.
//!
//! A level that has as many runs as it should grow by gives them all, merged, as one run to the next: above the deepest level each
//! byte is written once per level. Only the merge into the deepest level reads what is there.

use super::controller::{Input, Lane, Task};
use super::leveled::{self, tables_of};
use super::pace::patience;
use super::sizes::{BOTTOM, Sizes, level_bytes};
use crate::manifest::edit::SETTLED;
use crate::manifest::{Place, Run};

/// Level 0 is merged straight into the deepest level once it has one byte per so many of that.
const WORTH: u64 = 2;

pub(super) fn pick(input: &Input<'_>, sizes: &Sizes, lane: Lane) -> Option<Task> {
    match lane {
        Lane::Upper => level_zero(input, sizes).or_else(|| fewer_runs(input)),
        Lane::Deep => tiers(input, sizes).or_else(|| leveled::shed(input)),
    }
}

fn level_zero(input: &Input<'_>, sizes: &Sizes) -> Option<Task> {
    let runs = leveled::oldest_idle(input);
    let few = runs.len() < input.options.level_zero_trigger;
    if few {
        return None;
    }
    if sizes.base == BOTTOM {
        let with = level_bytes(input.runs(BOTTOM));
        let worth = level_bytes(runs).saturating_mul(WORTH) >= with;
        let due = worth || runs.len() >= patience(input.options) || input.quiet;
        return if due { to_bottom(input, 0, runs) } else { None };
    }
    let newest = runs.first()?.id;
    input.merge(0, &tables_of(runs), Place { level: sizes.base, run: newest })
}

/// Where the disk has no room for a copy of level 0, fewer of its runs when they are many, so that writes can go on.
fn fewer_runs(input: &Input<'_>) -> Option<Task> {
    let runs = leveled::oldest_idle(input);
    let is_due = input.room.lacking().is_some() && runs.len() >= patience(input.options);
    if is_due { leveled::gather(input, runs) } else { None }
}

/// All runs of a level into the deepest level's one run; what of that is loose goes in too.
fn to_bottom(input: &Input<'_>, from: usize, runs: &[Run]) -> Option<Task> {
    let loose = input.runs(BOTTOM).iter().filter(|run| run.id != SETTLED);
    if !loose.clone().all(|run| input.run_is_idle(run)) {
        return None;
    }
    let mut inputs = tables_of(runs);
    inputs.extend(loose.map(|run| run.tables.iter().collect()));
    input.merge(from, &inputs, Place { level: BOTTOM, run: SETTLED })
}

/// A level below 0 that has enough runs, or that should be empty.
fn tiers(input: &Input<'_>, sizes: &Sizes) -> Option<Task> {
    for level in (1..BOTTOM).rev() {
        let runs = input.runs(level);
        let drains = sizes.target(level) == 0 && !runs.is_empty();
        let enough = runs.len() as u64 >= sizes.fan || drains;
        if !enough || !runs.iter().all(|run| input.run_is_idle(run)) {
            continue;
        }
        // Planted bug 138: a level gives its newest run only, over the older ones that stay.
        let runs = if highwater_runtime::mutant(138) { runs.get(..1).unwrap_or_default() } else { runs };
        if level + 1 == BOTTOM {
            return to_bottom(input, level, runs);
        }
        let to = Place { level: level + 1, run: runs.first()?.id };
        let mut inputs = tables_of(runs);
        if to.run == SETTLED {
            // A settled run is the oldest of its level, so what is older than this goes into it.
            let loose = input.runs(level + 1).iter().filter(|run| run.id != SETTLED);
            if !loose.clone().all(|run| input.run_is_idle(run)) {
                continue;
            }
            // Planted bug 134: a run becomes the oldest of its level although older ones are there.
            if !highwater_runtime::mutant(134) {
                inputs.extend(loose.map(|run| run.tables.iter().collect()));
            }
        }
        return input.merge(level, &inputs, to);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::drawing::Scene;

    const LAZY: Scene =
        Scene { busy: &[], snapshots: &[], range_deletes: &[], clock: 0, quiet: false, lazy: true, room: None };

    #[test]
    fn level_zero_becomes_a_run_of_the_next_level_without_reading_what_is_there() {
        let drawing = "L0 9:a-z:20|8:a-z:20|7:a-z:20|6:a-z:20\nL5 5:a-z:80|4:a-z:80\nL6 1:a-z:1600";
        assert_eq!(LAZY.upper(drawing), "merge L0 [[9], [8], [7], [6]] with [] to L5.9");
    }

    #[test]
    fn level_zero_that_does_not_fit_beside_its_copy_becomes_fewer_runs_when_they_are_many() {
        let drawing = "L0 11:a-z:20|10:a-z:20|9:a-z:20|8:a-z:20|7:a-z:20|6:a-z:20\nL5 5:a-z:80|4:a-z:80\nL6 1:a-z:1600";
        let within = |room| Scene { room: Some(room), ..LAZY };
        assert_eq!(within(120).upper(drawing), "merge L0 [[11], [10], [9], [8], [7], [6]] with [] to L5.11");
        assert_eq!(within(119).upper(drawing), "merge L0 [[11], [10], [9], [8], [7]] with [] to L0.11");
        assert_eq!(within(39).upper(drawing), "needs 40 KiB of 39");
    }

    #[test]
    fn a_level_with_enough_runs_gives_them_all() {
        let few = "L5 7:a-z:80|5:a-z:80|4:a-z:80\nL6 1:a-m:800 2:n-z:800";
        assert_eq!(LAZY.deep(few), "nothing");
        let enough = "L5 8:a-z:80|7:a-z:80|5:a-z:80|4:a-z:80\nL6 1:a-m:800 2:n-z:800";
        assert_eq!(LAZY.deep(enough), "merge L5 [[8], [7], [5], [4]] with [1, 2] to L6.0 bottom");
        let tiers = "L4 8:a-z:80|7:a-z:80|5:a-z:80|4:a-z:80|9:a-z:80\nL5 3:a-z:80|2:a-z:80\nL6 1:a-z:12500";
        assert_eq!(LAZY.deep(tiers), "merge L4 [[8], [7], [5], [4], [9]] with [] to L5.8");
    }

    #[test]
    fn a_settled_run_takes_older_ones_with_it() {
        let drawing = "L4 9:a-b:20\nL5 3:a-z:20|2:a-z:20\nL6 1:a-z:1600";
        assert_eq!(LAZY.deep(drawing), "merge L4 [[9], [3], [2]] with [] to L5.0");
    }
}
