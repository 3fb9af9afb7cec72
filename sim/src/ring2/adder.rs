//! A client that adds 1 to counters that all share: a doubled or lost addition shows in the sum.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_sim::linear::Act;
use highwater_sim::model::Counter;
use highwater_sim::plan::{Action, Manner};
use serde_json::{Value, json};

use super::session::{Reply, Session, changed, number, rows_of};
use super::setup::{self, COUNT_PARTITIONS};
use super::shared::{Run, now_micros, pause};
use super::verify::{field, payload};

/// The table of the counters.
pub const COUNTERS: &str = "counters";

/// Probability that an addition is an upsert, which finds the row and changes it.
const UPSERTS: f64 = 0.4;
/// Such an addition; it returns what it left.
const UPSERT: &str =
    "INSERT INTO w.counters (id, n) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1 RETURNING n";
/// The others: of one row, one that asks the row's own shard when it is applied, and one whose row is read with another shard's beforehand.
const PLAIN: [&str; 4] = [
    "UPDATE w.counters SET n = n + 1 WHERE id = $1",
    "UPDATE w.counters SET n = n + 1 WHERE id = $1",
    "UPDATE w.counters SET n = (SELECT c.n FROM w.counters c WHERE c.id = $1) + 1 WHERE id = $1",
    "UPDATE w.counters SET n = n + 1 FROM w.registers r WHERE counters.id = $1 AND r.id = 0",
];
/// SQLSTATE of a request id that is too old to tell.
const REQUEST_EXPIRED: &str = "55P04";
/// Such an age, in milliseconds: more than is remembered, and than clocks jump.
const FORGOTTEN_MILLIS: u128 = 900_000;
/// Probability that an acknowledged addition is looked for in the topic.
const FOLLOWS: f64 = 0.3;

/// How far an adder has read the counters' topic, and what it last said of each counter.
#[derive(Default)]
struct Follower {
    next: [u64; COUNT_PARTITIONS],
    last: BTreeMap<i64, i64>,
}

impl Follower {
    /// What was acknowledged on any node can be consumed on any node at once.
    async fn follow(&mut self, run: &Rc<Run>, session: &mut Session, id: i64) -> Result<(), String> {
        let due = counter(run, id, |counter| counter.acknowledged);
        for (partition, next) in self.next.iter_mut().enumerate() {
            loop {
                let body = json!({"topic_id": "w.counts", "partition_id": partition, "start": {"Offset": *next}, "limit": 100});
                let answer = match session.post("/v1/api/topics/consume", &body, None).await {
                    Reply::Done(answer) => answer,
                    Reply::Refused { state, message } => return Err(format!("{body} was refused: {state} {message}")),
                    Reply::NotNow | Reply::Lost | Reply::Open => return Ok(()),
                };
                let messages = answer["messages"].as_array().cloned().unwrap_or_default();
                let Some(last) = messages.last() else { break };
                *next = last["offset"].as_u64().unwrap_or(u64::MAX).saturating_add(1);
                for message in &messages {
                    let payload = payload(message);
                    self.last.insert(field(&payload, "id"), field(&payload, "n"));
                }
            }
        }
        run.mark("consumed_once_acknowledged");
        let told = self.last.get(&id).copied().unwrap_or(0);
        if u64::try_from(told).is_ok_and(|told| told >= due) {
            return Ok(());
        }
        Err(format!(
            "{due} additions were acknowledged when a consume at node {} began, and it ends at {told}",
            session.node() + 1
        ))
    }
}

/// Carries out an adder's operations.
pub async fn add(run: Rc<Run>, number: usize) {
    let user = setup::adder(number);
    let mut session = setup::session(&run, &user);
    let mut follower = Follower::default();
    for operation in run.plan.adders.get(number).into_iter().flatten().filter(|operation| !operation.is_left_out) {
        run.pause(operation.pause).await;
        let outcome = match &operation.action {
            Action::Add(counter) => add_one(&run, &mut session, *counter, operation.manner, &mut follower).await,
            Action::Look(counter) => {
                let late = add_too_late(&run, &mut session, *counter).await;
                if late.is_ok() { look(&run, &mut session, *counter).await } else { late }
            }
            _ => Ok(()),
        };
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("{user}: {operation:?}: {reason}"));
        }
    }
}

fn counter<T>(run: &Run, id: i64, change: impl FnOnce(&mut Counter) -> T) -> T {
    change(run.counters.borrow_mut().entry(id).or_default())
}

