//! The log: which segments live, what their blocks hold, and where the log ends by which verdict. Goes on behind damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_engine::log::block::{BlockHeader, CHECKPOINT, HEADER, Parsed, SEAL, is_whole, parse};
use highwater_engine::log::record::{self, Record};
use highwater_engine::log::segment::{ParsedSegment, SegmentHeader};
use highwater_engine::log::verdict::{Expected, Found, Later, Verdict, classify, inspect, may_be_later};
use highwater_engine::offline::LogReplay;
use highwater_runtime::BLOCK;

use crate::args::LogOptions;
use crate::folder::{Refusal, StoreFiles};
use crate::manifest::{self, Manifest};
use crate::mapping::Mapped;
use crate::report::{Cell, Report, hex};

/// A file of the log.
pub(crate) struct SegmentSeen {
    path: PathBuf,
    slot: u64,
    /// Its size.
    pub(crate) bytes: u64,
    header: ParsedSegment,
    /// It holds part of the log.
    pub(crate) is_live: bool,
    blocks: u64,
    /// Where its blocks end.
    used: u64,
    map: Mapped,
}

/// A block of the log.
pub(crate) struct BlockSeen {
    offset: u64,
    header: BlockHeader,
}

/// Where a segment's blocks end, or where they are damaged.
struct End {
    segment: u64,
    offset: u64,
    found: Found,
    later: Later,
    verdict: Verdict,
}

/// Records of one group, counted.
#[derive(Default)]
struct Tally {
    entry_records: u64,
    relocations: u64,
    hard_states: u64,
    starts: u64,
    checkpoints: u64,
    entries: u64,
    bytes: u64,
}

/// What a log was found to be.
pub(crate) struct LogScan {
    /// Every file of the log.
    pub(crate) segments: Vec<SegmentSeen>,
    /// Whole blocks.
    pub(crate) blocks: u64,
    /// Their bytes.
    pub(crate) block_bytes: u64,
    /// Bytes of records in them.
    pub(crate) payload_bytes: u64,
    /// The groups at the end of the log.
    pub(crate) replay: LogReplay,
    /// Sequence of the last whole block.
    pub(crate) last_sequence: Option<u64>,
    ends: Vec<End>,
    tallies: BTreeMap<u32, Tally>,
}

/// Is shown each block with its records.
type See<'a> = &'a mut dyn FnMut(&BlockSeen, &[Record]);

/// Reads the log of a store and compares it with its manifest.
///
/// # Errors
/// What the system refuses.
pub(crate) fn scan(
    report: &mut Report,
    files: &StoreFiles,
    manifest: Option<&Manifest>,
    see: See<'_>,
) -> Result<LogScan, Refusal> {
    let mut segments = Vec::new();
    for (slot, path) in &files.segments {
        segments.push(open(path, *slot)?);
    }
    let marks = manifest.map(|manifest| manifest.state.groups.clone()).unwrap_or_default();
    let mut log = LogScan {
        segments,
        blocks: 0,
        block_bytes: 0,
        payload_bytes: 0,
        replay: LogReplay::new(&marks),
        last_sequence: None,
        ends: Vec::new(),
        tallies: BTreeMap::new(),
    };
    let tail = manifest.map_or(0, |manifest| manifest.state.log_tail);
    let live = live(report, &log.segments, files, tail, manifest);
    let mut expected: Option<(u64, u32)> = None;
    for (position, at) in live.iter().enumerate() {
        let next_first = live.get(position + 1).and_then(|next| log.segments.get(*next)).and_then(header_of);
        let next_first = next_first.map(|header| header.first);
        expected = log.scan_segment(report, *at, expected, next_first, see).or(expected);
    }
    log.replay.enter_block(u64::MAX);
    if let Some(manifest) = manifest {
        check_whole(report, files, manifest, &log, expected);
    }
    check_idle(report, &log, expected);
    Ok(log)
}

