//! Reading the log at start: which segments live, where the log ends, and whether it is intact.
//!
//! Decisions are those of [`super::verdict`]; this file does the I/O. Nothing is written before everything was read and
//! found good. What was read is synced before it is trusted: after the crash of a process alone, a block may be readable
//! and not yet durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{BLOCK, Env, File};

use super::Log;
use super::block::{self, Parsed};
use super::group::GroupLog;
use super::idle;
use super::record;
use super::scan::Scan;
use super::segment::{self, ParsedSegment, SegmentHeader};
use super::state::{BlockPlace, FreeSlot, LogState, Segment};
use super::verdict::{Expected, Found, Later, Verdict, classify, inspect, may_be_later};
use crate::error::EngineError;
use crate::ids::GroupId;
use crate::options::StoreOptions;

/// What the manifest says about the log.
pub(crate) struct LogClaims {
    /// The oldest live segment; 0 when no segment was ever started.
    pub(crate) tail: u64,
    /// This block was durable.
    pub(crate) durable: u64,
    /// Number of the newest manifest edit.
    pub(crate) manifest: u64,
    /// What is known of each group.
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
}

/// What recovery of the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogReport {
    /// Segments read.
    pub segments: usize,
    /// Blocks read.
    pub blocks: u64,
    /// Where an unfinished write was left out: file, byte offset.
    pub dropped_tail: Option<(PathBuf, u64)>,
}

/// A segment file as found.
pub(super) struct Candidate<F> {
    slot: u64,
    pub(super) path: PathBuf,
    pub(super) file: F,
    pub(super) bytes: u64,
    pub(super) header: ParsedSegment,
}

