//! Reading the log while it is written: entries that memory does not hold, and verification.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File};

use super::group::{GroupLog, Indexed, Place};
use super::state::{LogState, Segment};
use super::{Log, LogEntry, block, scan, verdict};
use crate::error::EngineError;
use crate::ids::{GroupId, LogIndex, Term};

impl<E: Env> Log<E> {
    /// Entries from `from` to `to`, at least one and at most `max_bytes` of them.
    pub(crate) async fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, EngineError> {
        if from > to {
            return Ok(Vec::new());
        }
        let mut wanted = Vec::new();
        {
            let state = self.state.borrow();
            let mut bytes = 0usize;
            let mut index = from;
            while index <= to {
                let Some(entry) = state.groups.get(&group).and_then(|log| log.get(index)) else {
                    return Err(self.not_in_log(&state, group, index));
                };
                bytes = bytes.saturating_add(entry.place.len as usize);
                if bytes > max_bytes && index > from {
                    break;
                }
                wanted.push((index, entry.clone()));
                index = index.next();
            }
        }
        let mut entries = Vec::with_capacity(wanted.len());
        let mut last_block: Option<(Place, AlignedBuf)> = None;
        for (index, Indexed { term, mut place, cached }) in wanted {
            let data = match cached {
                Some(data) => data,
                None => {
                    let same = |held: &Place, place: &Place| held.segment == place.segment && held.block == place.block;
                    while !last_block.as_ref().is_some_and(|(held, _)| same(held, &place)) {
                        match self.read_block(group, index, &place).await {
                            Ok(block) => last_block = Some((place, block)),
                            Err(error) => place = self.moved(group, index, term, &place).ok_or(error)?,
                        }
                    }
                    let block = last_block.as_ref().map(|(_, block)| &block[..]).unwrap_or_default();
                    let range = place.at as usize..(place.at as usize + place.len as usize);
                    Bytes::copy_from_slice(block.get(range).unwrap_or_default())
                }
            };
            entries.push(LogEntry { index, term, data });
        }
        Ok(entries)
    }

    /// Where an entry is now, if the group's log was moved forward while it was read from `from`.
    fn moved(&self, group: GroupId, index: LogIndex, term: Term, from: &Place) -> Option<Place> {
        let state = self.state.borrow();
        let entry = state.groups.get(&group)?.get(index)?;
        (entry.term == term && entry.place != *from).then_some(entry.place)
    }

    fn not_in_log(&self, state: &LogState<E::File>, group: GroupId, index: LogIndex) -> EngineError {
        let log = state.groups.get(&group);
        let first = log.map_or(LogIndex(1), |log| log.start.next());
        EngineError::NotInLog { group, index, first, last: log.map_or(LogIndex(0), GroupLog::last) }
    }

    /// Reads the block that holds an entry and verifies it.
    pub(super) async fn read_block(
        &self,
        group: GroupId,
        index: LogIndex,
        place: &Place,
    ) -> Result<AlignedBuf, EngineError> {
        let found = {
            let state = self.state.borrow();
            state.segments.get(&place.segment).map(|s| (Rc::clone(&s.file), s.path.clone(), s.salt))
        };
        let Some((file, path, salt)) = found else {
            return Err(self.not_in_log(&self.state.borrow(), group, index));
        };
        let bytes = place.block_bytes as usize;
        let block = file.read_at(place.block, bytes).await.map_err(|e| EngineError::io("read", &path, &e))?;
        let whole = match block::parse(&block) {
            block::Parsed::Header(header) => {
                let found = (header.segment, header.offset);
                block::is_whole(&block, &header, salt) && found == (place.segment, place.block)
            }
            block::Parsed::Blank | block::Parsed::Garbage => false,
        };
        if whole {
            return Ok(block);
        }
        // The segment may have been freed and reused while we read.
        let state = self.state.borrow();
        let still = state.groups.get(&group).and_then(|log| log.get(index)).is_some_and(|held| held.place == *place);
        if still {
            return Err(EngineError::corruption(&path, place.block, "a block of the log does not match its checksum"));
        }
        Err(self.not_in_log(&state, group, index))
    }

    /// Reads every block of the log and checks its checksum. Returns how many there are.
    pub(crate) async fn verify(&self) -> Result<u64, EngineError> {
        // The gate keeps segments from being started and blocks from being written meanwhile.
        let _pass = self.gate.enter().await;
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let describe = |(id, s): (&u64, &Segment<E::File>)| {
                (*id, Rc::clone(&s.file), s.path.clone(), s.salt, s.used, s.first, s.previous)
            };
            state.segments.iter().map(describe).collect()
        };
        let mut blocks = 0;
        for (segment, file, path, salt, used, sequence, previous) in segments {
            let mut scan = scan::Scan::new(&*file, &path, used);
            let mut expected = verdict::Expected::first(segment, salt, sequence, previous);
            let mut at = BLOCK as u64;
            while at < used {
                let (parsed, block) = scan.block(at).await?;
                let found = verdict::inspect(parsed, block, &expected);
                let (verdict::Found::Expected, block::Parsed::Header(header)) = (found, parsed) else {
                    if self.state.borrow().segments.contains_key(&segment) {
                        return Err(EngineError::corruption(
                            &path,
                            at,
                            "a block of the log does not match its checksum",
                        ));
                    }
                    break;
                };
                at += header.block_bytes() as u64;
                expected.pass(&header);
                blocks += 1;
                self.env.yield_if_needed().await;
            }
        }
        Ok(blocks)
    }
}
