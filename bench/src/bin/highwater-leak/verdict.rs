//! Whether an answer is one that the user may get.

use highwater_bench::daemon::Reply;
use serde_json::Value;

use crate::act::{Act, Right, Way};
use crate::mark::owners;

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be; whether it shows marks.
    Fine {
        /// Of those who may be seen.
        marks: bool,
    },
    /// A leak, or a right given or withheld against the rules.
    Violation(String),
}

/// Holds an answer against what may come of the act.
pub(crate) fn judge(act: &Act, reply: &Reply) -> Verdict {
    let shown = owners(&payloads(&reply.text));
    let foreign: Vec<_> = shown.difference(&act.visible).collect();
    if !foreign.is_empty() {
        return Verdict::Violation(format!("the answer shows marks of {foreign:?}"));
    }
    if reply.status >= 500 && reply.status != 503 {
        return Verdict::Violation(format!("status {}", reply.status));
    }
    match act.right {
        Right::MayNot if reply.status == 200 => Verdict::Violation("it should have been refused".into()),
        Right::May if reply.status == 403 || state(&reply.text).as_deref() == Some("42501") => {
            Verdict::Violation("a right was withheld".into())
        }
        Right::MayNot if matches!(act.way, Way::Post { .. }) && reply.status != 403 => {
            Verdict::Violation(format!("status {} in place of 403", reply.status))
        }
        Right::May | Right::MayNot => Verdict::Fine { marks: !shown.is_empty() },
    }
}

/// The body, and behind it the payloads of messages, which are encoded.
fn payloads(body: &str) -> String {
    use base64::Engine as _;
    let mut text = body.to_owned();
    let Ok(answer) = serde_json::from_str::<Value>(body) else { return text };
    for message in answer.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let payload = message.get("payload").and_then(Value::as_str).unwrap_or_default();
        if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(payload) {
            text += &String::from_utf8_lossy(&bytes);
        }
    }
    text
}

/// An error's SQLSTATE.
pub(crate) fn state(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let details: Value = serde_json::from_str(answer.get("error")?.get("details")?.as_str()?).ok()?;
    details.get("sqlstate")?.as_str().map(str::to_owned)
}

/// The rows of an answer's results as texts; in order, or sorted.
pub(crate) fn rows(reply: &Reply, is_ordered: bool) -> Vec<String> {
    let answer: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    let results = answer.get("results").and_then(Value::as_array).into_iter().flatten();
    let rows = results.filter_map(|result| result.get("rows").and_then(Value::as_array)).flatten();
    let mut rows: Vec<String> = rows.map(Value::to_string).collect();
    if !is_ordered {
        rows.sort();
    }
    rows.push(format!("status {}", reply.status));
    rows
}