impl<E: Env> Log<E> {
    /// Reads the log in `folder` and starts a new segment behind it.
    pub(crate) async fn recover(
        env: E,
        folder: &Path,
        options: Rc<StoreOptions>,
        claims: LogClaims,
    ) -> Result<(Self, LogReport), EngineError> {
        let candidates = find(&env, folder, &options).await?;
        let mut state = LogState::new(claims.groups.clone());
        state.next_slot = candidates.iter().map(|candidate| candidate.slot + 1).max().unwrap_or(0);
        let (live, idle) = separate(folder, candidates, &claims)?;
        let mut report = LogReport { segments: live.len(), ..LogReport::default() };
        scan(&env, &mut state, live, &options, &mut report).await?;
        state.enter_block(u64::MAX);
        // Planted bug 122: nobody looks for a segment that has lost its opening.
        if !env.mutant(122) {
            idle::check(&idle, &state).await?;
        }
        check_whole(folder, &state, &claims)?;

        state.claimed.clear();

        // From here on the files are changed.
        for segment in state.segments.values() {
            if let Err(error) = segment.file.sync().await {
                let reason = format!("cannot sync {}: {error}; this node stops", segment.path.display());
                match env.fail_stop(&reason).await {}
            }
        }
        for candidate in idle {
            let keep = candidate.bytes == options.segment_bytes && state.free.len() < options.spare_segments;
            if keep && env.mutant(110) {
                // Planted bug 110: a spare that a killed process left is used without being synced.
                state.free.push(FreeSlot { slot: candidate.slot, file: Rc::new(candidate.file) });
            } else if keep {
                // A process that was killed while it made this spare may have left size, zeros and name unsynced: a power cut
                // would then shorten the segment that lives in it.
                let synced = match candidate.file.sync().await {
                    Ok(()) => env.sync_dir(folder).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = synced {
                    let reason = format!("cannot sync {}: {error}; this node stops", candidate.path.display());
                    match env.fail_stop(&reason).await {}
                }
                state.free.push(FreeSlot { slot: candidate.slot, file: Rc::new(candidate.file) });
            } else {
                env.remove_file(&candidate.path)
                    .await
                    .map_err(|error| EngineError::io("remove", &candidate.path, &error))?;
            }
        }
        let log = Self::new(env, folder, options, state, claims.manifest);
        log.is_behind.set(true);
        match log.start_segment().await {
            // A full disk must not keep a node from starting: what is there can be read, and writes open the segment when there is space.
            Err(EngineError::NoSpace { .. }) if report.segments > 0 => {}
            started => started?,
        }
        Ok((log, report))
    }
}

async fn find<E: Env>(env: &E, folder: &Path, options: &StoreOptions) -> Result<Vec<Candidate<E::File>>, EngineError> {
    let names = env.list_dir(folder).await.map_err(|error| EngineError::io("list", folder, &error))?;
    let mut candidates = Vec::new();
    for name in names {
        let Some(slot) = segment::slot(&name) else { continue };
        let path = segment::path(folder, slot);
        let failed = |action, error| EngineError::io(action, &path, &error);
        // The handle lives on when the segment is recycled, so it must be one for durable writes.
        let file = Log::open_segment(env, &path).await?;
        let bytes = file.len().await.map_err(|e| failed("measure", e))?;
        let header = if bytes < BLOCK as u64 {
            ParsedSegment::Blank
        } else {
            SegmentHeader::parse(&file.read_at(0, BLOCK).await.map_err(|e| failed("read", e))?)
        };
        match &header {
            ParsedSegment::Header(found)
                if (found.database, found.store) != (options.database_id, options.store_id) =>
            {
                return Err(EngineError::Foreign {
                    file: path,
                    expected: identity(options.database_id, options.store_id),
                    found: identity(found.database, found.store),
                });
            }
            ParsedSegment::Newer(version) => {
                return Err(EngineError::Version { file: path, found: *version, supported: segment::VERSION });
            }
            ParsedSegment::Header(_) | ParsedSegment::Blank | ParsedSegment::Damaged => {}
        }
        candidates.push(Candidate { slot, path, file, bytes, header });
    }
    Ok(candidates)
}

/// How an identity is shown.
pub(crate) fn identity(database: u64, store: u32) -> String {
    format!("store {store} of database {database:016x}")
}

type Live<F> = (SegmentHeader, Candidate<F>);

/// Segments that hold the log, oldest first, and files that hold nothing.
type Separated<F> = (Vec<Live<F>>, Vec<Candidate<F>>);

/// Tells live segments, oldest first, from idle ones.
fn separate<F>(folder: &Path, candidates: Vec<Candidate<F>>, claims: &LogClaims) -> Result<Separated<F>, EngineError> {
    let mut live: BTreeMap<u64, Live<F>> = BTreeMap::new();
    let mut idle = Vec::new();
    for candidate in candidates {
        match candidate.header {
            ParsedSegment::Header(header) if header.segment >= claims.tail => {
                if header.bytes != candidate.bytes {
                    let what = format!("the segment should have {} bytes and has {}", header.bytes, candidate.bytes);
                    return Err(EngineError::corruption(&candidate.path, 48, what));
                }
                if header.manifest > claims.manifest {
                    let what = format!(
                        "the manifest ends at edit {}, but the log knows that edit {} was durable",
                        claims.manifest, header.manifest
                    );
                    return Err(EngineError::corruption(folder, 0, what));
                }
                if let Some((_, other)) = live.insert(header.segment, (header, candidate)) {
                    let what = format!("two files claim to be segment {} of the log", header.segment);
                    return Err(EngineError::corruption(&other.path, 24, what));
                }
            }
            ParsedSegment::Header(_) | ParsedSegment::Blank | ParsedSegment::Damaged | ParsedSegment::Newer(_) => {
                idle.push(candidate);
            }
        }
    }
    let mut expected = claims.tail;
    for (id, (_, candidate)) in &live {
        if claims.tail > 0 && *id != expected {
            let what =
                format!("segment {expected} of the log is missing or its header is damaged; segment {id} exists");
            return Err(EngineError::corruption(&candidate.path, 0, what));
        }
        expected = id + 1;
    }
    if claims.tail > 0 && live.is_empty() {
        let what = format!("the log is missing: no file holds its segment {}", claims.tail);
        return Err(EngineError::corruption(folder, 0, what));
    }
    Ok((live.into_values().collect(), idle))
}

/// Reads all live segments in order into `state`.
async fn scan<E: Env>(
    env: &E,
    state: &mut LogState<E::File>,
    live: Vec<Live<E::File>>,
    options: &StoreOptions,
    report: &mut LogReport,
) -> Result<(), EngineError> {
    let firsts: Vec<u64> = live.iter().map(|(header, _)| header.first).collect();
    for (position, (header, candidate)) in live.into_iter().enumerate() {
        if position == 0 {
            state.sequence = header.first;
            state.previous = header.previous;
        } else if (state.sequence, state.previous) != (header.first, header.previous) {
            let what = format!(
                "segment {} continues block {}, but the segment before ends with block {}",
                header.segment,
                header.first.saturating_sub(1),
                state.sequence.saturating_sub(1)
            );
            return Err(EngineError::corruption(&candidate.path, 40, what));
        }
        let next_first = firsts.get(position + 1).copied();
        let used = scan_segment(env, state, &header, &candidate, next_first, options, report).await?;
        let segment = Segment {
            slot: candidate.slot,
            file: Rc::new(candidate.file),
            path: candidate.path,
            salt: header.salt,
            bytes: candidate.bytes,
            used,
            first: header.first,
            previous: header.previous,
        };
        state.segments.insert(header.segment, segment);
    }
    Ok(())
}

/// Reads one segment and returns where its blocks end.
async fn scan_segment<E: Env>(
    env: &E,
    state: &mut LogState<E::File>,
    header: &SegmentHeader,
    candidate: &Candidate<E::File>,
    next_first: Option<u64>,
    options: &StoreOptions,
    report: &mut LogReport,
) -> Result<u64, EngineError> {
    let path = candidate.path.as_path();
    let mut scan = Scan::new(&candidate.file, path, candidate.bytes);
    let mut at = BLOCK as u64;
    loop {
        let mut expected =
            Expected { offset: at, ..Expected::first(header.segment, header.salt, state.sequence, state.previous) };
        let (parsed, block) = scan.block(at).await?;
        if let (true, Parsed::Header(seen)) = (env.mutant(101), parsed) {
            // The other half of planted bug 101.
            expected.segment = seen.segment;
        }
        let found = inspect(parsed, block, &expected);
        if let (Found::Expected, Parsed::Header(seen), Some(block)) = (found, parsed, block) {
            take_block(state, path, at, &seen, block, options)?;
            report.blocks += 1;
            at += seen.block_bytes() as u64;
            env.yield_if_needed().await;
            continue;
        }
        let later = match next_first {
            Some(first) if first > state.sequence => Later::Segment,
            Some(_) => Later::Nothing,
            // Planted bug 102: nobody looks whether the log goes on behind a bad place.
            None if env.mutant(102) => Later::Nothing,
            None => look_ahead(env, &mut scan, at, &expected).await?,
        };
        let verdict = match classify(found, later) {
            // Planted bugs 45 and 121: damage is taken for a torn tail, or a torn tail for damage.
            Verdict::Refuse if env.mutant(45) => Verdict::DropTail,
            Verdict::DropTail if env.mutant(121) => Verdict::Refuse,
            verdict => verdict,
        };
        match verdict {
            Verdict::Accept | Verdict::End => {}
            Verdict::DropTail => {
                if next_first.is_none() {
                    report.dropped_tail = Some((candidate.path.clone(), at));
                }
            }
            Verdict::Refuse => {
                let what = format!(
                    "block {} of the log should be here and is not ({found:?}), though later data proves that it was durable ({later:?})",
                    state.sequence
                );
                return Err(EngineError::corruption(path, at, what));
            }
        }
        return Ok(at);
    }
}

/// Searches the rest of the segment for a block that was issued after the place at `at` was durable.
async fn look_ahead<E: Env>(
    env: &E,
    scan: &mut Scan<'_, E::File>,
    at: u64,
    expected: &Expected,
) -> Result<Later, EngineError> {
    let end = scan.end;
    let mut next = at + BLOCK as u64;
    while next + BLOCK as u64 <= end {
        scan.want(next, BLOCK).await?;
        let parsed = block::parse(scan.held(next, BLOCK).unwrap_or_default());
        if let Some(header) = may_be_later(parsed, expected, (end - next) as usize) {
            let (_, block) = scan.block(next).await?;
            if block.is_some_and(|block| block::is_whole(block, &header, expected.salt)) {
                return Ok(Later::Block);
            }
        }
        next += BLOCK as u64;
        env.yield_if_needed().await;
    }
    Ok(Later::Nothing)
}

fn take_block<F>(
    state: &mut LogState<F>,
    path: &Path,
    at: u64,
    header: &block::BlockHeader,
    block: &[u8],
    options: &StoreOptions,
) -> Result<(), EngineError> {
    let payload = block.get(block::HEADER..block::HEADER + header.length as usize).unwrap_or_default();
    let payload = Bytes::copy_from_slice(payload);
    let base = at + block::HEADER as u64;
    let records =
        record::decode(&payload, header.records).map_err(|error| EngineError::malformed(path, base, &error))?;
    let place = BlockPlace { segment: header.segment, offset: at, bytes: block.len(), payload_start: 0 };
    state.enter_block(header.sequence);
    for record in records {
        state.apply(record, &place, options.tail_cache_bytes);
    }
    state.sequence += 1;
    state.previous = header.checksum;
    Ok(())
}

/// The log must hold everything that the manifest relies on.
fn check_whole<F>(folder: &Path, state: &LogState<F>, claims: &LogClaims) -> Result<(), EngineError> {
    let refuse = |what: String| {
        let newest = state.segments.last_key_value().map(|(_, segment)| (segment.path.as_path(), segment.used));
        let (path, at) = newest.unwrap_or((folder, 0));
        Err(EngineError::corruption(path, at, what))
    };
    if state.sequence <= claims.durable {
        return refuse(format!(
            "the log ends with block {}, but the manifest knows that block {} was durable",
            state.sequence.saturating_sub(1),
            claims.durable
        ));
    }
    for (group, log) in &state.groups {
        if log.has_gap() {
            return refuse(format!("{group}: entries after {} are missing from the log", log.start));
        }
        // A group that is only written to, never logged, has marks and no log.
        let logged = log.entry_count() > 0 || log.start.0 > 0 || log.incarnation.0 > 0;
        if logged && log.flushed > log.last() {
            return refuse(format!("{group}: the tables contain {}, but the log ends at {}", log.flushed, log.last()));
        }
    }
    Ok(())
}
