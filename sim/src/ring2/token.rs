//! Read tokens, opened: clients keep them unread, but their marks must never go back.

use std::collections::BTreeMap;

/// Per group the index that a session has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<u32, u64>);

/// Version, cluster and count come before the marks.
const HEAD: usize = 1 + 16 + 2;
const MARK: usize = 4 + 8;

impl Marks {
    /// The marks of a token; `None` if it is none.
    pub fn decode(text: &str) -> Option<Self> {
        let standard: String = text
            .chars()
            .map(|digit| {
                if digit == '-' {
                    '+'
                } else if digit == '_' {
                    '/'
                } else {
                    digit
                }
            })
            .collect();
        let bytes = super::consumer::decode(&standard);
        let marks = bytes.get(HEAD..).filter(|marks| marks.len() % MARK == 0 && bytes.first() == Some(&1))?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        let pair = |mark: &[u8]| {
            let (group, index) = mark.split_at_checked(4)?;
            Some((u32::try_from(number(group)).ok()?, number(index)))
        };
        Some(Self(marks.chunks_exact(MARK).filter_map(pair).collect()))
    }

    /// The first group in which these marks are behind earlier ones: group, then, now.
    pub fn behind(&self, before: &Self) -> Option<(u32, u64, u64)> {
        before.0.iter().find_map(|(group, was)| {
            let is = self.0.get(group).copied().unwrap_or(0);
            (is < *was).then_some((*group, *was, is))
        })
    }
}
