//! What the operations of inserts, puts, updates and selects are, and what their answers must say. Their connections are a lane's.

use std::borrow::Cow;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::client::Outcome;
use crate::lane::{End, Work};
use crate::ledger::{Entry, Fate, Ledger};
use crate::measure::{Event, Kind, Recorder, lock};
use crate::plan::mix;
use crate::postgres;
use crate::stage::{Stage, Turn};
use crate::violation::Verdict;

/// Stream of draws for request ids; the plan's are below.
const STREAM: u64 = 200;

/// A statement as it is sent.
#[derive(Serialize)]
struct Statement<'a, P> {
    sql: &'a str,
    params: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl<P: Serialize> Statement<'_, P> {
    fn write(&self, out: &mut Vec<u8>) {
        // Into memory, of types that all have a JSON form.
        let _ = serde_json::to_writer(out, self);
    }
}

/// The statements of all users, made once.
fn statements(stage: &Stage, of: impl Fn(u32) -> String) -> Vec<String> {
    (0..stage.plan.users).map(of).collect()
}

fn of_user(statements: &[String], user: u32) -> &str {
    statements.get(user as usize).map_or("", String::as_str)
}

/// Inserts, and what became of them when somebody wants to know.
pub(crate) struct Inserts<'a> {
    stage: &'a Stage,
    statements: Vec<String>,
    pub(crate) ledger: Ledger,
}

impl<'a> Inserts<'a> {
    pub(crate) fn new(stage: &'a Stage) -> Self {
        let statements = statements(stage, |user| stage.schema.insert(user));
        Self { stage, statements, ledger: Ledger::default() }
    }
}

impl Work for Inserts<'_> {
    fn kind(&self, _: u64) -> Kind {
        Kind::Insert
    }

    fn is_repeatable(&self, _: u64) -> bool {
        // Only Highwater knows a request that it has seen.
        !self.stage.nodes.is_postgres()
    }

    fn request(&mut self, turn: Turn, out: &mut Vec<u8>) {
        let stage = self.stage;
        let place = stage.plan.insert(turn.number);
        let (sent_at, body) = (stage.unix(turn.start), stage.plan.body(place.id));
        if stage.nodes.is_postgres() {
            let (user, id) = (place.user.to_string(), place.id.to_string());
            return postgres::request("insert", &[&user, &id, &stage.run, &sent_at.to_string(), &body], out);
        }
        let params = (place.id, &stage.run, sent_at, body);
        let request_id = Some(request_id(stage, turn.number));
        Statement { sql: of_user(&self.statements, place.user), params, request_id }.write(out);
    }

    fn ended(&mut self, turn: Turn, sent: u64, end: End<'_>) -> Option<&'static str> {
        if self.stage.has_ledger {
            let fate = match end {
                End::Answered(_) => Fate::Acknowledged,
                End::Refused => Fate::Refused,
                End::Unknown => Fate::Unknown,
            };
            let place = self.stage.plan.insert(turn.number);
            let entry = Entry { user: place.user, fate, sent, answered: self.stage.ticket() };
            self.ledger.enter(place.id, entry);
        }
        None
    }
}

/// Writes of one row with nothing around it: new rows of a table that no topic follows, or rows of `--setup` written again.
pub(crate) struct Puts<'a> {
    stage: &'a Stage,
    kind: Kind,
    statements: Vec<String>,
    /// New keys differ from those of every other run.
    keys: crate::plan::Plan,
    has_request_ids: bool,
}

impl<'a> Puts<'a> {
    /// New rows.
    pub(crate) fn new(stage: &'a Stage, has_request_ids: bool) -> Self {
        let statements = statements(stage, |user| stage.schema.put(user));
        let keys = crate::plan::Plan { seed: mix(stage.plan.seed, STREAM, run_number(stage)), ..stage.plan };
        Self { stage, kind: Kind::Put, statements, keys, has_request_ids }
    }

    /// Rows that are there.
    pub(crate) fn again(stage: &'a Stage, has_request_ids: bool) -> Self {
        let statements = statements(stage, |user| stage.schema.update(user));
        Self { stage, kind: Kind::Update, statements, keys: stage.plan, has_request_ids }
    }
}

