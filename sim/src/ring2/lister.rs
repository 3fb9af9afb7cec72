//! Clients that append to several lists of one user in one statement and read several in one: what they saw must have an order, over all lists
//! together (`append`). A list is a key's rows by `_seq`; its elements are the rows' second column.

use std::collections::BTreeMap;
use std::rc::Rc;

use highwater_sim::append::{self, Fate, Step, Transaction};
use serde_json::json;

use super::session::{Reply, Session, number, rows_of};
use super::setup;
use super::shared::{Run, now_micros, pause};

/// How many there are, in a cluster.
pub const LISTERS: usize = 3;
/// The user whose lists they are.
pub const USER: &str = "lister";
/// What the lists are kept in.
pub const TABLE: &str = "CREATE USER TABLE w.lists (k BIGINT, e BIGINT, PRIMARY KEY (k, e))";
/// Lists.
const KEYS: u64 = 6;
/// Statements of a client.
const STATEMENTS: i64 = 40;
/// Longest pause between two of them, in microseconds.
const PAUSE: u64 = 400_000;

fn session(run: &Rc<Run>, name: String) -> Session {
    Session::new(run, name, USER, setup::password(USER))
}

/// Appends and reads.
pub async fn append(run: Rc<Run>, client: usize) {
    let name = format!("lister{client}");
    let mut session = session(&run, name);
    for statement in 0..STATEMENTS {
        pause(session.rng().below(PAUSE)).await;
        let keys = keys(&mut session);
        let done = if session.rng().chance(0.5) {
            // Nobody else appends these elements.
            let element = statement * 10 + i64::try_from(client).unwrap_or(0) * 10_000;
            write(&run, &mut session, &keys, element).await
        } else {
            read(&run, &mut session, &keys).await
        };
        if run.is_broken() {
            return;
        }
        if let Err(reason) = done {
            return run.violation(reason);
        }
    }
}

/// One to three keys, now and then one of them twice.
fn keys(session: &mut Session) -> Vec<i64> {
    let count = 1 + session.rng().below(3);
    (0..count).map(|_| i64::try_from(session.rng().below(KEYS)).unwrap_or(0)).collect()
}

async fn write(run: &Rc<Run>, session: &mut Session, keys: &[i64], element: i64) -> Result<(), String> {
    let steps: Vec<(i64, i64)> = keys.iter().copied().zip(element..).collect();
    let rows: Vec<String> = steps.iter().map(|(key, element)| format!("({key}, {element})")).collect();
    let sql = format!("INSERT INTO w.lists (k, e) VALUES {}", rows.join(", "));
    let call = now_micros();
    let reply = if session.rng().chance(0.6) {
        let id = session.request_id();
        session.insist(&sql, &json!([]), Some(&id), None).await
    } else {
        session.sql(&sql, &json!([]), None, None).await
    };
    let fate = match reply {
        Reply::Done(_) => Fate::Committed,
        Reply::Lost | Reply::Open => Fate::Unknown,
        Reply::NotNow => Fate::Refused,
        Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
    };
    let steps = steps.into_iter().map(|(key, element)| Step::Append(key, element)).collect();
    run.transacted(session.name(), call, fate, steps);
    Ok(())
}

/// Reads these lists with one statement. Without an answer nothing is seen.
async fn read(run: &Rc<Run>, session: &mut Session, keys: &[i64]) -> Result<(), String> {
    let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let sql = format!("SELECT k, e FROM w.lists WHERE k IN ({}) ORDER BY _seq", wanted.join(", "));
    let call = now_micros();
    let answer = match session.sql(&sql, &json!([]), None, None).await {
        Reply::Done(answer) => answer,
        Reply::NotNow | Reply::Lost | Reply::Open => return Ok(()),
        Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
    };
    let mut lists: BTreeMap<i64, Vec<i64>> = keys.iter().map(|key| (*key, Vec::new())).collect();
    for row in rows_of(&answer) {
        lists.entry(number(&row, 0)).or_default().push(number(&row, 1));
    }
    let steps = lists.into_iter().map(|(key, list)| Step::Read(key, list)).collect();
    run.transacted(session.name(), call, Fate::Committed, steps);
    Ok(())
}

/// Reads every list on one node, then judges all that was seen so far.
pub async fn check(run: &Rc<Run>, node: usize) -> Result<(), String> {
    let mut session = session(run, format!("lists{node}")).at(node);
    let all: Vec<i64> = (0..KEYS).filter_map(|key| i64::try_from(key).ok()).collect();
    let before = run.transactions.borrow().len();
    while run.transactions.borrow().len() == before && !run.is_broken() {
        read(run, &mut session, &all).await?;
    }
    let transactions = run.transactions.borrow();
    run.mark_most("transactions_on_lists", transactions.len() as u64);
    match append::check(&transactions).first() {
        None => Ok(()),
        Some(finding) => Err(format!("the lists have no order that explains them: {finding}")),
    }
}

impl Run {
    /// Adds a transaction on the lists that is over now.
    fn transacted(&self, client: &str, call: u64, fate: Fate, steps: Vec<Step>) {
        let (client, answer) = (client.to_owned(), now_micros());
        self.transactions.borrow_mut().push(Transaction { client, call, answer, fate, steps });
    }
}
