//! One table: what its footer, index, filter and range deletes say, and whether its content agrees.

use std::path::Path;

use highwater_engine::manifest::edit::TableMeta;
use highwater_engine::offline::{self, FileKind, PartKind, RangeDelete, TableParts, Version};
use highwater_engine::tree::table::format::Codec;

use crate::args::TableOptions;
use crate::folder::Refusal;
use crate::mapping::Mapped;
use crate::report::{Cell, Report, hex, readable};

/// What a table was found to hold.
#[derive(Default)]
pub(crate) struct Content {
    /// Parts that were read and checked.
    pub(crate) parts: u64,
    /// Versions of keys.
    pub(crate) versions: u64,
    /// Those that are deletes.
    pub(crate) deletes: u64,
    /// Bytes of keys and values.
    pub(crate) payload: u64,
    /// Deletes of ranges.
    pub(crate) range_deletes: u64,
    /// The newest sequence number.
    pub(crate) newest: u64,
}

/// `highwater-inspect table`.
pub(crate) fn show(report: &mut Report, options: &TableOptions) -> Result<(), Refusal> {
    let path = options.path.as_path();
    if path.is_dir() {
        return Err(Refusal::NotThat(path.to_owned(), "a file; give one table, 000000000042.tbl for example"));
    }
    let bytes = Mapped::open(path).map_err(|error| Refusal::Unreadable(path.to_owned(), error))?;
    let parts = match offline::take_apart(&bytes) {
        Ok(parts) => parts,
        Err(error) => {
            report.damage(path, error.at as u64, error.what);
            return Ok(());
        }
    };
    let mut facts = vec![
        ("file", Cell::from(path.display().to_string())),
        ("table", parts.footer.table.into()),
        ("size", Cell::Bytes(bytes.len() as u64)),
        ("footer checksum", format!("{:08x}", parts.checksum).into()),
    ];
    facts.extend(parts.properties.iter().map(|(name, value)| (*name, Cell::from(*value))));
    for kind in [PartKind::Data, PartKind::Index, PartKind::Filter, PartKind::RangeDeletes] {
        let of_kind = || parts.parts.iter().filter(|part| part.kind == kind);
        let (stored, raw) = of_kind().fold((0, 0), |(stored, raw), part| {
            (stored + u64::from(part.pointer.stored), raw + u64::from(part.pointer.raw))
        });
        let (name, unpacked) = match kind {
            PartKind::Data => ("data", "data unpacked"),
            PartKind::Index => ("index", "index unpacked"),
            PartKind::Filter => ("filter", "filter unpacked"),
            PartKind::RangeDeletes => ("range delete bytes", "range deletes unpacked"),
        };
        facts.push((name, Cell::Bytes(stored)));
        facts.push((unpacked, Cell::Bytes(raw)));
    }
    let mut versions = Vec::new();
    let mut deletes = Vec::new();
    let content = walk(report, path, &parts, &mut |found| {
        if options.keys {
            match found {
                Seen::Version(version) => versions.push(version_row(version, options.hex)),
                Seen::Delete(delete) => deletes.push(delete_row(delete, options.hex)),
            }
        } else if let Seen::Delete(delete) = found {
            deletes.push(delete_row(delete, options.hex));
        }
    });
    if let FileKind::Table(named) = FileKind::of(path)
        && named != parts.footer.table
        // A prepared table keeps what it says of itself when a store takes it in under a name of its own.
        && parts.footer.properties.newest > 0
    {
        report.damage(path, 0, format!("the file is named {named}, but says that it is table {}", parts.footer.table));
    }
    facts.extend([
        ("versions read", Cell::from(content.versions)),
        ("bytes of keys and values", Cell::Bytes(content.payload)),
    ]);
    report.facts("Table", facts);
    if options.blocks {
        let rows = parts.parts.iter().map(|part| {
            vec![
                Cell::from(part.kind.word()),
                part.pointer.offset.into(),
                u64::from(part.pointer.stored).into(),
                u64::from(part.pointer.raw).into(),
                match part.pointer.codec {
                    Codec::Plain => "none",
                    Codec::Lz4 => "LZ4",
                }
                .into(),
                format!("{:08x}", part.pointer.checksum).into(),
                if part.content.is_ok() { "whole" } else { "DAMAGED" }.into(),
                part.bound.as_ref().map(|key| shown(key, options.hex)).into(),
            ]
        });
        let columns = ["part", "offset", "stored", "unpacked", "compression", "checksum", "state", "index key"];
        report.rows("Blocks", &columns, rows.collect());
    }
    report.rows("Range deletes", &["sequence", "first key", "behind last key"], deletes);
    if options.keys {
        report.rows("Versions", &["sequence", "kind", "expires at", "key", "value bytes", "value"], versions);
    }
    Ok(())
}

fn shown(bytes: &[u8], as_hex: bool) -> String {
    if as_hex { hex(bytes) } else { readable(bytes) }
}

fn version_row(version: &Version, as_hex: bool) -> Vec<Cell> {
    vec![
        version.sequence.into(),
        if version.value.is_some() { "put" } else { "delete" }.into(),
        version.expires_at.into(),
        shown(&version.key, as_hex).into(),
        version.value.as_ref().map(bytes::Bytes::len).into(),
        version.value.as_ref().map(|value| shown(value, as_hex)).into(),
    ]
}

