//! The text of `GET /metrics`: OpenMetrics 1.0, which Prometheus and its kin read.
//!
//! A registry lives for one scrape only: the figures are gathered from the cores first, and nothing is shared between them.

use std::fmt;

use highwater_engine::FigureKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::{PREFIX, Sample};

/// The content type of [`text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The samples of one scrape, in the order of their names.
#[derive(Debug)]
struct Scrape(Vec<Sample>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in self.0.chunk_by(|left, right| left.name == right.name) {
            let Some(first) = family.first() else { continue };
            let kind = match first.kind {
                FigureKind::Counter => MetricType::Counter,
                FigureKind::Gauge => MetricType::Gauge,
            };
            let name = format!("{PREFIX}{}", first.name);
            let mut encoder = encoder.encode_descriptor(&name, &format!("{}.", first.help), None, kind)?;
            for sample in family {
                if sample.labels.is_empty() {
                    put(&mut encoder, sample)?;
                } else {
                    put(&mut encoder.encode_family(&sample.labels)?, sample)?;
                }
            }
        }
        Ok(())
    }
}

fn put(encoder: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    match sample.kind {
        FigureKind::Counter => encoder.encode_counter(&sample.value, None::<&Exemplar<NoLabelSet, f64>>),
        FigureKind::Gauge => encoder.encode_gauge(&sample.value),
    }
}

/// The exposition of gathered samples.
pub(crate) fn text(samples: Vec<Sample>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(samples)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn samples_of_one_name_are_one_family_with_escaped_labels() {
        let gauge = |store: &str| Sample::gauge("a_bytes", "bytes", 1.5, "what a is").label("store", store);
        let counter = Sample::counter("b_runs", "runs", 3.0, "what b is");
        let text = text(vec![gauge("0"), gauge("a\"b"), counter]).unwrap();
        assert_eq!(
            text,
            "# HELP highwater_a_bytes what a is.\n\
             # TYPE highwater_a_bytes gauge\n\
             highwater_a_bytes{store=\"0\"} 1.5\n\
             highwater_a_bytes{store=\"a\\\"b\"} 1.5\n\
             # HELP highwater_b_runs what b is.\n\
             # TYPE highwater_b_runs counter\n\
             highwater_b_runs_total 3.0\n\
             # EOF\n"
        );
    }
}