fn open(path: &Path, slot: u64) -> Result<SegmentSeen, Refusal> {
    let map = Mapped::open(path).map_err(|error| Refusal::Unreadable(path.to_owned(), error))?;
    let header = map.get(..BLOCK).map_or(ParsedSegment::Blank, SegmentHeader::parse);
    Ok(SegmentSeen {
        path: path.to_owned(),
        slot,
        bytes: map.len() as u64,
        header,
        is_live: false,
        blocks: 0,
        used: 0,
        map,
    })
}

const fn header_of(segment: &SegmentSeen) -> Option<SegmentHeader> {
    match segment.header {
        ParsedSegment::Header(header) => Some(header),
        ParsedSegment::Blank | ParsedSegment::Newer(_) | ParsedSegment::Damaged => None,
    }
}

/// Positions of the segments that hold the log, oldest first.
fn live(
    report: &mut Report,
    segments: &[SegmentSeen],
    files: &StoreFiles,
    tail: u64,
    manifest: Option<&Manifest>,
) -> Vec<usize> {
    let mut live: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, segment) in segments.iter().enumerate() {
        if let ParsedSegment::Newer(version) = segment.header {
            report.damage(&segment.path, 4, format!("the segment has format version {version}, of a newer release"));
        }
        let Some(header) = header_of(segment).filter(|header| header.segment >= tail) else { continue };
        if header.bytes != segment.bytes {
            let what = format!("the segment should have {} bytes and has {}", header.bytes, segment.bytes);
            report.damage(&segment.path, 48, what);
        }
        if let Some(manifest) = manifest {
            if (header.database, header.store) != manifest.state.identity {
                report.damage(&segment.path, 8, "the segment belongs to another store or database");
            }
            if header.manifest > manifest.sequence {
                let what = format!(
                    "the manifest ends at edit {}, but the log knows that edit {} was durable",
                    manifest.sequence, header.manifest
                );
                report.damage(&manifest.path, 0, what);
            }
        }
        if live.insert(header.segment, at).is_some() {
            report.damage(&segment.path, 24, format!("two files claim to be segment {} of the log", header.segment));
        }
    }
    let mut expected = if tail > 0 { tail } else { live.keys().next().copied().unwrap_or(0) };
    for segment in live.keys() {
        if *segment != expected {
            let what =
                format!("segment {expected} of the log is missing or its header is damaged; segment {segment} exists");
            report.damage(&files.folder, 0, what);
        }
        expected = segment + 1;
    }
    if tail > 0 && live.is_empty() {
        report.damage(&files.folder, 0, format!("the log is missing: no file holds its segment {tail}"));
    }
    live.into_values().collect()
}

impl LogScan {
    /// Reads the segment at position `at` among the files. `expected` is the next block's sequence and predecessor by what came
    /// before. Returns the same for what comes behind.
    fn scan_segment(
        &mut self,
        report: &mut Report,
        at: usize,
        expected: Option<(u64, u32)>,
        next_first: Option<u64>,
        see: See<'_>,
    ) -> Option<(u64, u32)> {
        let segment = self.segments.get(at)?;
        let header = header_of(segment)?;
        let path = segment.path.clone();
        if let Some((sequence, previous)) = expected
            && (sequence, previous) != (header.first, header.previous)
        {
            let what = format!(
                "segment {} continues block {}, but the segment before ends with block {}",
                header.segment,
                header.first.saturating_sub(1),
                sequence.saturating_sub(1)
            );
            report.damage(&path, 40, what);
        }
        let mut expected = Expected::first(header.segment, header.salt, header.first, header.previous);
        let (mut offset, mut blocks) = (BLOCK, 0);
        loop {
            let (parsed, block) = look(&self.segments.get(at)?.map, offset);
            let found = inspect(parsed, block, &expected);
            if let (Found::Expected, Parsed::Header(seen), Some(block)) = (found, parsed, block) {
                let len = block.len();
                let payload = block.get(HEADER..HEADER + seen.length as usize).unwrap_or_default();
                let payload = Bytes::copy_from_slice(payload);
                self.take(report, &path, offset, &seen, &payload, see);
                expected.pass(&seen);
                offset += len;
                blocks += 1;
                continue;
            }
            let map = &self.segments.get(at)?.map;
            let later = match next_first {
                Some(first) if first > expected.sequence => Later::Segment,
                Some(_) => Later::Nothing,
                None if later_block(map, offset + BLOCK, &expected).is_some() => Later::Block,
                None => Later::Nothing,
            };
            let verdict = classify(found, later);
            self.ends.push(End { segment: header.segment, offset: offset as u64, found, later, verdict });
            if verdict == Verdict::Refuse {
                report.damage(&path, offset as u64, refused(&expected, found, later));
                // Goes on with the next whole block, wherever it is.
                if let Some((next, seen)) = next_whole(map, offset, &expected) {
                    (offset, expected.offset) = (next, next as u64);
                    (expected.sequence, expected.previous) = (seen.sequence, seen.previous);
                    continue;
                }
            }
            break;
        }
        let segment = self.segments.get_mut(at)?;
        (segment.is_live, segment.blocks, segment.used) = (true, blocks, offset as u64);
        Some((expected.sequence, expected.previous))
    }

