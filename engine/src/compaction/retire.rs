//! Whole tables that can go without being read.

use super::controller::{Input, Reason, Task};
use crate::ids::Seq;
use crate::manifest::{Place, TableMeta};

pub(super) fn pick(input: &Input<'_>) -> Option<Task> {
    let mut covered = Vec::new();
    let mut expired = Vec::new();
    for (level, runs) in input.levels.iter().enumerate() {
        for run in runs {
            let place = Place { level, run: run.id };
            for table in run.tables.iter().filter(|table| input.is_idle(table)) {
                if is_covered(input, table) {
                    covered.push(table.table);
                } else if has_expired(input, table, place) {
                    expired.push(table.table);
                }
            }
        }
    }
    let drop = |tables: Vec<u64>, reason| (!tables.is_empty()).then_some(Task::Drop { tables, reason });
    drop(covered, Reason::Covered).or_else(|| drop(expired, Reason::Expired))
}

/// Whether range deletes newer than everything in the table cover all of it, and no reader sees the one without the other.
fn is_covered(input: &Input<'_>, table: &TableMeta) -> bool {
    let hides = |deleted: Seq| {
        let between = |seq: &&Seq| seq.0 >= table.oldest && **seq < deleted;
        // Planted bug 129: deleted tables go although a snapshot does not see the delete.
        deleted.0 > table.newest && (highwater_runtime::mutant(129) || !input.snapshots.iter().any(|seq| between(&seq)))
    };
    let mut at = &table.start;
    while *at < table.end {
        let here = input.range_deletes.iter().filter(|delete| delete.start <= *at && delete.end > *at);
        let Some(reach) = here.filter(|delete| hides(delete.seq)).map(|delete| &delete.end).max() else { return false };
        at = reach;
    }
    true
}

/// Whether everything in the table has expired, no reader may still want it, and nothing older lies under it that would appear.
fn has_expired(input: &Input<'_>, table: &TableMeta, place: Place) -> bool {
    table.all_expire()
        && input.clocks.has_expired_within(&table.start, &table.end, table.last_expiry)
        && input.snapshots.last().is_none_or(|newest| newest.0 < table.oldest)
        // Planted bug 128: expired tables go although something older lies under them.
        && (input.is_bottom(place, &table.start, &table.end) || highwater_runtime::mutant(128))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::drawing::Scene;

    /// Tables 3 and 2 have sequence numbers 30-39 and 20-29.
    const TREE: &str = "L0 3:c-f:20\nL6 2:c-f:90 1:g-k:90";

    #[test]
    fn tables_under_newer_range_deletes_go_unread() {
        let with = |range_deletes| Scene { range_deletes, ..Scene::default() };
        assert_eq!(with(&[("c", "f", 50)]).deep(TREE), "drop [3, 2] covered");
        assert_eq!(
            with(&[("a", "d", 50), ("d", "e", 60), ("dd", "z", 30)]).deep(TREE),
            "drop [2, 1] covered",
            "in parts"
        );
        assert_eq!(with(&[("c", "f", 35)]).deep(TREE), "drop [2] covered", "not newer than all of 3");
        assert_eq!(with(&[("c", "e", 50)]).deep(TREE), "nothing");
    }

    #[test]
    fn a_snapshot_between_keeps_them() {
        let at = |snapshots| Scene { snapshots, range_deletes: &[("c", "f", 50)], ..Scene::default() };
        assert_eq!(at(&[45]).deep(TREE), "nothing");
        assert_eq!(at(&[25]).deep(TREE), "drop [3] covered", "it does not see 3");
        assert_eq!(at(&[50]).deep(TREE), "drop [3, 2] covered", "it sees the delete");
    }

    #[test]
    fn a_table_of_which_all_has_expired_goes_unless_something_older_would_appear() {
        let at = |clock| Scene { clock, ..Scene::default() };
        let tree = "L0 3:cccc-cccca:20~70\nL6 2:cccc-cccca:90~50 1:g-ga:90";
        assert_eq!(at(40).upper(tree), "nothing");
        assert_eq!(at(50).upper(tree), "drop [2] expired");
        assert_eq!(at(70).upper(tree), "drop [2] expired", "3 is next");
        assert_eq!(at(70).upper("L0 3:cccc-cccca:20~70\nL6 1:g-ga:90"), "drop [3] expired");
        let windows = "L6 1:aaaa1-aaaa2:90~10 2:aaaa2-aaaa3:90~20 3:aaaa4-aaaa5:90~30";
        assert_eq!(at(20).upper(windows), "drop [1, 2] expired", "window by window");
    }
}
