//! Reading back every row that a run inserted, user by user, in pages.

use serde_json::{Value, json};

use crate::client::{Client, Outcome};
use crate::failure::Failure;
use crate::ledger::FoundRow;
use crate::plan::Place;
use crate::stage::Stage;

/// Bytes of text that a page should not exceed.
const PAGE_BYTES: usize = 8 << 20;

/// All rows of the run.
pub(crate) fn rows(stage: &Stage, client: &mut Client<'_>) -> Result<Vec<FoundRow>, Failure> {
    let limit = (PAGE_BYTES / (stage.plan.payload_bytes as usize + 100)).clamp(20, 5000);
    let mut rows = Vec::new();
    for user in 0..stage.plan.users {
        // A page starts with the last row of the one before: a copy of its key may follow.
        let (mut from, mut known) = (0, Vec::new());
        loop {
            let page = page(stage, client, user, from, limit)?;
            let is_last = page.len() < limit;
            let new: Vec<_> = page.into_iter().filter(|row| !known.contains(&(row.id, row.copy))).collect();
            rows.extend(new.iter().map(|row| FoundRow {
                place: Place { user, id: row.id },
                is_intact: row.body == stage.plan.body(row.id),
            }));
            let (Some(last), false) = (new.last().map(|row| row.id), is_last) else { break };
            if from != last {
                known.clear();
            }
            known.extend(new.iter().filter(|row| row.id == last).map(|row| (row.id, row.copy)));
            from = last;
        }
    }
    Ok(rows)
}

struct Row {
    id: i64,
    copy: i64,
    body: String,
}

fn page(stage: &Stage, client: &mut Client<'_>, user: u32, from: i64, limit: usize) -> Result<Vec<Row>, Failure> {
    let body = json!({"sql": stage.schema.read_back(user, limit), "params": [from, stage.run]});
    let failed = |message: String| Failure::Refused {
        message: format!("the rows of user {user} cannot be read back: {message}"),
        hint: Some("nothing is said about this run's inserts: they are neither found nor missing".into()),
    };
    // A run that was ended by hand is verified all the same, with the full patience.
    let answer = match client.send("/v1/api/sql", &body, &std::sync::atomic::AtomicBool::new(false), |_| {}) {
        Outcome::Answered(answer) => answer,
        Outcome::Refused { message, .. } | Outcome::Unknown { message, .. } => return Err(failed(message)),
    };
    let rows = answer.pointer("/results/0/rows").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| failed("the answer has no rows".into()))?;
    let row = |row: &Value| {
        let cell = |column: usize| row.get(column).and_then(Value::as_str);
        Some(Row { id: cell(0)?.parse().ok()?, copy: cell(1)?.parse().ok()?, body: cell(2)?.to_owned() })
    };
    rows.iter().map(row).collect::<Option<_>>().ok_or_else(|| failed("a row is not as it should be".into()))
}
