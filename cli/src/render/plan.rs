//! A plan as a tree of its steps, from EXPLAIN's JSON; of one that ran, where its time went.

use serde_json::{Map, Value};

use crate::terminal::Style;

use super::cell::on_one_line;

/// What a step is called, and those below it.
const STEP: &str = "step";
const BELOW: &str = "below";
/// What was counted of it.
const RAN: &str = "ran";

const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";
const RED: &str = "31";
const YELLOW: &str = "33";

/// The tree; `None` if this is no plan.
pub(crate) fn plan(document: &Value, style: Style) -> Option<String> {
    let top = document.as_object()?;
    let drawing = Drawing { style, whole: micros(top) };
    let mut out = String::new();
    drawing.step(top, "", "", &mut out)?;
    Some(out)
}

struct Drawing {
    style: Style,
    /// Microseconds of all steps, if they ran.
    whole: Option<u64>,
}

impl Drawing {
    /// `mark` goes before the step, `indent` before what belongs to it.
    fn step(&self, step: &Map<String, Value>, mark: &str, indent: &str, out: &mut String) -> Option<()> {
        let below: Vec<&Map<String, Value>> = below(step).collect();
        let edge = if mark.is_empty() { String::new() } else { self.style.paint(DIM, mark) };
        let title = on_one_line(step.get(STEP)?.as_str()?);
        out.push_str(&format!("{edge}{}\n", self.style.paint(BOLD, &title)));
        let stem = self.style.paint(DIM, &format!("{indent}{}", if below.is_empty() { "    " } else { "│   " }));
        for (name, value) in step.iter().filter(|(name, _)| ![STEP, BELOW].contains(&name.as_str())) {
            let text = value.as_str().map_or_else(|| value.to_string(), on_one_line);
            let value = if name == RAN { self.ran(step, &text) } else { text };
            out.push_str(&format!("{stem}{} {value}\n", self.style.paint(DIM, &format!("{name}:"))));
        }
        for (at, inner) in below.iter().enumerate() {
            let (corner, line) = if at + 1 == below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.step(inner, &format!("{indent}{corner}"), &format!("{indent}{line}"), out)?;
        }
        Some(())
    }

    /// What was counted of a step, with its own share of the time.
    fn ran(&self, step: &Map<String, Value>, text: &str) -> String {
        let (Some(whole @ 1..), Some(own)) = (self.whole, micros(step)) else { return self.style.paint(CYAN, text) };
        let share = own.saturating_sub(below(step).map(inner_micros).sum()) * 100 / whole;
        let colour = match share {
            50.. => RED,
            20.. => YELLOW,
            _ => CYAN,
        };
        self.style.paint(colour, &format!("{text} ({share} % of the time here)"))
    }
}

fn below(step: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    step.get(BELOW).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Microseconds of a step with those below: `3 rows, 40 bytes, 120 us in 2 runs`.
fn micros(step: &Map<String, Value>) -> Option<u64> {
    let (before, _) = step.get(RAN)?.as_str()?.split_once(" us")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Those of a step, or of the first below it that tell theirs.
fn inner_micros(step: &Map<String, Value>) -> u64 {
    micros(step).unwrap_or_else(|| below(step).map(inner_micros).sum())
}
