//! The look at everything while nobody works: what each node has, against the other nodes and against what the clients know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_sim::linear::{self, Act, Verdict};
use serde_json::{Value, json};

use crate::client::{Client, Reply, number};
use crate::consumers::{AT_ONCE, BY_HAND, identity_of};
use crate::patience::Patience;
use crate::stage::{PARTITIONS, Stage};
use crate::{Failure, lock};

/// Longer than a statement whose client is gone may still come to be applied.
const PATIENCE: Duration = Duration::from_secs(30);
/// Steps of the search for an order of one register's history.
const BUDGET: u64 = 3_000_000;
/// Nodes that keep a group other than the meta group, where there are as many.
const KEEPERS: usize = 3;
/// Messages of one page.
const PAGE: i64 = 5000;

/// What a node shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    rows: BTreeMap<String, Vec<i64>>,
    registers: Vec<(i64, i64)>,
    /// By partition, in order of offsets from 0.
    topic: BTreeMap<u32, Vec<String>>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub rows: usize,
    pub messages: usize,
}

/// Looks at everything and tells the history what is wrong.
pub fn everything(stage: &Stage) -> Result<Looked, Failure> {
    let nodes = stage.site.0.len();
    let mut patience = Patience::new(PATIENCE, Duration::from_millis(200));
    let contents = loop {
        let all: Vec<Contents> = (0..nodes).map(|node| contents(stage, node)).collect::<Result<_, _>>()?;
        let differ = all.windows(2).position(|pair| pair.first() != pair.last());
        let (Some(first), None) = (all.first(), differ) else {
            // A statement whose client has given up may be applied between two looks, but not for long.
            if !patience.waits() {
                let at = differ.unwrap_or(0);
                stage.history.violation(format!("nodes {} and {} show different contents", at + 1, at + 2));
                return Ok(Looked::default());
            }
            continue;
        };
        break Contents { rows: first.rows.clone(), registers: first.registers.clone(), topic: first.topic.clone() };
    };
    rows(stage, &contents);
    topic(stage, &contents);
    offsets(stage)?;
    registers(stage, &contents);
    same_chains(stage)?;
    let messages = contents.topic.values().map(Vec::len).sum();
    Ok(Looked { rows: contents.rows.values().map(Vec::len).sum(), messages })
}

/// Waits until both groups have been given everything that the topic has.
pub fn drained(stage: &Stage) -> Result<(), Failure> {
    let mut patience = Patience::new(PATIENCE, Duration::from_millis(20));
    let mut service = Client::new(&stage.site, "service", 0);
    for partition in 0..PARTITIONS {
        loop {
            if stage.history.is_broken() {
                return Ok(());
            }
            let (committed, _) = stage.history.marks(partition);
            let given = lock(&stage.history.topic).get(&partition).map_or(0, |delivered| delivered.at_once);
            let next = committed.map_or(0, |committed| committed + 1);
            if next == given && page(&mut service, partition, next)?.is_empty() {
                break;
            }
            if !patience.waits() {
                stage.history.violation(format!(
                    "partition {partition}: after {PATIENCE:?} without a fault its groups have not been given everything: '{BY_HAND}' has committed {committed:?}, '{AT_ONCE}' was given everything below {given}"
                ));
                return Ok(());
            }
        }
    }
    Ok(())
}