    fn take(
        &mut self,
        report: &mut Report,
        path: &Path,
        offset: usize,
        header: &BlockHeader,
        payload: &Bytes,
        see: See<'_>,
    ) {
        self.blocks += 1;
        self.block_bytes += header.block_bytes() as u64;
        self.payload_bytes += u64::from(header.length);
        self.last_sequence = Some(header.sequence);
        let records = match record::decode(payload, header.records) {
            Ok(records) => records,
            Err(error) => {
                report.damage(path, (offset + HEADER + error.at) as u64, error.what);
                return;
            }
        };
        see(&BlockSeen { offset: offset as u64, header: *header }, &records);
        self.replay.enter_block(header.sequence);
        for record in records {
            self.tally(&record);
            self.replay.apply(record, header.segment, offset as u64, header.block_bytes());
        }
    }

    fn tally(&mut self, record: &Record) {
        let tally = self.tallies.entry(record.group().0).or_default();
        match record {
            Record::Entries { entries, .. } | Record::Relocated { entries, .. } => {
                if matches!(record, Record::Entries { .. }) {
                    tally.entry_records += 1;
                } else {
                    tally.relocations += 1;
                }
                tally.entries += entries.len() as u64;
                tally.bytes += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            }
            Record::HardState { .. } => tally.hard_states += 1,
            Record::Start { .. } => tally.starts += 1,
            Record::Checkpoint { .. } => tally.checkpoints += 1,
        }
    }
}

/// What lies at an offset: the header, and the whole block if its length stays within the segment.
fn look(map: &[u8], offset: usize) -> (Parsed, Option<&[u8]>) {
    let rest = map.get(offset..).unwrap_or_default();
    if rest.len() < BLOCK {
        return (Parsed::Blank, None);
    }
    match parse(rest) {
        Parsed::Header(header) => (Parsed::Header(header), rest.get(..header.block_bytes())),
        parsed @ (Parsed::Blank | Parsed::Garbage) => (parsed, None),
    }
}

/// The first block from `from` on that proves that the place of `expected` was durable.
fn later_block(map: &[u8], from: usize, expected: &Expected) -> Option<usize> {
    (from..map.len()).step_by(BLOCK).find(|offset| {
        let (parsed, block) = look(map, *offset);
        may_be_later(parsed, expected, map.len() - offset)
            .is_some_and(|header| block.is_some_and(|block| is_whole(block, &header, expected.salt)))
    })
}

/// The first whole block of the segment from `from` on that is not older than what was expected.
fn next_whole(map: &[u8], from: usize, expected: &Expected) -> Option<(usize, BlockHeader)> {
    (from..map.len()).step_by(BLOCK).find_map(|offset| match look(map, offset) {
        (Parsed::Header(header), Some(block))
            if header.segment == expected.segment
                && header.sequence >= expected.sequence
                && header.offset == offset as u64
                && is_whole(block, &header, expected.salt) =>
        {
            Some((offset, header))
        }
        _ => None,
    })
}

