//! What the rounds of each kind showed, added up: a table for people and an object for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Kind;
use crate::history::Counts;
use crate::round::Outcome;

/// A leader's death should cost less than this until its groups take writes again.
const TARGET: Duration = Duration::from_secs(2);

/// The rounds that are counted together.
#[derive(Default)]
struct Line {
    first_writes: Vec<Duration>,
    healthy: Vec<Duration>,
    refused: usize,
    stopped: usize,
    is_leaders_death: bool,
}

/// Everything that was shown.
#[derive(Default)]
pub struct Figures {
    lines: BTreeMap<(Kind, String), Line>,
    counts: BTreeMap<&'static str, u64>,
    rows: usize,
    messages: usize,
    pub violations: Vec<String>,
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn worst(times: &[Duration]) -> Duration {
    times.iter().max().copied().unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

impl Figures {
    /// Adds a round.
    pub fn add(&mut self, outcome: &Outcome) {
        let line = self.lines.entry((outcome.fault.kind, outcome.fault.label())).or_default();
        line.first_writes.push(outcome.first_write);
        line.healthy.push(outcome.healthy);
        line.stopped += outcome.stopped;
        line.refused += usize::from(outcome.refused);
        line.is_leaders_death = outcome.fault.kind == Kind::KillLeader;
    }

    /// Adds what the clients of one cluster did and what was there in the end.
    pub fn add_cluster(&mut self, counts: &Counts, last: Option<&Outcome>, violations: Vec<String>) {
        for (name, count) in counts.all() {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(last) = last {
            self.rows += last.looked.rows;
            self.messages += last.looked.messages;
        }
        self.violations.extend(violations);
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> usize {
        self.lines.values().map(|line| line.first_writes.len()).sum()
    }

    /// All of it in one object.
    pub fn json(&self) -> Value {
        let lines = self.lines.iter().map(|((kind, label), line)| {
            let millis = |times: &[Duration]| times.iter().map(|time| time.as_millis()).collect::<Vec<_>>();
            json!({
                "kind": kind.name(), "fault": label, "rounds": line.first_writes.len(),
                "first_write_ms": {"median": median(&line.first_writes).as_millis(), "worst": worst(&line.first_writes).as_millis(), "all": millis(&line.first_writes)},
                "healthy_ms": {"median": median(&line.healthy).as_millis(), "worst": worst(&line.healthy).as_millis()},
                "under_target": line.first_writes.iter().filter(|time| **time < TARGET).count(),
                "full_disks_noticed": line.refused, "stopped_themselves": line.stopped,
            })
        });
        json!({
            "ok": self.violations.is_empty(), "rounds": self.rounds(), "faults": lines.collect::<Vec<_>>(),
            "counts": self.counts, "rows": self.rows, "messages": self.messages, "violations": self.violations,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | rounds | first write after, s: median | worst | all healthy again, s: median | worst |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for ((_, label), line) in &self.lines {
            let (writes, healthy) = (&line.first_writes, &line.healthy);
            let figures = [median(writes), worst(writes), median(healthy), worst(healthy)].map(seconds);
            writeln!(f, "| {label} | {} | {} |", writes.len(), figures.join(" | "))?;
        }
        writeln!(f)?;
        for line in self.lines.values().filter(|line| line.is_leaders_death) {
            let under = line.first_writes.iter().filter(|time| **time < TARGET).count();
            writeln!(f, "a leader's death: {under} of {} under {TARGET:?}", line.first_writes.len())?;
        }
        for (label, line) in
            self.lines.iter().filter(|((kind, _), _)| *kind == Kind::FullDisk).map(|((_, label), line)| (label, line))
        {
            writeln!(f, "{label}: noticed in {} of {} rounds", line.refused, line.first_writes.len())?;
        }
        let stopped: usize = self.lines.values().map(|line| line.stopped).sum();
        if stopped > 0 {
            writeln!(f, "nodes that stopped themselves with a full disk: {stopped}")?;
        }
        let counts: Vec<String> =
            self.counts.iter().map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
        writeln!(f, "{}; in the end {} rows, {} messages", counts.join(", "), self.rows, self.messages)?;
        write!(f, "{} rounds, {} violation(s)", self.rounds(), self.violations.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_worst_times_are_those_of_the_rounds() {
        let times = [30, 10, 20, 50, 40].map(Duration::from_millis);
        assert_eq!((median(&times), worst(&times)), (Duration::from_millis(30), Duration::from_millis(50)));
        assert_eq!((median(&[]), worst(&[])), (Duration::ZERO, Duration::ZERO));
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23");
    }
}
