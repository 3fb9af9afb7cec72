//! The page: what the run was, its picture, what is in its plan, and what was said.

use std::fmt::Write as _;

use super::drawing::{Drawing, escaped, seconds};
use super::event::{Outcome, read};
use super::timeline::{State, Timeline};

/// How wide the axis of time is, in pixels; the page scrolls.
const WIDTH: f64 = 2400.0;
/// Height of a node's bar, of a group's, and of a client's.
const NODE: u32 = 16;
const GROUP: u32 = 11;
const CLIENT: u32 = 10;

/// What stands above and below the picture.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// The heading: which seed of what.
    pub title: String,
    /// What became of the run: that every promise held, or which did not.
    pub verdict: String,
    /// The plan, as `highwater-sim plan` prints it; empty if it is not known.
    pub plan: String,
    /// The counters, as `highwater-sim run` prints them; empty if they are not known.
    pub counters: String,
}

/// The page of a run with these trace lines.
#[must_use]
pub fn html(texts: &Texts, trace: &[String]) -> String {
    let events: Vec<_> = trace.iter().filter_map(|line| read(line)).collect();
    let timeline = Timeline::of(&events);
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let verdict = if timeline.violations.is_empty() { "held" } else { "broken" };
    let _ = write!(
        page,
        "<title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1><p class=\"{verdict}\">{1}</p>",
        escaped(&texts.title),
        escaped(&texts.verdict)
    );
    let requests: usize = timeline.clients.values().map(Vec::len).sum();
    let crashes: usize = timeline.nodes.values().map(|node| node.ends.len()).sum();
    let leaders: usize = timeline.nodes.values().flat_map(|node| node.led.values()).map(Vec::len).sum();
    let _ = write!(
        page,
        "<p>{:.1} virtual seconds; {} nodes, {crashes} ends of lives, {leaders} leaderships seen, {} directions cut, {} clients, {requests} requests. Point at a bar to read what it is.</p>",
        seconds(timeline.end),
        timeline.nodes.len(),
        timeline.cuts.values().map(Vec::len).sum::<usize>(),
        timeline.clients.len()
    );
    page.push_str(&legend());
    let _ = write!(page, "<div class=\"picture\">{}</div>", picture(&timeline));
    for (at, what) in &timeline.violations {
        let _ = write!(page, "<p class=\"broken\">{:.6} s: {}</p>", seconds(*at), escaped(what));
    }
    for (name, text) in [("The plan", &texts.plan), ("How often what", &texts.counters)] {
        if !text.is_empty() {
            let _ = write!(page, "<details><summary>{name}</summary><pre>{}</pre></details>", escaped(text));
        }
    }
    page.push_str("<details><summary>What was said</summary><table>");
    for (at, who, what) in &timeline.said {
        let _ =
            write!(page, "<tr><td>{:.6}</td><td>{}</td><td>{}</td></tr>", seconds(*at), escaped(who), escaped(what));
    }
    page.push_str("</table></details></body></html>\n");
    page
}

fn legend() -> String {
    let entry = |class: &str, name: &str| format!("<span class=\"swatch {class}\"></span>{name} ");
    let states = [("serving", "serves"), ("starting", "starts"), ("paused", "paused"), ("down", "down")];
    let mut legend = String::from("<p class=\"legend\">");
    states.iter().for_each(|(class, name)| legend.push_str(&entry(class, name)));
    legend.push_str("<span class=\"crash\">&#10005;</span> end of a life ");
    legend.push_str(&entry("led", "leads the group"));
    legend.push_str(&entry("cut", "nothing passes"));
    legend.push_str("requests: ");
    Outcome::ALL.iter().for_each(|outcome| legend.push_str(&entry(class_of(*outcome), outcome.name())));
    legend.push_str("</p>");
    legend
}

const fn class_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
        Outcome::NotNow => "notnow",
        Outcome::Lost => "lost",
        Outcome::Open => "open",
    }
}

const fn state_of(state: State) -> (&'static str, &'static str) {
    match state {
        State::Down => ("down", "down"),
        State::Starting => ("starting", "starts"),
        State::Serving => ("serving", "serves"),
        State::Paused => ("paused", "paused"),
    }
}

fn when(from: u64, to: u64) -> String {
    format!("{:.6} s to {:.6} s", seconds(from), seconds(to))
}