fn delete_row(delete: &RangeDelete, as_hex: bool) -> Vec<Cell> {
    vec![delete.sequence.into(), shown(&delete.start, as_hex).into(), shown(&delete.end, as_hex).into()]
}

/// What a walk comes by.
pub(crate) enum Seen<'a> {
    /// A version of a key.
    Version(&'a Version),
    /// A range delete.
    Delete(&'a RangeDelete),
}

/// Reads every part of a table and notes what is damaged: checksums, order, keys that the index or the filter would miss.
pub(crate) fn walk(report: &mut Report, path: &Path, parts: &TableParts, see: &mut dyn FnMut(Seen<'_>)) -> Content {
    let mut content = Content::default();
    let mut last: Option<(bytes::Bytes, u64)> = None;
    for part in &parts.parts {
        let offset = part.pointer.offset;
        let bytes = match &part.content {
            Ok(bytes) => bytes,
            Err(error) => {
                report.damage(path, error.at as u64, format!("{}: {}", part.kind.word(), error.what));
                // What follows is compared with what was before the damage: keys go on rising.
                continue;
            }
        };
        content.parts += 1;
        match part.kind {
            PartKind::Index | PartKind::Filter => {}
            PartKind::RangeDeletes => match offline::range_deletes(bytes) {
                Ok(deletes) => {
                    content.range_deletes += deletes.len() as u64;
                    for delete in &deletes {
                        content.newest = content.newest.max(delete.sequence);
                        see(Seen::Delete(delete));
                    }
                }
                Err(error) => report.damage(path, offset, error.what),
            },
            PartKind::Data => match offline::versions(bytes.clone()) {
                Ok(versions) => {
                    for version in &versions {
                        note(report, path, offset, parts, version, &mut last, &mut content);
                        see(Seen::Version(version));
                    }
                    let beyond = part.bound.as_ref().zip(last.as_ref()).is_some_and(|(bound, (key, _))| key > bound);
                    if beyond {
                        report.damage(path, offset, "a block holds keys behind the key that the index has for it");
                    }
                }
                Err(error) => report.damage(path, offset, error.what),
            },
        }
    }
    content
}

fn note(
    report: &mut Report,
    path: &Path,
    offset: u64,
    parts: &TableParts,
    version: &Version,
    last: &mut Option<(bytes::Bytes, u64)>,
    content: &mut Content,
) {
    let is_ordered = last
        .as_ref()
        .is_none_or(|(key, sequence)| *key < version.key || (*key == version.key && *sequence > version.sequence));
    if !is_ordered {
        report.damage(path, offset, "keys are out of order");
    }
    if !parts.may_contain(&version.key) {
        report.damage(path, offset, format!("the filter would miss the key {}", readable(&version.key)));
    }
    content.versions += 1;
    content.deletes += u64::from(version.value.is_none());
    content.payload += (version.key.len() + version.value.as_ref().map_or(0, bytes::Bytes::len)) as u64;
    content.newest = content.newest.max(version.sequence);
    *last = Some((version.key.clone(), version.sequence));
}

/// Reads a table that the manifest names and compares the two. `None` when nothing of it can be read.
pub(crate) fn verify(report: &mut Report, path: &Path, meta: &TableMeta) -> Option<Content> {
    let bytes = match Mapped::open(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.damage(path, 0, format!("the table cannot be read: {error}"));
            return None;
        }
    };
    let end = meta.footer_at as usize + highwater_runtime::BLOCK;
    let Some(table) = bytes.get(..end) else {
        report.damage(path, bytes.len() as u64, format!("the file ends too early: it should have {end} bytes"));
        return None;
    };
    let parts = match offline::take_apart(table) {
        Ok(parts) => parts,
        Err(error) => {
            report.damage(path, error.at as u64, error.what);
            return None;
        }
    };
    if parts.checksum != meta.checksum {
        report.damage(path, meta.footer_at, "this is not the table that the manifest names");
    }
    let mut outside = false;
    let before = report.damages.len();
    let content = walk(report, path, &parts, &mut |found| {
        outside |= match found {
            Seen::Version(version) => version.key < meta.start || version.key >= meta.end,
            Seen::Delete(delete) => delete.start < meta.start || delete.end > meta.end,
        };
    });
    if outside {
        report.damage(path, 0, "the table speaks of keys outside the range that the manifest has for it");
    }
    // Counts say nothing when parts could not be read.
    if report.damages.len() == before {
        let counts = [
            ("versions", content.versions, meta.entries),
            ("deletes", content.deletes + content.range_deletes, meta.deletes),
        ];
        for (name, found, claimed) in counts {
            if found != claimed {
                let what = format!("the table holds {found} {name} and the manifest says {claimed}");
                report.damage(path, meta.footer_at, what);
            }
        }
        if content.newest > meta.newest {
            let what = format!("the table holds sequence {} and the manifest says {}", content.newest, meta.newest);
            report.damage(path, meta.footer_at, what);
        }
    }
    Some(content)
}
