//! What a check found: how much was looked at, how many promises were broken, and the first ten of them by name.

use serde_json::{Value, json};

/// Violations that are named; the others are counted.
const NAMED: usize = 10;

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was compared, as pairs of a name and a count, in the order in which it is shown.
    pub(crate) facts: Vec<(&'static str, u64)>,
    /// Broken promises.
    pub(crate) violations: u64,
    /// The first of them, one sentence each.
    pub(crate) named: Vec<String>,
}

impl Verdict {
    /// A broken promise; its sentence is made only if it is shown.
    pub(crate) fn violation(&mut self, sentence: impl FnOnce() -> String) {
        self.violations += 1;
        if self.named.len() < NAMED {
            self.named.push(sentence());
        }
    }

    /// A count to be shown.
    pub(crate) fn fact(&mut self, name: &'static str, count: usize) {
        self.facts.push((name, count as u64));
    }

    /// For people, with a line's end.
    pub(crate) fn text(&self) -> String {
        let facts: Vec<String> = self.facts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let mut text = format!("verified: {}; violations {}\n", facts.join(", "), self.violations);
        for sentence in &self.named {
            text.push_str(&format!("  VIOLATION: {sentence}\n"));
        }
        let hidden = self.violations - self.named.len() as u64;
        if hidden > 0 {
            text.push_str(&format!("  and {hidden} more\n"));
        }
        text
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, count)| (name.replace(' ', "_"), json!(count))).collect();
        json!({"facts": facts, "violations": self.violations, "first_violations": self.named})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn the_first_ten_are_named_and_all_are_counted() {
        let mut verdict = Verdict::default();
        verdict.fact("rows found", 12);
        (0..12).for_each(|number| verdict.violation(|| format!("row {number} is lost")));
        let text = verdict.text();
        assert!(text.starts_with("verified: rows found 12; violations 12\n"), "{text}");
        assert!(
            text.contains("row 9 is lost") && !text.contains("row 10") && text.ends_with("  and 2 more\n"),
            "{text}"
        );
        assert_eq!(verdict.to_json()["facts"]["rows_found"], 12);
    }
}
