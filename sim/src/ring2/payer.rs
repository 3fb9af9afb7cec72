//! Clients that move amounts between accounts of one shared table by transactions: in one text, with and without a look at the accounts
//! before, and in sessions. The sum of the accounts never changes, whoever looks and whenever; a row that every transaction counts in
//! says that each took effect once, and those that were refused never.

use std::rc::Rc;

use serde_json::{Value, json};

use super::session::{Reply, Session, number};
use super::setup;
use super::shared::Run;

/// Payers.
pub const PAYERS: usize = 2;
/// Accounts, numbered from 0.
const ACCOUNTS: u64 = 4;
/// What an account begins with.
const BEGINS_WITH: i64 = 100;
/// The row that counts transactions.
const COUNT: i64 = 100;
/// SQLSTATE of a transaction that met somebody else's change.
const CONFLICT: &str = "40001";

/// What sets the table up.
pub fn statements() -> Vec<String> {
    let mut statements = vec!["CREATE SHARED TABLE w.accounts (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)".to_owned()];
    let accounts = (0..ACCOUNTS).map(|id| format!("INSERT INTO w.accounts (id, n) VALUES ({id}, {BEGINS_WITH})"));
    statements.extend(accounts);
    statements.push(format!("INSERT INTO w.accounts (id, n) VALUES ({COUNT}, 0)"));
    statements
}

/// What became of a transaction.
enum Outcome {
    Applied,
    Refused,
    /// The run is over.
    Unknown,
}

/// One payment.
struct Payment {
    from: i64,
    to: i64,
    amount: i64,
}

/// Carries out a payer's payments.
pub async fn pay(run: Rc<Run>, number: usize) {
    let name = format!("payer{number}");
    let mut session = setup::root(&run, &name);
    for pause in run.plan.payments.get(number).into_iter().flatten() {
        run.pause(*pause).await;
        let outcome = one(&run, &mut session).await;
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("{name}: {reason}"));
        }
    }
}

async fn one(run: &Rc<Run>, session: &mut Session) -> Result<(), String> {
    let rng = session.rng();
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    let payment = Payment { from: from.cast_signed(), to: to.cast_signed(), amount: 1 + rng.below(9).cast_signed() };
    let manner = rng.below(10);
    run.payments.borrow_mut().begun += 1;
    let outcome = match manner {
        0..4 => in_one_text(session, &payment, false).await?,
        4..6 => in_one_text(session, &payment, true).await?,
        _ => in_a_session(run, session, &payment).await?,
    };
    settle(run, &outcome);
    if session.rng().chance(0.3) { look(run, session).await } else { Ok(()) }
}

fn settle(run: &Run, outcome: &Outcome) {
    let mut payments = run.payments.borrow_mut();
    match outcome {
        Outcome::Applied => {
            payments.acknowledged += 1;
            run.mark("payments_made");
            run.acknowledge_write();
        }
        Outcome::Refused => {
            payments.begun -= 1;
            run.mark("payments_refused");
        }
        Outcome::Unknown => payments.unknown += 1,
    }
}

