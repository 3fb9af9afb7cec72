//! Read tokens: how far the groups that answered have come, opaque to clients.
//!
//! Layout: base64url (no padding) of `u8 version (1) | u128 cluster incarnation LE | u16 count LE | count x (u32 group LE, u64 index LE)`,
//! groups rising. Merged by maximum.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use super::transactions::Consistency;

const VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + 2;
const MARK: usize = 4 + 8;

/// How far a group was that a read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Its applied index.
    pub(crate) index: u64,
    /// Its log time: every change with an earlier stamp is in it.
    pub(crate) log_time: Micros,
}

/// Marks of the groups that a session has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadToken {
    marks: BTreeMap<u32, u64>,
    /// The earliest log time of what was read stale; no part of the text.
    as_of: Option<Micros>,
}

impl ReadToken {
    /// The session has seen `index` of `group`.
    pub(crate) fn saw(&mut self, group: u32, index: u64) {
        let mark = self.marks.entry(group).or_default();
        *mark = (*mark).max(index);
    }

    /// A read showed this of `group`.
    pub(crate) fn showed(&mut self, group: u32, shown: Shown, consistency: Consistency) {
        self.saw(group, shown.index);
        if consistency == Consistency::Stale {
            self.as_of = Some(self.as_of.map_or(shown.log_time, |earlier| earlier.min(shown.log_time)));
        }
    }

    /// The time up to which everything is in what was read stale, in microseconds since 1970; none when nothing was.
    pub(crate) fn as_of(&self) -> Option<Micros> {
        self.as_of
    }

    /// What the session has seen of `group`.
    pub(crate) fn mark(&self, group: u32) -> u64 {
        self.marks.get(&group).copied().unwrap_or(0)
    }

    /// The text that clients keep.
    pub(crate) fn encode(&self, incarnation: u128) -> String {
        let mut bytes = Vec::with_capacity(HEAD + MARK * self.marks.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(self.marks.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (group, index) in &self.marks {
            bytes.extend_from_slice(&group.to_le_bytes());
            bytes.extend_from_slice(&index.to_le_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The token behind a text.
    ///
    /// # Errors
    /// 22023 when the text is no token of this cluster.
    pub(crate) fn decode(text: &str, incarnation: u128) -> Result<Self, Diag> {
        let invalid = |why: &str| {
            Diag::new(SqlState::INVALID_PARAMETER, format!("the read token is not valid: {why}"))
                .hint("Send the token of an earlier answer of this cluster unchanged, or none.")
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid("it is not base64url"))?;
        let (head, marks) = bytes.split_at_checked(HEAD).ok_or_else(|| invalid("it is too short"))?;
        let (version, rest) = head.split_first().ok_or_else(|| invalid("it is too short"))?;
        if *version != VERSION {
            return Err(invalid("its version is unknown"));
        }
        let (cluster, count) = rest.split_at_checked(16).ok_or_else(|| invalid("it is too short"))?;
        if cluster != incarnation.to_le_bytes() {
            return Err(invalid("it belongs to another cluster"));
        }
        let count = usize::from(u16::from_le_bytes(count.try_into().unwrap_or_default()));
        if marks.len() != count * MARK {
            return Err(invalid("its length does not fit its count"));
        }
        let mut token = Self::default();
        for mark in marks.chunks_exact(MARK) {
            if let Some((group, index)) = mark.split_at_checked(4) {
                token.saw(
                    u32::from_le_bytes(group.try_into().unwrap_or_default()),
                    u64::from_le_bytes(index.try_into().unwrap_or_default()),
                );
            }
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let mut token = ReadToken::default();
        token.saw(3, 9);
        token.saw(3, 7);
        token.saw(30, u64::MAX);
        let decoded = ReadToken::decode(&token.encode(5), 5).unwrap();
        assert_eq!(decoded, token);
        assert_eq!(decoded.mark(3), 9);
        assert_eq!(decoded.mark(4), 0);
    }

    #[test]
    fn what_is_read_stale_is_as_old_as_the_oldest_group() {
        let mut token = ReadToken::default();
        let shown = |log_time| Shown { index: 1, log_time };
        token.showed(3, shown(50), Consistency::Session);
        assert_eq!(token.as_of(), None);
        for log_time in [200, 100, 300] {
            token.showed(4, shown(log_time), Consistency::Stale);
        }
        assert_eq!(token.as_of(), Some(100));
    }

    #[test]
    fn a_foreign_or_damaged_token_is_refused() {
        let text = ReadToken::default().encode(5);
        assert!(ReadToken::decode(&text, 6).is_err());
        for length in 0..text.len() {
            assert!(ReadToken::decode(text.get(..length).unwrap(), 5).is_err(), "{length}");
        }
        assert!(ReadToken::decode("!", 5).is_err());
    }
}