fn refused(expected: &Expected, found: Found, later: Later) -> String {
    let found = match found {
        Found::Expected => "the block itself",
        Found::Blank => "zeros",
        Found::Stale => "a block of a former life of the segment",
        Found::Torn => "bytes that do not match their checksum",
        Found::Misplaced => "another block",
    };
    let proof = match later {
        Later::Nothing => "",
        Later::Block => "; a later block proves that it was durable",
        Later::Segment => "; the next segment proves that it was durable",
    };
    format!("block {} of the log should be here, and here are {found}{proof}", expected.sequence)
}

/// The log must hold everything that the manifest relies on.
fn check_whole(
    report: &mut Report,
    files: &StoreFiles,
    manifest: &Manifest,
    log: &LogScan,
    expected: Option<(u64, u32)>,
) {
    let newest = log.segments.iter().filter(|segment| segment.is_live).max_by_key(|segment| segment.used_by());
    let (path, offset) = newest.map_or((files.folder.as_path(), 0), |newest| (newest.path.as_path(), newest.used));
    let next = expected.map_or(1, |(sequence, _)| sequence);
    if next <= manifest.state.log_durable {
        let what = format!(
            "the log ends with block {}, but the manifest knows that block {} was durable",
            next.saturating_sub(1),
            manifest.state.log_durable
        );
        report.damage(path, offset, what);
    }
    for (group, facts) in log.replay.groups() {
        if facts.has_gap {
            report.damage(path, offset, format!("{group}: entries after {} are missing from the log", facts.start));
        }
        let is_logged = facts.entries > 0 || facts.start.0 > 0 || facts.incarnation.0 > 0;
        if is_logged && facts.flushed > facts.last {
            let what = format!("{group}: the tables contain {}, but the log ends at {}", facts.flushed, facts.last);
            report.damage(path, offset, what);
        }
    }
}

/// A file that looks idle must not hold the newest segment under a damaged header.
fn check_idle(report: &mut Report, log: &LogScan, expected: Option<(u64, u32)>) {
    let newest = log.segments.iter().filter(|segment| segment.is_live).filter_map(header_of).map(|h| h.segment).max();
    let next = expected.map_or(1, |(sequence, _)| sequence);
    for segment in log.segments.iter().filter(|segment| segment.header == ParsedSegment::Damaged) {
        let (Parsed::Header(opening), _) = look(&segment.map, BLOCK) else { continue };
        let (Parsed::Header(second), _) = look(&segment.map, BLOCK + opening.block_bytes()) else { continue };
        if opening.segment > newest.unwrap_or(0) && opening.sequence >= next && second.segment == opening.segment {
            let what = format!("the header of segment {} of the log is damaged", opening.segment);
            report.damage(&segment.path, 0, what);
        }
    }
}

impl SegmentSeen {
    fn used_by(&self) -> u64 {
        header_of(self).map_or(0, |header| header.segment)
    }

    fn row(&self) -> Vec<Cell> {
        let header = header_of(self);
        vec![
            self.slot.into(),
            header.map(|header| header.segment).into(),
            match self.header {
                ParsedSegment::Header(_) if self.is_live => "live",
                ParsedSegment::Header(_) => "idle",
                ParsedSegment::Blank => "blank",
                ParsedSegment::Newer(_) => "of a newer release",
                ParsedSegment::Damaged => "no valid header",
            }
            .into(),
            Cell::Bytes(self.bytes),
            Cell::Bytes(self.used),
            self.blocks.into(),
            header.map(|header| header.first).into(),
            header.map(|header| header.manifest).into(),
            self.path.display().to_string().into(),
        ]
    }
}

