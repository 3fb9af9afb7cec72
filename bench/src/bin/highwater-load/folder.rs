//! The folder of a run (`--out`): `run.json`, `intervals.csv`, one `.hgrm` per kind of operation and one for its service time, and
//! `report.html`, which needs nothing beside itself.

use std::path::Path;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::html;
use crate::measure::Sheet;

/// Writes everything.
pub(crate) fn write(folder: &Path, document: &Value, total: &Sheet) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mut document = document.clone();
    if let Value::Object(fields) = &mut document {
        fields.insert("machine".into(), machine());
    }
    std::fs::write(folder.join("run.json"), format!("{document:#}\n"))?;
    std::fs::write(folder.join("intervals.csv"), intervals(&document))?;
    for (kind, tally) in &total.0 {
        if !tally.latency.is_empty() {
            std::fs::write(folder.join(format!("{}.hgrm", kind.name())), percentiles(&tally.latency))?;
        }
        if !tally.service.is_empty() {
            std::fs::write(folder.join(format!("{}.service.hgrm", kind.name())), percentiles(&tally.service))?;
        }
    }
    let mut curves = serde_json::Map::new();
    for (kind, tally) in &total.0 {
        let curve = json!({"latency": html::curve(&tally.latency), "service": html::curve(&tally.service)});
        curves.insert(kind.name().to_owned(), curve);
    }
    std::fs::write(folder.join("report.html"), html::page(&document, &Value::Object(curves)))?;
    Ok(())
}

/// A histogram of microseconds in the text that HdrHistogram's plotters read: milliseconds.
fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut last = None;
    for point in histogram.iter_quantiles(5) {
        let (value, quantile) = (point.value_iterated_to() as f64 / 1e3, point.quantile_iterated_to());
        let total = histogram.count_between(0, point.value_iterated_to());
        // The iterator may end with the same point twice.
        if last.replace((value.to_bits(), quantile.to_bits())) == Some((value.to_bits(), quantile.to_bits())) {
            continue;
        }
        if quantile < 1.0 {
            text.push_str(&format!("{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}\n", 1.0 / (1.0 - quantile)));
        } else {
            text.push_str(&format!("{value:>12.3} {quantile:>14.12} {total:>10}\n"));
        }
    }
    text.push_str(&format!(
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        histogram.max() as f64 / 1e3,
        histogram.len()
    ));
    text
}

/// A line per second and kind.
fn intervals(document: &Value) -> String {
    let mut text = "at,warmup,operation,done,per_second,p50_ms,p99_ms,max_ms,errors,waiting\n".to_owned();
    for second in document.get("seconds").and_then(Value::as_array).into_iter().flatten() {
        let of = |value: &Value, path: &str| value.pointer(path).map_or(String::new(), Value::to_string);
        for (kind, tally) in second.get("operations").and_then(Value::as_object).into_iter().flatten() {
            let errors: u64 = tally
                .get("errors")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter_map(|(_, count)| count.as_u64())
                .sum();
            let waiting =
                second.get("waiting").and_then(Value::as_u64).map_or(String::new(), |waiting| waiting.to_string());
            text.push_str(&format!(
                "{},{},{kind},{},{},{},{},{},{errors},{waiting}\n",
                of(second, "/at"),
                of(second, "/warmup"),
                of(tally, "/done"),
                of(tally, "/per_second"),
                of(tally, "/milliseconds/p50"),
                of(tally, "/milliseconds/p99"),
                of(tally, "/milliseconds/max"),
            ));
        }
    }
    text
}

/// What this machine is, as far as it says; the generator's, not the server's if that is elsewhere.
fn machine() -> Value {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let named = |text: &str| {
        let name =
            |line: &str| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned());
        text.lines().find_map(name)
    };
    let processor = line("/proc/cpuinfo").and_then(|text| named(&text));
    let memory = line("/proc/meminfo")
        .and_then(|text| text.lines().next().map(|line| line.replace("MemTotal:", "").trim().to_owned()));
    json!({
        "kernel": line("/proc/sys/kernel/osrelease"),
        "processor": processor,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "governor": line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory": memory,
        "load": line("/proc/loadavg"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::measure::{Event, Kind};

    #[test]
    fn percentiles_rise_to_all_of_the_count() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1000_u64).for_each(|micros| histogram.record(micros * 1000).unwrap());
        let text = percentiles(&histogram);
        let points: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
            .collect();
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1] && pair[0][2] <= pair[1][2])
        );
        let last = points.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!(text.contains("Total count    =         1000"), "{text}");
    }

    #[test]
    fn a_folder_holds_all_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut sheet = Sheet::default();
        sheet.count(Kind::Select, Event::Done { nanos: 5_000_000, service: Some(1_000_000) });
        sheet.count(Kind::Deliver, Event::Counted);
        let document = json!({"run": "r", "operations": {"select": {"done": 1}}, "seconds": [
            {"at": 1.0, "warmup": false, "waiting": 2, "operations": {"select": {"done": 1, "per_second": 1.0,
                "milliseconds": {"p50": 5.0, "p99": 5.0, "max": 5.0}, "errors": {"A": 1, "B": 2}}}}]});
        write(folder.path(), &document, &sheet).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("intervals.csv").lines().nth(1), Some("1.0,false,select,1,1.0,5.0,5.0,5.0,3,2"));
        assert!(read("select.hgrm").contains("5.0") && read("select.service.hgrm").contains("1.0"));
        assert!(!folder.path().join("deliver.hgrm").exists(), "it has no latencies");
        let run: Value = serde_json::from_str(&read("run.json")).unwrap();
        assert!(run["machine"]["kernel"].is_string() && run["run"] == "r", "{run}");
        assert!(read("report.html").contains("</html>"));
    }
}
