//! How an edit lies in a manifest file.
//!
//! ```text
//! offset  0  magic      4 bytes "HWMF"
//!         4  version    u16, 1
//!         6  reserved   u16, 0
//!         8  length     u32, bytes of the edit
//!        12  previous   u32, checksum of the frame before; 0 for the first of a file
//!        16  sequence   u64, number of the edit, rising by one, across files
//!        24  reserved   u32, 0
//!        28  checksum   u32, CRC-32 of the file's number (u64) and the whole frame without this field
//!        32  the edit, then zero padding to a multiple of 4096
//! ```
//!
//! As in the log, one frame is in flight at a time, and a frame is durable before the next is issued: bytes that are no
//! frame end the file, unless a later frame proves that they were one.

use highwater_runtime::BLOCK;

use crate::codec::{Malformed, Reader, patch};

const MAGIC: [u8; 4] = *b"HWMF";
/// Format version written and read.
pub const VERSION: u16 = 1;
/// Bytes before the edit.
pub const HEADER: usize = 32;
const CHECKSUM_AT: usize = 28;

/// Bytes of a frame around an edit of `length` bytes.
#[must_use]
pub const fn frame_bytes(length: usize) -> usize {
    (HEADER + length).next_multiple_of(BLOCK)
}

/// A frame as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the edit.
    pub sequence: u64,
    /// Checksum of the frame before.
    pub previous: u32,
    /// Checksum of this frame.
    pub checksum: u32,
    /// The edit's bytes.
    pub edit: &'a [u8],
    /// Bytes of the whole frame.
    pub bytes: usize,
}

/// Fills `frame`, whose edit and zero padding are in place, and returns its checksum.
pub(crate) fn seal(frame: &mut [u8], length: usize, previous: u32, sequence: u64, file: u64) -> u32 {
    patch(frame, 0, &MAGIC);
    patch(frame, 4, &VERSION.to_le_bytes());
    patch(frame, 8, &(length as u32).to_le_bytes());
    patch(frame, 12, &previous.to_le_bytes());
    patch(frame, 16, &sequence.to_le_bytes());
    let checksum = checksum(frame, file);
    patch(frame, CHECKSUM_AT, &checksum.to_le_bytes());
    checksum
}

fn checksum(frame: &[u8], file: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file.to_le_bytes());
    hasher.update(frame.get(..CHECKSUM_AT).unwrap_or_default());
    hasher.update(frame.get(HEADER..).unwrap_or_default());
    hasher.finalize()
}

/// Reads the frame at the start of `bytes`, which belong to manifest `file`. `None` when there is no whole frame.
#[must_use]
pub fn parse(bytes: &[u8], file: u64) -> Option<Frame<'_>> {
    read(bytes, file).ok().flatten()
}

fn read(bytes: &[u8], file: u64) -> Result<Option<Frame<'_>>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.take(4)? != MAGIC || reader.u16()? != VERSION {
        return Ok(None);
    }
    reader.u16()?;
    let length = reader.u32()? as usize;
    let previous = reader.u32()?;
    let sequence = reader.u64()?;
    reader.u32()?;
    let claimed = reader.u32()?;
    let edit = reader.take(length)?;
    let whole = Reader::new(bytes).take(frame_bytes(length))?;
    let frame = Frame { sequence, previous, checksum: claimed, edit, bytes: whole.len() };
    Ok((checksum(whole, file) == claimed).then_some(frame))
}

/// How a scan over a manifest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind its last frame.
    Clean,
    /// At this offset, where a frame must have been: a later one exists.
    Damaged(usize),
}

/// The frames of a manifest in order, and how they end.
#[must_use]
pub fn scan(bytes: &[u8], file: u64) -> (Vec<Frame<'_>>, End) {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let next = parse(bytes.get(at..).unwrap_or_default(), file);
        let continues = |frame: &Frame<'_>| match frames.last() {
            None => frame.previous == 0,
            Some(last) => frame.sequence == last.sequence + 1 && frame.previous == last.checksum,
        };
        match next {
            Some(frame) if continues(&frame) => {
                at += frame.bytes;
                frames.push(frame);
            }
            Some(_) => return (frames, End::Damaged(at)),
            None => break,
        }
    }
    let mut later = at + BLOCK;
    while later < bytes.len() {
        if parse(bytes.get(later..).unwrap_or_default(), file).is_some() {
            return (frames, End::Damaged(at));
        }
        later += BLOCK;
    }
    (frames, End::Clean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn frame(edit: &[u8], previous: u32, sequence: u64) -> (Vec<u8>, u32) {
        let mut frame = vec![0; frame_bytes(edit.len())];
        patch(&mut frame, HEADER, edit);
        let checksum = seal(&mut frame, edit.len(), previous, sequence, 3);
        (frame, checksum)
    }

    #[test]
    fn a_frame_has_fixed_bytes() {
        let (bytes, checksum) = frame(b"edit", 0x0102_0304, 5);
        assert_eq!(&bytes[..28], b"HWMF\x01\0\0\0\x04\0\0\0\x04\x03\x02\x01\x05\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&bytes[28..37], [&checksum.to_le_bytes()[..], b"edit\0"].concat());
        assert_eq!(checksum, 0x0453_39fb, "{checksum:#x}");
        let seen = parse(&bytes, 3).unwrap();
        assert_eq!((seen.sequence, seen.previous, seen.edit, seen.bytes), (5, 0x0102_0304, &b"edit"[..], 4096));
        assert!(parse(&bytes, 4).is_none(), "a frame of another file");
    }

    #[test]
    fn a_torn_last_frame_is_left_out_and_a_damaged_earlier_one_is_noticed() {
        let (first, sum) = frame(b"1", 0, 1);
        let (second, sum) = frame(b"2", sum, 2);
        let (third, _) = frame(b"3", sum, 3);
        let mut bytes = [first, second, third, vec![0; 8192]].concat();
        assert_eq!((scan(&bytes, 3).0.len(), scan(&bytes, 3).1), (3, End::Clean));
        bytes[2 * 4096 + 40] ^= 1;
        assert_eq!((scan(&bytes, 3).0.len(), scan(&bytes, 3).1), (2, End::Clean));
        bytes[2 * 4096 + 40] ^= 1;
        bytes[4096 + 40] ^= 1;
        assert_eq!((scan(&bytes, 3).0.len(), scan(&bytes, 3).1), (1, End::Damaged(4096)));
    }

    #[test]
    fn no_bytes_make_the_scan_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = scan(&bytes, 1);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