impl Work for Puts<'_> {
    fn kind(&self, _: u64) -> Kind {
        self.kind
    }

    fn request(&mut self, turn: Turn, out: &mut Vec<u8>) {
        let place = if self.kind == Kind::Put { self.keys.insert(turn.number) } else { self.keys.select(turn.number) };
        if self.stage.nodes.is_postgres() {
            let (user, id, body) = (place.user.to_string(), place.id.to_string(), self.stage.plan.body(place.id));
            return postgres::request(self.kind.name(), &[&user, &id, &body], out);
        }
        let params = (place.id, self.stage.plan.body(place.id));
        let request_id = self.has_request_ids.then(|| request_id(self.stage, turn.number));
        Statement { sql: of_user(&self.statements, place.user), params, request_id }.write(out);
    }

    fn is_repeatable(&self, _: u64) -> bool {
        // The same text again makes no difference.
        (self.has_request_ids && !self.stage.nodes.is_postgres()) || self.kind == Kind::Update
    }

    fn ended(&mut self, _: Turn, _: u64, _: End<'_>) -> Option<&'static str> {
        None
    }
}

/// Selects; a row that is missing or wrong is an error, and a violation.
pub(crate) struct Selects<'a> {
    stage: &'a Stage,
    statements: Vec<String>,
    verdict: &'a Mutex<Verdict>,
}

impl<'a> Selects<'a> {
    pub(crate) fn new(stage: &'a Stage, verdict: &'a Mutex<Verdict>) -> Self {
        Self { stage, statements: statements(stage, |user| stage.schema.select(user)), verdict }
    }
}

/// Code of a select that read anything but the row that the settings make.
pub(crate) const WRONG_ROW: &str = "WRONG_ROW";

/// The answer to a select.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Vec<Rows<'a>>,
}

#[derive(Debug, Deserialize)]
struct Rows<'a> {
    #[serde(borrow, default)]
    rows: Vec<Vec<Option<Cow<'a, str>>>>,
}

impl Work for Selects<'_> {
    fn kind(&self, _: u64) -> Kind {
        Kind::Select
    }

    fn request(&mut self, turn: Turn, out: &mut Vec<u8>) {
        let place = self.stage.plan.select(turn.number);
        if self.stage.nodes.is_postgres() {
            return postgres::request("select", &[&place.user.to_string(), &place.id.to_string()], out);
        }
        Statement { sql: of_user(&self.statements, place.user), params: (place.id,), request_id: None }.write(out);
    }

    fn ended(&mut self, turn: Turn, _: u64, end: End<'_>) -> Option<&'static str> {
        let End::Answered(body) = end else { return None };
        let place = self.stage.plan.select(turn.number);
        let answer = serde_json::from_slice::<Answer<'_>>(body).ok();
        let rows = answer.as_ref().and_then(|answer| answer.results.first()).map_or(&[][..], |result| &result.rows);
        let text = match rows {
            [row] => row.first().and_then(Option::as_deref),
            _ => None,
        };
        if text == Some(self.stage.plan.body(place.id).as_str()) {
            return None;
        }
        let found = rows.len();
        lock(self.verdict).violation(|| {
            format!("row {} of user {} was read as {found} rows, or with another text", place.id, place.user)
        });
        Some(WRONG_ROW)
    }
}

/// Counts how a request ended.
pub(crate) fn count(stage: &Stage, recorder: &Recorder, kind: Kind, started: u64, outcome: &Outcome) {
    let nanos = stage.now().saturating_sub(started);
    let event = match outcome {
        Outcome::Answered(_) => Event::Done { nanos, service: Some(nanos) },
        Outcome::Refused { code, .. } => Event::Refused(code),
        Outcome::Unknown { code, .. } => Event::GivenUp(code, nanos),
    };
    recorder.count(kind, event, stage.is_measured(started));
}

/// The run's name as a number.
fn run_number(stage: &Stage) -> u64 {
    stage.run.bytes().fold(0, |hash, byte| mix(hash, STREAM, u64::from(byte)))
}

/// A ULID of this moment; the rest of it from the run's name and the operation's number, so that no two are the same.
fn request_id(stage: &Stage, number: u64) -> String {
    let random = (u128::from(mix(run_number(stage), STREAM, number)) << 16) | u128::from(number & 0xFFFF);
    ulid::Ulid::from_parts(stage.unix(stage.now()) / 1000, random).to_string()
}
