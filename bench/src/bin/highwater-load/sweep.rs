//! The highest rate that keeps a latency objective: rates are doubled until one does not hold, then the gap is halved. What to
//! try next is a function of what was tried.

use serde_json::{Value, json};

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Objective {
    /// 0 to 1.
    pub(crate) quantile: f64,
    /// Milliseconds from the intended start, at most.
    pub(crate) millis: f64,
}

impl Objective {
    /// From `p99=10`, `p99.9=25` (milliseconds).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: expected a percentile and milliseconds, as in p99=10");
        let (percentile, millis) = text.strip_prefix('p').and_then(|rest| rest.split_once('=')).ok_or_else(wrong)?;
        let percentile: f64 = percentile.parse().map_err(|_| wrong())?;
        let millis: f64 = millis.trim_end_matches("ms").parse().map_err(|_| wrong())?;
        let makes_sense = percentile > 0.0 && percentile < 100.0 && millis.is_finite() && millis > 0.0;
        makes_sense.then_some(Self { quantile: percentile / 100.0, millis }).ok_or_else(wrong)
    }
}

/// One rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// Operations per second that were asked for.
    pub(crate) rate: f64,
    /// That the schedule drew within the measured time: about as many, but few seconds of a low rate draw far fewer or more.
    pub(crate) scheduled: f64,
    /// That were done.
    pub(crate) achieved: f64,
    /// Milliseconds at the objective's quantile, from the intended start.
    pub(crate) millis: f64,
    pub(crate) p50: f64,
    pub(crate) errors: u64,
    pub(crate) holds: bool,
}

/// What a rate gave; the fields are those of a [`Step`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) scheduled: f64,
    pub(crate) achieved: f64,
    pub(crate) millis: f64,
    pub(crate) p50: f64,
    pub(crate) errors: u64,
}

/// The rates that were tried, in order.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    objective: Objective,
    first: f64,
    /// Gaps smaller than this share of the rate are not looked into.
    precision: f64,
    pub(crate) steps: Vec<Step>,
}

/// More steps than any sweep needs.
const MOST_STEPS: usize = 40;
/// Rates below this are not tried.
const LOWEST: f64 = 1.0;
/// What was done must be at least so much of what was scheduled.
const SHARE: f64 = 0.95;

impl Sweep {
    pub(crate) fn new(objective: Objective, first: f64, precision: f64) -> Self {
        Self { objective, first, precision, steps: Vec::new() }
    }

    /// The best rate that held.
    pub(crate) fn best(&self) -> Option<Step> {
        let holding = self.steps.iter().filter(|step| step.holds);
        holding.copied().max_by(|a, b| a.rate.total_cmp(&b.rate))
    }

    /// The rate to try next; none when the answer is known.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.steps.len() >= MOST_STEPS {
            return None;
        }
        let best = self.best().map(|step| step.rate);
        let worst = self.steps.iter().filter(|step| !step.holds).map(|step| step.rate).min_by(f64::total_cmp);
        match (best, worst) {
            (None, None) => Some(self.first),
            (Some(best), None) => Some(best * 2.0),
            (None, Some(worst)) => Some(worst / 2.0).filter(|rate| *rate >= LOWEST),
            (Some(best), Some(worst)) => (worst - best > best * self.precision).then_some(f64::midpoint(best, worst)),
        }
    }

    /// Judges what a rate gave, and keeps it.
    pub(crate) fn tried(&mut self, rate: f64, outcome: Outcome) -> Step {
        let Outcome { scheduled, achieved, millis, p50, errors } = outcome;
        // A schedule without one operation shows nothing.
        let is_reached = achieved > 0.0 && achieved >= scheduled * SHARE;
        let holds = errors == 0 && is_reached && millis <= self.objective.millis;
        let step = Step { rate, scheduled, achieved, millis, p50, errors, holds };
        self.steps.push(step);
        step
    }

    /// A line for a step.
    pub(crate) fn line(&self, step: &Step) -> String {
        format!(
            "rate {:>9.0}/s  due {:>9.0}/s  done {:>9.0}/s  p50 {:>9.3}  p{} {:>9.3} ms  errors {}  {}\n",
            step.rate,
            step.scheduled,
            step.achieved,
            step.p50,
            self.objective.quantile * 100.0,
            step.millis,
            step.errors,
            if step.holds { "holds" } else { "does not hold" }
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let step = |step: &Step| {
            json!({"rate": step.rate, "scheduled": step.scheduled, "achieved": step.achieved, "milliseconds": step.millis,
                "p50": step.p50, "errors": step.errors, "holds": step.holds})
        };
        json!({
            "quantile": self.objective.quantile, "objective_milliseconds": self.objective.millis,
            "best": self.best().as_ref().map(step), "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use quickcheck::quickcheck;

    fn outcome(scheduled: f64, achieved: f64, millis: f64, errors: u64) -> Outcome {
        Outcome { scheduled, achieved, millis, p50: 1.0, errors }
    }

    fn swept(limit: f64, first: f64) -> Sweep {
        let mut sweep = Sweep::new(Objective::parse("p99=10").unwrap(), first, 0.05);
        while let Some(rate) = sweep.next() {
            sweep.tried(rate, outcome(rate, rate, if rate <= limit { 5.0 } else { 50.0 }, 0));
        }
        sweep
    }

    quickcheck! {
        fn the_highest_rate_that_holds_is_found(limit: u32, first: u16) -> bool {
            let limit = f64::from(limit % 1_000_000 + 2);
            let best = swept(limit, f64::from(first) + 1.0).best().unwrap().rate;
            best <= limit && best >= limit * 0.9
        }
    }

    #[test]
    fn a_rate_holds_when_it_is_reached_without_errors_in_time() {
        let mut sweep = Sweep::new(Objective::parse("p99.9=2.5ms").unwrap(), 100.0, 0.05);
        assert!(sweep.tried(100.0, outcome(100.0, 96.0, 2.5, 0)).holds);
        assert!(!sweep.tried(100.0, outcome(100.0, 94.0, 1.0, 0)).holds, "not reached");
        assert!(!sweep.tried(100.0, outcome(100.0, 100.0, 2.6, 0)).holds, "too slow");
        assert!(sweep.tried(100.0, outcome(80.0, 80.0, 1.0, 0)).holds, "no more was scheduled");
        assert!(!sweep.tried(100.0, outcome(120.0, 96.0, 1.0, 0)).holds, "more was scheduled");
        assert!(!sweep.tried(1.0, outcome(0.0, 0.0, 0.0, 0)).holds, "nothing was scheduled");
        let failed = sweep.tried(100.0, outcome(100.0, 100.0, 1.0, 1));
        assert!(!failed.holds && sweep.line(&failed).contains("p99.9"), "{}", sweep.line(&failed));
    }

    #[test]
    fn nothing_that_holds_is_an_end_too() {
        let sweep = swept(0.5, 64.0);
        assert!(sweep.best().is_none() && sweep.steps.len() <= 8);
    }

    #[test]
    fn objectives_are_a_percentile_and_milliseconds() {
        assert_eq!(Objective::parse("p99=10").unwrap(), Objective { quantile: 0.99, millis: 10.0 });
        for wrong in ["99=10", "p99", "p100=1", "p0=1", "p99=0", "p99=x", "p99=inf"] {
            assert!(Objective::parse(wrong).is_err(), "{wrong}");
        }
    }
}
