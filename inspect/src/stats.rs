//! How a store's space is used.

use highwater_engine::manifest::edit::ManifestState;

use crate::folder::{Refusal, StoreFiles};
use crate::log;
use crate::manifest::{self, file_bytes};
use crate::report::{Cell, Report};

/// `highwater-inspect stats`.
pub(crate) fn store(report: &mut Report, files: &StoreFiles) -> Result<(), Refusal> {
    let manifest = manifest::read(report, files)?;
    let log = log::scan(report, files, manifest.as_ref(), &mut |_, _| {})?;
    if let Some(manifest) = &manifest {
        levels(report, files, &manifest.state);
    }
    let live: u64 = log.segments.iter().filter(|segment| segment.is_live).map(|segment| segment.bytes).sum();
    let idle: u64 = log.segments.iter().filter(|segment| !segment.is_live).map(|segment| segment.bytes).sum();
    report.facts(
        format!("Log of {}", files.folder.display()),
        vec![
            ("live segments", log.segments.iter().filter(|segment| segment.is_live).count().into()),
            ("live bytes", Cell::Bytes(live)),
            ("idle segments", log.segments.iter().filter(|segment| !segment.is_live).count().into()),
            ("idle bytes", Cell::Bytes(idle)),
            ("blocks", log.blocks.into()),
            ("block bytes", Cell::Bytes(log.block_bytes)),
            ("payload", Cell::Bytes(log.payload_bytes)),
            ("padding and headers", ratio(log.block_bytes.saturating_sub(log.payload_bytes), log.block_bytes)),
        ],
    );
    log::groups(report, &log, None);
    Ok(())
}

fn ratio(part: u64, of: u64) -> Cell {
    if of == 0 { Cell::Nothing } else { Cell::Ratio(part as f64 / of as f64) }
}

fn levels(report: &mut Report, files: &StoreFiles, state: &ManifestState) {
    let mut rows = Vec::new();
    let (mut all, mut deepest, mut runs_in_all, mut entries, mut deletes) = (0, 0, 0, 0, 0);
    for (level, runs) in state.levels.iter().enumerate() {
        let tables = || runs.iter().flat_map(|run| &run.tables);
        let bytes: u64 = tables().map(file_bytes).sum();
        let count = |of: fn(&highwater_engine::manifest::edit::TableMeta) -> u64| tables().map(of).sum::<u64>();
        all += bytes;
        runs_in_all += runs.len();
        if bytes > 0 {
            deepest = bytes;
        }
        entries += count(|table| table.entries);
        deletes += count(|table| table.deletes);
        rows.push(vec![
            Cell::from(level),
            runs.len().into(),
            tables().count().into(),
            Cell::Bytes(bytes),
            count(|table| table.entries).into(),
            count(|table| table.deletes).into(),
            count(|table| table.range_deletes).into(),
            count(|table| table.expiring).into(),
        ]);
    }
    let columns = ["level", "runs", "tables", "size", "versions", "deletes", "range deletes", "expiring"];
    report.rows(format!("Levels of {}", files.folder.display()), &columns, rows);
    report.facts(
        "Tree",
        vec![
            ("tables", state.tables().count().into()),
            ("bytes", Cell::Bytes(all)),
            ("versions", entries.into()),
            ("bytes per version", ratio(all, entries)),
            ("deletes per version", ratio(deletes, entries)),
            ("space amplification", ratio(all, deepest)),
            ("read amplification", runs_in_all.into()),
        ],
    );
    report.note("space amplification: bytes of all tables per byte of the deepest level; read amplification: runs that a lookup may have to ask");
}
