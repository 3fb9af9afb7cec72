//! The report as one page of HTML with drawings in SVG: no scripts, no style sheets and no images from elsewhere, so that it
//! looks the same in ten years and without a network.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 34.0;
const COLOURS: [&str; 6] = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];

/// One line of a drawing.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Quantiles of a histogram of microseconds: `[1/(1-q), milliseconds]`.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Value {
    let points = histogram
        .iter_quantiles(4)
        .filter(|point| point.quantile_iterated_to() < 1.0)
        .map(|point| json!([1.0 / (1.0 - point.quantile_iterated_to()), point.value_iterated_to() as f64 / 1e3]));
    points.collect()
}

/// The page of a run.
pub(crate) fn page(document: &Value, curves: &Value) -> String {
    let mut body = String::new();
    let text = |pointer: &str| document.pointer(pointer).map_or(String::new(), shown);
    body.push_str(&format!(
        "<h1>highwater-load: {}</h1>\n<p>{} s measured; latency from the {}; run {}</p>\n",
        escaped(&text("/settings/workload")),
        escaped(&text("/measured_seconds")),
        escaped(&text("/latency_from")),
        escaped(&text("/run"))
    ));
    body.push_str(&operations(document));
    let seconds: Vec<&Value> = document.get("seconds").and_then(Value::as_array).into_iter().flatten().collect();
    let over_time = |pointer: &str, suffix: &str| -> Vec<Line> {
        kinds(document)
            .into_iter()
            .map(|kind| {
                let points = seconds.iter().filter_map(|second| {
                    let value = second.pointer(&format!("/operations/{kind}{pointer}"))?.as_f64()?;
                    Some((second.get("at")?.as_f64()?, value))
                });
                Line { points: points.collect(), name: format!("{kind}{suffix}") }
            })
            .collect()
    };
    body.push_str(&drawing("Operations per second", "s", &over_time("/per_second", ""), false));
    let mut latencies = over_time("/milliseconds/p50", " p50");
    latencies.extend(over_time("/milliseconds/p99", " p99"));
    body.push_str(&drawing("Latency over time, ms", "s", &latencies, true));
    let mut quantiles = Vec::new();
    for (kind, both) in curves.as_object().into_iter().flatten() {
        for which in ["latency", "service"] {
            let points: Vec<(f64, f64)> = both
                .get(which)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|point| Some((point.get(0)?.as_f64()?.log10(), point.get(1)?.as_f64()?)))
                .collect();
            quantiles.push(Line { name: format!("{kind} {which}"), points });
        }
    }
    body.push_str(&drawing("Latency by percentile, ms (1: p90, 2: p99, 3: p99.9 ...)", "nines", &quantiles, true));
    if let Some(sweep) = document.get("sweep").filter(|sweep| !sweep.is_null()) {
        body.push_str(&sweep_of(sweep));
    }
    if let Some(verified) = document.get("verified").filter(|verified| !verified.is_null()) {
        body.push_str(&format!("<h2>Verified</h2>\n<pre>{}</pre>\n", escaped(&format!("{verified:#}"))));
    }
    for (title, pointer) in [("Settings", "/settings"), ("Machine of the generator", "/machine")] {
        body.push_str(&facts(title, document.pointer(pointer)));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>highwater-load</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#111;background:#fff}\
table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#111}td,th{border-color:#444}text{fill:#ccc}}";

fn kinds(document: &Value) -> Vec<String> {
    document.get("operations").and_then(Value::as_object).into_iter().flatten().map(|(kind, _)| kind.clone()).collect()
}

/// The table of totals.
fn operations(document: &Value) -> String {
    let names = ["done", "per_second"];
    let quantiles = ["p50", "p90", "p99", "p99_9", "max"];
    let mut rows = String::new();
    for (kind, tally) in document.get("operations").and_then(Value::as_object).into_iter().flatten() {
        for (label, which) in [("", "milliseconds"), (" (service)", "service_milliseconds")] {
            let millis = tally.get(which).filter(|millis| !millis.is_null());
            if millis.is_none() && !label.is_empty() {
                continue;
            }
            let cell = |value: Option<&Value>| format!("<td>{}</td>", escaped(&value.map_or(String::new(), shown)));
            let counts: String = names.iter().map(|name| cell(tally.get(*name).filter(|_| label.is_empty()))).collect();
            let none = json!("-");
            let quantile = |name: &str| millis.map_or(Some(&none), |millis| millis.get(name));
            let millis: String = quantiles.iter().map(|name| cell(quantile(name))).collect();
            let errors = tally.get("errors").filter(|_| label.is_empty()).map_or(String::new(), Value::to_string);
            rows.push_str(&format!(
                "<tr><td>{}{label}</td>{counts}{millis}<td>{}</td></tr>\n",
                escaped(kind),
                escaped(&errors)
            ));
        }
    }
    format!(
        "<table>\n<tr><th>operation</th><th>done</th><th>per s</th><th>p50 ms</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>errors</th></tr>\n{rows}</table>\n"
    )
}

fn facts(title: &str, value: Option<&Value>) -> String {
    let rows: String = value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(&shown(value))))
        .collect();
    format!("<h2>{title}</h2>\n<table>\n{rows}</table>\n")
}

