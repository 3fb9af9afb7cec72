//! A client that sets and reads registers that all share, on any node: what it saw goes into each register's history.

use std::rc::Rc;

use highwater_sim::linear::Act;
use highwater_sim::plan::{Action, Manner, REGISTERS as REGISTER_COUNT};
use serde_json::json;

use super::session::{Reply, Session, number};
use super::setup;
use super::shared::{Run, now_micros, pause};

/// The table of the registers.
pub const REGISTERS: &str = "registers";

/// What each setter sets in the morning.
const MORNING: usize = 24;
/// Microseconds before each.
const MORNING_PAUSE: u64 = 120_000;

/// Carries out a setter's operations.
pub async fn set(run: Rc<Run>, number: usize) {
    let user = setup::setter(number);
    let mut session = setup::session(&run, &user);
    for (place, operation) in run.plan.setters.get(number).into_iter().flatten().enumerate() {
        if operation.is_left_out {
            continue;
        }
        run.pause(operation.pause).await;
        let outcome = match &operation.action {
            // Nobody else sets this value.
            Action::Set(register) => {
                let value = i64::try_from(place * 10 + number + 1000).unwrap_or(0);
                set_one(&run, &mut session, *register, value, operation.manner).await
            }
            Action::Peek(register) => peek(&run, &mut session, *register).await,
            _ => Ok(()),
        };
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("{user}: {operation:?}: {reason}"));
        }
    }
}

/// Sets the registers for a few seconds, one after the other.
pub async fn set_in_the_morning(run: Rc<Run>, number: usize) {
    let user = setup::setter(number);
    let mut session = setup::session(&run, &user);
    for round in 0..MORNING {
        pause(MORNING_PAUSE).await;
        let register = i64::try_from(round).unwrap_or(0) % REGISTER_COUNT;
        let value = i64::try_from(round * 10 + number + 1_000_000).unwrap_or(0);
        let outcome = set_one(&run, &mut session, register, value, Manner::Retry).await;
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("{user}: {value} in the morning: {reason}"));
        }
    }
}

async fn set_one(run: &Rc<Run>, session: &mut Session, id: i64, value: i64, manner: Manner) -> Result<(), String> {
    let sql = "UPDATE w.registers SET v = $2 WHERE id = $1";
    let call = now_micros();
    let reply = match manner {
        Manner::Retry | Manner::Impatient(_) => {
            let request = session.request_id();
            let patience = if let Manner::Impatient(patience) = manner { Some(patience) } else { None };
            session.insist(sql, &json!([id, value]), Some(&request), patience).await
        }
        Manner::Once => session.sql(sql, &json!([id, value]), None, None).await,
    };
    let act = Act::Write(value);
    match reply {
        Reply::Done(answer) if super::session::changed(&answer) == 1 => {
            run.acknowledge_write();
            run.acknowledged_at(session.node());
            run.record(REGISTERS, id, session.name(), call, true, act);
            Ok(())
        }
        Reply::Done(answer) => Err(format!("{} rows were changed; it should be 1", super::session::changed(&answer))),
        Reply::Refused { state, message } => Err(format!("it was refused: {state} {message}")),
        Reply::NotNow => Ok(()),
        Reply::Lost | Reply::Open => {
            run.record(REGISTERS, id, session.name(), call, false, act);
            Ok(())
        }
    }
}

async fn peek(run: &Rc<Run>, session: &mut Session, id: i64) -> Result<(), String> {
    read(run, session, id).await.map(|_| ())
}

/// Reads a register into its history. Each try is a read of its own: only the last one is answered.
pub async fn read(run: &Rc<Run>, session: &mut Session, id: i64) -> Result<i64, String> {
    loop {
        let call = now_micros();
        let reply = session.sql("SELECT v FROM w.registers WHERE id = $1", &json!([id]), None, None).await;
        match reply {
            Reply::Done(answer) => {
                let rows = super::session::rows_of(&answer);
                let value = rows.first().map(|row| number(row, 0));
                run.record(REGISTERS, id, session.name(), call, true, Act::Read(value));
                run.read_at(session.node());
                return value.ok_or_else(|| format!("register {id} is gone"));
            }
            Reply::Refused { state, message } => return Err(format!("it was refused: {state} {message}")),
            Reply::NotNow | Reply::Lost | Reply::Open if run.is_broken() => return Ok(0),
            Reply::NotNow | Reply::Lost | Reply::Open => pause(10_000).await,
        }
    }
}
