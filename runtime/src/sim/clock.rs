//! A machine's clocks: how they differ from the run's virtual time.

/// How a machine's clocks go. Changes keep the monotonic clock continuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockFaults {
    /// \[C1\] Microseconds that the wall clock is ahead.
    pub offset: i64,
    /// \[C2\] Parts per million that both clocks run fast; above -1,000,000.
    pub drift: i64,
}

/// The clocks of a machine; virtual times are microseconds since the run began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    faults: ClockFaults,
    /// The virtual time at which the faults were changed last, or the life began.
    since: u64,
    /// The monotonic clock then.
    monotonic: u64,
    /// What drift had given the wall clock by then.
    gained: i64,
}

const MILLION: i64 = 1_000_000;

impl Clock {
    fn gain(&self, now: u64) -> i64 {
        let passed = i128::from(now.saturating_sub(self.since));
        i64::try_from(passed * i128::from(self.faults.drift) / i128::from(MILLION)).unwrap_or(0)
    }

    /// Microseconds of the present life.
    pub fn monotonic(&self, now: u64) -> u64 {
        (self.monotonic + now.saturating_sub(self.since)).saturating_add_signed(self.gain(now))
    }

    /// How far the wall clock is ahead of the run's.
    pub fn wall_ahead(&self, now: u64) -> i64 {
        self.faults.offset + self.gained + self.gain(now)
    }

    /// Virtual microseconds in which the monotonic clock advances by `local`, at least.
    pub fn virtual_micros(&self, local: u64) -> u64 {
        let rate = u64::try_from(MILLION + self.faults.drift).unwrap_or(1).max(1);
        let micros = u128::from(local) * 1_000_000 / u128::from(rate);
        u64::try_from(micros).unwrap_or(u64::MAX).saturating_add(u64::from(self.faults.drift != 0))
    }

    /// From now on it goes like this.
    pub fn change(&mut self, faults: ClockFaults, now: u64) {
        *self = Self { faults, since: now, monotonic: self.monotonic(now), gained: self.gained + self.gain(now) };
    }

    /// \[C3\] The wall clock jumps.
    pub const fn jump(&mut self, micros: i64) {
        self.faults.offset += micros;
    }

    /// How it goes now.
    pub const fn faults(&self) -> ClockFaults {
        self.faults
    }

    /// A new life: its monotonic clock begins.
    pub fn start_life(&mut self, now: u64) {
        self.change(self.faults, now);
        self.monotonic = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_clock_without_faults_is_the_runs() {
        let mut clock = Clock::default();
        clock.start_life(5_000);
        assert_eq!((clock.monotonic(7_000), clock.wall_ahead(7_000), clock.virtual_micros(99)), (2_000, 0, 99));
    }

    #[test]
    fn drift_and_jumps_move_the_wall_clock_and_never_the_monotonic_one_back() {
        let mut clock = Clock::default();
        clock.change(ClockFaults { offset: -300, drift: 500 }, 0);
        assert_eq!((clock.monotonic(2_000_000), clock.wall_ahead(2_000_000)), (2_001_000, 700));
        clock.change(ClockFaults { offset: -300, drift: -500 }, 2_000_000);
        assert_eq!((clock.monotonic(2_000_000), clock.monotonic(4_000_000)), (2_001_000, 4_000_000));
        clock.jump(-1_000_000);
        assert_eq!((clock.monotonic(4_000_000), clock.wall_ahead(4_000_000)), (4_000_000, -1_000_300));
    }

    #[test]
    fn a_sleep_is_never_too_short() {
        for drift in [-900_000, -500, 0, 500, 1_000_000] {
            let mut clock = Clock::default();
            clock.change(ClockFaults { offset: 0, drift }, 0);
            for local in [1, 999, 1_000_001] {
                assert!(clock.monotonic(clock.virtual_micros(local)) >= local, "{drift} {local}");
            }
        }
    }
}
