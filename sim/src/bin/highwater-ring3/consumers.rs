//! Consumers of the topic that the rows feed: two of one group ack by hand, one of another group acks with its consumes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Reply, number, request_id, rows_of};
use crate::gate::Crew;
use crate::history::count;
use crate::stage::{PARTITIONS, Stage};

/// The group that acks by hand.
pub const BY_HAND: &str = "hand";
/// The group whose consumes ack.
pub const AT_ONCE: &str = "once";
/// Between two consumes of a consumer.
const PAUSE: Duration = Duration::from_millis(10);

/// Whose message it is: the user, and the row's number out of its key, a JSON array.
pub fn identity(user: &str, key: &str) -> String {
    let key: Value = serde_json::from_str(key).unwrap_or_default();
    format!("{user}/{}", number(&key[0]))
}

/// The same of a message of the HTTP endpoint.
pub fn identity_of(message: &Value) -> String {
    identity(message["user"].as_str().unwrap_or("?"), message["key"].as_str().unwrap_or("?"))
}

/// Consumes one partition after the other on one node after the other, and acks only what is known to have been delivered. A consume
/// without an answer may have claimed messages that nobody was given: it counts as a consumer that has died, and another one goes on.
pub fn ack_by_hand(stage: &Stage, consumer: u32) {
    let history = &stage.history;
    let mut client = Client::new(&stage.site, "service", consumer as usize);
    let (mut partition, mut life) = (consumer % PARTITIONS, 0);
    while stage.goes_on(Crew::Consumers) {
        std::thread::sleep(PAUSE);
        partition = (partition + 1) % PARTITIONS;
        client.turn();
        let name = format!("consumer{consumer}-{life}");
        let body = json!({"topic_id": "k.events", "group_id": BY_HAND, "partition_id": partition, "start": "Earliest", "limit": 200, "consumer_id": name});
        let answer = match client.post("/v1/api/topics/consume", &body) {
            Reply::Done(answer) => answer,
            Reply::Refused(status, answer) => {
                return history.violation(format!("consume of partition {partition}: {status} {answer}"));
            }
            Reply::NotNow | Reply::DiskFull => continue,
            Reply::Lost => {
                life += 1;
                continue;
            }
        };
        let mut last = None;
        for message in answer["messages"].as_array().into_iter().flatten() {
            let offset = number(&message["offset"]);
            if last.is_some_and(|last| offset <= last) {
                history.violation(format!("partition {partition}: offset {offset} came after {last:?}"));
            }
            last = Some(offset);
            history.deliver(partition, offset, &identity_of(message));
            history.given_by_hand(partition, offset);
        }
        let (before, complete) = history.marks(partition);
        // An ack settles everything below it, also what a dead consumer was given and its answer lost.
        let Some(upto) = last.map(|last| last.min(complete - 1)).filter(|upto| *upto >= 0) else { continue };
        let body = json!({"topic_id": "k.events", "group_id": BY_HAND, "partition_id": partition, "upto_offset": upto, "consumer_id": name});
        match client.post("/v1/api/topics/ack", &body) {
            Reply::Done(answer) => {
                count(&history.counts.acks);
                history.see_committed(partition, before, answer["committed_offset"].as_i64(), "an ack's answer");
            }
            // Its claim was over and another consumer has it.
            Reply::Refused(409, _) | Reply::NotNow | Reply::DiskFull | Reply::Lost => {}
            Reply::Refused(status, answer) => {
                history.violation(format!("ack of partition {partition} up to {upto}: {status} {answer}"));
            }
        }
    }
}

/// Consumes that ack, each under a request id until it is answered: every message comes exactly once and in order.
pub fn ack_at_once(stage: &Stage) {
    let history = &stage.history;
    let mut client = Client::new(&stage.site, "service", 2);
    let mut consumes = 0;
    while stage.goes_on(Crew::Consumers) {
        std::thread::sleep(PAUSE);
        consumes += 1;
        client.turn();
        let id = request_id(200, consumes);
        let sql = format!("CONSUME FROM k.events GROUP '{AT_ONCE}' FROM EARLIEST LIMIT 500");
        let answer = match client.insist(&sql, &json!([]), Some(&id), |_| !history.is_broken()) {
            Reply::Done(answer) => answer,
            Reply::Refused(status, answer) => {
                return history.violation(format!("a consume that acks: {status} {answer}"));
            }
            Reply::NotNow | Reply::DiskFull | Reply::Lost => return,
        };
        for row in rows_of(&answer) {
            let cell = |at: usize| row.get(at).cloned().unwrap_or_default();
            let (partition, offset) = (u32::try_from(number(&cell(1))).unwrap_or(u32::MAX), number(&cell(2)));
            let whose = identity(cell(6).as_str().unwrap_or("?"), cell(3).as_str().unwrap_or("?"));
            history.deliver(partition, offset, &whose);
            history.given_at_once(partition, offset);
        }
    }
}
