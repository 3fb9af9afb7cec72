//! The manifest: its edits one by one, and what they add up to.

use std::path::{Path, PathBuf};

use highwater_engine::manifest::edit::{Edit, ManifestState, TableMeta};
use highwater_engine::manifest::frame::{self, End, HEADER};
use highwater_runtime::BLOCK;

use crate::folder::{Refusal, StoreFiles};
use crate::mapping::Mapped;
use crate::report::{Cell, Report, readable};

/// A manifest as read, as far as it can be.
pub(crate) struct Manifest {
    /// The file that counts.
    pub(crate) path: PathBuf,
    /// Its edits.
    pub(crate) edits: Vec<ReadEdit>,
    /// What they add up to.
    pub(crate) state: ManifestState,
    /// Number of the newest edit.
    pub(crate) sequence: u64,
}

/// One edit and where it lies.
pub(crate) struct ReadEdit {
    offset: usize,
    bytes: usize,
    sequence: u64,
    /// It lies behind a damaged place: recovery would not get here.
    is_behind_damage: bool,
    edit: Edit,
}

/// Reads the store's manifest, like recovery the newest whose first frame is whole, and goes on behind damage.
///
/// # Errors
/// What the system refuses. A store without any readable manifest has `None`, and that as damage.
pub(crate) fn read(report: &mut Report, files: &StoreFiles) -> Result<Option<Manifest>, Refusal> {
    for (number, path) in files.manifests.iter().rev() {
        let bytes = Mapped::open(path).map_err(|error| Refusal::Unreadable(path.clone(), error))?;
        if let Some(manifest) = read_file(report, path, *number, &bytes) {
            for (_, other) in files.manifests.iter().filter(|(other, _)| other != number) {
                report.note(format!("{} is left over; the next start removes it", other.display()));
            }
            return Ok(Some(manifest));
        }
    }
    match files.manifests.last() {
        Some((_, path)) => report.damage(path, 0, "no manifest of the folder begins with a whole edit"),
        None if files.segments.is_empty() && files.tables.is_empty() => {}
        None => report.damage(&files.folder, 0, "the folder holds data, but no manifest"),
    }
    Ok(None)
}

/// The frames of a manifest file with their offsets; those behind a damaged place as well.
fn frames(report: &mut Report, path: &Path, number: u64, bytes: &[u8]) -> Vec<(usize, usize, u64, bool, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    let (whole, end) = frame::scan(bytes, number);
    for frame in whole {
        found.push((at, frame.bytes, frame.sequence, false, frame.edit.to_vec()));
        at += frame.bytes;
    }
    if let End::Damaged(offset) = end {
        let what = "an edit of the manifest does not match its checksum, or does not follow the one before, and later edits exist";
        report.damage(path, offset as u64, what);
        let mut at = offset;
        while at + BLOCK <= bytes.len() {
            match frame::parse(bytes.get(at..).unwrap_or_default(), number) {
                Some(frame) => {
                    found.push((at, frame.bytes, frame.sequence, true, frame.edit.to_vec()));
                    at += frame.bytes;
                }
                None => at += BLOCK,
            }
        }
    }
    found
}

fn read_file(report: &mut Report, path: &Path, number: u64, bytes: &[u8]) -> Option<Manifest> {
    let mut edits = Vec::new();
    let mut state: Option<ManifestState> = None;
    for (offset, bytes, sequence, is_behind_damage, encoded) in frames(report, path, number, bytes) {
        let edit = match Edit::decode(&encoded) {
            Ok(edit) => edit,
            Err(error) => {
                report.damage(path, (offset + HEADER + error.at) as u64, error.what);
                continue;
            }
        };
        let (database, store) = edit.identity.unwrap_or_default();
        let state = state.get_or_insert_with(|| ManifestState::new(database, store));
        if let Err(what) = state.apply(&edit)
            && !is_behind_damage
        {
            report.damage(path, offset as u64, what);
        }
        edits.push(ReadEdit { offset, bytes, sequence, is_behind_damage, edit });
    }
    let sequence = edits.last()?.sequence;
    Some(Manifest { path: path.to_owned(), edits, state: state?, sequence })
}

