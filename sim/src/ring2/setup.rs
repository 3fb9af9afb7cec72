//! The database that every run works on.

use std::rc::Rc;

use highwater_sim::model::{Counter, Rows};
use highwater_sim::plan::{ADDERS, COUNTERS, PARTITIONS, REGISTERS, SETTERS, WRITERS};
use serde_json::json;

use super::keeper;
use super::lister;
use super::payer;
use super::prober;
use super::session::{Reply, Session};
use super::shared::Run;
use super::world::ROOT_PASSWORD;

/// Name of a writer, by number.
pub fn writer(number: usize) -> String {
    format!("writer{number}")
}

/// Name of a client that adds to counters.
pub fn adder(number: usize) -> String {
    format!("adder{number}")
}

/// Name of a client that sets registers.
pub fn setter(number: usize) -> String {
    format!("setter{number}")
}

/// Partitions of the topic that the counters feed.
pub const COUNT_PARTITIONS: usize = 2;

/// The user of the consumers.
pub const READER: &str = "reader";

/// A user's password.
pub fn password(user: &str) -> String {
    format!("the-password-of-{user}")
}

/// A session of root.
pub fn root(run: &Rc<Run>, name: &str) -> Session {
    Session::new(run, name, "root", ROOT_PASSWORD)
}

/// A session of a user of this module.
pub fn session(run: &Rc<Run>, user: &str) -> Session {
    Session::new(run, user, user, password(user))
}

/// Creates everything. A server may crash while it is born, not later.
pub async fn database(run: &Rc<Run>) -> Result<(), String> {
    run.until(Run::all_serve).await;
    let mut root = root(run, "setup");
    let mut statements = vec![
        "CREATE NAMESPACE w".to_owned(),
        "CREATE USER TABLE w.items (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, body TEXT NOT NULL)".to_owned(),
        "CREATE SHARED TABLE w.counters (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)".to_owned(),
        "CREATE SHARED TABLE w.registers (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)".to_owned(),
        format!("CREATE TOPIC w.events PARTITIONS {PARTITIONS}"),
        format!("CREATE TOPIC w.counts PARTITIONS {COUNT_PARTITIONS}"),
        "ALTER TOPIC w.counts ADD SOURCE w.counters ON UPDATE WITH (payload = 'full')".to_owned(),
    ];
    for change in ["INSERT", "UPDATE", "DELETE"] {
        statements.push(format!("ALTER TOPIC w.events ADD SOURCE w.items ON {change} WITH (payload = 'full')"));
    }
    let services = (0..ADDERS).map(adder).chain((0..SETTERS).map(setter));
    for (users, role) in [((0..WRITERS).map(writer).collect(), "user"), (services.collect::<Vec<_>>(), "service")] {
        for user in users {
            statements.push(format!("CREATE USER {user} WITH PASSWORD '{}' ROLE {role}", password(&user)));
            if role == "user" {
                run.rows.borrow_mut().insert(user, Rows::default());
            }
        }
    }
    if run.founders() > 1 {
        statements.extend(prober::statements());
        statements.push(lister::TABLE.to_owned());
        statements.push(format!("CREATE USER {0} WITH PASSWORD '{1}' ROLE user", lister::USER, password(lister::USER)));
    }
    statements.push(format!("CREATE USER {READER} WITH PASSWORD '{}' ROLE service", password(READER)));
    for id in 0..COUNTERS {
        statements.push(format!("INSERT INTO w.counters (id, n) VALUES ({id}, 0)"));
        run.counters.borrow_mut().insert(id, Counter::default());
    }
    statements.extend(payer::statements());
    statements.push(keeper::TABLE.to_owned());
    for id in 0..REGISTERS {
        statements.push(format!("INSERT INTO w.registers (id, v) VALUES ({id}, 0)"));
    }
    for statement in statements {
        match root.insist(&statement, &json!([]), None, None).await {
            Reply::Done(_) => {}
            other => return Err(format!("set-up: {statement}: {other:?}")),
        }
    }
    Ok(())
}
