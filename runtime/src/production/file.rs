//! Files on glommio's direct I/O, made exact.
//!
//! Only `DmaFile::{write_at, read_at_aligned, fdatasync, pre_allocate, file_size}` are used: the stream writers accept short
//! writes (G4) and write stale heap as padding (G5), and the unaligned `read_at` gives stale memory past the end (G3).
//! Everything is aligned to 4096 bytes whatever the device says of itself (G10), in pieces of at most 1 MiB (G14).

use std::io;
use std::path::Path;

use glommio::GlommioError;
use glommio::io::{DmaFile, OpenOptions as DmaOptions};

use super::pulse::note_activity;
use super::slice::ReadUnderWay;
use crate::buffer::{AlignedBuf, BLOCK};
use crate::env::{File, OpenOptions};

/// Largest single operation, in bytes: reads above the device's limit have hung in the kernel (G14).
const PIECE: usize = 1 << 20;

/// An open file.
#[derive(Debug)]
pub struct GlommioFile(DmaFile);

/// The system's words alone: whoever asked knows the operation and the file.
fn plain(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}

fn aligned(offset: u64, len: usize) -> io::Result<()> {
    if offset.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("file I/O of {len} bytes at {offset} is not aligned to {BLOCK}"),
    ))
}

/// Whole blocks of what was done, so that the next piece is aligned again.
const fn whole_blocks(done: usize) -> usize {
    done - done % BLOCK
}

impl GlommioFile {
    pub(super) async fn open(path: &Path, options: OpenOptions) -> io::Result<Self> {
        let mut dma = DmaOptions::new();
        // Data files are the owner's alone. glommio probes no file here, so neither of its open-time traps (G1, G2) exists; its
        // `statfs` of the path just opened (G16) can fail only if somebody else removes the file between the two calls, and the
        // data folder is locked for us.
        dma.read(true).write(options.write).create_new(options.create_new).mode(0o600);
        if options.synchronous {
            dma.custom_flags(libc::O_DSYNC);
        }
        Ok(Self(dma.dma_open(path).await.map_err(plain)?))
    }
}

impl File for GlommioFile {
    async fn write_at(&self, buffer: AlignedBuf, offset: u64) -> io::Result<AlignedBuf> {
        aligned(offset, buffer.len())?;
        note_activity();
        let mut done = 0;
        while let Some(rest) = buffer.get(done..).filter(|rest| !rest.is_empty()) {
            let piece = rest.get(..PIECE).unwrap_or(rest);
            // glommio only writes from its own buffers, which are not zeroed: this one is overwritten whole (G5).
            let mut dma = self.0.alloc_dma_buffer(piece.len());
            dma.as_bytes_mut().copy_from_slice(piece);
            let written = whole_blocks(self.0.write_at(dma, offset + done as u64).await.map_err(plain)?);
            if written == 0 {
                let message = format!("wrote no whole block at {} of {}", offset + done as u64, self.name());
                return Err(io::Error::new(io::ErrorKind::WriteZero, message));
            }
            done += written;
        }
        Ok(buffer)
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<AlignedBuf> {
        aligned(offset, len)?;
        note_activity();
        let _under_way = ReadUnderWay::begin();
        let mut buffer = AlignedBuf::zeroed(len);
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let read = self.0.read_at_aligned(at, (len - done).min(PIECE)).await.map_err(plain)?;
            let whole = whole_blocks(read.len());
            let (Some(target), Some(source)) = (buffer.get_mut(done..done + whole), read.get(..whole)) else {
                return Err(io::Error::other("the kernel read more than was asked for"));
            };
            if whole == 0 {
                let message = format!("{} ends before offset {}", self.name(), offset + len as u64);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            target.copy_from_slice(source);
            done += whole;
        }
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        note_activity();
        self.0.fdatasync().await.map_err(plain)
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        if len <= self.len().await? {
            return Ok(());
        }
        self.0.pre_allocate(len, false).await.map_err(plain)
    }

    async fn len(&self) -> io::Result<u64> {
        self.0.file_size().await.map_err(plain)
    }
}

impl GlommioFile {
    fn name(&self) -> String {
        self.0.path().map_or_else(|| "the file".to_owned(), |path| path.display().to_string())
    }
}
