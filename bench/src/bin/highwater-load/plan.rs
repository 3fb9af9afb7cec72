//! What is done: every operation of a run is a function of the seed and its number, so that a run can be made again whatever
//! the threads did. Numbers count from 0; who takes which number is left to the run.

/// Streams of draws that do not touch each other.
mod stream {
    pub(super) const INSERT_USER: u64 = 1;
    pub(super) const INSERT_KEY: u64 = 2;
    pub(super) const ITEM_KEY: u64 = 3;
    pub(super) const SELECT: u64 = 4;
    pub(super) const BODY: u64 = 5;
}

/// A well mixed number of three (the finaliser of splitmix64, applied to each in turn).
pub(crate) fn mix(seed: u64, stream: u64, number: u64) -> u64 {
    [seed, stream, number].into_iter().fold(0x9E37_79B9_7F4A_7C15, |state: u64, word| {
        let mut x = (state ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    })
}

/// A row's place: whose it is, and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the user, from 0.
    pub(crate) user: u32,
    /// 0 to 2^62 - 1, scattered; no two inserts of a seed have the same.
    pub(crate) id: i64,
}

/// The operations of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// At least 1.
    pub(crate) users: u32,
    /// Rows that selects read; at least 1.
    pub(crate) rows: u64,
    pub(crate) payload_bytes: u32,
}

impl Plan {
    /// Where insert number `number` goes.
    pub(crate) fn insert(&self, number: u64) -> Place {
        let user = mix(self.seed, stream::INSERT_USER, number) % u64::from(self.users);
        Place { user: user as u32, id: permute(self.seed, stream::INSERT_KEY, number) }
    }

    /// Row number `index` of those that are there before selects begin.
    pub(crate) fn item(&self, index: u64) -> Place {
        Place { user: (index % u64::from(self.users)) as u32, id: permute(self.seed, stream::ITEM_KEY, index) }
    }

    /// The row that select number `number` reads.
    pub(crate) fn select(&self, number: u64) -> Place {
        self.item(mix(self.seed, stream::SELECT, number) % self.rows)
    }

    /// The text of the row with this key: letters and digits, `payload_bytes` of them.
    pub(crate) fn body(&self, id: i64) -> String {
        let length = self.payload_bytes as usize;
        let mut body = String::with_capacity(length + 12);
        let mut draw = 0;
        while body.len() < length {
            let mut bits = mix(self.seed, stream::BODY ^ (draw << 8), id as u64);
            draw += 1;
            for _ in 0..12 {
                let digit = (bits % 36) as u8;
                body.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
                bits /= 36;
            }
        }
        body.truncate(length);
        body
    }
}

/// A permutation of the numbers below 2^62 (a Feistel network over two halves): scattered, and never twice the same.
fn permute(seed: u64, stream: u64, number: u64) -> i64 {
    const HALF: u64 = (1 << 31) - 1;
    let (mut left, mut right) = ((number >> 31) & HALF, number & HALF);
    for round in 0..4 {
        let next = left ^ (mix(seed, stream | ((round + 1) << 8), right) & HALF);
        (left, right) = (right, next);
    }
    ((left << 31) | right) as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use std::collections::BTreeSet;

    use quickcheck::quickcheck;

    fn plan(seed: u64, users: u32) -> Plan {
        Plan { seed, users: users.max(1), rows: 100, payload_bytes: 100 }
    }

    quickcheck! {
        fn the_same_seed_makes_the_same_operations(seed: u64, users: u32, number: u64) -> bool {
            let (one, two) = (plan(seed, users), plan(seed, users));
            one.insert(number) == two.insert(number) && one.select(number) == two.select(number)
        }

        fn no_two_inserts_have_the_same_key(seed: u64, start: u32) -> bool {
            let start = u64::from(start);
            let ids: BTreeSet<i64> = (start..start + 300).map(|number| plan(seed, 7).insert(number).id).collect();
            ids.len() == 300 && ids.iter().all(|id| *id >= 0)
        }

        fn a_select_reads_a_row_that_is_there(seed: u64, users: u32, number: u64) -> bool {
            let plan = plan(seed, users % 50);
            let place = plan.select(number);
            place.user < plan.users && (0..plan.rows).any(|index| plan.item(index) == place)
        }

        fn a_body_is_as_long_as_asked_and_safe_to_quote(seed: u64, id: i64, bytes: u16) -> bool {
            let body = Plan { payload_bytes: u32::from(bytes), ..plan(seed, 1) }.body(id);
            body.len() == usize::from(bytes) && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }
    }

    #[test]
    fn users_and_rows_are_drawn_evenly() {
        let plan = plan(3, 10);
        let mut counts = [0_u32; 10];
        for number in 0..10_000 {
            counts[plan.insert(number).user as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let read: BTreeSet<i64> = (0..10_000).map(|number| plan.select(number).id).collect();
        assert!(read.len() == 100, "{}", read.len());
    }

    #[test]
    fn another_seed_makes_other_operations() {
        assert!((0..100).all(|number| plan(1, 10).insert(number).id != plan(2, 10).insert(number).id));
    }
}
