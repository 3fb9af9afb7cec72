//! Threads that consume as members of a group: read a batch, write it down, ack it, go on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, Outcome, sleep};
use crate::consumption::{Commit, Consumption, Delivery};
use crate::failure::Failure;
use crate::measure::{Event, Kind, Recorder, lock};
use crate::plan::Place;
use crate::stage::Stage;
use crate::writers::count;

/// How long the server holds an idle request of a consumer that has one partition.
const LONG_POLL_SECONDS: u64 = 1;
/// Pause of a consumer of several partitions between two rounds without a message.
const PAUSE: Duration = Duration::from_millis(5);

/// The group and what its members share.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Where the group starts in each partition, unless it has been there before.
    pub(crate) starts: Vec<u64>,
    pub(crate) members: u32,
    /// Nobody inserts in this run: what is there is consumed, whoever inserted it.
    pub(crate) takes_all: bool,
    /// Messages asked for at a time.
    pub(crate) batch: u32,
    /// What was done; filled only when it is to be verified.
    pub(crate) consumption: Mutex<Consumption>,
    /// Raised when nothing more is to be consumed.
    pub(crate) is_over: AtomicBool,
}

/// A message as it comes.
#[derive(Debug, Deserialize)]
struct Message {
    offset: u64,
    payload: String,
    #[serde(default)]
    user: Option<String>,
}

/// What the payload of an insert holds.
#[derive(Debug, Deserialize)]
struct Payload {
    id: String,
    run: String,
    sent_at: String,
}

/// A batch that was returned.
#[derive(Debug, Deserialize)]
struct Batch {
    messages: Vec<Message>,
}

/// The end of every partition of the topic, or its beginning. Partitions are numbered from 0 without gaps, and the first one that is
/// refused is one past the last.
pub(crate) fn starts(stage: &Stage, client: &mut Client<'_>, at_end: bool) -> Result<Vec<u64>, Failure> {
    let mut starts = Vec::new();
    loop {
        let body = json!({
            "topic_id": stage.schema.topic(), "partition_id": starts.len(), "start": if at_end { "Latest" } else { "Earliest" }, "limit": 1,
            "timeout_seconds": 0,
        });
        match client.send("/v1/api/topics/consume", &body, &stage.stop, |_| {}) {
            Outcome::Answered(answer) => {
                let next = answer.get("next_offset").and_then(Value::as_u64).unwrap_or_default();
                starts.push(if at_end { next } else { 0 });
            }
            Outcome::Refused { .. } if !starts.is_empty() => return Ok(starts),
            Outcome::Refused { message, .. } | Outcome::Unknown { message, .. } => {
                return Err(Failure::Refused {
                    message: format!("topic {} cannot be consumed: {message}", stage.schema.topic()),
                    hint: Some("--setup makes it; the role must be service, dba or system".into()),
                });
            }
        }
    }
}

/// Partitions of member `number`: shared out when there are more of them than members, else one each.
fn own(number: u32, members: u32, partitions: u32) -> Vec<u32> {
    if members >= partitions {
        return vec![number % partitions.max(1)];
    }
    (number..partitions).step_by(members as usize).collect()
}

/// Consumes until the group is over.
pub(crate) fn consume(stage: &Stage, mut client: Client<'_>, recorder: &Recorder, group: &Group, number: u32) {
    let mut member = Member { stage, recorder, group, consumer: format!("{}-{number}", stage.run) };
    let own = own(number, group.members, group.starts.len() as u32);
    let can_wait = own.len() == 1 && stage.nodes.patience() > Duration::from_secs(2 * LONG_POLL_SECONDS);
    let mut wait = 0;
    while !group.is_over.load(Ordering::Relaxed) {
        let mut is_idle = true;
        for partition in &own {
            is_idle &= member.turn(&mut client, *partition, wait) == 0;
        }
        wait = if is_idle && can_wait { LONG_POLL_SECONDS } else { 0 };
        if is_idle && !can_wait {
            sleep(PAUSE, &group.is_over);
        }
    }
}

struct Member<'a> {
    stage: &'a Stage,
    recorder: &'a Recorder,
    group: &'a Group,
    consumer: String,
}

