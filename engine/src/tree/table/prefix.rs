//! Beginnings of keys: how much two keys share, and eight bytes of a key as a number that compares as the bytes do.
//!
//! Blocks and indexes strip what all their keys begin with and keep the next eight bytes of each key side by side, so that a
//! search touches a few neighbouring cache lines and looks at whole keys only to settle ties.

/// How many bytes `a` and `b` begin with in common.
pub(crate) fn shared(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let mut at = 0;
    for (a, b) in a_words.iter().zip(b_words) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = a.iter().skip(at).zip(b.iter().skip(at));
    at + rest.take_while(|(a, b)| a == b).count()
}

/// The first eight bytes, big-endian; a shorter key counts as if zeros followed. Where two numbers differ, the keys differ the same
/// way; where they are equal, the keys may still differ.
pub(crate) fn number(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    key.iter().enumerate().fold(0, |number, (at, byte)| number | u64::from(*byte) << (56 - 8 * at as u32))
}

/// Where a key lies among keys that all begin with `common`.
pub(crate) enum Among<'a> {
    /// Before all of them.
    Before,
    /// Behind all of them.
    Behind,
    /// It begins so too; this is the rest of it.
    Rest(&'a [u8]),
}

/// Strips `common` from the beginning of `key`.
pub(crate) fn strip<'a>(key: &'a [u8], common: &[u8]) -> Among<'a> {
    if let Some(rest) = key.strip_prefix(common) {
        return Among::Rest(rest);
    }
    // A key that is a proper beginning of `common` is below everything that begins with `common`, and compares so.
    if key < common { Among::Before } else { Among::Behind }
}

/// The number at `at` of an array of numbers.
fn stored(numbers: &[[u8; 8]], at: usize) -> u64 {
    numbers.get(at).map_or(u64::MAX, |number| u64::from_be_bytes(*number))
}

/// The positions whose number equals that of `rest`: everything before them is smaller, everything behind is larger.
pub(crate) fn ties(numbers: &[[u8; 8]], rest: &[u8]) -> std::ops::Range<usize> {
    let wanted = number(rest);
    // Branch-free halving: the compiler makes conditional moves of it.
    let (mut low, mut left) = (0, numbers.len());
    while left > 0 {
        let half = left / 2;
        let below = stored(numbers, low + half) < wanted;
        low = if below { low + half + 1 } else { low };
        left = if below { left - half - 1 } else { half };
    }
    let mut high = low;
    while high < numbers.len() && stored(numbers, high) == wanted {
        high += 1;
    }
    low..high
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn shared_beginnings_are_counted_byte_by_byte() {
        fn property(head: Vec<u8>, a: Vec<u8>, b: Vec<u8>) -> bool {
            let (a, b) = ([head.clone(), a].concat(), [head, b].concat());
            shared(&a, &b) == a.iter().zip(&b).take_while(|(a, b)| a == b).count()
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<u8>, Vec<u8>) -> bool);
    }

    #[test]
    fn numbers_never_contradict_the_order_of_keys() {
        fn property(a: Vec<u8>, b: Vec<u8>) -> bool {
            number(&a) == number(&b) || (number(&a) < number(&b)) == (a < b)
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, Vec<u8>) -> bool);
        assert_eq!(number(b"a"), number(b"a\0"));
    }

    #[test]
    fn ties_are_where_the_numbers_are_equal() {
        fn property(mut numbers: Vec<u8>, wanted: u8) -> bool {
            numbers.sort_unstable();
            let stored: Vec<[u8; 8]> = numbers.iter().map(|number| [*number, 0, 0, 0, 0, 0, 0, 0]).collect();
            let low = numbers.partition_point(|number| *number < wanted);
            let high = numbers.partition_point(|number| *number <= wanted);
            ties(&stored, &[wanted]) == (low..high)
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, u8) -> bool);
    }
}
