//! Looks at the system tables again and again: committed offsets never go back, and a group's hash chain at an index is always the same.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::consumer::{BY_HAND, see_offset};
use super::governor;
use super::session::{Reply, Session, number, rows_of, text};
use super::setup;
use super::shared::{Phase, Run};

/// Looks until the load is over.
pub async fn watch(run: Rc<Run>) {
    let mut session = setup::root(&run, "watcher");
    while run.phase() < Phase::Verify && !run.is_broken() {
        run.pause(run.plan.watch_pause).await;
        // Whoever is cut off must not tell what was.
        session.turn_away();
        if let Err(reason) = look(&run, &mut session).await {
            run.violation(reason);
        }
    }
}

/// One look at offsets and hash chains. Without an answer nothing is seen.
pub async fn look(run: &Rc<Run>, session: &mut Session) -> Result<(), String> {
    if offsets(run, session, None).await? { chains(run, session).await.map(|_| ()) } else { Ok(()) }
}

/// Looks at the committed offsets; whether there was an answer.
pub async fn offsets(run: &Rc<Run>, session: &mut Session, patience: Option<u64>) -> Result<bool, String> {
    let marks = run.committed.borrow().clone();
    let sql = format!(
        "SELECT partition_id, last_acked_offset FROM system.topic_offsets WHERE group_id = '{BY_HAND}' AND topic_id = 'w.events'"
    );
    match session.sql(&sql, &json!([]), None, patience).await {
        Reply::Done(answer) => {
            let rows = rows_of(&answer);
            for (partition, mark) in &marks {
                let row = rows.iter().find(|row| number(row, 0) == i64::from(*partition));
                let committed = row.and_then(|row| u64::try_from(number(row, 1)).ok());
                see_offset(run, *partition, Some(*mark), committed, "system.topic_offsets");
            }
        }
        Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => return Ok(false),
    }
    Ok(true)
}

/// Per group: what a node has applied, and its hash chain there; `None` of a group that other nodes keep.
pub type Chains = BTreeMap<u64, Option<(u64, String)>>;

/// Looks at the groups of the node that the session asks. Without an answer there is nothing.
pub async fn chains(run: &Rc<Run>, session: &mut Session) -> Result<Chains, String> {
    let sql = "SELECT group_id, last_applied, state_hash, current_term, current_leader, peers, state FROM system.cluster_groups";
    match session.sql(sql, &json!([]), None, None).await {
        Reply::Done(answer) => see_chains(run, &rows_of(&answer)),
        Reply::Refused { state, message } => Err(format!("{sql} was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(Chains::new()),
    }
}

fn see_chains(run: &Run, rows: &[Vec<Value>]) -> Result<Chains, String> {
    let mut seen = Chains::new();
    let mut chains = run.chains.borrow_mut();
    for row in rows {
        let (group, applied) = (number(row, 0).unsigned_abs(), number(row, 1).unsigned_abs());
        let chain = text(row, 2).to_owned();
        let is_seat = governor::is_seat(row, 6);
        seen.insert(group, (!is_seat).then(|| (applied, chain.clone())));
        if row.get(5).is_some_and(|peers| peers.to_string().contains("snapshot")) {
            run.mark("snapshots_seen_under_way");
        }
        // A seat's term is of the time when the group was here, its leader is what other nodes have told since.
        if is_seat {
            run.mark("seats_seen");
        } else if let (Ok(term), Ok(leader @ 1..)) = (u64::try_from(number(row, 3)), usize::try_from(number(row, 4))) {
            run.see_leader(group, term, leader - 1);
        }
        let before = chains.insert((group, applied), chain.clone());
        if let Some(before) = before {
            if before != chain {
                return Err(format!(
                    "group {group} at index {applied}: its hash chain was {before}, now it is {chain}"
                ));
            }
            run.mark("hash_chains_compared");
        }
    }
    Ok(seen)
}
