//! Ranges of keys.

/// Half-open range of engine keys, within one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySpan {
    /// First key.
    pub start: Vec<u8>,
    /// After the last key.
    pub end: Vec<u8>,
}

impl KeySpan {
    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && key < self.end.as_slice()
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// All keys that begin with `prefix`.
    pub(super) fn of_prefix(prefix: Vec<u8>) -> Self {
        let end = successor(&prefix);
        Self { start: prefix, end }
    }
}

/// The smallest byte string above all that begin with `prefix`. No group is `u32::MAX` with only 0xFF after it, so one exists;
/// a prefix of 0xFF alone would give an empty range.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    end
}
