//! Sending a snapshot: what the receiver says it wants, a few chunks at a time, until it has handed all of it to its replica.
//!
//! The receiver's answer ([`Standing`]) is the only state there is: after a lost answer or a new connection the descriptor is sent
//! again, and the transfer goes on where the receiver stands. Gives up when nothing moves for [`PATIENCE_MICROS`].

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

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
/// Chunks that are on their way at one time; all of one file.
const AHEAD: usize = 4;
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
            let chunks = match wanted {
                (0, _) => vec![announcement.clone()],
                (part, offset) => self.read_ahead(&mut open, part, offset).await?,
            };
            self.env.sleep_until(self.admitted(chunks.iter().map(|chunk| chunk.data.len()).sum())).await;
            let mut on_their_way = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                on_their_way.push(Box::pin(carry(chunk)));
            }
            let pause = match furthest(all(on_their_way).await) {
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

    /// The chunks of a part from `offset`, as many as are on their way at one time.
    async fn read_ahead(
        &self,
        open: &mut Option<Open<E::File>>,
        part: u32,
        offset: u64,
    ) -> Result<Vec<SnapshotChunk>, SnapshotError> {
        let mut chunks = vec![self.read(open, part, offset).await?];
        while chunks.len() < AHEAD {
            let end = chunks.last().map_or(0, |last| last.offset + last.data.len() as u64);
            if self.described.file(part).is_none_or(|file| end >= file.bytes) {
                break;
            }
            chunks.push(self.read(open, part, end).await?);
        }
        Ok(chunks)
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

/// What all of these came to, in their order.
async fn all<T, F: Future<Output = T> + Unpin>(mut futures: Vec<F>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(outcome) = Pin::new(future).poll(context)
            {
                *done = Some(outcome);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// The answer that says most of how far the receiver is; a refusal that is final before any other.
fn furthest(answers: Vec<Result<Bytes, CallError>>) -> Result<Bytes, CallError> {
    let rank = |answer: &Result<Bytes, CallError>| match answer {
        Err(error) if is_final(error) => (4, 0, 0),
        Err(_) => (0, 0, 0),
        Ok(bytes) => match Standing::decode(bytes) {
            None => (4, 0, 0),
            Some(Standing::HandedOver) => (3, 2, 0),
            Some(Standing::Checking) => (3, 1, 0),
            Some(Standing::Wants { part, offset }) => (2, part, offset),
            Some(Standing::Busy) => (1, 0, 0),
        },
    };
    let lost = Err(CallError::NotSent(NotSent::Unreachable));
    answers.into_iter().max_by_key(rank).unwrap_or(lost)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use highwater_net::rpc::{Refusal, Unknown};

    use super::*;

    #[test]
    fn of_several_answers_the_furthest_counts_and_a_final_refusal_before_all() {
        let wants = |part, offset| Ok(Bytes::from(Standing::Wants { part, offset }.encode()));
        let found = |answers| Standing::decode(&furthest(answers).unwrap());
        let late = || Err(CallError::Unknown(Unknown::Disconnected));
        let answers = vec![wants(1, 512), wants(1, 1024), late(), wants(1, 0)];
        assert_eq!(found(answers), Some(Standing::Wants { part: 1, offset: 1024 }));
        let whole = Ok(Bytes::from(Standing::Checking.encode()));
        assert_eq!(found(vec![wants(1, 512), whole, late()]), Some(Standing::Checking));
        assert_eq!(found(vec![wants(0, 0), wants(0, 0)]), Some(Standing::Wants { part: 0, offset: 0 }));
        let refused =
            Err(CallError::Refused(Refusal::new(RefusalCode(RefusalCode::FIRST_OF_SERVER + 99), "it is damaged")));
        assert!(furthest(vec![wants(1, 512), refused]).is_err());
        assert!(furthest(vec![late(), late()]).is_err());
    }
}
