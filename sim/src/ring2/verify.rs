//! The final look, with nothing failing any more: every promise that a client can check, on everything there is.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_sim::linear::{self, Verdict};
use highwater_sim::model::{Message, check_messages};
use highwater_sim::plan::{PARTITIONS, REGISTERS};
use serde_json::{Value, json};

use super::consumer;
use super::governor;
use super::lister;
use super::payer;
use super::prober;
use super::session::{Reply, Session, number};
use super::setter;
use super::setup;
use super::shared::{Run, now_micros, pause};
use super::watcher::{self, Chains};
use super::writer;

/// Steps that the search for an order of one key's history may take.
const BUDGET: u64 = 400_000;
/// How long the replicas of a cluster that nobody writes to may take to be equal, in microseconds.
const CONVERGES: u64 = 60_000_000;

/// Rows, counters, registers, messages, offsets and hash chains, on every node. `when` says which look this is.
pub async fn everything(run: &Rc<Run>, when: &str) -> Result<(), String> {
    run.tell("verify", || when.to_owned());
    look(run).await.map_err(|reason| format!("{when}: {reason}"))
}

async fn look(run: &Rc<Run>) -> Result<(), String> {
    let users: Vec<String> = run.rows.borrow().keys().cloned().collect();
    for node in run.members() {
        for user in &users {
            writer::check_all(run, user, node).await?;
        }
    }
    for node in run.members() {
        let mut root = setup::root(run, &format!("verify{node}")).at(node);
        counters(run, &mut root).await?;
        payer::look(run, &mut root).await?;
        for id in 0..REGISTERS {
            setter::read(run, &mut root, id).await?;
        }
        events(run, &mut root).await?;
        counts(run, &mut root).await?;
        watcher::look(run, &mut root).await?;
        if run.founders() > 1 {
            lister::check(run, node).await?;
            prober::look(run, node).await?;
            governor::check(run, &mut root).await?;
        }
        if run.is_broken() {
            return Ok(());
        }
    }
    histories(run)?;
    equal_replicas(run).await
}

/// Every shared row's history has an order that explains it.
fn histories(run: &Run) -> Result<(), String> {
    for ((table, key), history) in run.histories.borrow().iter() {
        match linear::check(history, Some(0), BUDGET) {
            Verdict::Linearizable => run.mark("histories_linearizable"),
            Verdict::Undecided => run.mark("histories_undecided"),
            Verdict::Broken(why) => return Err(format!("w.{table} id {key} is not linearizable: {why}")),
        }
        run.mark_times("operations_in_histories", history.len() as u64);
    }
    Ok(())
}

/// With nobody writing, all replicas come to the same index, and there to the same hash chain (which every look compares). The meta group has
/// one on every node, each other group as many as should vote: who has a seat only shows none.
async fn equal_replicas(run: &Rc<Run>) -> Result<(), String> {
    if run.founders() == 1 {
        return Ok(());
    }
    let since = now_micros();
    loop {
        let mut states = Vec::new();
        for node in run.members() {
            let mut root = setup::root(run, &format!("replica{node}")).at(node);
            states.push(watcher::chains(run, &mut root).await?);
        }
        let lost = (0..run.nodes()).filter(|node| !run.is_gone(*node)).count().saturating_sub(states.len());
        if let Some(replicas) = equal(&states, lost) {
            run.mark_times("replicas_compared", replicas);
            return Ok(());
        }
        if run.is_broken() {
            return Ok(());
        }
        if now_micros() > since + CONVERGES {
            return Err(format!("the replicas differ {} s after the last write: {states:?}", CONVERGES / 1_000_000));
        }
        pause(50_000).await;
    }
}

/// How many replicas the nodes have, if all those of a group are equal and there are as many as there should be. Besides, so many members
/// have `lost` their disks: what of a group was there is missing.
fn equal(states: &[Chains], lost: usize) -> Option<u64> {
    let mut groups: BTreeMap<u64, Vec<&(u64, String)>> = BTreeMap::new();
    for (group, chain) in states.iter().flatten() {
        groups.entry(*group).or_default().extend(chain);
    }
    let all_answered = states.iter().all(|state| !state.is_empty());
    let are_equal = groups.iter().all(|(group, replicas)| {
        let due = governor::keepers(*group, states.len() + lost);
        let at_most = due.min(states.len());
        (due - lost.min(due)..=at_most).contains(&replicas.len())
            && replicas.iter().all(|replica| replicas.first() == Some(replica))
    });
    (all_answered && are_equal).then(|| groups.values().map(|replicas| replicas.len() as u64).sum())
}

