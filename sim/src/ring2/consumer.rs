//! Consumers of the events: two of one group ack by hand, late, out of order and twice; one of another group acks with its consume.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_sim::plan::PARTITIONS;
use serde_json::{Value, json};

use super::session::{Reply, Session, number, rows_of, text};
use super::setup::{self, READER};
use super::shared::{Phase, Run};

/// The group that acks by hand.
pub const BY_HAND: &str = "hand";
/// How long a claim lasts, in microseconds: `topics.visibility_timeout` of the servers.
const VISIBILITY: i64 = 400_000;
/// The group whose consumes ack what they return.
pub const AT_ONCE: &str = "once";

/// One message, as it is compared: whose, what, and all of its content.
fn identity(user: &str, change: &str, key: &str, payload: &str) -> String {
    format!("{user}/{key} {change} {payload}")
}

/// A message of the HTTP endpoint.
pub fn identity_of(message: &Value) -> String {
    let text = |name: &str| message[name].as_str().unwrap_or("?");
    identity(text("user"), text("op"), text("key"), text("payload"))
}

fn service(run: &Rc<Run>, name: String) -> Session {
    Session::new(run, name, READER, setup::password(READER))
}

/// A consumer of the group that acks by hand.
pub async fn ack_by_hand(run: Rc<Run>, number: usize) {
    let name = format!("consumer{number}");
    let mut session = service(&run, name.clone());
    let mut partition = u32::try_from(number).unwrap_or(0);
    // Acks that are still to be sent.
    let mut held: Vec<(u32, u64)> = Vec::new();
    while run.phase() < Phase::Verify && !run.is_broken() {
        partition = (partition + 1) % PARTITIONS;
        run.pause(session.rng().below(run.plan.consume_pause * 2)).await;
        let limit = 1 + session.rng().below(run.plan.consume_limit);
        let body = json!({"topic_id": "w.events", "group_id": BY_HAND, "partition_id": partition, "start": "Earliest", "limit": limit, "consumer_id": name});
        let since = run.earliest_log_time();
        match session.post("/v1/api/topics/consume", &body, None).await {
            Reply::Done(answer) => {
                let given = take(&run, partition, &answer);
                run.claims.borrow_mut().give(number, partition, given.iter().copied(), since);
                if let Some(last) = given.last() {
                    held.push((partition, *last));
                }
            }
            Reply::Refused { state, message } => {
                run.violation(format!("{name}: consume of partition {partition} was refused: {state} {message}"));
            }
            Reply::NotNow => {}
            Reply::Lost | Reply::Open => run.claims.borrow_mut().lose_consume(number, partition),
        }
        while !held.is_empty() && !session.rng().chance(run.plan.ack_delayed) {
            let at = usize::try_from(session.rng().below(held.len() as u64)).unwrap_or(0);
            let (partition, upto) = held.swap_remove(at);
            ack(&run, &mut session, number, partition, upto).await;
            if session.rng().chance(run.plan.ack_repeated) {
                run.mark("acks_repeated");
                held.push((partition, upto));
            }
        }
    }
}

/// Looks at what a consume of one partition returned; answers the offsets.
fn take(run: &Run, partition: u32, answer: &Value) -> Vec<u64> {
    let mut given: Vec<u64> = Vec::new();
    for message in answer["messages"].as_array().into_iter().flatten() {
        let offset = message["offset"].as_u64().unwrap_or(u64::MAX);
        if let Some(last) = given.last().filter(|last| offset <= **last) {
            run.violation(format!("partition {partition}: offset {offset} came after {last}"));
        }
        given.push(offset);
        run.deliver(partition, offset, &identity_of(message));
        run.mark("messages_by_hand");
    }
    given
}

async fn ack(run: &Rc<Run>, session: &mut Session, number: usize, partition: u32, upto: u64) {
    let consumer = session.name().to_owned();
    let mark = run.committed.borrow().get(&partition).copied();
    let body = json!({"topic_id": "w.events", "group_id": BY_HAND, "partition_id": partition, "upto_offset": upto, "consumer_id": consumer});
    let must_fail = run.claims.borrow_mut().ack(number, partition, upto);
    let reply = session.post("/v1/api/topics/ack", &body, None).await;
    let must_have_failed = must_fail && run.claims.borrow().is_anothers(number, partition, upto);
    match &reply {
        Reply::Lost | Reply::Open => run.claims.borrow_mut().lose_ack(number, partition),
        reply => run.claims.borrow_mut().end_ack(number, partition, matches!(reply, Reply::Done(_))),
    }
    match reply {
        Reply::Done(answer) => {
            run.mark("acks");
            if must_have_failed {
                run.violation(format!(
                    "{consumer}: an ack of partition {partition} up to {upto} was taken, though that was given to another consumer"
                ));
            }
            if mark.is_some_and(|mark| upto < mark) {
                run.mark("acks_below_the_mark");
            }
            see_offset(run, partition, mark, answer["committed_offset"].as_u64(), "an ack's answer");
        }
        Reply::Refused { state, .. } if state == "CONFLICT" => {
            run.mark("acks_of_lost_claims");
            if must_fail {
                run.mark("acks_refused_as_they_should_be");
            }
        }
        Reply::Refused { state, message } => {
            run.violation(format!(
                "{consumer}: ack of partition {partition} up to {upto} was refused: {state} {message}"
            ));
        }
        // It is not repeated: another ack or the claim's end settles it.
        Reply::NotNow | Reply::Lost | Reply::Open => run.mark("acks_unknown"),
    }
}

