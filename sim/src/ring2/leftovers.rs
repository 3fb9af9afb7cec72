//! Leads go round while nobody asks anything: afterwards every node has as many tasks as before.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_runtime::sim;
use serde_json::json;

use super::session::{Reply, Session};
use super::setup;
use super::shared::{Run, now_micros, pause};

/// Groups whose leads go round: that of the metadata, one of users' rows and one of shared ones.
const GROUPS: [u32; 3] = [0, 1, 4];
/// Microseconds between two counts.
const BETWEEN: u64 = 50_000;
/// Counts before: tasks come and go, and the most there were is what is usual.
const COUNTS: usize = 30;
/// How long tasks may take to end, in microseconds.
const ENDS: u64 = 30_000_000;
/// One seed in so many is looked at.
const ONE_IN: u64 = 3;

/// Tasks of this name belong to clients, who come and go as they like.
const OF_CLIENTS: &str = "http";

/// Per node and name: how many tasks there are.
type Tasks = BTreeMap<(usize, &'static str), u64>;

/// Looks whether changes of leaders leave tasks behind.
pub async fn look(run: &Rc<Run>) -> Result<(), String> {
    if run.founders() == 1 || !run.plan.seed.is_multiple_of(ONE_IN) {
        return Ok(());
    }
    let mut root = setup::root(run, "leftovers");
    // Once for what is made when it is first wanted.
    go_round(run, &mut root).await?;
    let mut usual = Tasks::new();
    for _ in 0..COUNTS {
        for (task, count) in count(run) {
            let most = usual.entry(task).or_default();
            *most = count.max(*most);
        }
        pause(BETWEEN).await;
    }
    for _ in 0..2 {
        go_round(run, &mut root).await?;
    }
    let since = now_micros();
    while !run.is_broken() {
        let more = count(run).into_iter().find(|(task, count)| usual.get(task).is_none_or(|usual| count > usual));
        let Some(((node, name), count)) = more else {
            run.mark("leads_gone_round");
            return Ok(());
        };
        if now_micros() > since + ENDS {
            let usual = usual.get(&(node, name)).copied().unwrap_or(0);
            return Err(format!(
                "node {}: {count} tasks \"{name}\" are there after leads went round, {usual} were before: they stay behind",
                node + 1
            ));
        }
        pause(BETWEEN).await;
    }
    Ok(())
}

fn count(run: &Run) -> Tasks {
    let of_node = |node| sim::tasks(run.machine(node)).into_iter().map(move |(name, count)| ((node, name), count));
    run.members().flat_map(of_node).filter(|((_, name), count)| *count > 0 && *name != OF_CLIENTS).collect()
}

/// Each member leads each of the groups once, where it has a vote.
async fn go_round(run: &Rc<Run>, root: &mut Session) -> Result<(), String> {
    let members: Vec<usize> = run.members().collect();
    for group in GROUPS {
        for node in &members {
            let sql = format!("CLUSTER TRANSFER LEADER {group} TO {}", node + 1);
            match root.sql(&sql, &json!([]), None, None).await {
                Reply::Done(_) => run.mark("leads_sent_round"),
                // It has no vote, or is not heard of.
                Reply::Refused { state, .. } if matches!(state.as_str(), "55000" | "57014") => {
                    run.mark("orders_refused")
                }
                Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
                Reply::NotNow | Reply::Lost | Reply::Open => run.mark("orders_without_an_answer"),
            }
            if run.is_broken() {
                return Ok(());
            }
        }
    }
    Ok(())
}
