//! How figures look: a line per second, the final table, one JSON document. Milliseconds and operations per second.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::measure::{Kind, Sheet, Tally};
use crate::violation::Verdict;

/// Facts of a run that stand around the figures.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What was asked for, as JSON.
    pub(crate) settings: Value,
    /// Names the run; its rows carry it.
    pub(crate) run: String,
    /// Seconds that were measured; less than asked for when the run was cut short.
    pub(crate) seconds: f64,
    /// Ended by Ctrl-C.
    pub(crate) is_cut_short: bool,
    /// Open loop.
    pub(crate) is_scheduled: bool,
}

/// The lines of one second that lies `seconds` before `at` ends: one for each kind of operation.
pub(crate) fn second_lines(at: f64, seconds: f64, sheet: &Sheet, is_warmup: bool, waiting: Option<u64>) -> String {
    let mut lines = String::new();
    let mut prefix = format!("{at:6.1}s");
    let idle = Sheet([(Kind::Insert, Tally::default())].into());
    let is_idle = sheet.0.is_empty();
    for (kind, tally) in if is_idle { &idle.0 } else { &sheet.0 } {
        let name = if is_idle { "nothing" } else { kind.name() };
        lines.push_str(&format!(
            "{prefix} {name:<7} {:>8.0}/s  p50 {:>8}  p99 {:>8}  max {:>8} ms  errors {}  retries {}",
            tally.done as f64 / seconds.max(1e-3),
            quantile(&tally.latency, 0.5),
            quantile(&tally.latency, 0.99),
            quantile(&tally.latency, 1.0),
            codes(&tally.errors),
            codes(&tally.retries),
        ));
        if let Some(waiting) = waiting.filter(|_| !matches!(kind, Kind::Consume | Kind::Deliver)) {
            lines.push_str(&format!("  waiting {waiting}"));
        }
        lines.push_str(if is_warmup { "  (warm-up)\n" } else { "\n" });
        prefix = " ".repeat(prefix.len());
    }
    lines
}

/// The final table.
pub(crate) fn table(facts: &Facts, sheet: &Sheet) -> String {
    let cut = if facts.is_cut_short { ", cut short" } else { "" };
    let mut text = format!(
        "\n{:.1} s measured{cut}; latency in ms {}\n{:<9}{:>10}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}  errors  retries\n",
        facts.seconds,
        if facts.is_scheduled {
            "from the intended start"
        } else {
            "(closed loop: a stall holds up the generator too)"
        },
        "operation",
        "done",
        "per s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    );
    for (kind, tally) in &sheet.0 {
        text.push_str(&format!(
            "{:<9}{:>10}{:>11.1}{:>10}{:>10}{:>10}{:>10}{:>10}  {}  {}\n",
            kind.name(),
            tally.done,
            tally.done as f64 / facts.seconds.max(1e-3),
            quantile(&tally.latency, 0.5),
            quantile(&tally.latency, 0.9),
            quantile(&tally.latency, 0.99),
            quantile(&tally.latency, 0.999),
            quantile(&tally.latency, 1.0),
            codes(&tally.errors),
            codes(&tally.retries),
        ));
        // In a closed loop both are the same.
        if facts.is_scheduled && !tally.service.is_empty() {
            text.push_str(&format!(
                "{:<9}{:>10}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}  from the sending\n",
                "  service",
                "",
                "",
                quantile(&tally.service, 0.5),
                quantile(&tally.service, 0.9),
                quantile(&tally.service, 0.99),
                quantile(&tally.service, 0.999),
                quantile(&tally.service, 1.0),
            ));
        }
    }
    text
}

/// The result for machines.
pub(crate) fn document(facts: &Facts, sheet: &Sheet, seconds: &[Value], verdict: Option<&Verdict>) -> Value {
    let operations: serde_json::Map<String, Value> =
        sheet.0.iter().map(|(kind, tally)| (kind.name().to_owned(), tally_json(tally, facts.seconds))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "run": facts.run,
        "settings": facts.settings,
        "measured_seconds": facts.seconds,
        "cut_short": facts.is_cut_short,
        "latency_from": if facts.is_scheduled { "intended start" } else { "send" },
        "operations": operations,
        "seconds": seconds,
        "verified": verdict.map(Verdict::to_json),
    })
}

/// One second for the document.
pub(crate) fn second_json(at: f64, seconds: f64, sheet: &Sheet, is_warmup: bool, waiting: Option<u64>) -> Value {
    let operations: serde_json::Map<String, Value> =
        sheet.0.iter().map(|(kind, tally)| (kind.name().to_owned(), tally_json(tally, seconds))).collect();
    json!({"at": at, "warmup": is_warmup, "waiting": waiting, "operations": operations})
}

