//! Keys of the answers to requests, and of their ends.

use highwater_sql::value::Micros;

use super::builder::{PREFIX, SIGN};
use super::{KeySpan, Keys, Space};
use crate::command::RequestId;

impl Keys {
    /// The answer to a request.
    #[must_use]
    pub fn session(self, principal: &str, request: RequestId) -> Vec<u8> {
        self.key(Space::Session).text(principal).u128(request.id).u16(request.ordinal).0
    }

    /// Where it is written when that answer ends.
    #[must_use]
    pub fn session_end(self, until: Micros, session: &[u8]) -> Vec<u8> {
        self.key(Space::SessionEnd).i64(until).raw(session.get(PREFIX..).unwrap_or_default()).0
    }

    /// The session that a [`Keys::session_end`] is about.
    #[must_use]
    pub fn session_of_end(self, key: &[u8]) -> Option<Vec<u8>> {
        let subject = key.strip_prefix(self.key(Space::SessionEnd).0.as_slice())?;
        Some(self.key(Space::Session).raw(subject.get(8..)?).0)
    }

    /// Ends of answers before `until`.
    #[must_use]
    pub fn session_ends_before(self, until: Micros) -> KeySpan {
        KeySpan { start: self.key(Space::SessionEnd).0, end: self.key(Space::SessionEnd).i64(until).0 }
    }

    /// When an end was: of a key of [`Space::RowEnd`] or [`Space::SessionEnd`].
    #[must_use]
    pub fn end_time(key: &[u8]) -> Option<Micros> {
        let bytes: [u8; 8] = key.get(PREFIX..PREFIX + 8)?.try_into().ok()?;
        Some((u64::from_be_bytes(bytes) ^ SIGN).cast_signed())
    }
}
