//! What an expression may know besides its row: the time, the user, the parameters, and a seed for volatile values.

use std::cell::Cell;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::regex::Patterns;
use crate::catalog::Role;
use crate::value::{Micros, Value};

/// 2024-01-01 00:00:00 UTC, in milliseconds since 1970: where SNOWFLAKE_ID's time starts.
const SNOWFLAKE_EPOCH_MILLIS: i64 = 1_704_067_200_000;
/// Low bits of a snowflake id.
const SNOWFLAKE_BITS: u32 = 22;
/// Crockford's base 32.
const ULID_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// One statement's evaluation: the same context and the same rows in the same order give the same values everywhere.
#[derive(Debug)]
pub struct EvalContext<'a> {
    /// NOW(): the entry's stamp in a write, the statement's start in a read.
    pub now: Micros,
    /// CURRENT_USER: the effective user.
    pub user: &'a str,
    /// CURRENT_ROLE.
    pub role: Role,
    /// `$1`, `$2` ...
    pub params: &'a [Value],
    /// What volatile values are derived from; the edge draws it once per command.
    pub seed: u128,
    /// How many volatile values have been given.
    ordinal: Cell<u64>,
    /// Regular expressions that were used, unless they are kept elsewhere.
    own: Patterns,
    kept: Option<&'a Patterns>,
}

impl<'a> EvalContext<'a> {
    /// A context at ordinal 0.
    #[must_use]
    pub fn new(now: Micros, user: &'a str, role: Role, params: &'a [Value], seed: u128) -> Self {
        Self { now, user, role, params, seed, ordinal: Cell::new(0), own: Patterns::default(), kept: None }
    }

    /// How many volatile values have been given so far.
    #[must_use]
    pub fn ordinal(&self) -> u64 {
        self.ordinal.get()
    }

    /// Regular expressions that were used already.
    pub(super) fn patterns(&self) -> &Patterns {
        self.kept.unwrap_or(&self.own)
    }

    /// The same context with regular expressions that outlive it.
    #[must_use]
    pub fn keeping(mut self, patterns: &'a Patterns) -> Self {
        self.kept = Some(patterns);
        self
    }

    /// The same context, going on after this many volatile values.
    #[must_use]
    pub fn resumed_at(self, ordinal: u64) -> Self {
        self.ordinal.set(ordinal);
        self
    }

    fn next_ordinal(&self) -> u64 {
        let ordinal = self.ordinal.get();
        self.ordinal.set(ordinal.wrapping_add(1));
        ordinal
    }

    /// 128 bits that depend on the seed and this number only: XXH3-128 of seed (16 bytes) and number (8), little endian.
    fn pseudorandom(&self, number: u64) -> u128 {
        let mut input = [0_u8; 24];
        let bytes = self.seed.to_le_bytes().into_iter().chain(number.to_le_bytes());
        input.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
        xxh3_128_with_seed(&input, 0)
    }

    fn now_millis(&self) -> i64 {
        self.now.div_euclid(1_000)
    }

    /// SNOWFLAKE_ID(): milliseconds since 2024 shifted left by 22, or-ed with 22 bits that start at a pseudorandom place per
    /// statement and rise by one per volatile value, so that one statement never gives an id twice (up to 2^22 of them).
    pub(crate) fn snowflake_id(&self) -> i64 {
        let mask = (1_u128 << SNOWFLAKE_BITS) - 1;
        let start = self.pseudorandom(u64::MAX);
        let low = start.wrapping_add(u128::from(self.next_ordinal())) & mask;
        let millis = (self.now_millis() - SNOWFLAKE_EPOCH_MILLIS).clamp(0, (1 << (63 - SNOWFLAKE_BITS)) - 1);
        millis << SNOWFLAKE_BITS | i64::try_from(low).unwrap_or(0)
    }

    /// GEN_RANDOM_UUID(): RFC 9562, version 4.
    pub(crate) fn uuid_v4(&self) -> u128 {
        let random = self.pseudorandom(self.next_ordinal());
        random & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62
    }

    /// RANDOM(): at least 0 and below 1.
    pub(crate) fn random(&self) -> f64 {
        let bits = u64::try_from(self.pseudorandom(self.next_ordinal()) >> 75).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let number = bits as f64 / 9_007_199_254_740_992.0;
        number
    }

    /// UUID_V7(): RFC 9562.
    pub(crate) fn uuid_v7(&self) -> u128 {
        let random = self.pseudorandom(self.next_ordinal());
        self.id_millis() << 80 | 0x7 << 76 | ((random >> 64) & 0xfff) << 64 | 0b10 << 62 | (random & ((1 << 62) - 1))
    }

    /// ULID(): 48 bits of milliseconds, 80 pseudorandom bits, 26 characters.
    pub(crate) fn ulid(&self) -> String {
        let random = self.pseudorandom(self.next_ordinal());
        let bits = self.id_millis() << 80 | (random & ((1 << 80) - 1));
        (0..26)
            .rev()
            .map(|place| {
                let digit = usize::try_from(bits >> (place * 5) & 31).unwrap_or(0);
                char::from(ULID_ALPHABET.get(digit).copied().unwrap_or(b'0'))
            })
            .collect()
    }

    /// Milliseconds since 1970 as the 48 bits of time of UUIDs and ULIDs.
    fn id_millis(&self) -> u128 {
        u128::try_from(self.now_millis()).unwrap_or(0) & ((1 << 48) - 1)
    }
}
