//! How long a statement took, and where: the whole as it was here, and its phases as far as the server tells them.

use std::time::Duration;

/// The header that asks for phases.
pub(crate) const ASK: (&str, &str) = ("x-highwater-timing", "1");
/// The header that tells them (https://www.w3.org/TR/server-timing/).
pub(crate) const TOLD: &str = "server-timing";
/// Milliseconds that would be shown as nothing.
const NOTHING: f64 = 0.0005;

/// A part of the time in the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    name: String,
    millis: f64,
}

/// The phases that a header tells; what has no duration is left out.
pub(crate) fn phases(header: &str) -> Vec<Phase> {
    let phase = |metric: &str| {
        let mut parts = metric.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let millis = parts.find_map(|part| part.strip_prefix("dur=")?.trim_matches('"').parse().ok())?;
        Some(Phase { name: name.to_owned(), millis })
    };
    header.split(',').filter_map(phase).collect()
}

/// What `\timing` says: the whole, and its parts, which sum up to it. `took` is what the answer says of its time in the server, in
/// milliseconds.
pub(crate) fn sentence(whole: Duration, took: f64, phases: &[Phase]) -> String {
    let whole = whole.as_secs_f64() * 1000.0;
    let told: f64 = phases.iter().map(|phase| phase.millis).sum();
    let mut parts: Vec<(&str, f64)> = phases.iter().map(|phase| (title(&phase.name), phase.millis)).collect();
    if phases.is_empty() {
        parts.push(("server", took));
    } else if took - told >= NOTHING {
        parts.push(("rest of the server", took - told));
    }
    parts.push(("network and rendering", (whole - took.max(told)).max(0.0)));
    let parts: Vec<String> = parts.iter().map(|(name, millis)| format!("{name} {millis:.3}")).collect();
    format!("Time: {whole:.3} ms ({})", parts.join(", "))
}

/// A phase's name for people.
fn title(name: &str) -> &str {
    match name {
        "exec" => "execute",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_time_sum_up_to_it() {
        let phases = phases("parse;dur=0.012, plan;dur=0.034, queue;desc=\"a wait\";dur=0.1, exec;dur=1.25, cached");
        let whole = Duration::from_micros(2_310);
        assert_eq!(
            sentence(whole, 1.396, &phases),
            "Time: 2.310 ms (parse 0.012, plan 0.034, queue 0.100, execute 1.250, network and rendering 0.914)"
        );
        assert_eq!(
            sentence(whole, 2.0, &phases),
            "Time: 2.310 ms (parse 0.012, plan 0.034, queue 0.100, execute 1.250, rest of the server 0.604, network and rendering 0.310)"
        );
    }

    #[test]
    fn without_phases_the_answers_own_figure_is_shown() {
        assert_eq!(
            sentence(Duration::from_millis(3), 2.5, &phases("")),
            "Time: 3.000 ms (server 2.500, network and rendering 0.500)"
        );
    }
}
