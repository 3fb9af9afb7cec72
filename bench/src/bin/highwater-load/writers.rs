//! Threads that insert and threads that select: one connection each, one operation at a time.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::client::{Client, Outcome};
use crate::ledger::{Entry, Fate, Ledger};
use crate::measure::{Event, Kind, Recorder, lock};
use crate::plan::mix;
use crate::stage::Stage;
use crate::violation::Verdict;

/// Stream of draws for request ids; the plan's are below.
const STREAM: u64 = 200;

/// Inserts until the run is over; gives what became of the inserts when somebody wants to know.
pub(crate) fn insert(stage: &Stage, mut client: Client<'_>, recorder: &Recorder) -> Ledger {
    let mut ledger = Ledger::default();
    while let Some(turn) = stage.take(Kind::Insert, recorder) {
        let place = stage.plan.insert(turn.number);
        let body = json!({
            "sql": stage.schema.insert(place.user),
            "params": [place.id, stage.run, stage.unix(turn.start), stage.plan.body(place.id)],
            "request_id": request_id(stage, turn.number),
        });
        let sent = stage.ticket();
        let outcome = send(stage, &mut client, recorder, Kind::Insert, turn.start, &body);
        count(stage, recorder, Kind::Insert, turn.start, &outcome);
        if stage.has_ledger {
            let fate = match outcome {
                Outcome::Answered(_) => Fate::Acknowledged,
                Outcome::Refused { .. } => Fate::Refused,
                Outcome::Unknown { .. } => Fate::Unknown,
            };
            ledger.enter(place.id, Entry { user: place.user, fate, sent, answered: stage.ticket() });
        }
    }
    ledger
}

/// Selects until the run is over; a row that is missing or wrong is an error, and a violation.
pub(crate) fn select(stage: &Stage, mut client: Client<'_>, recorder: &Recorder, verdict: &Mutex<Verdict>) {
    while let Some(turn) = stage.take(Kind::Select, recorder) {
        let place = stage.plan.select(turn.number);
        let body = json!({"sql": stage.schema.select(place.user), "params": [place.id]});
        let started = turn.start;
        let outcome = send(stage, &mut client, recorder, Kind::Select, started, &body);
        let Outcome::Answered(answer) = &outcome else {
            count(stage, recorder, Kind::Select, started, &outcome);
            continue;
        };
        let rows = answer.pointer("/results/0/rows").and_then(Value::as_array);
        let text = answer.pointer("/results/0/rows/0/0").and_then(Value::as_str);
        let is_right = rows.is_some_and(|rows| rows.len() == 1) && text == Some(stage.plan.body(place.id).as_str());
        if is_right {
            count(stage, recorder, Kind::Select, started, &outcome);
        } else {
            recorder.count(Kind::Select, Event::Refused("WRONG_ROW"), stage.is_measured(started));
            let found = rows.map_or(0, Vec::len);
            lock(verdict).violation(|| {
                format!("row {} of user {} was read as {found} rows, or with another text", place.id, place.user)
            });
        }
    }
}

/// Sends a statement and counts its retries.
fn send(
    stage: &Stage,
    client: &mut Client<'_>,
    recorder: &Recorder,
    kind: Kind,
    started: u64,
    body: &Value,
) -> Outcome {
    let is_measured = stage.is_measured(started);
    client.send("/v1/api/sql", body, &stage.stop, |code| recorder.count(kind, Event::Retry(code), is_measured))
}

/// Counts how a request ended.
pub(crate) fn count(stage: &Stage, recorder: &Recorder, kind: Kind, started: u64, outcome: &Outcome) {
    let nanos = stage.now().saturating_sub(started);
    let event = match outcome {
        Outcome::Answered(_) => Event::Done(nanos),
        Outcome::Refused { code, .. } => Event::Refused(code),
        Outcome::Unknown { code, .. } => Event::GivenUp(code, nanos),
    };
    recorder.count(kind, event, stage.is_measured(started));
}

/// A ULID of this moment; the rest of it from the run's name and the operation's number, so that no two are the same.
fn request_id(stage: &Stage, number: u64) -> String {
    let run = stage.run.bytes().fold(0, |hash, byte| mix(hash, STREAM, u64::from(byte)));
    let random = (u128::from(mix(run, STREAM, number)) << 16) | u128::from(number & 0xFFFF);
    ulid::Ulid::from_parts(stage.unix(stage.now()) / 1000, random).to_string()
}
