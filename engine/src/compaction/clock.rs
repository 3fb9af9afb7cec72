//! The log time of each group, as far as the store was told: what decides whether a value has expired.
//!
//! A key's group is its first four bytes, big-endian, by convention of the layer above; a shorter key is filled up with zeros.

use std::collections::BTreeMap;

use crate::ids::{Expiry, GroupId};

/// Log times of groups, in microseconds; they only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupClocks(BTreeMap<GroupId, u64>);

/// The group that a key belongs to.
pub(crate) fn group_of(key: &[u8]) -> GroupId {
    let mut bytes = [0; 4];
    for (to, from) in bytes.iter_mut().zip(key) {
        *to = *from;
    }
    GroupId(u32::from_be_bytes(bytes))
}

impl GroupClocks {
    /// Notes that a group's log time is at least this.
    pub(crate) fn advance(&mut self, group: GroupId, micros: u64) {
        let time = self.0.entry(group).or_default();
        *time = (*time).max(micros);
    }

    /// Notes that every group's log time is at least what the other says.
    pub(crate) fn catch_up(&mut self, other: &Self) {
        other.iter().for_each(|(group, micros)| self.advance(group, micros));
    }

    /// Every group whose time is known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.0.iter().map(|(group, micros)| (*group, *micros))
    }

    /// Whether a value of this group has expired. Nothing has in a group whose time is not known.
    pub(crate) fn has_expired(&self, group: GroupId, expires_at: Expiry) -> bool {
        expires_at != Expiry::NEVER && self.0.get(&group).is_some_and(|now| expires_at.0 <= *now)
    }

    /// Whether everything that expires by then has, for keys from `start` to `end` (exclusive). Only said of keys of one group.
    pub(crate) fn has_expired_within(&self, start: &[u8], end: &[u8], expires_at: Expiry) -> bool {
        let group = group_of(start);
        // Keys of the next group begin at its four bytes.
        let next = group.0.checked_add(1).map(u32::to_be_bytes);
        let one_group = next.is_none_or(|next| end <= next.as_slice());
        one_group && self.has_expired(group, expires_at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_value_has_expired_once_its_groups_time_is_at_it() {
        let mut clocks = GroupClocks::default();
        assert!(!clocks.has_expired(GroupId(1), Expiry(0)), "the time is not known");
        clocks.advance(GroupId(1), 10);
        clocks.advance(GroupId(1), 5);
        assert!(clocks.has_expired(GroupId(1), Expiry(10)) && !clocks.has_expired(GroupId(1), Expiry(11)));
        assert!(!clocks.has_expired(GroupId(2), Expiry(1)) && !clocks.has_expired(GroupId(1), Expiry::NEVER));
    }

    #[test]
    fn a_range_has_expired_only_within_one_group() {
        let mut clocks = GroupClocks::default();
        clocks.advance(GroupId(7), 10);
        assert!(clocks.has_expired_within(b"\0\0\0\x07a", b"\0\0\0\x07b", Expiry(10)));
        assert!(clocks.has_expired_within(b"\0\0\0\x07a", b"\0\0\0\x08", Expiry(10)));
        assert!(!clocks.has_expired_within(b"\0\0\0\x07a", b"\0\0\0\x08\0", Expiry(10)));
        assert_eq!((group_of(b"\0\0\0\x07a"), group_of(b"\x01")), (GroupId(7), GroupId(1 << 24)));
    }
}