fn sweep_of(sweep: &Value) -> String {
    let mut steps: Vec<&Value> = sweep.get("steps").and_then(Value::as_array).into_iter().flatten().collect();
    let number = |step: &Value, name: &str| step.get(name).and_then(Value::as_f64).unwrap_or_default();
    steps.sort_by(|a, b| number(a, "rate").total_cmp(&number(b, "rate")));
    let line = |name: &str, field: &str| Line {
        name: name.to_owned(),
        points: steps.iter().map(|step| (number(step, "rate"), number(step, field))).collect(),
    };
    let best = sweep.pointer("/best/rate").and_then(Value::as_f64);
    let best = best.map_or("no rate held".to_owned(), |rate| format!("{rate:.0} per second held"));
    let objective = sweep.get("objective_milliseconds").map_or(String::new(), shown);
    let quantile = number(sweep, "quantile") * 100.0;
    format!("<h2>Rates</h2>\n<p>p{quantile} at most {} ms: {best}</p>\n", escaped(&objective))
        + &drawing(
            "Latency by rate, ms",
            "per s",
            &[line("p50", "p50"), line("objective's percentile", "milliseconds")],
            true,
        )
}

/// A drawing of lines over a common horizontal axis; the vertical one may be logarithmic.
fn drawing(title: &str, unit: &str, lines: &[Line], is_logarithmic: bool) -> String {
    let all =
        || lines.iter().flat_map(|line| line.points.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite());
    if all().next().is_none() {
        return String::new();
    }
    let floor = 0.001_f64;
    let scaled = |y: f64| if is_logarithmic { y.max(floor).log10() } else { y };
    let (mut left, mut right, mut low, mut high) = (f64::MAX, f64::MIN, f64::MAX, f64::MIN);
    for (x, y) in all() {
        (left, right) = (left.min(x), right.max(x));
        (low, high) = (low.min(scaled(y)), high.max(scaled(y)));
    }
    let (low, high) = if is_logarithmic {
        (low.floor(), high.ceil().max(low.floor() + 1.0))
    } else {
        (0.0, if high > 0.0 { high * 1.05 } else { 1.0 })
    };
    let right = if right > left { right } else { left + 1.0 };
    let across = |x: f64| LEFT + (x - left) / (right - left) * (WIDTH - LEFT - 10.0);
    let up = |y: f64| HEIGHT - BOTTOM - (scaled(y) - low) / (high - low) * (HEIGHT - BOTTOM - 10.0);
    let mut svg = format!("<h2>{}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n", escaped(title));
    for tick in 0..=4_u8 {
        let part = f64::from(tick) / 4.0;
        let value = low + (high - low) * part;
        let y = if is_logarithmic { 10_f64.powf(value) } else { value };
        let at = up(y);
        svg.push_str(&format!(
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#8884\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{}</text>\n",
            LEFT - 6.0,
            at + 4.0,
            round(y)
        ));
        let x = left + (right - left) * part;
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\">{} {}</text>\n",
            across(x).clamp(LEFT, WIDTH - 24.0),
            HEIGHT - BOTTOM + 14.0,
            round(x),
            escaped(unit)
        ));
    }
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
        let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#000");
        let points: Vec<String> = line
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
            .collect();
        svg.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"{colour}\">{}</text>\n",
            points.join(" "),
            LEFT + 130.0 * (number % 6) as f64,
            HEIGHT - 4.0 - 11.0 * (number / 6) as f64,
            escaped(&line.name)
        ));
    }
    svg + "</svg>\n"
}

