//! Tokens whose signatures this core has checked already: the same bytes need not be checked again, as the cluster's key never changes.
//!
//! Only the signature is remembered, never that a token is good: its time, its type and its user's rights are looked at every time. A
//! token is found by a hash under a seed that nobody outside knows, then compared in constant time. Bounded; the oldest gives way.

use std::collections::{BTreeMap, VecDeque};

use highwater_runtime::WallMicros;
use subtle::ConstantTimeEq as _;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::token::{Claims, TokenError, TokenType, check, signed};

/// Tokens that one core remembers.
const KEPT: usize = 8192;
/// Bytes of the longest token that is remembered.
const TOKEN_BYTES: usize = 2048;

/// The tokens that one core remembers.
#[derive(Debug)]
pub struct KnownTokens {
    seed: u64,
    kept: BTreeMap<u128, (String, Claims)>,
    /// Hashes, the oldest first.
    order: VecDeque<u128>,
}

impl KnownTokens {
    /// None yet. `seed` is random, and of this core alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, kept: BTreeMap::new(), order: VecDeque::new() }
    }

    /// As [`super::verify`].
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn verify(
        &mut self,
        token: &str,
        key: &[u8; 32],
        now: WallMicros,
        wanted: TokenType,
    ) -> Result<Claims, TokenError> {
        let hash = xxh3_128_with_seed(token.as_bytes(), self.seed);
        if let Some((known, claims)) = self.kept.get(&hash)
            && is_same(known.as_bytes(), token.as_bytes())
        {
            check(claims, now, wanted)?;
            return Ok(claims.clone());
        }
        let claims = signed(token, key)?;
        check(&claims, now, wanted)?;
        if token.len() <= TOKEN_BYTES && self.kept.insert(hash, (token.to_owned(), claims.clone())).is_none() {
            self.order.push_back(hash);
            if self.order.len() > KEPT
                && let Some(oldest) = self.order.pop_front()
            {
                self.kept.remove(&oldest);
            }
        }
        Ok(claims)
    }
}

/// Whether both are the same, in a time that depends on their lengths alone: word by word, as a token has hundreds of bytes.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let differs = words
        .iter()
        .zip(other_words)
        .fold(0, |differs, (word, other)| differs | (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*other)));
    one.len() == other.len() && bool::from(differs.ct_eq(&0) & rest.ct_eq(other_rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::sign;
    use super::super::token::tests::KEY;
    use super::*;

    fn claims(number: usize) -> Claims {
        Claims { jti: number.to_string(), ..super::super::token::tests::claims(TokenType::Access) }
    }

    #[test]
    fn tokens_that_differ_anywhere_are_not_the_same() {
        for len in [0, 1, 7, 8, 9, 24, 301] {
            let token = vec![b'x'; len];
            assert!(is_same(&token, &token.clone()));
            assert!(!is_same(&token, &vec![b'x'; len + 1]));
            for at in 0..len {
                let mut other = token.clone();
                other[at] ^= 1;
                assert!(!is_same(&token, &other), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn what_is_known_still_ends_and_still_is_of_its_type() {
        let mut known = KnownTokens::new(5);
        let token = sign(&claims(1), &KEY).unwrap();
        let now = WallMicros(1_800_000_000_000_000);
        for _ in 0..2 {
            assert_eq!(known.verify(&token, &KEY, now, TokenType::Access), Ok(claims(1)));
            assert_eq!(known.verify(&token, &KEY, now, TokenType::Refresh), Err(TokenError::WrongType));
        }
        assert_eq!(known.kept.len(), 1);
        let later = WallMicros(1_800_086_460_000_000);
        assert_eq!(known.verify(&token, &KEY, later, TokenType::Access), Err(TokenError::Expired));
    }

    #[test]
    fn only_the_same_bytes_are_known_and_the_oldest_gives_way() {
        let mut known = KnownTokens::new(5);
        let now = WallMicros(1_800_000_000_000_000);
        let first = sign(&claims(0), &KEY).unwrap();
        for number in 0..=KEPT {
            let token = sign(&claims(number), &KEY).unwrap();
            assert!(known.verify(&token, &KEY, now, TokenType::Access).is_ok());
        }
        assert_eq!((known.kept.len(), known.order.len()), (KEPT, KEPT));
        assert_eq!(
            known.verify(&first, &[8; 32], now, TokenType::Access),
            Err(TokenError::Invalid),
            "it was forgotten"
        );
        let last = sign(&claims(KEPT), &KEY).unwrap();
        let mut forged = last.clone();
        forged.pop();
        assert_eq!(known.verify(&forged, &KEY, now, TokenType::Access), Err(TokenError::Invalid));
    }
}
