//! A memtable's filter: says "certainly not here" for most keys that the memtable does not hold.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): a key's six bits lie in one cache line, so a question costs one miss where
//! the ordered map would cost several. It grows with nothing: its size is that of the keys a full memtable is expected to hold, and
//! a memtable of smaller entries only asks its map more often.

use super::table::filter;

/// Bytes of a key, its value and their entry, expected.
const ENTRY: usize = 128;
/// Bits per expected key.
const BITS: usize = 10;
const PROBES: u32 = 6;

/// Bits of the keys added.
#[derive(Debug, Default)]
pub(crate) struct KeyFilter {
    lines: Vec<[u64; 8]>,
}

impl KeyFilter {
    /// A filter for a memtable that is flushed at so many bytes.
    pub(crate) fn sized(memtable_bytes: usize) -> Self {
        Self { lines: vec![[0; 8]; (memtable_bytes / ENTRY * BITS).div_ceil(512).max(1)] }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    fn line(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }

    /// The bits of a hash in its line: words and masks.
    fn bits(hash: u64) -> impl Iterator<Item = (usize, u64)> {
        // The line is chosen by the high bits, mostly; these come from the low ones, nine for each probe.
        let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..PROBES).map(move |probe| {
            let bit = mixed >> (probe * 9) & 511;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    /// Adds a key.
    pub(crate) fn add(&mut self, key: &[u8]) {
        let hash = filter::hash(key);
        let line = self.line(hash);
        let Some(line) = self.lines.get_mut(line) else { return };
        for (word, mask) in Self::bits(hash) {
            if let Some(word) = line.get_mut(word) {
                *word |= mask;
            }
        }
    }

    /// Whether a key of this hash may have been added.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        // Without lines nothing is known.
        self.lines
            .get(self.line(hash))
            .is_none_or(|line| Self::bits(hash).all(|(word, mask)| line.get(word).is_some_and(|word| word & mask != 0)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn every_key_passes_and_few_others_do() {
        let mut keys = KeyFilter::sized(10_000 * ENTRY);
        (0..10_000u32).for_each(|number| keys.add(&number.to_be_bytes()));
        let may = |number: u32| keys.may_contain(filter::hash(&number.to_be_bytes()));
        assert!((0..10_000).all(may));
        let wrong = (10_000..110_000).filter(|number| may(*number)).count();
        assert!(wrong < 3000, "{wrong} of 100000");
        assert!(KeyFilter::default().may_contain(7));
    }
}
