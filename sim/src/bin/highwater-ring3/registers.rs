//! Clients of shared registers, on all nodes: what each saw goes into the register's history, which is judged when its round is over.

use std::time::Duration;

use highwater_runtime::rng::Rng;
use highwater_sim::linear::Act;
use serde_json::json;

use crate::client::{Client, Reply, number, request_id, rows_of};
use crate::gate::Crew;
use crate::stage::Stage;
use crate::writers::note;

/// Between two operations of a client.
const PAUSE: Duration = Duration::from_millis(15);

/// Sets, adds and reads until it is all over.
pub fn operate(stage: &Stage, client_number: u32) {
    let history = &stage.history;
    let name = format!("setter{client_number}");
    let mut rng = Rng::new(u64::from(client_number) + 1);
    let mut client = Client::new(&stage.site, "service", client_number as usize);
    let mut count = 0_i64;
    while stage.goes_on(Crew::Load) {
        std::thread::sleep(PAUSE);
        count += 1;
        client.turn();
        let registers = stage.registers();
        let width = u64::try_from(registers.end - registers.start).unwrap_or(1);
        let id = registers.start + i64::try_from(rng.below(width)).unwrap_or(0);
        let (act, sql, params) = match rng.below(4) {
            // Nobody else sets this value.
            0 => {
                let value = count * 1_000_000 + i64::from(client_number) * 100_000;
                (Act::Write(value), "UPDATE k.registers SET v = $2 WHERE id = $1", json!([id, value]))
            }
            1 => (Act::Add(1), "UPDATE k.registers SET v = v + $2 WHERE id = $1", json!([id, 1])),
            _ => (Act::Read(None), "SELECT v FROM k.registers WHERE id = $1", json!([id])),
        };
        let is_read = matches!(act, Act::Read(_));
        let request = (!is_read && rng.chance(0.7)).then(|| request_id(100 + client_number, count.unsigned_abs()));
        let call = history.now();
        let reply = if request.is_some() {
            client.insist(sql, &params, request.as_deref(), |reply| {
                note(stage, reply);
                !history.is_broken()
            })
        } else {
            client.sql(sql, &params, None)
        };
        note(stage, &reply);
        match reply {
            Reply::Done(answer) if is_read => {
                let value = rows_of(&answer).first().and_then(|row| row.first()).map(number);
                history.record(id, &name, call, true, Act::Read(value));
            }
            Reply::Done(answer) => {
                let changed = &answer["results"][0]["row_count"];
                if *changed != 1 {
                    history.violation(format!("register {id}: {act:?} changed {changed} rows"));
                }
                history.record(id, &name, call, true, act);
            }
            Reply::Refused(status, answer) => {
                history.violation(format!("register {id}: {act:?}: {status} {answer}"));
            }
            Reply::NotNow | Reply::DiskFull => {}
            Reply::Lost => history.record(id, &name, call, false, act),
        }
    }
}
