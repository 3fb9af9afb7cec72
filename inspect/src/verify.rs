//! Everything checksummed, and what the parts of a store know of each other compared: as recovery does, but to the end.

use std::collections::BTreeSet;

use crate::folder::{Refusal, StoreFiles};
use crate::log;
use crate::manifest;
use crate::report::{Cell, Report};
use crate::table;

/// `highwater-inspect verify`.
pub(crate) fn store(report: &mut Report, files: &StoreFiles) -> Result<(), Refusal> {
    let manifest = manifest::read(report, files)?;
    let (mut tables, mut parts, mut versions) = (0_u64, 0, 0);
    let mut named = BTreeSet::new();
    if let Some(manifest) = &manifest {
        for meta in manifest.state.tables() {
            named.insert(meta.table);
            let Some(path) = files.table(meta.table) else {
                let missing = files.folder.join(format!("{:012}.tbl", meta.table));
                report.damage(&missing, 0, "the manifest names this table, but it is missing");
                continue;
            };
            if let Some(content) = table::verify(report, path, meta) {
                tables += 1;
                parts += content.parts;
                versions += content.versions;
            }
            if meta.newest > manifest.state.last_seq {
                let what = format!(
                    "table {} has sequence {}, but the manifest says that none is above {}",
                    meta.table, meta.newest, manifest.state.last_seq
                );
                report.damage(&manifest.path, 0, what);
            }
        }
        let orphans = files.tables.iter().filter(|(table, _)| !named.contains(table));
        for (_, path) in orphans {
            report.note(format!("{} is in no level: unfinished work, removed at the next start", path.display()));
        }
    }
    let log = log::scan(report, files, manifest.as_ref(), &mut |_, _| {})?;
    report.facts(
        format!("Verified {}", files.folder.display()),
        vec![
            ("manifest edits", manifest.as_ref().map_or(0, |manifest| manifest.edits.len()).into()),
            ("tables", tables.into()),
            ("table parts", parts.into()),
            ("versions", versions.into()),
            ("log segments", log.segments.iter().filter(|segment| segment.is_live).count().into()),
            ("log blocks", log.blocks.into()),
            ("log entries", log.replay.groups().values().map(|group| group.entries).sum::<usize>().into()),
            ("log ends at block", log.last_sequence.map_or(Cell::Nothing, Cell::Number)),
        ],
    );
    Ok(())
}
