//! The files of one core's audit log: `<data>/audit/<core>/<number, 20 digits>`, the newest last.
//!
//! ```text
//! file  := frame* , zeros to the end of the block
//! frame := length u32 LE (1 to 64 KiB) | CRC-32 of the event u32 LE | event
//! ```
//!
//! A file is never written after the process that made it: each start begins a new one. The last block is written again with
//! every append; what it held before is the same bytes, so that a torn write harms only what is new. Reading ends at the first
//! frame that is not whole. The oldest files go when all together are too large.

use std::io;
use std::path::{Path, PathBuf};

use highwater_runtime::{AlignedBuf, BLOCK, Env, File as _, OpenOptions};

use super::event::Event;

/// Files that the limit is divided into.
const PARTS: u64 = 8;
/// Most files, whatever their size.
const MAX_FILES: usize = 64;
/// Longest event in bytes.
const MAX_EVENT: usize = 64 << 10;
const HEAD: usize = 8;

/// The file that is being written, and the limit for all.
pub(super) struct Files {
    folder: PathBuf,
    max_bytes: u64,
    open: Option<PathBuf>,
    /// Whole blocks of the open file.
    blocks: u64,
    /// What its last, unfinished block holds.
    tail: Vec<u8>,
}

/// Why events could not be made durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditError {
    /// Nothing is lost that was durable, and it may be tried again.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody knows what is on the disk: the node must stop.
    #[error("it could not be synced: {0}")]
    Sync(io::Error),
}

impl Files {
    /// Nothing is made before the first event.
    pub(super) const fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes, open: None, blocks: 0, tail: Vec::new() }
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes events and makes them durable. After an error the next append begins a new file.
    pub(super) async fn append<E: Env>(&mut self, env: &E, events: &[Event]) -> Result<(), AuditError> {
        let written = self.try_append(env, events).await;
        if written.is_err() {
            self.open = None;
        }
        written
    }

    async fn try_append<E: Env>(&mut self, env: &E, events: &[Event]) -> Result<(), AuditError> {
        if self.blocks * BLOCK as u64 >= self.max_bytes / PARTS {
            self.open = None;
        }
        let path = match self.open.clone() {
            Some(path) => path,
            None => self.begin(env).await?,
        };
        let start = self.blocks * BLOCK as u64;
        let mut bytes = std::mem::take(&mut self.tail);
        events.iter().for_each(|event| frame(&mut bytes, event));
        let rest = bytes.len() % BLOCK;
        self.tail = bytes.get(bytes.len() - rest..).unwrap_or_default().to_vec();
        self.blocks += (bytes.len() / BLOCK) as u64;
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let file = env.open(&path, OpenOptions::WRITE).await?;
        file.write_at(AlignedBuf::from_slice(&bytes), start).await?;
        file.sync().await.map_err(AuditError::Sync)
    }

    /// Begins a new file, after those that are too many have gone.
    async fn begin<E: Env>(&mut self, env: &E) -> Result<PathBuf, AuditError> {
        env.create_dir_all(&self.folder).await?;
        let names = files(env, &self.folder).await?;
        let last = names.last().map_or(0, |(number, _)| *number);
        self.drop_oldest(env, &names).await?;
        let path = self.folder.join(format!("{:020}", last + 1));
        drop(env.open(&path, OpenOptions::CREATE).await?);
        env.sync_dir(&self.folder).await.map_err(AuditError::Sync)?;
        (self.blocks, self.tail) = (0, Vec::new());
        self.open = Some(path.clone());
        Ok(path)
    }

    async fn drop_oldest<E: Env>(&self, env: &E, names: &[(u64, PathBuf)]) -> io::Result<()> {
        let (mut kept, mut bytes) = (0, 0);
        for (_, path) in names.iter().rev() {
            bytes += env.open(path, OpenOptions::READ).await?.len().await?;
            kept += 1;
            if kept >= MAX_FILES || bytes > self.max_bytes - self.max_bytes / PARTS {
                env.remove_file(path).await?;
            }
        }
        Ok(())
    }
}

/// Every whole event of the folder, in the order in which they were written.
pub(super) async fn read<E: Env>(env: &E, folder: &Path) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    let names = match files(env, folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(events),
        names => names?,
    };
    for (_, path) in names {
        let file = match env.open(&path, OpenOptions::READ).await {
            // The oldest may go at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let length = usize::try_from(file.len().await?).unwrap_or(usize::MAX);
        let length = length - length % BLOCK;
        if length > 0 {
            events.extend(frames(&file.read_at(0, length).await?));
        }
        env.yield_if_needed().await;
    }
    Ok(events)
}

/// The files of a folder by their numbers; others are left alone.
async fn files<E: Env>(env: &E, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let number = |name: PathBuf| {
        let number = name.file_name()?.to_str()?.parse().ok()?;
        Some((number, folder.join(name.file_name()?)))
    };
    let mut names: Vec<_> = env.list_dir(folder).await?.into_iter().filter_map(number).collect();
    names.sort();
    Ok(names)
}

fn frame(bytes: &mut Vec<u8>, event: &Event) {
    let event = event.encode();
    let Ok(length) = u32::try_from(event.len()) else { return };
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&event).to_le_bytes());
    bytes.extend_from_slice(&event);
}

fn frames(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let number = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let length = number(0) as usize;
        if length == 0 || length > MAX_EVENT {
            break;
        }
        let Some((body, after)) = rest.split_at_checked(length) else { break };
        let Some(event) = Event::decode(body).filter(|_| crc32fast::hash(body) == number(4)) else { break };
        events.push(event);
        bytes = after;
    }
    events
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::event::{EventKind, Outcome};
    use super::*;

    fn event(number: usize) -> Event {
        Event { at: number as i64, ..Event::of(EventKind::Login, Outcome::Done, &"u".repeat(number % 300)) }
    }

    #[test]
    fn reading_ends_at_the_first_frame_that_is_not_whole() {
        let mut bytes = Vec::new();
        let events: Vec<Event> = (0..20).map(event).collect();
        events.iter().for_each(|event| frame(&mut bytes, event));
        let whole = bytes.len();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        assert_eq!(frames(&bytes), events);
        assert_eq!(frames(&bytes[..whole - 1]), events[..19]);
        for at in 0..whole {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            assert!(frames(&damaged).len() < 20, "byte {at}");
        }
    }
}