impl Member<'_> {
    /// One batch of one partition; gives how many messages it had.
    fn turn(&mut self, client: &mut Client<'_>, partition: u32, wait: u64) -> usize {
        let Self { stage, recorder, group, .. } = *self;
        let started = stage.now();
        let is_measured = stage.is_measured(started) && started < stage.bounds().1;
        let asked = stage.ticket();
        let start = group.starts.get(partition as usize).copied().unwrap_or_default();
        let body = json!({
            "topic_id": stage.schema.topic(), "group_id": group.name, "consumer_id": self.consumer, "start": {"Offset": start},
            "partition_id": partition, "limit": group.batch, "timeout_seconds": wait,
        });
        let on_retry = |code: &str| recorder.count(Kind::Consume, Event::Retry(code), is_measured);
        let outcome = client.send("/v1/api/topics/consume", &body, &stage.stop, on_retry);
        let Outcome::Answered(answer) = outcome else {
            count(stage, recorder, Kind::Consume, started, &outcome);
            // What refuses at once would be asked again at once.
            sleep(PAUSE, &group.is_over);
            return 0;
        };
        let batch = Batch::deserialize(&answer).unwrap_or(Batch { messages: Vec::new() });
        let Some(last) = batch.messages.last().map(|message| message.offset) else { return 0 };
        let mut counted = 0_usize;
        for message in &batch.messages {
            counted += usize::from(self.deliver(message, partition, asked));
        }
        self.ack(client, partition, last, is_measured);
        if wait == 0 && counted > 0 {
            recorder.count(
                Kind::Consume,
                Event::Done { nanos: stage.now().saturating_sub(started), service: None },
                is_measured,
            );
        }
        batch.messages.len()
    }

    /// Counts a message, if it is of this run, and writes it down; `false` for one that another run left behind.
    fn deliver(&self, message: &Message, partition: u32, asked: u64) -> bool {
        let Self { stage, recorder, group, .. } = *self;
        let now = stage.now();
        let payload =
            STANDARD.decode(&message.payload).ok().and_then(|json| serde_json::from_slice::<Payload>(&json).ok());
        let ours = payload.filter(|payload| payload.run == stage.run);
        let change = ours.as_ref().and_then(|payload| {
            let user = stage.schema.user_number(message.user.as_deref().unwrap_or_default());
            Some(Place { user: user.unwrap_or(u32::MAX), id: payload.id.parse().ok()? })
        });
        let is_counted = ours.is_some() || group.takes_all;
        let sent_at = ours.and_then(|payload| payload.sent_at.parse().ok()).map(|unix| stage.since_start(unix));
        match sent_at {
            Some(at) => recorder.count(
                Kind::Deliver,
                Event::Done { nanos: now.saturating_sub(at), service: None },
                stage.is_measured(at),
            ),
            None if !is_counted => {}
            None => {
                let is_measured = stage.is_measured(now) && now < stage.bounds().1;
                recorder.count(Kind::Deliver, Event::Counted, is_measured);
            }
        }
        if stage.has_ledger {
            lock(&group.consumption).deliver(Delivery { partition, offset: message.offset, change, asked });
        }
        is_counted
    }

    fn ack(&self, client: &mut Client<'_>, partition: u32, upto: u64, is_measured: bool) {
        let Self { stage, recorder, group, .. } = *self;
        let body = json!({
            "topic_id": stage.schema.topic(), "group_id": group.name, "consumer_id": self.consumer,
            "partition_id": partition, "upto_offset": upto,
        });
        let (sent, started) = (stage.ticket(), stage.now());
        let on_retry = |code: &str| recorder.count(Kind::Consume, Event::Retry(code), is_measured);
        let outcome = client.send("/v1/api/topics/ack", &body, &stage.stop, on_retry);
        let Outcome::Answered(answer) = &outcome else {
            return count(stage, recorder, Kind::Consume, started, &outcome);
        };
        // Nothing is committed as long as an earlier message is with another member.
        if let (true, Some(committed)) = (stage.has_ledger, answer.get("committed_offset").and_then(Value::as_u64)) {
            lock(&group.consumption).commit(Commit { partition, committed, sent, answered: stage.ticket() });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn every_partition_has_a_member_and_every_member_a_partition(members: u8, partitions: u8) -> bool {
            let (members, partitions) = (u32::from(members).max(1), u32::from(partitions).max(1));
            let shares: Vec<Vec<u32>> = (0..members).map(|number| own(number, members, partitions)).collect();
            let is_served = |partition| shares.iter().any(|share| share.contains(&partition));
            (0..partitions).all(is_served) && shares.iter().all(|share| !share.is_empty())
        }
    }
}
