//! Writers: each inserts rows of its own user, on the nodes by turns, with and without request ids.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Reply, request_id};
use crate::gate::Crew;
use crate::history::count;
use crate::stage::Stage;

/// The statement that writers and probes send.
pub const INSERT: &str = "INSERT INTO k.rows (n, body) VALUES ($1, $2)";
/// How many inserts a writer sends to a node that answers before it turns to the next one.
const STAYS: i64 = 10;
/// Between two inserts of a writer.
const PAUSE: Duration = Duration::from_millis(5);

/// Inserts until it is all over.
pub fn write(stage: &Stage, number: usize, with_ids: bool) {
    let Some(user) = stage.writers.get(number) else { return };
    let (history, body) = (&stage.history, "x".repeat(stage.body));
    let mut client = Client::new(&stage.site, user, number);
    let mut n = 0_i64;
    while stage.goes_on(Crew::Load) {
        std::thread::sleep(PAUSE);
        n += 1;
        if n % STAYS == 0 {
            client.turn();
        }
        history.begin(user, n);
        let params = json!([n, body]);
        let (reply, tries) = if with_ids {
            let id = request_id(u32::try_from(number).unwrap_or(0), n.unsigned_abs());
            let mut tries = 1;
            let reply = client.insist(INSERT, &params, Some(&id), |reply| {
                tries += 1;
                note(stage, reply);
                !history.is_broken()
            });
            (reply, tries)
        } else {
            (client.sql(INSERT, &params, None), 1)
        };
        note(stage, &reply);
        match reply {
            Reply::Done(answer) => {
                if tries > 1 {
                    count(&history.counts.retried);
                }
                done(stage, user, n, &answer);
            }
            Reply::Refused(status, answer) => {
                history.violation(format!("{user}: insert {n}, try {tries}: {status} {answer}"));
            }
            // Without a request id it is not sent again.
            Reply::NotNow | Reply::DiskFull => {
                history.take_back(user, n);
                client.turn();
            }
            Reply::Lost => client.turn(),
        }
    }
}

/// Counts what is no answer.
pub fn note(stage: &Stage, reply: &Reply) {
    match reply {
        Reply::Lost => count(&stage.history.counts.lost),
        Reply::DiskFull => count(&stage.history.counts.disk_full),
        Reply::Done(_) | Reply::Refused(..) | Reply::NotNow => {}
    }
}

/// An insert was acknowledged: it must have been one row.
pub fn done(stage: &Stage, user: &str, n: i64, answer: &Value) {
    let rows = &answer["results"][0]["row_count"];
    if *rows != 1 {
        stage.history.violation(format!("{user}: insert {n} was answered with {rows} rows: {answer}"));
    }
    stage.history.acknowledge(user, n, answer["token"].as_str());
}