async fn add_one(
    run: &Rc<Run>,
    session: &mut Session,
    id: i64,
    manner: Manner,
    follower: &mut Follower,
) -> Result<(), String> {
    let upsert = session.rng().chance(UPSERTS);
    let at = usize::try_from(session.rng().below(PLAIN.len() as u64)).unwrap_or(0);
    let sql = if upsert { UPSERT } else { PLAIN.get(at).copied().unwrap_or_default() };
    let before = counter(run, id, |counter| {
        counter.begun += 1;
        *counter
    });
    let call = now_micros();
    let reply = match manner {
        Manner::Retry | Manner::Impatient(_) => {
            let request = session.request_id();
            let patience = if let Manner::Impatient(patience) = manner { Some(patience) } else { None };
            session.insist(sql, &json!([id]), Some(&request), patience).await
        }
        Manner::Once => session.sql(sql, &json!([id]), None, None).await,
    };
    match reply {
        Reply::Done(answer) if changed(&answer) == 1 => {
            run.acknowledge_write();
            run.acknowledged_at(session.node());
            run.record(COUNTERS, id, session.name(), call, true, Act::Add(1));
            let now = counter(run, id, |counter| {
                counter.acknowledged += 1;
                *counter
            });
            if upsert {
                run.mark("upserts_returned");
                returned(&before, &now, &answer)?;
            }
            if session.rng().chance(FOLLOWS) { follower.follow(run, session, id).await } else { Ok(()) }
        }
        Reply::Done(answer) => Err(format!("{} rows were changed; it should be 1", changed(&answer))),
        Reply::Refused { state, message } => Err(format!("it was refused: {state} {message}")),
        Reply::NotNow => {
            counter(run, id, |counter| counter.begun -= 1);
            Ok(())
        }
        Reply::Lost | Reply::Open => {
            run.mark("additions_unknown");
            run.record(COUNTERS, id, session.name(), call, false, Act::Add(1));
            counter(run, id, |counter| counter.unknown += 1);
            Ok(())
        }
    }
}

/// What an upsert returns is the counter as it left it: behind all that was acknowledged before, and before all that was not begun.
fn returned(before: &Counter, now: &Counter, answer: &Value) -> Result<(), String> {
    let value = rows_of(answer).first().map_or(i64::MIN, |row| number(row, 0));
    match u64::try_from(value) {
        Ok(value) if value > before.acknowledged && value <= now.begun => Ok(()),
        _ => Err(format!("the upsert returned {value}; before: {before:?}, after: {now:?}")),
    }
}

/// An addition under a request id of which nobody remembers whether it was applied is refused, and changes nothing.
async fn add_too_late(run: &Rc<Run>, session: &mut Session, id: i64) -> Result<(), String> {
    let request = session.request_id_of(FORGOTTEN_MILLIS);
    match session.sql("UPDATE w.counters SET n = n + 1 WHERE id = $1", &json!([id]), Some(&request), None).await {
        Reply::Refused { state, .. } if state == REQUEST_EXPIRED => {
            run.mark("expired_requests_refused");
            Ok(())
        }
        Reply::Refused { state, message } => Err(format!("an expired request was refused with {state} {message}")),
        Reply::Done(_) => Err("an expired request was carried out".to_owned()),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(()),
    }
}

/// A read is linearizable: everything acknowledged before it is in it, nothing is that was not begun.
async fn look(run: &Rc<Run>, session: &mut Session, id: i64) -> Result<(), String> {
    let (before, call, rows) = loop {
        let (before, call) = (counter(run, id, |counter| *counter), now_micros());
        match session.sql("SELECT n FROM w.counters WHERE id = $1", &json!([id]), None, None).await {
            Reply::Done(answer) => break (before, call, rows_of(&answer)),
            Reply::Refused { state, message } => return Err(format!("it was refused: {state} {message}")),
            Reply::NotNow | Reply::Lost | Reply::Open if run.is_broken() => return Ok(()),
            Reply::NotNow | Reply::Lost | Reply::Open => pause(10_000).await,
        }
    };
    let value = rows.first().map_or(i64::MIN, |row| number(row, 0));
    let now = counter(run, id, |counter| *counter);
    run.mark("reads_checked");
    run.read_at(session.node());
    run.record(COUNTERS, id, session.name(), call, true, Act::Read(Some(value)));
    match u64::try_from(value) {
        Ok(value) if now.may_read(&before, value) => Ok(()),
        _ => Err(format!("counter {id} reads {value}; before: {before:?}, after: {now:?}")),
    }
}
