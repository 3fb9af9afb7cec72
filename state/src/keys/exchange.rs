//! Keys of what groups tell one another: records, and how far each has come.

use super::builder::PREFIX;
use super::{KeySpan, Keys, Space};

impl Keys {
    /// An outbox record: the `ordinal`-th that entry `index` derived for the destination.
    #[must_use]
    pub fn outbox(self, destination: u32, index: u64, ordinal: u32) -> Vec<u8> {
        self.key(Space::Outbox).u32(destination).u64(index).u32(ordinal).0
    }

    /// Records for a destination after entry `after`.
    #[must_use]
    pub fn outbox_after(self, destination: u32, after: u64) -> KeySpan {
        let end = self.key(Space::Outbox).u32(destination).span().end;
        let start = match after.checked_add(1) {
            Some(next) => self.outbox(destination, next, 0),
            None => end.clone(),
        };
        KeySpan { start, end }
    }

    /// Records for a destination at or below entry `upto`.
    #[must_use]
    pub fn outbox_upto(self, destination: u32, upto: u64) -> KeySpan {
        let span = self.key(Space::Outbox).u32(destination).span();
        let end = upto.checked_add(1).map_or(span.end, |next| self.outbox(destination, next, 0));
        KeySpan { start: span.start, end }
    }

    /// Destination, index and ordinal of a record, from a [`Keys::outbox`] key.
    #[must_use]
    pub fn outbox_parts(key: &[u8]) -> Option<(u32, u64, u32)> {
        let destination: [u8; 4] = key.get(PREFIX..PREFIX + 4)?.try_into().ok()?;
        let index: [u8; 8] = key.get(PREFIX + 4..PREFIX + 12)?.try_into().ok()?;
        let ordinal: [u8; 4] = key.get(PREFIX + 12..)?.try_into().ok()?;
        Some((u32::from_be_bytes(destination), u64::from_be_bytes(index), u32::from_be_bytes(ordinal)))
    }

    /// Where the inbox stands for a source.
    #[must_use]
    pub fn inbox(self, source: u32) -> Vec<u8> {
        self.key(Space::Inbox).u32(source).0
    }

    /// What a destination was sent.
    #[must_use]
    pub fn outbox_position(self, destination: u32) -> Vec<u8> {
        self.key(Space::OutboxPosition).u32(destination).0
    }

    /// The number in an [`Keys::inbox`] or [`Keys::outbox_position`] key.
    #[must_use]
    pub fn peer_of(key: &[u8]) -> Option<u32> {
        let bytes: [u8; 4] = key.get(PREFIX..)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }
}