fn page(client: &mut Client, partition: u32, from: i64) -> Result<Vec<Value>, Failure> {
    let body = json!({"topic_id": "k.events", "partition_id": partition, "start": {"Offset": from}, "limit": PAGE});
    let mut last = String::new();
    for _ in 0..20 {
        match client.post("/v1/api/topics/consume", &body) {
            Reply::Done(answer) => return Ok(answer["messages"].as_array().cloned().unwrap_or_default()),
            other => last = format!("{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("partition {partition} cannot be read from {from} on node {}: {last}", client.node() + 1).into())
}

/// Everything that a node shows.
fn contents(stage: &Stage, node: usize) -> Result<Contents, Failure> {
    let mut contents = Contents::default();
    for user in stage.owners() {
        let mut client = Client::new(&stage.site, user, node);
        let rows = client.rows("SELECT n FROM k.rows", &json!([]))?;
        contents.rows.insert(user.clone(), rows.iter().filter_map(|row| row.first()).map(number).collect());
    }
    let mut service = Client::new(&stage.site, "service", node);
    let registers = service.rows("SELECT id, v FROM k.registers ORDER BY id", &json!([]))?;
    contents.registers = registers.iter().filter_map(|row| Some((number(row.first()?), number(row.get(1)?)))).collect();
    for partition in 0..PARTITIONS {
        let messages = contents.topic.entry(partition).or_default();
        loop {
            let next = i64::try_from(messages.len())?;
            let found = page(&mut service, partition, next)?;
            for (message, due) in found.iter().zip(next..) {
                let offset = number(&message["offset"]);
                if offset != due {
                    stage.history.violation(format!(
                        "partition {partition} on node {}: offset {offset} where {due} was due",
                        node + 1
                    ));
                }
                messages.push(identity_of(message));
            }
            if found.is_empty() {
                break;
            }
        }
    }
    Ok(contents)
}

/// Every acknowledged row is there, none is there twice, none is there that nobody sent.
fn rows(stage: &Stage, contents: &Contents) {
    let history = &stage.history;
    let known = lock(&history.rows).clone();
    for (user, rows) in &contents.rows {
        let present: BTreeSet<i64> = rows.iter().copied().collect();
        if present.len() != rows.len() {
            let twice: Vec<i64> =
                rows.iter().zip(rows.iter().skip(1)).filter(|(one, other)| one == other).map(|(n, _)| *n).collect();
            history.violation(format!("{user}: rows are there twice: {twice:?}"));
        }
        let known = known.get(user).cloned().unwrap_or_default();
        let lost: Vec<&i64> = known.acknowledged.difference(&present).collect();
        if !lost.is_empty() {
            history.violation(format!("{user}: acknowledged and lost: {lost:?}"));
        }
        let is_known = |n: &i64| known.acknowledged.contains(n) || known.open.contains(n);
        let invented: Vec<&i64> = present.iter().filter(|n| !is_known(n)).collect();
        if !invented.is_empty() {
            history.violation(format!("{user}: never inserted, or refused, and yet there: {invented:?}"));
        }
    }
}

/// Every row has one message and the other way round, and every offset holds what was delivered there.
fn topic(stage: &Stage, contents: &Contents) {
    let history = &stage.history;
    let mut messages: BTreeMap<&str, (u32, usize)> = BTreeMap::new();
    for (partition, identities) in &contents.topic {
        for (offset, identity) in identities.iter().enumerate() {
            if let Some(first) = messages.insert(identity, (*partition, offset)) {
                history.violation(format!("{identity} has two messages: {first:?} and {:?}", (*partition, offset)));
            }
        }
    }
    let rows: BTreeSet<String> =
        contents.rows.iter().flat_map(|(user, rows)| rows.iter().map(move |n| format!("{user}/{n}"))).collect();
    for row in rows.iter().filter(|row| !messages.contains_key(row.as_str())) {
        history.violation(format!("{row} is there without its message"));
    }
    for message in messages.keys().filter(|message| !rows.contains(**message)) {
        history.violation(format!("{message} has a message without its row"));
    }
    let delivered = lock(&history.topic).clone();
    for (partition, delivered) in &delivered {
        for (offset, identity) in &delivered.at {
            let is = usize::try_from(*offset).ok().and_then(|at| contents.topic.get(partition)?.get(at));
            if is != Some(identity) {
                history
                    .violation(format!("partition {partition} offset {offset} was delivered as {identity}, is {is:?}"));
            }
        }
    }
}

/// No committed offset is lower than anyone was told, on any node.
fn offsets(stage: &Stage) -> Result<(), Failure> {
    for node in 0..stage.site.0.len() {
        let mut root = Client::new(&stage.site, "root", node);
        let sql = "SELECT partition_id, last_acked_offset FROM system.topic_offsets WHERE group_id = $1 AND topic_id = 'k.events'";
        let rows = root.rows(sql, &json!([BY_HAND]))?;
        for partition in 0..PARTITIONS {
            let row = rows.iter().find(|row| row.first().map(number) == Some(i64::from(partition)));
            let committed = row.and_then(|row| row.get(1)).map(number).filter(|offset| *offset >= 0);
            let (before, _) = stage.history.marks(partition);
            stage.history.see_committed(partition, before, committed, "system.topic_offsets");
        }
    }
    Ok(())
}

/// The history of each register of this round has an order that explains it and ends with what is there now.
fn registers(stage: &Stage, contents: &Contents) {
    let history = &stage.history;
    for id in stage.registers() {
        let Some((_, value)) = contents.registers.iter().find(|(register, _)| *register == id) else {
            history.violation(format!("register {id} is gone"));
            continue;
        };
        let call = history.now();
        history.record(id, "the final look", call, true, Act::Read(Some(*value)));
        let entries = lock(&history.registers).remove(&id).unwrap_or_default();
        match linear::check(&entries, Some(0), BUDGET) {
            Verdict::Linearizable => {}
            Verdict::Broken(why) => history.violation(format!("register {id} is not linearizable: {why}")),
            Verdict::Undecided => {
                history.counts.undecided.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// All nodes that keep a group come to the same index of it, with the same chain of hashes over all effects. The meta group is kept by every
/// node, each other one by as many as should vote: the others say that they have a seat only.
fn same_chains(stage: &Stage) -> Result<(), Failure> {
    let sql = "SELECT group_id, last_applied, state_hash, state FROM system.cluster_groups ORDER BY group_id";
    let nodes = stage.site.0.len();
    let due = |group: i64| if group == 0 { nodes } else { nodes.min(KEEPERS) };
    let mut patience = Patience::new(PATIENCE, Duration::from_millis(50));
    loop {
        let mut chains: BTreeMap<(i64, i64), BTreeSet<String>> = BTreeMap::new();
        let mut indexes: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for node in 0..nodes {
            let mut root = Client::new(&stage.site, "root", node);
            for row in root.rows(sql, &json!([]))? {
                let [group, applied, chain, state] = row.as_slice() else { return Err("system.cluster_groups".into()) };
                let (group, applied) = (number(group), number(applied));
                let replicas = indexes.entry(group).or_default();
                if state.as_str() != Some("seat") {
                    chains.entry((group, applied)).or_default().insert(chain.to_string());
                    replicas.push(applied);
                }
            }
        }
        if let Some(((group, index), _)) = chains.iter().find(|(_, chains)| chains.len() > 1) {
            stage.history.violation(format!("group {group} differs between nodes at index {index}: {chains:?}"));
            return Ok(());
        }
        let is_odd = |group: i64, indexes: &[i64]| {
            indexes.len() != due(group) || indexes.iter().any(|index| indexes.first() != Some(index))
        };
        let Some((group, applied)) = indexes.iter().find(|(group, indexes)| is_odd(**group, indexes)) else {
            return Ok(());
        };
        if !patience.waits() {
            let due = due(*group);
            stage.history.violation(format!(
                "group {group}: after {PATIENCE:?} its {due} replicas have applied up to {applied:?}"
            ));
            return Ok(());
        }
    }
}
