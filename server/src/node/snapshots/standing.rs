//! How far a receiver is with a snapshot: the answer to every chunk.
//!
//! ```text
//! 0 version u8 = 1 | 1 kind u8 | 2 reserved u16, 0 | 4 part u32 | 8 offset in the part u64
//! kind 1 wants this part from this offset (part 0: the descriptor, all of it)
//!      2 busy: ask again later | 3 has everything and checks it | 4 has handed it to the group's replica     (part and offset 0)
//! ```
//!
//! Little-endian. The sender sends what is wanted and nothing else, so chunks that were lost, doubled or late do no harm, and a
//! transfer goes on where it stood when a connection comes back.

/// Version of the encoding.
const VERSION: u8 = 1;

/// How far a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This comes next.
    Wants {
        /// The part; 0 is the descriptor.
        part: u32,
        /// Bytes of it that are there.
        offset: u64,
    },
    /// It cannot say now, or takes others first.
    Busy,
    /// Everything is there and is being read back.
    Checking,
    /// The group's replica decides now.
    HandedOver,
}

impl Standing {
    /// Its bytes.
    pub(crate) fn encode(self) -> Vec<u8> {
        let (kind, part, offset) = match self {
            Self::Wants { part, offset } => (1, part, offset),
            Self::Busy => (2, 0, 0),
            Self::Checking => (3, 0, 0),
            Self::HandedOver => (4, 0, 0),
        };
        let mut out = vec![VERSION, kind, 0, 0];
        out.extend_from_slice(&u32::to_le_bytes(part));
        out.extend_from_slice(&u64::to_le_bytes(offset));
        out
    }

    /// Reads its bytes; `None` for all others.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_first_chunk::<4>()?;
        let offset = rest.first_chunk::<8>().filter(|_| rest.len() == 8)?;
        match (*head, u32::from_le_bytes(*part), u64::from_le_bytes(*offset)) {
            ([VERSION, 1, 0, 0], part, offset) => Some(Self::Wants { part, offset }),
            ([VERSION, 2, 0, 0], 0, 0) => Some(Self::Busy),
            ([VERSION, 3, 0, 0], 0, 0) => Some(Self::Checking),
            ([VERSION, 4, 0, 0], 0, 0) => Some(Self::HandedOver),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn standings_have_fixed_bytes_and_come_back() {
        let wants = Standing::Wants { part: 2, offset: 0x0102 };
        assert_eq!(wants.encode(), b"\x01\x01\0\0\x02\0\0\0\x02\x01\0\0\0\0\0\0");
        assert_eq!(Standing::HandedOver.encode(), b"\x01\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        for standing in [wants, Standing::Busy, Standing::Checking, Standing::HandedOver] {
            assert_eq!(Standing::decode(&standing.encode()), Some(standing));
        }
    }

    #[test]
    fn other_bytes_are_no_standing() {
        fn property(bytes: Vec<u8>) -> bool {
            Standing::decode(&bytes).is_none_or(|standing| standing.encode() == bytes)
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
        assert_eq!(Standing::decode(b"\x01\x02\0\0\x02\0\0\0\0\0\0\0\0\0\0\0"), None, "busy with a part");
    }
}
