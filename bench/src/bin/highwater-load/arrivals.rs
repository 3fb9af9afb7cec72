//! When operations of an open loop start: a schedule made before the run, which nothing that happens in it can change.

use crate::failure::Failure;
use crate::plan::mix;

/// Stream of draws of this file; those of the plan are below.
const STREAM: u64 = 100;
/// Most operations of one schedule; more would be gigabytes.
const MAX_ARRIVALS: f64 = 100e6;

/// Intended starts in nanoseconds from the run's start, rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrivals(Vec<u64>);

impl Arrivals {
    /// A Poisson process: `rate` per second on average over `nanos`, independent of each other as users are.
    pub(crate) fn poisson(seed: u64, rate: f64, nanos: u64) -> Result<Self, Failure> {
        let expected = rate * nanos as f64 / 1e9;
        if expected > MAX_ARRIVALS {
            return Err(Failure::usage(format!(
                "--rate over the whole run makes {expected:.0} operations; at most {MAX_ARRIVALS:.0} are scheduled"
            )));
        }
        let mut starts = Vec::with_capacity(expected as usize + 16);
        let mut at = 0.0_f64;
        for number in 0.. {
            // 53 bits above 0 and at most 1, so that the logarithm is finite.
            let uniform = ((mix(seed, STREAM, number) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            at -= uniform.ln() * 1e9 / rate;
            if at >= nanos as f64 {
                break;
            }
            starts.push(at as u64);
        }
        Ok(Self(starts))
    }

    /// Intended start of operation `number`; `None` after the last.
    pub(crate) fn start(&self, number: u64) -> Option<u64> {
        self.0.get(usize::try_from(number).ok()?).copied()
    }

    /// How many start from `from` on and before `until`.
    pub(crate) fn within(&self, from: u64, until: u64) -> u64 {
        self.before(until).saturating_sub(self.before(from))
    }

    fn before(&self, at: u64) -> u64 {
        self.0.partition_point(|start| *start < at) as u64
    }

    /// How many are due at `now`.
    pub(crate) fn due(&self, now: u64) -> u64 {
        self.0.partition_point(|start| *start <= now) as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn starts_rise_and_stay_within_the_run(seed: u64, rate: u16, millis: u8) -> bool {
            let nanos = u64::from(millis) * 1_000_000;
            let arrivals = Arrivals::poisson(seed, f64::from(rate) + 0.5, nanos).unwrap();
            arrivals.0.is_sorted() && arrivals.0.iter().all(|start| *start < nanos)
        }

        fn the_same_seed_makes_the_same_schedule(seed: u64) -> bool {
            Arrivals::poisson(seed, 500.0, 1_000_000_000).unwrap() == Arrivals::poisson(seed, 500.0, 1_000_000_000).unwrap()
        }

        fn due_counts_the_starts_that_have_passed(seed: u64, now: u32) -> bool {
            let arrivals = Arrivals::poisson(seed, 1000.0, 2_000_000_000).unwrap();
            let due = arrivals.due(u64::from(now));
            (0..due).all(|number| arrivals.start(number).unwrap() <= u64::from(now))
                && arrivals.start(due).is_none_or(|start| start > u64::from(now))
        }
    }

    #[test]
    fn the_rate_is_met_on_average_and_gaps_vary_as_a_poisson_process_does() {
        let arrivals = Arrivals::poisson(1, 10_000.0, 10_000_000_000).unwrap();
        assert!((98_500..101_500).contains(&arrivals.0.len()), "{}", arrivals.0.len());
        let gaps: Vec<f64> = arrivals.0.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&(variance.sqrt() / mean)), "of an exponential both are equal");
    }

    #[test]
    fn starts_are_counted_within_a_time() {
        let arrivals = Arrivals(vec![0, 5, 5, 10, 20]);
        assert_eq!(
            [(0, 21), (5, 10), (6, 10), (10, 20)].map(|(from, until)| arrivals.within(from, until)),
            [5, 2, 0, 1]
        );
    }

    #[test]
    fn a_schedule_that_would_fill_the_memory_is_refused() {
        assert!(Arrivals::poisson(1, 1e9, 60_000_000_000).is_err());
    }
}