fn picture(timeline: &Timeline) -> String {
    let mut drawing = Drawing::new(timeline.end, WIDTH);
    let y = drawing.row("name", "phase", GROUP);
    for span in &timeline.phases {
        drawing.bar(y, GROUP, span.from, span.to, "phase", &format!("{} {}", span.what, when(span.from, span.to)));
        drawing.label(y, span.from, span.to, &span.what);
    }
    for (name, node) in &timeline.nodes {
        drawing.heading(name);
        let y = drawing.row("name", name, NODE);
        for span in &node.states {
            let (class, words) = state_of(span.what);
            drawing.bar(y, NODE, span.from, span.to, class, &format!("{name} {words}, {}", when(span.from, span.to)));
        }
        for (at, how) in &node.ends {
            drawing.mark(y, *at, "crash", "\u{2715}", &format!("{name} {how} at {:.6} s", seconds(*at)));
        }
        for (group, spans) in &node.led {
            let y = drawing.row("small", &format!("leads group {group}"), GROUP);
            for span in spans {
                let term = span.what;
                let tip = format!("{name} leads group {group} in term {term}, {}", when(span.from, span.to));
                drawing.bar(y, GROUP, span.from, span.to, "led", &tip);
                drawing.label(y, span.from, span.to, &format!("term {term}"));
            }
        }
    }
    if !timeline.cuts.is_empty() {
        drawing.heading("the network");
    }
    for ((from, to), spans) in &timeline.cuts {
        let y = drawing.row("small", &format!("{from} \u{2192} {to}"), GROUP);
        for span in spans {
            let tip = format!("nothing passes from {from} to {to}, {}", when(span.from, span.to));
            drawing.bar(y, GROUP, span.from, span.to, "cut", &tip);
        }
    }
    drawing.heading("clients");
    for (client, spans) in &timeline.clients {
        let y = drawing.row("small", client, CLIENT);
        for span in spans {
            let request = &span.what;
            let tip = format!("{client} at {}, {}: {}", request.node, when(span.from, span.to), request.text);
            drawing.bar(y, CLIENT, span.from, span.to, class_of(request.outcome), &tip);
        }
    }
    for (at, _) in &timeline.violations {
        drawing.across(*at, "violation");
    }
    drawing.finish()
}

const STYLE: &str = "
body{font:14px/1.5 system-ui,sans-serif;margin:24px;color:#1d2733;background:#fff}
h1{font-size:20px;margin:0 0 8px}
.held{color:#17663a}.broken{color:#b3182b;font-weight:600}
.picture{overflow-x:auto;border:1px solid #d5dbe3;border-radius:4px}
.legend{font-size:12px}.swatch{display:inline-block;width:14px;height:10px;margin:0 4px 0 10px}
svg{display:block;font-size:11px}
text{fill:#1d2733}.heading{font-weight:600;font-size:12px}.small{fill:#55606e}.label{fill:#fff;font-size:9px}.tick{fill:#7b8794;font-size:10px;text-anchor:middle}
.grid{stroke:#edf0f4}.violation{stroke:#b3182b;stroke-width:2}
.serving{fill:#7fc49b;background:#7fc49b}.starting{fill:#f1dd8b;background:#f1dd8b}.paused{fill:#b79be0;background:#b79be0}.down{fill:#c9ced6;background:#c9ced6}
.crash{fill:#b3182b;color:#b3182b;font-weight:700;font-size:13px;text-anchor:middle}
.phase{fill:#8795a8}.led{fill:#3d6fb4;background:#3d6fb4}.cut{fill:#d9534f;background:#d9534f}
.done{fill:#5aa877;background:#5aa877}.refused{fill:#8795a8;background:#8795a8}.notnow{fill:#e2c044;background:#e2c044}.lost{fill:#e0812e;background:#e0812e}.open{fill:#c0392b;background:#c0392b}
details{margin:12px 0}pre,table{font:12px/1.4 ui-monospace,monospace}td{padding:0 12px 0 0;vertical-align:top;white-space:pre-wrap}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_lane_per_node_its_crashes_its_leaders_the_cuts_and_the_clients() {
        let trace: Vec<String> =
            "0.000000 director Setup\n0.000000 node1 starts\n0.000000 node2 starts\n0.400000 node1 serves\n\
            0.500000 raft group 2 is led by node1 in term 4\n0.600000 network cut node1 -> node2\n\
            1.000000 writer0 node1 200000us /v1/api/sql {\"sql\":\"SELECT '<b>'\"} -> NotNow\n\
            2.000000 node1 crashes: Power\n3.000000 VIOLATION row 7 is lost\n3.000000 director Over\n"
                .lines()
                .map(str::to_owned)
                .collect();
        let texts = Texts { title: "seed 7".into(), verdict: "row 7 is lost".into(), ..Texts::default() };
        let page = html(&texts, &trace);
        for part in [
            "data-lane=\"node1\"",
            "data-lane=\"node2\"",
            "data-lane=\"writer0\"",
            "node1 crashes: Power at 2.000000 s",
            "node1 leads group 2 in term 4, 0.500000 s to 2.000000 s",
            "nothing passes from node1 to node2",
            "SELECT &#39;&lt;b&gt;&#39;",
            "class=\"notnow\"",
            "class=\"violation\"",
            "<p class=\"broken\">row 7 is lost</p>",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("src=") && !page.contains("href="));
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    }
}