/// A committed offset is never below one that anyone was told before it was asked for.
pub fn see_offset(run: &Run, partition: u32, mark: Option<u64>, committed: Option<u64>, place: &str) {
    if committed < mark {
        run.violation(format!(
            "partition {partition}: {place} says {committed:?}, {mark:?} was committed before: the offset moved back"
        ));
    }
    if let Some(committed) = committed {
        let latest = run.latest_log_time();
        if let Some(offset) = run.claims.borrow().jumped_over(partition, committed, latest, VISIBILITY) {
            run.violation(format!(
                "partition {partition}: {place} says {committed}, though offset {offset} is under a live claim and was not acked"
            ));
        }
        let mut marks = run.committed.borrow_mut();
        let mark = marks.entry(partition).or_insert(committed);
        *mark = (*mark).max(committed);
    }
}

/// The consumer of the group whose consumes ack: under request ids, so every message comes exactly once, whatever answers are lost.
pub async fn ack_at_once(run: Rc<Run>) {
    let mut session = service(&run, "auto".to_owned());
    let mut given: BTreeMap<(u32, u64), String> = BTreeMap::new();
    let mut empty = 0;
    while empty < 2 && !run.is_broken() {
        let over = run.phase() >= Phase::Verify;
        if !over {
            run.pause(session.rng().below(run.plan.consume_pause * 2)).await;
        }
        let limit = 1 + session.rng().below(run.plan.consume_limit);
        let limit = if over { 500 } else { limit };
        let sql = format!("CONSUME FROM w.events GROUP '{AT_ONCE}' FROM EARLIEST LIMIT {limit}");
        let id = session.request_id();
        let answer = match session.insist(&sql, &json!([]), Some(&id), None).await {
            Reply::Done(answer) => answer,
            Reply::Refused { state, message } => {
                return run.violation(format!("auto: consume was refused: {state} {message}"));
            }
            Reply::NotNow | Reply::Lost | Reply::Open => return,
        };
        let rows = rows_of(&answer);
        empty = if over && rows.is_empty() { empty + 1 } else { 0 };
        for row in rows {
            let (partition, offset) = place(&row);
            let payload = payload_text(row.get(4));
            let identity = identity(text(&row, 6), text(&row, 7), text(&row, 3), &payload);
            run.deliver(partition, offset, &identity);
            run.mark("messages_at_once");
            if given.insert((partition, offset), identity).is_some() {
                run.violation(format!(
                    "auto: partition {partition} offset {offset} was given twice to the group '{AT_ONCE}'"
                ));
            }
        }
    }
    if run.is_broken() {
        return;
    }
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for (partition, offset) in given.keys() {
        let due = next.entry(*partition).or_default();
        if offset != due {
            run.violation(format!(
                "auto: partition {partition} offset {due} was acked for the group '{AT_ONCE}' and never given to it"
            ));
            return;
        }
        *due += 1;
    }
}

fn place(row: &[Value]) -> (u32, u64) {
    (u32::try_from(number(row, 1)).unwrap_or(u32::MAX), u64::try_from(number(row, 2)).unwrap_or(u64::MAX))
}

/// BYTES come as numbers in SQL and as base64 over HTTP: both as base64.
fn payload_text(cell: Option<&Value>) -> String {
    let bytes: Vec<u8> = cell
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
        .collect();
    encode(&bytes)
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([0, 0].iter()).take(3).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        for place in 0..4 {
            let digit = usize::try_from((word >> (18 - 6 * place)) & 63).unwrap_or(0);
            let digit = if place > chunk.len() { b'=' } else { DIGITS.get(digit).copied().unwrap_or(b'?') };
            out.push(char::from(digit));
        }
    }
    out
}

/// Bytes of base64, for payloads of the HTTP endpoint.
pub fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        word = (word << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((word >> bits) & 0xFF).unwrap_or(0));
        }
    }
    bytes
}