/// Three digits that matter.
fn round(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(value) if !number.is_u64() && !number.is_i64() => round(value),
            _ => number.to_string(),
        },
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn document() -> Value {
        let tally = |done: u64| {
            json!({"done": done, "per_second": 10.5, "errors": {"A<b>": 1},
            "milliseconds": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "p99_9": 4.0, "max": 5.0},
            "service_milliseconds": {"p50": 0.5, "p90": 0.6, "p99": 0.7, "p99_9": 0.8, "max": 0.9}})
        };
        json!({
            "settings": {"workload": "<mixed> & \"more\"", "rate": null}, "measured_seconds": 10.0, "latency_from": "intended start",
            "run": "r", "operations": {"select": tally(100), "insert": tally(7)},
            "seconds": [{"at": 1.0, "operations": {"select": tally(1)}}, {"at": 2.0, "operations": {"select": tally(2), "insert": tally(1)}}],
            "sweep": {"quantile": 0.99, "objective_milliseconds": 10.0, "best": {"rate": 200.0}, "steps": [
                {"rate": 400.0, "milliseconds": 90.0, "p50": 3.0}, {"rate": 200.0, "milliseconds": 5.0, "p50": 1.0}]},
            "verified": {"violations": 0}, "machine": {"kernel": "6.1"},
        })
    }

    #[test]
    fn what_has_no_latency_has_its_count_and_dashes() {
        let none =
            json!({"done": 7, "per_second": 0.5, "milliseconds": null, "service_milliseconds": null, "errors": {}});
        let page = page(&json!({"operations": {"deliver": none}}), &json!({}));
        assert!(page.contains(&format!("<td>deliver</td><td>7</td><td>0.5</td>{}", "<td>-</td>".repeat(5))), "{page}");
    }

    /// Reads the page as XML would be read: every element that is opened is closed in order. Gives the elements' names and attributes.
    fn elements(page: &str) -> Vec<(String, String)> {
        let mut open: Vec<String> = Vec::new();
        let mut all = Vec::new();
        let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').unwrap();
            let tag = &rest[start + 1..end];
            assert!(!rest[..start].contains('>'), "a lone > before <{tag}>");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else {
                let is_whole = tag.ends_with('/');
                let tag = tag.trim_end_matches('/');
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                assert_eq!(attributes.matches('"').count() % 2, 0, "{tag}");
                all.push((name.to_owned(), attributes.to_owned()));
                if !is_whole {
                    open.push(name.to_owned());
                }
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
        all
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_beside_itself() {
        let page =
            page(&document(), &json!({"select": {"latency": [[1.0, 1.0], [10.0, 2.0], [100.0, 9.0]], "service": []}}));
        let elements = elements(&page);
        for (name, attributes) in &elements {
            assert!(!["script", "link", "img", "iframe", "object", "image", "use"].contains(&name.as_str()), "{name}");
            assert!(
                !attributes.contains("href")
                    && !attributes.contains("src")
                    && !format!(" {attributes}").contains(" on"),
                "{attributes}"
            );
        }
        assert!(!page.contains("http") && !page.contains("url(") && !page.contains("@import"), "no address");
        let count = |wanted: &str| elements.iter().filter(|(name, _)| name == wanted).count();
        assert_eq!((count("svg"), count("html"), count("body")), (4, 1, 1));
        assert!(page.contains("&lt;mixed&gt; &amp; &quot;more&quot;") && page.contains("A&lt;b&gt;"));
        assert!(page.contains("<td>select (service)</td>") && page.contains("200 per second held"));
    }

    #[test]
    fn lines_stay_within_their_drawing() {
        let points = vec![(0.0, 0.0), (1.0, 1e9), (2.0, 0.5), (3.0, f64::NAN)];
        for is_logarithmic in [false, true] {
            let svg = drawing("t", "s", &[Line { name: "a".into(), points: points.clone() }], is_logarithmic);
            let drawn = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            let numbers: Vec<f64> = drawn.split([',', ' ']).map(|number| number.parse().unwrap()).collect();
            assert_eq!(numbers.len(), 6);
            for pair in numbers.chunks(2) {
                assert!((0.0..=WIDTH).contains(&pair[0]) && (0.0..=HEIGHT).contains(&pair[1]), "{numbers:?}");
            }
        }
        assert_eq!(drawing("t", "s", &[], true), "");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.0, 0.001_234, 1.0, 12.345, 99_999.0].map(round), ["0", "0.00123", "1", "12.3", "99999"]);
    }
}
