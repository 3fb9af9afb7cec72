//! # Figures of the running node
//!
//! Owns what is counted at the node's edge, how figures of stores and cores become samples, and the text that `GET /metrics`
//! answers. `system.stats` shows the same samples. Each core counts for itself; who asks gathers from all of them.
//!
//! Every sample is named `highwater_<subsystem>_<unit>`, a counter with `_total` behind it, and is listed in `docs/metrics.md`.
//! Must never: make a request wait, or name a label whose values are unbounded (users, tables, texts).

mod exposition;
mod traffic;

use std::collections::BTreeMap;

use highwater_engine::{Figure, FigureKind, StoreStats};

pub(crate) use exposition::{CONTENT_TYPE, text};
pub(crate) use traffic::{StatementKind, Traffic};

/// What every name begins with.
const PREFIX: &str = "highwater_";

/// One figure with its labels, as it is exported.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Its name, without the prefix and without `_total`.
    pub(crate) name: &'static str,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// What it means: a phrase without a full stop.
    pub(crate) help: &'static str,
    /// How it moves.
    pub(crate) kind: FigureKind,
    /// Labels in the order of their names.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// Its value.
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn counter(name: &'static str, unit: &'static str, value: f64, help: &'static str) -> Self {
        Self { name, unit, help, kind: FigureKind::Counter, labels: Vec::new(), value }
    }

    pub(crate) fn gauge(name: &'static str, unit: &'static str, value: f64, help: &'static str) -> Self {
        Self { kind: FigureKind::Gauge, ..Self::counter(name, unit, value, help) }
    }

    pub(crate) fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let at = self.labels.partition_point(|(known, _)| *known < name);
        self.labels.insert(at, (name, value.into()));
        self
    }

    /// The name with prefix and suffix, as Prometheus stores it.
    pub(crate) fn full_name(&self) -> String {
        let suffix = match self.kind {
            FigureKind::Counter => "_total",
            FigureKind::Gauge => "",
        };
        format!("{PREFIX}{}{suffix}", self.name)
    }

    /// A label's value.
    pub(crate) fn label_of(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// The samples of one store's engine.
pub(crate) fn of_store(store: u32, stats: &StoreStats) -> Vec<Sample> {
    let sample = |figure: Figure| {
        let Figure { name, unit, help, kind, level, value } = figure;
        let sample = Sample { name, unit, help, kind, labels: Vec::new(), value }.label("store", store.to_string());
        match level {
            Some(level) => sample.label("level", level.to_string()),
            None => sample,
        }
    };
    stats.figures().into_iter().map(sample).collect()
}

/// A label's place: by name, then as a number, then as text.
type LabelOrder = (&'static str, u64, String);

/// One list of what several cores gave: samples of the same name and labels are added up. In the order of name and labels,
/// numbers in labels by their value.
pub(crate) fn gathered(samples: impl IntoIterator<Item = Sample>) -> Vec<Sample> {
    let mut sums: BTreeMap<(&'static str, Vec<LabelOrder>), Sample> = BTreeMap::new();
    for sample in samples {
        let order = |(name, value): &(&'static str, String)| (*name, value.parse().unwrap_or(0), value.clone());
        let key = (sample.name, sample.labels.iter().map(order).collect());
        sums.entry(key).and_modify(|sum| sum.value += sample.value).or_insert(sample);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn what_cores_counted_apart_is_added_up_and_stores_stay_apart() {
        let request = |status: &str| Sample::counter("x_requests", "requests", 2.0, "x").label("status", status);
        let store = |store: u32| of_store(store, &StoreStats { log_bytes: 5, ..StoreStats::default() });
        let samples = [request("200"), request("404"), request("200")].into_iter().chain(store(10)).chain(store(9));
        let all = gathered(samples);
        let requests: Vec<f64> = all.iter().filter(|s| s.name == "x_requests").map(|s| s.value).collect();
        assert_eq!(requests, [4.0, 2.0]);
        let stores: Vec<_> =
            all.iter().filter(|s| s.name == "log_bytes").map(|s| s.label_of("store").unwrap()).collect();
        assert_eq!(stores, ["9", "10"]);
        assert_eq!(all.iter().find(|s| s.name == "log_bytes").unwrap().full_name(), "highwater_log_bytes_total");
    }
}
