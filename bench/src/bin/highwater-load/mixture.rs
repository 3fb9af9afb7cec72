//! A workload of several kinds: which kind an operation is follows from the seed and its number, by weights.

use std::sync::Mutex;

use crate::lane::{End, Work};
use crate::ledger::Ledger;
use crate::measure::Kind;
use crate::plan::mix;
use crate::stage::{Stage, Turn};
use crate::violation::Verdict;
use crate::writers::{Inserts, Puts, Selects};

/// Stream of draws of this file; those of the plan are below.
const STREAM: u64 = 300;

/// Weights of the kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights(Vec<(Kind, u32)>);

impl Weights {
    /// From `select=80,update=15,insert=5`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut weights: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let wrong = || format!("{part:?}: expected a kind and its weight, as in select=80,update=15,insert=5");
            let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
            let kinds = [Kind::Insert, Kind::Put, Kind::Update, Kind::Select];
            let kind = kinds.into_iter().find(|kind| kind.name() == name.trim());
            let kind =
                kind.ok_or_else(|| format!("{name:?} cannot be mixed: there are insert, put, update and select"))?;
            let weight = weight.trim().parse().ok().filter(|weight| *weight <= 1_000_000).ok_or_else(wrong)?;
            if weights.iter().any(|(known, _)| *known == kind) {
                return Err(format!("{name} is named twice"));
            }
            weights.push((kind, weight));
        }
        if weights.iter().all(|(_, weight)| *weight == 0) {
            return Err("all weights are 0".to_owned());
        }
        Ok(Self(weights))
    }

    /// The kind of operation `number`.
    pub(crate) fn draw(&self, seed: u64, number: u64) -> Kind {
        let all: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = mix(seed, STREAM, number) % all.max(1);
        for (kind, weight) in &self.0 {
            let weight = u64::from(*weight);
            if at < weight {
                return *kind;
            }
            at -= weight;
        }
        Kind::Select
    }
}

impl std::fmt::Display for Weights {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(kind, weight)| format!("{}={weight}", kind.name())).collect();
        formatter.write_str(&parts.join(","))
    }
}

/// Operations of several kinds.
pub(crate) struct Mixture<'a> {
    weights: &'a Weights,
    seed: u64,
    inserts: Inserts<'a>,
    puts: Puts<'a>,
    updates: Puts<'a>,
    selects: Selects<'a>,
}

impl<'a> Mixture<'a> {
    pub(crate) fn new(
        stage: &'a Stage,
        weights: &'a Weights,
        has_request_ids: bool,
        verdict: &'a Mutex<Verdict>,
    ) -> Self {
        Self {
            weights,
            seed: stage.plan.seed,
            inserts: Inserts::new(stage),
            puts: Puts::new(stage, has_request_ids),
            updates: Puts::again(stage, has_request_ids),
            selects: Selects::new(stage, verdict),
        }
    }

    /// What became of its inserts.
    pub(crate) fn into_ledger(self) -> Ledger {
        self.inserts.ledger
    }

    fn of(&mut self, number: u64) -> &mut dyn Work {
        match self.weights.draw(self.seed, number) {
            Kind::Insert => &mut self.inserts,
            Kind::Put => &mut self.puts,
            Kind::Update => &mut self.updates,
            Kind::Select | Kind::Consume | Kind::Deliver => &mut self.selects,
        }
    }
}

impl Work for Mixture<'_> {
    fn kind(&self, number: u64) -> Kind {
        self.weights.draw(self.seed, number)
    }

    fn request(&mut self, turn: Turn, out: &mut Vec<u8>) {
        self.of(turn.number).request(turn, out);
    }

    fn is_repeatable(&self, number: u64) -> bool {
        match self.weights.draw(self.seed, number) {
            Kind::Insert => self.inserts.is_repeatable(number),
            Kind::Put => self.puts.is_repeatable(number),
            Kind::Update => self.updates.is_repeatable(number),
            Kind::Select | Kind::Consume | Kind::Deliver => true,
        }
    }

    fn ended(&mut self, turn: Turn, sent: u64, end: End<'_>) -> Option<&'static str> {
        self.of(turn.number).ended(turn, sent, end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn kinds_come_as_often_as_they_weigh_and_the_same_for_a_seed() {
        let weights = Weights::parse("select=80, update=15,insert=5").unwrap();
        let count = |kind| (0..10_000).filter(|number| weights.draw(7, *number) == kind).count();
        assert!((7_800..8_200).contains(&count(Kind::Select)) && (1_350..1_650).contains(&count(Kind::Update)));
        assert!((400..600).contains(&count(Kind::Insert)) && count(Kind::Put) == 0);
        assert!((0..1000).all(|number| weights.draw(7, number) == weights.draw(7, number)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in ["", "select", "select=x", "consume=1", "select=1,select=2", "select=0", "select=-1"] {
            assert!(Weights::parse(wrong).is_err(), "{wrong}");
        }
    }
}