fn tally_json(tally: &Tally, seconds: f64) -> Value {
    json!({
        "service_milliseconds": quantiles_json(&tally.service),
        "done": tally.done,
        "per_second": tally.done as f64 / seconds.max(1e-3),
        "milliseconds": quantiles_json(&tally.latency),
        "errors": tally.errors,
        "retries": tally.retries,
    })
}

/// Of a histogram of microseconds; null where nothing was measured.
fn quantiles_json(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    json!({
        "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99_9": at(0.999), "max": histogram.max() as f64 / 1e3,
        "mean": histogram.mean() / 1e3,
    })
}

/// Milliseconds at a quantile of a histogram of microseconds; `-` where nothing was measured.
fn quantile(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() { "-".to_owned() } else { millis(histogram.value_at_quantile(quantile) as f64 / 1e3) }
}

/// Three digits that matter.
fn millis(value: f64) -> String {
    let digits = if value < 10.0 { 3 } else { usize::from(value < 1000.0) };
    format!("{value:.digits$}")
}

/// `0`, or the count of all with that of each code.
fn codes(codes: &std::collections::BTreeMap<String, u64>) -> String {
    let all: u64 = codes.values().sum();
    if all == 0 {
        return "0".into();
    }
    let each: Vec<String> = codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
    format!("{all} ({})", each.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::measure::Event;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        (1..=100).for_each(|millis| {
            sheet.count(Kind::Insert, Event::Done { nanos: millis * 1_000_000, service: Some(millis * 500_000) })
        });
        sheet.count(Kind::Insert, Event::Refused("INVALID_SQL"));
        sheet.count(Kind::Insert, Event::Retry("LOST"));
        sheet
    }

    fn facts() -> Facts {
        Facts { settings: json!({"seed": 1}), run: "r".into(), seconds: 10.0, is_cut_short: true, is_scheduled: true }
    }

    #[test]
    fn a_second_is_one_line_per_kind() {
        assert_eq!(
            second_lines(3.0, 1.0, &sheet(), true, Some(4)),
            "   3.0s insert       100/s  p50     50.0  p99     99.0  max    100.0 ms  errors 1 (INVALID_SQL 1)  \
             retries 1 (LOST 1)  waiting 4  (warm-up)\n"
        );
        let mut two = sheet();
        two.count(Kind::Deliver, Event::Done { nanos: 1, service: None });
        assert_eq!(second_lines(3.0, 1.0, &two, false, None).lines().count(), 2);
    }

    #[test]
    fn a_second_in_which_nothing_was_answered_is_shown_too() {
        assert!(second_lines(3.0, 1.0, &Sheet::default(), false, Some(9)).contains("nothing        0/s"));
    }

    #[test]
    fn what_has_no_latency_shows_none() {
        let mut sheet = Sheet::default();
        sheet.count(Kind::Deliver, Event::Counted);
        assert!(
            second_lines(3.0, 1.0, &sheet, false, None).contains("1/s  p50        -  p99        -  max        - ms")
        );
        assert!(second_lines(3.0, 1.0, &Sheet::default(), false, None).contains("p50        -"));
        assert!(table(&facts(), &sheet).contains("deliver           1        0.1         -         -         -"));
        let document = document(&facts(), &sheet, &[], None);
        let deliver = &document["operations"]["deliver"];
        assert_eq!((deliver["done"].as_u64(), &deliver["milliseconds"]), (Some(1), &Value::Null), "{deliver:#}");
    }

    #[test]
    fn the_table_and_the_document_say_the_same() {
        let table = table(&facts(), &sheet());
        assert!(table.contains("10.0 s measured, cut short; latency in ms from the intended start"), "{table}");
        assert!(table.contains("insert          100       10.0      50.0      90.0"), "{table}");
        assert!(table.contains("  service") && table.contains("25.0") && table.contains("from the sending"), "{table}");
        let document = document(&facts(), &sheet(), &[], Some(&Verdict::default()));
        assert!(
            (24.0..26.0).contains(&document["operations"]["insert"]["service_milliseconds"]["p50"].as_f64().unwrap())
        );
        let insert = &document["operations"]["insert"];
        assert_eq!((insert["done"].as_u64(), insert["per_second"].as_f64()), (Some(100), Some(10.0)));
        assert!((49.0..51.0).contains(&insert["milliseconds"]["p50"].as_f64().unwrap()));
        assert_eq!(document["verified"]["violations"], 0);
    }
}