/// `highwater-inspect manifest`.
pub(crate) fn show(report: &mut Report, files: &StoreFiles) -> Result<(), Refusal> {
    let Some(manifest) = read(report, files)? else { return Ok(()) };
    let Manifest { path, edits, state, sequence } = &manifest;
    let rows = edits.iter().map(|read| {
        vec![
            Cell::Number(read.sequence),
            Cell::from(read.offset),
            Cell::Bytes(read.bytes as u64),
            if read.is_behind_damage { "behind damage" } else { "yes" }.into(),
            describe(&read.edit).into(),
        ]
    });
    let columns = ["edit", "offset", "size", "counts", "what it changes"];
    report.rows(format!("Edits of {}", path.display()), &columns, rows.collect());
    report.facts(
        format!("State of {}", files.folder.display()),
        vec![
            ("database", format!("{:016x}", state.identity.0).into()),
            ("store", Cell::from(u64::from(state.identity.1))),
            ("newest edit", (*sequence).into()),
            ("tables", state.tables().count().into()),
            ("log tail segment", state.log_tail.into()),
            ("log durable block", state.log_durable.into()),
            ("next table", state.next_table.into()),
            ("last sequence", state.last_seq.into()),
        ],
    );
    tables(report, state);
    let groups = state.groups.iter().map(|(group, mark)| {
        vec![
            Cell::from(u64::from(group.0)),
            mark.incarnation.0.into(),
            mark.flushed.0.into(),
            mark.start.0.into(),
            mark.start_term.0.into(),
            mark.since.into(),
        ]
    });
    report.rows(
        "Groups",
        &["group", "incarnation", "flushed", "log start", "start term", "void up to block"],
        groups.collect(),
    );
    Ok(())
}

fn tables(report: &mut Report, state: &ManifestState) {
    let mut rows = Vec::new();
    for (level, runs) in state.levels.iter().enumerate() {
        for run in runs {
            rows.extend(run.tables.iter().map(|table| {
                vec![
                    Cell::from(level),
                    run.id.into(),
                    table.table.into(),
                    Cell::Bytes(file_bytes(table)),
                    table.entries.into(),
                    table.deletes.into(),
                    table.oldest.into(),
                    table.newest.into(),
                    readable(&table.start).into(),
                    readable(&table.end).into(),
                ]
            }));
        }
    }
    let columns =
        ["level", "run", "table", "size", "versions", "deletes", "oldest", "newest", "first key", "behind last key"];
    report.rows("Tables", &columns, rows);
}

/// Bytes of a table's file: its footer is its last block.
pub(crate) const fn file_bytes(table: &TableMeta) -> u64 {
    table.footer_at + BLOCK as u64
}

/// An edit in a few words.
fn describe(edit: &Edit) -> String {
    let mut parts = Vec::new();
    if edit.identity.is_some() {
        parts.push("the whole state".to_owned());
    }
    let added: Vec<String> = edit
        .added
        .iter()
        .map(|(place, table)| format!("{} at level {} run {}", table.table, place.level, place.run))
        .collect();
    if !added.is_empty() {
        parts.push(format!("adds table {}", added.join(", ")));
    }
    if !edit.dropped.is_empty() {
        let dropped: Vec<String> = edit.dropped.iter().map(u64::to_string).collect();
        parts.push(format!("drops table {}", dropped.join(", ")));
    }
    let groups: Vec<String> =
        edit.groups.iter().map(|(group, mark)| format!("{} up to {}", group.0, mark.flushed.0)).collect();
    if !groups.is_empty() {
        parts.push(format!("flushed group {}", groups.join(", ")));
    }
    let numbers = [
        ("log tail", edit.log_tail),
        ("log durable", edit.log_durable),
        ("next table", edit.next_table),
        ("last sequence", edit.last_seq),
    ];
    parts.extend(numbers.into_iter().filter_map(|(name, number)| number.map(|number| format!("{name} {number}"))));
    parts.join("; ")
}