/// `highwater-inspect log` of a store.
pub(crate) fn store(report: &mut Report, files: &StoreFiles, options: &LogOptions) -> Result<(), Refusal> {
    let manifest = manifest::read(report, files)?;
    let mut rows = Rows::new(options);
    let log = scan(report, files, manifest.as_ref(), &mut |block, records| rows.note(block, records))?;
    show(report, &format!("{}", files.folder.display()), &log, rows);
    Ok(())
}

/// `highwater-inspect log` of one segment file, by what its header says.
pub(crate) fn segment(report: &mut Report, options: &LogOptions) -> Result<(), Refusal> {
    let path = options.path.as_path();
    let files = StoreFiles {
        folder: path.parent().unwrap_or(path).to_owned(),
        manifests: Vec::new(),
        segments: vec![(highwater_engine::log::segment::slot(path).unwrap_or(0), path.to_owned())],
        tables: Vec::new(),
    };
    let mut rows = Rows::new(options);
    let log = scan(report, &files, None, &mut |block, records| rows.note(block, records))?;
    match log.segments.first().map(|segment| segment.header) {
        Some(ParsedSegment::Damaged) => report.damage(path, 0, "no valid header of a segment"),
        Some(ParsedSegment::Blank) => report.note("the segment is blank: prepared, and not used yet"),
        Some(ParsedSegment::Header(_) | ParsedSegment::Newer(_)) | None => {}
    }
    show(report, &path.display().to_string(), &log, rows);
    Ok(())
}

/// Rows of blocks and entries, as far as they are asked for.
struct Rows<'a> {
    options: &'a LogOptions,
    blocks: Vec<Vec<Cell>>,
    entries: Vec<Vec<Cell>>,
}

impl<'a> Rows<'a> {
    const fn new(options: &'a LogOptions) -> Self {
        Self { options, blocks: Vec::new(), entries: Vec::new() }
    }

    fn note(&mut self, block: &BlockSeen, records: &[Record]) {
        let wanted = |record: &&Record| self.options.group.is_none_or(|group| group == record.group().0);
        let records: Vec<&Record> = records.iter().filter(wanted).collect();
        if self.options.group.is_some() && records.is_empty() {
            return;
        }
        let BlockSeen { offset, header } = block;
        if !self.options.summary {
            let kind = match (header.flags & SEAL != 0, header.flags & CHECKPOINT != 0) {
                (true, _) => "seal",
                (_, true) => "checkpoint",
                (false, false) => "",
            };
            let held: Vec<String> = records.iter().map(|record| describe(record)).collect();
            self.blocks.push(vec![
                header.segment.into(),
                (*offset).into(),
                header.sequence.into(),
                header.durable.into(),
                Cell::Bytes(u64::from(header.length)),
                kind.into(),
                held.join("; ").into(),
            ]);
        }
        if self.options.entries || self.options.hex {
            for record in records {
                self.entries_of(block, record);
            }
        }
    }

    fn entries_of(&mut self, block: &BlockSeen, record: &Record) {
        let (first, entries, kind) = match record {
            Record::Entries { first, entries, .. } => (first, entries, "entry"),
            Record::Relocated { first, entries, .. } => (first, entries, "relocated"),
            Record::HardState { .. } | Record::Start { .. } | Record::Checkpoint { .. } => return,
        };
        for (index, entry) in (first.0..).zip(entries) {
            let mut row = vec![
                Cell::from(u64::from(record.group().0)),
                index.into(),
                entry.term.0.into(),
                kind.into(),
                block.header.sequence.into(),
                (block.offset + (HEADER + entry.at) as u64).into(),
                entry.data.len().into(),
            ];
            if self.options.hex {
                row.push(hex(&entry.data).into());
            }
            self.entries.push(row);
        }
    }
}

