//! Sending a snapshot: what the receiver says it wants, one chunk after the other, until it has handed all of it to its replica.
//!
//! The receiver's answer ([`Standing`]) is the only state there is: after a lost answer or a new connection the descriptor is sent
//! again, and the transfer goes on where the receiver stands. Gives up when nothing moves for [`PATIENCE_MICROS`].

use std::path::Path;

use bytes::Bytes;
use highwater_net::rpc::{self, CallError, NotSent, RefusalCode, SnapshotChunk};
use highwater_runtime::{Env, File, Monotonic, OpenOptions};

use super::descriptor::Described;
use super::error::SnapshotError;
use super::pace::Pace;
use super::standing::Standing;
use crate::cluster::NOT_READY;

/// Bytes of one chunk.
pub(crate) const CHUNK_BYTES: u64 = 512 << 10;
/// How long nothing may move before the sender gives up, in microseconds.
const PATIENCE_MICROS: u64 = 30_000_000;
/// How long a receiver may read back what it has before the sender gives up, in microseconds.
const CHECK_MICROS: u64 = 1_800_000_000;
/// Pause before the next question after a failed one or a receiver that is busy, in microseconds.
const PAUSE_MICROS: u64 = 100_000;

/// A snapshot on this node's disk, on its way to one receiver.
pub(crate) struct Sending<'a, E: Env> {
    /// The world.
    pub(crate) env: &'a E,
    /// Where its files are.
    pub(crate) folder: &'a Path,
    /// What it is.
    pub(crate) described: &'a Described,
    /// The node's pace.
    pub(crate) pace: &'a Pace,
    /// Bytes per second; 0 for no limit.
    pub(crate) rate: u64,
}

/// The file that is being read.
struct Open<F> {
    part: u32,
    file: F,
}

impl<E: Env> Sending<'_, E> {
    /// Sends it. `carry` brings one chunk to the receiver and gives its answer; `goes_on` is asked before each whether there is still reason to.
    ///
    /// # Errors
    /// [`SnapshotError`]; what has arrived stays with the receiver for a while.
    pub(crate) async fn send(
        &self,
        carry: impl AsyncFn(SnapshotChunk) -> Result<Bytes, CallError>,
        goes_on: impl Fn() -> bool,
    ) -> Result<(), SnapshotError> {
        let announcement = self.chunk(0, 0, Bytes::from(self.described.encode()))?;
        let mut open: Option<Open<E::File>> = None;
        let mut wanted = (0, 0);
        let mut moved = self.env.now();
        let mut patience = PATIENCE_MICROS;
        let mut last = None;
        loop {
            if !goes_on() {
                return Err(SnapshotError::Abandoned);
            }
            let waited = self.env.now().micros_since(moved);
            if waited > patience {
                return Err(SnapshotError::Stuck { seconds: waited / 1_000_000, last });
            }
            let chunk = match wanted {
                (0, _) => announcement.clone(),
                (part, offset) => self.read(&mut open, part, offset).await?,
            };
            self.env.sleep_until(self.admitted(chunk.data.len())).await;
            let pause = match carry(chunk).await {
                Ok(answer) => match Standing::decode(&answer).ok_or(SnapshotError::Answer)? {
                    Standing::Wants { part, offset } => {
                        let moves = part > 0 && wanted != (part, offset);
                        if moves {
                            moved = self.env.now();
                        }
                        // A receiver that lost everything is told from the beginning, though not without end.
                        let again = part == 0 && wanted.0 == 0;
                        wanted = (part, offset);
                        again
                    }
                    Standing::Busy => {
                        wanted = (0, 0);
                        true
                    }
                    Standing::Checking => {
                        patience = CHECK_MICROS;
                        wanted = (0, 0);
                        true
                    }
                    Standing::HandedOver => return Ok(()),
                },
                Err(error) => {
                    if is_final(&error) {
                        return Err(refused(error));
                    }
                    last = Some(error);
                    wanted = (0, 0);
                    true
                }
            };
            if pause {
                self.env.sleep(PAUSE_MICROS).await;
            }
        }
    }

    fn admitted(&self, bytes: usize) -> Monotonic {
        self.pace.admit(self.env.now(), bytes as u64, self.rate)
    }

    /// The chunk of a part from `offset`.
    fn chunk(&self, part: u32, offset: u64, data: Bytes) -> Result<SnapshotChunk, SnapshotError> {
        let part_bytes = match self.described.file(part) {
            Some(file) => file.bytes,
            None if part == 0 => data.len() as u64,
            None => return Err(SnapshotError::Answer),
        };
        Ok(SnapshotChunk {
            group: rpc::GroupId(self.described.group),
            index: rpc::LogIndex(self.described.index.0),
            term: rpc::Term(self.described.term.0),
            part,
            parts: self.described.parts(),
            offset,
            part_bytes,
            data,
        })
    }

    async fn read(
        &self,
        open: &mut Option<Open<E::File>>,
        part: u32,
        offset: u64,
    ) -> Result<SnapshotChunk, SnapshotError> {
        let described = self.described.file(part).filter(|file| offset < file.bytes).ok_or(SnapshotError::Answer)?;
        let path = self.folder.join(&described.name);
        let opened = match open.take().filter(|open| open.part == part) {
            Some(opened) => opened,
            None => {
                let file = self.env.open(&path, OpenOptions::READ).await;
                Open { part, file: file.map_err(|error| SnapshotError::file("open", &path, &error))? }
            }
        };
        let length = CHUNK_BYTES.min(described.bytes - offset);
        let read = opened.file.read_at(offset, usize::try_from(length).unwrap_or(0)).await;
        let read = read.map_err(|error| SnapshotError::file("read", &path, &error))?;
        *open = Some(opened);
        self.chunk(part, offset, Bytes::copy_from_slice(&read))
    }
}

/// Whether trying again would end the same way.
fn is_final(error: &CallError) -> bool {
    match error {
        CallError::Refused(refusal) => ![RefusalCode::BUSY, RefusalCode::EXPIRED, NOT_READY].contains(&refusal.code),
        CallError::NotSent(NotSent::Stopped | NotSent::TooLarge) => true,
        CallError::NotSent(NotSent::Full | NotSent::Unreachable | NotSent::Expired) | CallError::Unknown(_) => false,
    }
}

fn refused(error: CallError) -> SnapshotError {
    match error {
        CallError::Refused(refusal) => SnapshotError::Refused(refusal.text),
        other => SnapshotError::Refused(other.to_string()),
    }
}
