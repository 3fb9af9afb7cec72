//! Reading all of a table again, past the cache, against the checksums that point to it: in pieces for the scrub, and at once
//! to verify it.

use highwater_runtime::{BLOCK, Env, File};

use super::Table;
use super::filter::Filter;
use super::format::Footer;
use super::index::Index;
use super::read::{Memory, failed_read, read};
use super::walk::Walk;
use crate::error::EngineError;
use crate::ids::Seq;

/// What the scrub knows of the index, which it reads as it comes to it.
#[derive(Default)]
pub(super) struct Scrubbed {
    /// Number of blocks in all partitions up to each; a damaged one counts as empty.
    ends: Vec<usize>,
    /// The partition that was read last.
    held: Option<(usize, Index)>,
}

impl<E: Env> Table<E> {
    /// Number of pieces that a scrub reads: the data blocks, each partition's filter, and three more around them.
    pub(crate) fn scrub_pieces(&self) -> usize {
        self.footer.properties.blocks as usize + self.top.len() + 3
    }

    /// Reads piece `number` past the cache and checks it. Returns its bytes in the file.
    pub(crate) async fn scrub_piece(&self, number: usize) -> Result<u64, EngineError> {
        let blocks = self.footer.properties.blocks as usize;
        let Some(behind) = number.checked_sub(blocks) else { return self.scrub_block(number).await };
        self.scrubbed.borrow_mut().held = None;
        if behind < self.top.len() {
            let Some(pointer) = self.top_pointer(behind, 1)? else { return Ok(0) };
            let data = read(&self.file, &self.path, &pointer, Memory::Own).await;
            let decode = |data| Filter::decode(data).map_err(|error| self.malformed(pointer.offset, &error));
            return self.noted(data.and_then(decode)).map(|_| u64::from(pointer.stored));
        }
        if let Some(pointer) = [&self.footer.tombstones, &self.footer.top].get(behind - self.top.len()) {
            let outcome = read(&self.file, &self.path, pointer, Memory::Own).await;
            return self.noted(outcome).map(|_| u64::from(pointer.stored));
        }
        let at = self.meta.footer_at;
        let end = match self.file.read_at(at, BLOCK).await {
            Ok(end) => end,
            Err(error) => return self.noted(Err(failed_read(&self.file, &self.path, at + BLOCK as u64, &error).await)),
        };
        let whole = Footer::decode(&end).is_ok_and(|(_, checksum)| checksum == self.meta.checksum);
        let damaged = || EngineError::corruption(&self.path, at, "the footer is not the one that the manifest names");
        self.noted(if whole { Ok(BLOCK as u64) } else { Err(damaged()) })
    }

    /// Reads data block `number` of the whole table. One that a damaged partition of the index hides counts as read.
    async fn scrub_block(&self, number: usize) -> Result<u64, EngineError> {
        let (partition, first) = loop {
            let (known, last) = {
                let scrubbed = self.scrubbed.borrow();
                let partition = scrubbed.ends.partition_point(|end| *end <= number);
                let before = partition.checked_sub(1).and_then(|before| scrubbed.ends.get(before)).copied();
                let known = partition < scrubbed.ends.len();
                (known.then_some((partition, before.unwrap_or(0))), scrubbed.ends.len())
            };
            match known {
                Some(place) => break place,
                None if last >= self.top.len() => return Ok(0),
                None => {
                    let outcome = self.scrub_index(last).await;
                    let mut scrubbed = self.scrubbed.borrow_mut();
                    let end = scrubbed.ends.last().copied().unwrap_or(0);
                    scrubbed.ends.push(end + outcome.as_ref().map_or(0, Index::len));
                    drop(scrubbed);
                    outcome?;
                }
            }
        };
        let index = self.scrub_index(partition).await?;
        let pointer = self.block_pointer(&index, number - first)?;
        self.block(None, &pointer).await.map(|_| u64::from(pointer.stored))
    }

    /// A partition of the index, as it is in the file.
    async fn scrub_index(&self, partition: usize) -> Result<Index, EngineError> {
        if let Some((_, index)) = self.scrubbed.borrow().held.as_ref().filter(|(held, _)| *held == partition) {
            return Ok(index.clone());
        }
        let Some(pointer) = self.top_pointer(partition, 0)? else {
            return Err(EngineError::corruption(&self.path, self.footer.top.offset, "the index names no partition"));
        };
        let data = read(&self.file, &self.path, &pointer, Memory::Own).await;
        let decode = |data| Index::decode(data).map_err(|error| self.malformed(pointer.offset, &error));
        let index = self.noted(data.and_then(decode))?;
        self.scrubbed.borrow_mut().held = Some((partition, index.clone()));
        Ok(index)
    }

    /// Reads every block and checks it and the order of what is in it. Returns blocks and versions read.
    pub(crate) async fn verify(&self) -> Result<(u64, u64), EngineError> {
        let (mut blocks, mut entries) = (0, 0);
        let mut last: Option<(Vec<u8>, Seq)> = None;
        let mut walk = Walk::default();
        for partition in 0..self.top.len() {
            let index = self.scrub_index(partition).await?;
            if let Some(pointer) = self.top_pointer(partition, 1)? {
                let data = read(&self.file, &self.path, &pointer, Memory::Own).await?;
                Filter::decode(data).map_err(|error| self.malformed(pointer.offset, &error))?;
            }
            for number in 0..index.len() {
                let pointer = self.block_pointer(&index, number)?;
                walk.enter(self.block(None, &pointer).await?);
                let malformed = |error| self.malformed(pointer.offset, &error);
                while walk.forward().map_err(malformed)? {
                    let (key, seq) = (walk.key(), walk.seq());
                    let ordered =
                        last.as_ref().is_none_or(|(before, newer)| **before < *key || (before == key && *newer > seq));
                    let inside = *key >= *self.meta.start && *key < *self.meta.end;
                    if !ordered || !inside {
                        return Err(EngineError::corruption(&self.path, pointer.offset, "keys are out of order"));
                    }
                    let (held, held_seq) = last.get_or_insert_default();
                    held.clear();
                    held.extend_from_slice(key);
                    *held_seq = seq;
                    entries += 1;
                }
                if last.as_ref().is_some_and(|(key, _)| **key > *index.separator(number)) {
                    let what = "a block holds keys behind its place in the index";
                    return Err(EngineError::corruption(&self.path, pointer.offset, what));
                }
                blocks += 1;
                self.env.yield_if_needed().await;
            }
        }
        for pointer in [&self.footer.tombstones, &self.footer.top] {
            read(&self.file, &self.path, pointer, Memory::Own).await?;
        }
        self.scrubbed.borrow_mut().held = None;
        let claimed = self.footer.properties.versions;
        if entries != claimed {
            let what = format!("the table holds {entries} versions and claims {claimed}");
            return Err(EngineError::corruption(&self.path, self.meta.footer_at, what));
        }
        Ok((blocks, entries))
    }
}