async fn counters(run: &Rc<Run>, root: &mut Session) -> Result<(), String> {
    let rows = root.rows("SELECT id, n FROM w.counters ORDER BY id", &json!([])).await?;
    let counters = run.counters.borrow().clone();
    if rows.len() != counters.len() {
        return Err(format!("there are {} counters, not {}", rows.len(), counters.len()));
    }
    for (row, (id, counter)) in rows.iter().zip(&counters) {
        let value = u64::try_from(number(row, 1)).unwrap_or(u64::MAX);
        if number(row, 0) != *id || !counter.may_end_at(value) {
            return Err(format!("counter {id} stands at {value}; {counter:?}"));
        }
        // From here on the value is known.
        if let Some(counter) = run.counters.borrow_mut().get_mut(id) {
            counter.acknowledged = value;
            counter.unknown = 0;
        }
    }
    Ok(())
}

/// Every message of a topic, partition by partition.
async fn read_topic(
    run: &Rc<Run>,
    root: &mut Session,
    topic: &str,
    partitions: u32,
) -> Result<Vec<(u32, Value)>, String> {
    let mut all = Vec::new();
    for partition in 0..partitions {
        let mut next = 0_u64;
        loop {
            let body = json!({"topic_id": topic, "partition_id": partition, "start": {"Offset": next}, "limit": 200});
            let answer = match root.post("/v1/api/topics/consume", &body, None).await {
                Reply::Done(answer) => answer,
                Reply::Refused { state, message } => {
                    return Err(format!("{topic} partition {partition}: {state} {message}"));
                }
                Reply::NotNow | Reply::Lost | Reply::Open if run.is_broken() => return Ok(all),
                Reply::NotNow | Reply::Lost | Reply::Open => continue,
            };
            let messages = answer["messages"].as_array().cloned().unwrap_or_default();
            let Some(last) = messages.last() else { break };
            next = last["offset"].as_u64().unwrap_or(u64::MAX).saturating_add(1);
            all.extend(messages.into_iter().map(|message| (partition, message)));
        }
    }
    Ok(all)
}

/// The row that a message carries.
pub fn payload(message: &Value) -> Value {
    let bytes = consumer::decode(message["payload"].as_str().unwrap_or_default());
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

/// A whole number of it.
pub fn field(payload: &Value, name: &str) -> i64 {
    let cell = &payload[name];
    cell.as_i64().or_else(|| cell.as_str().and_then(|text| text.parse().ok())).unwrap_or(i64::MIN)
}

async fn events(run: &Rc<Run>, root: &mut Session) -> Result<(), String> {
    let raw = read_topic(run, root, "w.events", PARTITIONS).await?;
    let mut messages = Vec::new();
    for (partition, message) in raw {
        let offset = message["offset"].as_u64().unwrap_or(u64::MAX);
        run.deliver(partition, offset, &consumer::identity_of(&message));
        let payload = payload(&message);
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let message = Message {
            partition,
            offset,
            user: text("user"),
            change: text("op"),
            key: field(&payload, "id"),
            version: field(&payload, "v"),
        };
        if !writer::is_body(payload["body"].as_str().unwrap_or_default(), &message.user, message.key, message.version) {
            return Err(format!("the payload of partition {partition} offset {offset} is {payload}"));
        }
        messages.push(message);
    }
    if !run.is_broken() {
        let ends = run.delivered.borrow().len();
        if ends != messages.len() {
            return Err(format!("{ends} messages were delivered, {} are there: some are gone", messages.len()));
        }
        check_messages(&run.rows.borrow(), &messages)?;
        run.mark_most("messages_checked", messages.len() as u64);
    }
    Ok(())
}

/// Each addition has one message, and they come in order: 1, 2, 3 ...
async fn counts(run: &Rc<Run>, root: &mut Session) -> Result<(), String> {
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for (partition, message) in
        read_topic(run, root, "w.counts", u32::try_from(setup::COUNT_PARTITIONS).unwrap_or(0)).await?
    {
        let payload = payload(&message);
        let (id, value) = (field(&payload, "id"), field(&payload, "n"));
        let before = last.insert(id, value).unwrap_or(0);
        if value != before + 1 {
            return Err(format!("w.counts partition {partition}: counter {id} goes from {before} to {value}"));
        }
    }
    for (id, counter) in run.counters.borrow().iter() {
        let told = last.get(id).copied().unwrap_or(0);
        if u64::try_from(told) != Ok(counter.acknowledged) && !run.is_broken() {
            return Err(format!("counter {id} stands at {}; its messages end at {told}", counter.acknowledged));
        }
    }
    Ok(())
}