/// A text from BEGIN to COMMIT, sent until it is answered.
async fn in_one_text(session: &mut Session, payment: &Payment, looks: bool) -> Result<Outcome, String> {
    let Payment { from, to, amount } = payment;
    let add = |id: &i64, amount: i64| format!("UPDATE w.accounts SET n = n + {amount} WHERE id = {id}");
    let mut parts = vec!["BEGIN".to_owned()];
    if looks {
        parts.push("SELECT sum(n) FROM w.accounts WHERE id < 100".to_owned());
        parts.extend(["SAVEPOINT s".to_owned(), add(from, 1_000), "ROLLBACK TO s".to_owned()]);
    }
    parts.extend([add(from, -amount), add(to, *amount), add(&COUNT, 1), "COMMIT".to_owned()]);
    let request = session.request_id();
    match session.insist(&parts.join("; "), &json!([]), Some(&request), None).await {
        Reply::Done(answer) => {
            let seen = answer["results"][1]["rows"][0].as_array().map(|row| number(row, 0));
            match seen {
                Some(sum) if looks && sum != BEGINS_WITH * ACCOUNTS.cast_signed() => {
                    Err(format!("a transaction saw accounts of {sum} in all"))
                }
                _ => Ok(Outcome::Applied),
            }
        }
        Reply::Refused { state, .. } if state == CONFLICT => Ok(Outcome::Refused),
        Reply::Refused { state, message } => Err(format!("a transaction was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(Outcome::Unknown),
    }
}

/// Statement by statement: what is written was reckoned here from what was read.
async fn in_a_session(run: &Rc<Run>, session: &mut Session, payment: &Payment) -> Result<Outcome, String> {
    let Reply::Done(begun) = session.sql("BEGIN", &json!([]), None, None).await else {
        return Ok(Outcome::Refused);
    };
    let Some(id) = begun["session_id"].as_str() else {
        return Err(format!("BEGIN was answered without a session: {begun}"));
    };
    session.stay_within(Some(id.to_owned()));
    let outcome = statements_of(run, session, payment).await;
    session.stay_within(None);
    outcome
}

async fn statements_of(run: &Rc<Run>, session: &mut Session, payment: &Payment) -> Result<Outcome, String> {
    let mut values = [0; 3];
    let changes = [(payment.from, -payment.amount), (payment.to, payment.amount), (COUNT, 1)];
    for ((id, change), value) in changes.iter().zip(values.iter_mut()) {
        let sql = "SELECT n FROM w.accounts WHERE id = $1";
        let Some(answer) = step(session, sql, &json!([id])).await? else { return give_up(run, session).await };
        *value = answer["results"][0]["rows"][0].as_array().map_or(0, |row| number(row, 0)) + change;
    }
    for ((id, _), value) in changes.iter().zip(values) {
        let sql = "UPDATE w.accounts SET n = $2 WHERE id = $1";
        if step(session, sql, &json!([id, value])).await?.is_none() {
            return give_up(run, session).await;
        }
    }
    let request = session.request_id();
    match session.insist("COMMIT", &json!([]), Some(&request), None).await {
        Reply::Done(_) => {
            run.mark("sessions_committed");
            Ok(Outcome::Applied)
        }
        Reply::Refused { state, .. } if state == CONFLICT => Ok(Outcome::Refused),
        Reply::Refused { state, message } => Err(format!("COMMIT was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(Outcome::Unknown),
    }
}

/// A statement of the session. None where the session is lost, or may be.
async fn step(session: &mut Session, sql: &str, params: &Value) -> Result<Option<Value>, String> {
    match session.sql(sql, params, None, None).await {
        Reply::Done(answer) => Ok(Some(answer)),
        Reply::Refused { state, .. } if state == CONFLICT => Ok(None),
        Reply::Refused { state, message } => Err(format!("{sql} in a session was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(None),
    }
}

/// What was not committed never takes effect, whether it is rolled back or left behind.
async fn give_up(run: &Rc<Run>, session: &mut Session) -> Result<Outcome, String> {
    run.mark("sessions_given_up");
    if session.rng().chance(0.5) {
        let _ = session.sql("ROLLBACK", &json!([]), None, None).await;
    }
    Ok(Outcome::Refused)
}

/// The accounts at one moment.
pub async fn look(run: &Rc<Run>, session: &mut Session) -> Result<(), String> {
    let before = *run.payments.borrow();
    let rows = session.rows("SELECT id, n FROM w.accounts ORDER BY id", &json!([])).await;
    if run.is_broken() {
        return Ok(());
    }
    let rows: Vec<(i64, i64)> = rows?.iter().map(|row| (number(row, 0), number(row, 1))).collect();
    let sum: i64 = rows.iter().filter(|(id, _)| *id != COUNT).map(|(_, n)| n).sum();
    let count = rows.iter().find(|(id, _)| *id == COUNT).map_or(-1, |(_, n)| *n);
    let now = *run.payments.borrow();
    if sum != BEGINS_WITH * ACCOUNTS.cast_signed() {
        return Err(format!("node {} shows accounts of {sum} in all: {rows:?}", session.node() + 1));
    }
    if !u64::try_from(count).is_ok_and(|count| now.may_read(&before, count)) {
        return Err(format!(
            "node {} counts {count} transactions; {} were acknowledged before, {} begun by now",
            session.node() + 1,
            before.acknowledged,
            now.begun
        ));
    }
    run.mark("accounts_looked_at");
    Ok(())
}
