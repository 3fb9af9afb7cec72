//! How long to wait before the next attempt to connect. Pure: the random bits are given.

/// Doubles from attempt to attempt up to a limit; every wait is drawn from its upper half, so that nodes that lost the same
/// peer do not come back in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_micros: u64,
    limit_micros: u64,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new(first_micros: u64, limit_micros: u64) -> Self {
        Self { first_micros, limit_micros, failures: 0 }
    }

    /// A connection has held: start over.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure, in microseconds: between half of the present step and the whole of it.
    pub fn next_micros(&mut self, random: u64) -> u64 {
        let factor = 1_u64.checked_shl(self.failures.min(32)).unwrap_or(u64::MAX);
        let step = self.first_micros.saturating_mul(factor).min(self.limit_micros).max(1);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        half.saturating_add(random.checked_rem(step.saturating_sub(half).saturating_add(1)).unwrap_or(0))
    }
}