/// A record in a few words.
fn describe(record: &Record) -> String {
    let group = record.group().0;
    match record {
        Record::Entries { first, entries, .. } => {
            format!("group {group} entries {}", span(first.0, entries.len()))
        }
        Record::Relocated { first, entries, .. } => {
            format!("group {group} relocated {}", span(first.0, entries.len()))
        }
        Record::HardState { state, .. } => {
            format!("group {group} term {} vote {} commit {}", state.term.0, state.vote, state.commit.0)
        }
        Record::Start { incarnation, start, .. } => {
            format!("group {group} starts life {} behind {}", incarnation.0, start.0)
        }
        Record::Checkpoint { incarnation, state, start, .. } => format!(
            "group {group} life {} log behind {} term {} vote {} commit {}",
            incarnation.0, start.0, state.term.0, state.vote, state.commit.0
        ),
    }
}

fn span(first: u64, count: usize) -> String {
    match count {
        0 => "none".to_owned(),
        1 => first.to_string(),
        count => format!("{first}..{}", first.saturating_add(count as u64 - 1)),
    }
}

fn show(report: &mut Report, what: &str, log: &LogScan, rows: Rows<'_>) {
    let columns = ["slot", "segment", "state", "size", "used", "blocks", "first block", "manifest edit", "file"];
    report.rows(format!("Segments of {what}"), &columns, log.segments.iter().map(SegmentSeen::row).collect());
    if !rows.options.summary {
        let columns = ["segment", "offset", "block", "durable up to", "payload", "kind", "records"];
        report.rows("Blocks", &columns, rows.blocks);
    }
    groups(report, log, rows.options.group);
    if rows.options.entries || rows.options.hex {
        let columns = ["group", "index", "term", "kind", "block", "offset", "bytes", "data"];
        let columns = if rows.options.hex { &columns[..] } else { columns.get(..7).unwrap_or_default() };
        report.rows("Entries", columns, rows.entries);
    }
    let ends = log.ends.iter().map(|end| {
        vec![
            Cell::from(end.segment),
            end.offset.into(),
            match end.found {
                Found::Expected => "the next block",
                Found::Blank => "zeros",
                Found::Stale => "a block of a former life",
                Found::Torn => "a wrong checksum, or noise",
                Found::Misplaced => "a whole block, but not the next",
            }
            .into(),
            match end.later {
                Later::Nothing => "nothing later",
                Later::Block => "a later block",
                Later::Segment => "a later segment",
            }
            .into(),
            match end.verdict {
                Verdict::Accept => "accept",
                Verdict::End => "the segment's blocks end here",
                Verdict::DropTail => "an unfinished write is left out",
                Verdict::Refuse => "DAMAGED: recovery refuses",
            }
            .into(),
        ]
    });
    report.rows("Where blocks end", &["segment", "offset", "found", "behind it", "verdict"], ends.collect());
}

/// What each group has in the log.
pub(crate) fn groups(report: &mut Report, log: &LogScan, only: Option<u32>) {
    let none = Tally::default();
    let rows = log.replay.groups().into_iter().filter(|(group, _)| only.is_none_or(|only| only == group.0));
    let rows = rows.map(|(group, facts)| {
        let tally = log.tallies.get(&group.0).unwrap_or(&none);
        vec![
            Cell::from(u64::from(group.0)),
            facts.incarnation.0.into(),
            facts.hard_state.term.0.into(),
            facts.hard_state.vote.into(),
            facts.hard_state.commit.0.into(),
            facts.flushed.0.into(),
            if facts.entries > 0 { format!("{}..{}", facts.start.0 + 1, facts.last.0) } else { "none".to_owned() }
                .into(),
            Cell::Bytes(facts.entry_bytes),
            facts.oldest_segment.into(),
            format!(
                "{} entries in {} records, {} relocated, {} hard states, {} starts, {} checkpoints",
                tally.entries,
                tally.entry_records,
                tally.relocations,
                tally.hard_states,
                tally.starts,
                tally.checkpoints
            )
            .into(),
            Cell::Bytes(tally.bytes),
        ]
    });
    let columns = [
        "group",
        "life",
        "term",
        "vote",
        "commit",
        "flushed",
        "held",
        "held bytes",
        "oldest segment",
        "records in the log",
        "logged bytes",
    ];
    report.rows("Groups in the log", &columns, rows.collect());
}
