//! Clients that aim at a node which is cut off or paused: it may take itself for a leader while another one leads. For as long as that
//! lasts some write through the other nodes, and others read at that node what was written just then: a read that is answered must show
//! it. Each table lies in one group, and there are enough tables that most groups have one.

use std::rc::Rc;

use highwater_sim::linear::Act;
use serde_json::json;

use super::session::{Reply, Session, changed, number, rows_of};
use super::setup;
use super::shared::{Aim, Phase, Run, now_micros, pause};
use super::watcher;

/// The tables, of one row each.
pub const TABLES: [&str; 4] = ["probe0", "probe1", "probe2", "probe3"];
/// How often they look whether there is anyone to aim at, in microseconds.
const LOOK: u64 = 20_000;
/// How long they aim at one node, in microseconds: by then it has stepped down, if it can.
const LONG_ENOUGH: u64 = 6_000_000;
/// How long a reader waits for most answers, in microseconds: a node that asks others first has none for it.
const SHORT: u64 = 150_000;

/// What sets the tables up.
pub fn statements() -> Vec<String> {
    let statements = |table: &&str| {
        [
            format!("CREATE SHARED TABLE w.{table} (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)"),
            format!("INSERT INTO w.{table} (id, v) VALUES (0, 0)"),
        ]
    };
    TABLES.iter().flat_map(statements).collect()
}

async fn session(run: &Rc<Run>, name: String) -> Session {
    let mut session = setup::root(run, &name);
    session.enter().await;
    session
}

/// At whom to aim now. Waits until there is someone; none once the load is over.
async fn aim(run: &Run, session: &mut Session, last: &mut Option<(Aim, u64)>) -> Option<Aim> {
    while run.phase() < Phase::Verify && !run.is_broken() {
        let now = now_micros();
        if let Some(aim) = run.aim() {
            let since = last.filter(|(before, _)| *before == aim).map_or(now, |(_, since)| since);
            *last = Some((aim, since));
            if now < since + LONG_ENOUGH || now + LONG_ENOUGH > aim.until && now < aim.until + LONG_ENOUGH {
                return Some(aim);
            }
        }
        pause(LOOK + session.rng().below(LOOK)).await;
    }
    None
}

/// Writes to one table through other nodes than the one that is aimed at.
pub async fn write(run: Rc<Run>, number: usize) {
    let Some(table) = TABLES.get(number) else { return };
    let (mut session, mut last) = (session(&run, format!("probing{number}")).await, None);
    let mut value = 0;
    while let Some(aim) = aim(&run, &mut session, &mut last).await {
        let others: Vec<usize> = run.members().filter(|node| *node != aim.node && run.is_serving(*node)).collect();
        let at = usize::try_from(session.rng().below(others.len().max(1) as u64)).unwrap_or(0);
        let Some(other) = others.get(at).copied() else {
            pause(LOOK).await;
            continue;
        };
        session.ask_only(other);
        value += 1;
        let (request, call) = (session.request_id(), now_micros());
        let sql = format!("UPDATE w.{table} SET v = $1 WHERE id = 0");
        let mut outcome = Reply::Open;
        while matches!(outcome, Reply::NotNow | Reply::Lost | Reply::Open) && !run.is_broken() {
            outcome = session.sql(&sql, &json!([value]), Some(&request), None).await;
            if matches!(outcome, Reply::NotNow | Reply::Lost | Reply::Open) {
                pause(LOOK).await;
                let member = run.pick_member(session.rng());
                session.ask_only(member);
            }
        }
        match outcome {
            Reply::Done(answer) if changed(&answer) == 1 => {
                run.mark("probes_written");
                run.record(table, 0, session.name(), call, true, Act::Write(value));
            }
            Reply::Done(_) => return run.violation(format!("{}: one row should be changed", session.name())),
            Reply::Refused { state, message } => {
                return run.violation(format!("{}: it was refused: {state} {message}", session.name()));
            }
            Reply::NotNow | Reply::Lost | Reply::Open => {
                run.record(table, 0, session.name(), call, false, Act::Write(value));
            }
        }
        pause(session.rng().below(2 * LOOK)).await;
    }
}

/// Reads one table at the node that is aimed at, and now and then at another one.
pub async fn read(run: Rc<Run>, number: usize) {
    let Some(table) = TABLES.get(number) else { return };
    let (mut session, mut last) = (session(&run, format!("probe{number}")).await, None);
    while let Some(aim) = aim(&run, &mut session, &mut last).await {
        let elsewhere = session.rng().chance(0.2);
        let node = if elsewhere { run.pick_member(session.rng()) } else { aim.node };
        session.ask_only(node);
        // What a paused node is asked it answers when it goes on.
        let patience = if session.rng().chance(0.4) {
            (aim.until + SHORT).saturating_sub(now_micros()).clamp(SHORT, LONG_ENOUGH)
        } else {
            SHORT
        };
        let outcome = if session.rng().chance(0.1) && number == 0 {
            offsets(&run, &mut session, patience).await
        } else {
            one(&run, &mut session, table, patience).await.map(|_| ())
        };
        if let Err(reason) = outcome {
            return run.violation(format!("{}: {reason}", session.name()));
        }
        pause(session.rng().below(LOOK)).await;
    }
}

/// One read; whether it was answered.
async fn one(run: &Rc<Run>, session: &mut Session, table: &'static str, patience: u64) -> Result<bool, String> {
    let call = now_micros();
    let sql = format!("SELECT v FROM w.{table} WHERE id = 0");
    match session.sql(&sql, &json!([]), None, Some(patience)).await {
        Reply::Done(answer) => {
            run.mark("probes_answered");
            let value = rows_of(&answer).first().map(|row| number(row, 0));
            run.record(table, 0, session.name(), call, true, Act::Read(value));
            Ok(true)
        }
        Reply::Refused { state, message } => Err(format!("{sql} was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(false),
    }
}

/// A follower that does not hear its leader must not tell offsets that were committed before.
async fn offsets(run: &Rc<Run>, session: &mut Session, patience: u64) -> Result<(), String> {
    watcher::offsets(run, session, Some(patience)).await.map(|_| ())
}

/// Reads every table on one node into its history.
pub async fn look(run: &Rc<Run>, node: usize) -> Result<(), String> {
    let mut session = session(run, format!("probe@{node}")).await;
    session.ask_only(node);
    for table in TABLES {
        while !one(run, &mut session, table, LONG_ENOUGH).await? && !run.is_broken() {}
    }
    Ok(())
}
