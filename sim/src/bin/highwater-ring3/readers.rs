//! Readers: what was acknowledged before a read began is in it, on whichever node, and nothing twice.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Reply, number, rows_of};
use crate::gate::Crew;
use crate::history::count;
use crate::lock;
use crate::stage::Stage;

/// How many of a user's last rows a read looks at.
const WINDOW: i64 = 200;
/// Between two reads.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads until it is all over: with `tokens`, those of the writers' last answers.
pub fn read(stage: &Stage, first: usize, tokens: bool) {
    let history = &stage.history;
    let mut clients: Vec<Client> =
        stage.writers.iter().enumerate().map(|(at, user)| Client::new(&stage.site, user, at + first)).collect();
    let mut turn = first;
    while stage.goes_on(Crew::Load) {
        std::thread::sleep(PAUSE);
        turn = (turn + 1) % stage.writers.len().max(1);
        let (Some(user), Some(client)) = (stage.writers.get(turn), clients.get_mut(turn)) else { return };
        client.turn();
        // What is known before the read begins, all of which it must show.
        let before = lock(&history.rows).get(user).cloned().unwrap_or_default();
        let from = before.acknowledged.last().copied().unwrap_or(0) - WINDOW;
        let due: BTreeSet<i64> =
            before.acknowledged.range((Bound::Excluded(from), Bound::Unbounded)).copied().collect();
        let token = before.token.as_deref().filter(|_| tokens);
        let reply = client.sql_after("SELECT n FROM k.rows WHERE n > $1", &json!([from]), None, token);
        let answer = match reply {
            Reply::Done(answer) => answer,
            Reply::Refused(status, answer) => {
                history.violation(format!("{user}: a read on node {}: {status} {answer}", client.node() + 1));
                return;
            }
            Reply::NotNow | Reply::DiskFull | Reply::Lost => continue,
        };
        count(if tokens { &history.counts.token_reads } else { &history.counts.reads });
        let rows: Vec<i64> = rows_of(&answer).iter().filter_map(|row| row.first()).map(number).collect();
        let found: BTreeSet<i64> = rows.iter().copied().collect();
        let place = format!("{user}: a read on node {}", client.node() + 1);
        if found.len() != rows.len() {
            history.violation(format!("{place} shows a row twice: {rows:?}"));
        }
        if let Some(lost) = due.difference(&found).next() {
            history.violation(format!("{place} is stale or a row is lost: {lost} was acknowledged before it began"));
        }
        let known = lock(&history.rows).get(user).cloned().unwrap_or_default();
        let is_known = |n: &&i64| known.acknowledged.contains(n) || known.open.contains(n);
        if let Some(invented) = found.iter().find(|n| !is_known(n)) {
            history.violation(format!("{place} shows row {invented}, which was never inserted or was refused"));
        }
    }
}
