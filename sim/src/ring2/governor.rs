//! The administrator of a cluster: orders what the plan says of its members while clients work, and looks at the end whether it came so.

use std::collections::BTreeSet;
use std::rc::Rc;

use highwater_sim::plan::GROUPS;
use highwater_sim::trouble::{Order, Ordered};
use serde_json::{Value, json};

use super::session::{Reply, Session, number, rows_of, text};
use super::setup;
use super::shared::{Phase, Run, now_micros, pause};
use super::troubles::Troubles;
use super::world;

/// How long the members may take to be as they were ordered, once nothing befalls anyone, in microseconds.
const SETTLES: u64 = 60_000_000;
/// Voters of a group, where there are as many members.
const VOTERS: usize = 3;
/// Members of a cluster that keep all groups; where there are more, the voters of a group other than the meta group alone keep it.
const KEEP_ALL: usize = VOTERS;
/// The group that is on every node.
const META: i64 = 0;

/// Gives the plan's orders, one after the other. What is not due before the work is done is not given.
pub async fn govern(run: Rc<Run>) {
    let mut session = setup::root(&run, "governor");
    for Ordered { after_writes, order } in &run.plan.surroundings.orders {
        run.until(|run| run.acknowledged() >= *after_writes || run.phase() > Phase::Load).await;
        if run.is_broken() || run.phase() > Phase::Load {
            return;
        }
        if let Err(reason) = give(&run, &mut session, *order).await {
            return run.violation(format!("governor: {order:?}: {reason}"));
        }
    }
    // Who leaves hands its votes to nodes that may be back for ever, so that of one that never will the cluster is told.
    let is_wanted = |run: &Run| run.any_leaves() && run.never_returns().is_some();
    run.until(|run| is_wanted(run) || run.phase() > Phase::Load).await;
    if let Some(node) = run.never_returns().filter(|_| !run.is_broken() && run.phase() == Phase::Load) {
        run.strike(node);
        if let Err(reason) = order_leave(&run, &mut session, node).await {
            run.violation(format!("governor: leave of the node that lost its disk: {reason}"));
        }
    }
}

async fn give(run: &Rc<Run>, session: &mut Session, order: Order) -> Result<(), String> {
    run.tell("governor", || format!("{order:?}"));
    match order {
        Order::Transfer(group, node) => {
            try_once(run, session, &format!("CLUSTER TRANSFER LEADER {group} TO {}", node + 1), "leads_transferred")
                .await
        }
        Order::Move(group, node) => {
            try_once(run, session, &format!("CLUSTER MOVE SHARD {group} TO {}", node + 1), "moves_ordered").await
        }
        Order::Rebalance => try_once(run, session, "CLUSTER REBALANCE", "rebalances_ordered").await,
        Order::Join => {
            let node = run.nodes();
            run.add_server(world::start_machine(node));
            run.switch_faults_of(node, true);
            Troubles::set_client_links(run, node);
            run.mark("nodes_started_to_join");
            Ok(())
        }
        Order::Leave(node) => leave(run, session, node).await,
    }
}

/// One try: whoever is asked may have good reasons not to. What it refuses it must have changed nothing of.
async fn try_once(run: &Rc<Run>, session: &mut Session, sql: &str, mark: &'static str) -> Result<(), String> {
    match session.sql(sql, &json!([]), None, None).await {
        Reply::Done(_) => run.mark(mark),
        // A node that is not there yet, leaves, was not heard of or has no vote; a group under change.
        Reply::Refused { state, .. } if matches!(state.as_str(), "55000" | "42704" | "57014") => {
            run.mark("orders_refused");
        }
        Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => run.mark("orders_without_an_answer"),
    }
    Ok(())
}

/// A member leaves once the one that joined is there: three are always left.
async fn leave(run: &Rc<Run>, session: &mut Session, node: usize) -> Result<(), String> {
    run.until(|run| run.is_serving(run.nodes() - 1) || run.phase() > Phase::Load).await;
    if run.is_broken() || run.phase() > Phase::Load || run.nodes() <= run.founders() {
        return Ok(());
    }
    // From now on it may go at any moment, whatever becomes of the answers.
    run.leaves(node);
    order_leave(run, session, node).await
}

async fn order_leave(run: &Rc<Run>, session: &mut Session, node: usize) -> Result<(), String> {
    match session.insist(&format!("CLUSTER LEAVE {}", node + 1), &json!([]), None, None).await {
        Reply::Done(_) => {
            run.mark("leaves_ordered");
            Ok(())
        }
        // It was struck off between two tries.
        Reply::Refused { state, .. } if state == "42704" => Ok(()),
        Reply::Refused { state, message } => Err(format!("it was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(()),
    }
}

/// On the session's node every group comes to be where it should: the meta group on all members, of whom as many vote as should, and the
/// others on their voters alone, if there are more members; of them this node has a seat if it is no voter, and a replica if it is one.
pub async fn check(run: &Rc<Run>, session: &mut Session) -> Result<(), String> {
    let since = now_micros();
    let wanted: BTreeSet<u64> = (0..run.nodes())
        .filter(|node| !run.is_gone(*node) && !run.is_struck(*node))
        .map(|node| node as u64 + 1)
        .collect();
    loop {
        let sql = "SELECT group_id, voters, learners, moving_to, state FROM system.cluster_groups";
        let rows = match session.sql(sql, &json!([]), None, None).await {
            Reply::Done(answer) => rows_of(&answer),
            Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
            Reply::NotNow | Reply::Lost | Reply::Open if run.is_broken() => return Ok(()),
            Reply::NotNow | Reply::Lost | Reply::Open => continue,
        };
        let odd = rows.iter().find(|row| !is_settled(row, &wanted, session.node() as u64 + 1));
        if odd.is_none() && rows.len() == usize::try_from(GROUPS).unwrap_or(0) {
            run.mark_times("memberships_compared", rows.len() as u64);
            return Ok(());
        }
        if now_micros() > since + SETTLES {
            let odd = odd.map(|row| json!(row).to_string()).unwrap_or_default();
            return Err(format!(
                "node {}: {} groups, of the members {wanted:?}: group, voters, learners, moved to, state: {odd}",
                session.node() + 1,
                rows.len()
            ));
        }
        pause(100_000).await;
    }
}

fn is_settled(row: &[Value], wanted: &BTreeSet<u64>, asked: u64) -> bool {
    let nodes = |at: usize| -> BTreeSet<u64> {
        let cell = row.get(at).cloned().unwrap_or_default();
        let listed = cell.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(cell);
        listed.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let (voters, learners) = (nodes(1), nodes(2));
    let is_moving = row.get(3).is_some_and(|cell| !cell.is_null());
    let keepers: BTreeSet<u64> = voters.union(&learners).copied().collect();
    let is_where_it_should_be = if number(row, 0) == META || wanted.len() <= KEEP_ALL {
        keepers == *wanted
    } else {
        learners.is_empty() && voters.is_subset(wanted)
    };
    number(row, 0) >= 0
        && voters.is_disjoint(&learners)
        && voters.len() == VOTERS.min(wanted.len())
        && is_where_it_should_be
        && is_seat(row, 4) != keepers.contains(&asked)
        && !is_moving
}

/// How many of so many members keep a group.
pub fn keepers(group: u64, members: usize) -> usize {
    if i64::try_from(group) == Ok(META) || members <= KEEP_ALL { members } else { VOTERS }
}

/// Whether a row of `system.cluster_groups`, with the state in this column, is of a group of which the asked node has a seat only.
pub fn is_seat(row: &[Value], state: usize) -> bool {
    text(row, state) == "seat"
}
