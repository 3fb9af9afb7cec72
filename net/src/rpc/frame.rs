//! The frame: what every byte between nodes travels in.
//!
//! ```text
//! 0..4    length of the payload, u32
//! 4       version of the protocol: 0 during the handshake, then the version agreed on
//! 5       kind
//! 6..8    flags, u16; none is known yet, others than 0 are refused
//! 8..12   sequence: frames sent before this one on this connection, u32, wrapping
//! 12..16  CRC-32 (IEEE) of the payload
//! 16..20  CRC-32 of bytes 0..16
//! 20..    the payload
//! ```
//!
//! Integers are little-endian here and in every payload. The header has a checksum of its own, so that a length is believed
//! only when it is what the sender wrote. Any violation ends the connection: there is no way back into step.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// [`super::hello::Hello`].
    Hello = 1,
    /// [`super::hello::Challenge`].
    Challenge = 2,
    /// [`super::hello::Proof`] of the side that connected.
    Proof = 3,
    /// [`super::hello::Proof`] of the side that was connected to; the handshake is over.
    Accepted = 4,
    /// [`super::hello::Refused`]; the connection ends.
    Refused = 5,
    /// [`super::ping::Ping`].
    Ping = 16,
    /// [`super::ping::Pong`].
    Pong = 17,
    /// [`super::message::GroupMessage`]s.
    Messages = 18,
    /// [`super::chunk::SnapshotChunk`].
    Chunk = 19,
    /// [`super::call::Request`].
    Request = 20,
    /// [`super::call::Response`].
    Response = 21,
}

impl FrameKind {
    /// The kind of a byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Challenge,
            3 => Self::Proof,
            4 => Self::Accepted,
            5 => Self::Refused,
            16 => Self::Ping,
            17 => Self::Pong,
            18 => Self::Messages,
            19 => Self::Chunk,
            20 => Self::Request,
            21 => Self::Response,
            _ => return None,
        })
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header was damaged, or these are not frames at all.
    #[error("the frame's header does not match its checksum; the peer may not be a Highwater node")]
    HeaderChecksum,
    /// The payload was damaged.
    #[error("the payload of a frame of {length} bytes does not match its checksum")]
    PayloadChecksum {
        /// Its length.
        length: u32,
    },
    /// A kind that this version does not know.
    #[error("frames of kind {0} are not known in this version")]
    UnknownKind(u8),
    /// A flag that this version does not know.
    #[error("the frame's flags {0:#06x} are not known in this version")]
    UnknownFlags(u16),
    /// Another version than was agreed on.
    #[error("the frame is of version {found}, agreed on was {agreed}")]
    Version {
        /// What came.
        found: u8,
        /// What was to come.
        agreed: u8,
    },
    /// Longer than this side accepts.
    #[error("the frame announces {length} bytes, more than the limit of {limit}")]
    TooLong {
        /// What it announces.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// A frame was lost, repeated or moved.
    #[error("the frame has the number {found}, expected was {expected}")]
    Sequence {
        /// What came.
        found: u32,
        /// What was to come.
        expected: u32,
    },
}

/// A header whose own checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload.
    pub length: u32,
    /// Version of the protocol.
    pub version: u8,
    /// What the payload is.
    pub kind: FrameKind,
    /// Number of the frame.
    pub sequence: u32,
    /// CRC-32 of the payload.
    pub checksum: u32,
}

/// What a receiver expects of the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Version agreed on.
    pub version: u8,
    /// Number of the next frame.
    pub sequence: u32,
    /// Largest payload.
    pub limit: u32,
}

impl Header {
    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut rest = out.as_mut_slice();
        rest.put_u32_le(self.length);
        rest.put_u8(self.version);
        rest.put_u8(self.kind as u8);
        rest.put_u16_le(0);
        rest.put_u32_le(self.sequence);
        rest.put_u32_le(self.checksum);
        let sum = crc32fast::hash(out.first_chunk::<16>().map_or(&[][..], |head| head));
        if let Some(tail) = out.last_chunk_mut::<4>() {
            *tail = sum.to_le_bytes();
        }
        out
    }

    /// Reads a header and compares it with what is expected. The payload need not have come yet.
    ///
    /// # Errors
    /// [`FrameError`]; the checksum is looked at first.
    pub fn decode(bytes: &[u8; HEADER_BYTES], expected: Expected) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, version, kind, f0, f1, s0, s1, s2, s3, c0, c1, c2, c3, h0, h1, h2, h3] = *bytes;
        let head = bytes.first_chunk::<16>().map_or(&[][..], |head| head);
        if crc32fast::hash(head) != u32::from_le_bytes([h0, h1, h2, h3]) {
            return Err(FrameError::HeaderChecksum);
        }
        let flags = u16::from_le_bytes([f0, f1]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let sequence = u32::from_le_bytes([s0, s1, s2, s3]);
        if version != expected.version {
            return Err(FrameError::Version { found: version, agreed: expected.version });
        }
        if flags != 0 {
            return Err(FrameError::UnknownFlags(flags));
        }
        if length > expected.limit {
            return Err(FrameError::TooLong { length, limit: expected.limit });
        }
        if sequence != expected.sequence {
            return Err(FrameError::Sequence { found: sequence, expected: expected.sequence });
        }
        let kind = FrameKind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        Ok(Self { length, version, kind, sequence, checksum: u32::from_le_bytes([c0, c1, c2, c3]) })
    }

    /// Whether this is the header's payload.
    ///
    /// # Errors
    /// [`FrameError::PayloadChecksum`].
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        let whole = u32::try_from(payload.len()) == Ok(self.length);
        if whole && crc32fast::hash(payload) == self.checksum {
            Ok(())
        } else {
            Err(FrameError::PayloadChecksum { length: self.length })
        }
    }
}

/// Appends a frame whose payload `fill` writes. Payloads stay far below 4 GiB: senders bound them by what the peer accepts.
pub fn append(out: &mut BytesMut, version: u8, sequence: u32, kind: FrameKind, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    fill(out);
    let payload = out.get(start.saturating_add(HEADER_BYTES)..).unwrap_or_default();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = Header { length, version, kind, sequence, checksum: crc32fast::hash(payload) }.encode();
    if let Some(place) = out.get_mut(start..start.saturating_add(HEADER_BYTES)) {
        place.copy_from_slice(&header);
    }
}

/// Takes the next frame off the front of `buffer`, if all of it has come. A header that is not as expected is told at once,
/// before its payload has come.
///
/// # Errors
/// [`FrameError`].
pub fn take(buffer: &mut BytesMut, expected: Expected) -> Result<Option<(Header, Bytes)>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let header = Header::decode(header, expected)?;
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let Some(whole) = length.checked_add(HEADER_BYTES).filter(|whole| buffer.len() >= *whole) else { return Ok(None) };
    let mut frame = buffer.split_to(whole);
    let payload = frame.split_off(HEADER_BYTES).freeze();
    header.check(&payload)?;
    Ok(Some((header, payload)))
}

/// Bytes that are missing to the frame at the front of `buffer`, as far as is known.
#[must_use]
pub fn missing(buffer: &BytesMut, expected: Expected) -> usize {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return HEADER_BYTES.saturating_sub(buffer.len());
    };
    let length = Header::decode(header, expected).map_or(0, |header| header.length);
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(HEADER_BYTES).saturating_sub(buffer.len())
}
