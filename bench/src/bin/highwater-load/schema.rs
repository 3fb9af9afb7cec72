//! What the load works on: names, statements, and how they are made and dropped. Nothing outside is touched.
//!
//! `items` holds the rows that selects read and updates write again, with the text that they have. `pairs` takes puts. `rows` takes the inserts: its key ends in a column that the server fills, so that
//! an insert applied twice makes two rows. `changes` is the topic that inserts feed.

use std::sync::atomic::AtomicBool;

use serde_json::json;

use crate::client::{Client, Outcome};
use crate::failure::Failure;
use crate::plan::Plan;

/// Rows of one statement of the set-up.
const SETUP_ROWS: usize = 100;
/// Texts above this many bytes get fewer rows per statement, so that it stays below every limit.
const SETUP_BYTES: usize = 200_000;
/// Users made by one request.
const SETUP_USERS: usize = 50;
/// SQLSTATE: it is there already.
const EXISTS: &str = "42710";
/// SQLSTATE: the key is taken.
const TAKEN: &str = "23505";

/// Names and statements.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    namespace: String,
    users: u32,
}

impl Schema {
    /// In this namespace, for so many users.
    pub(crate) fn new(namespace: &str, users: u32) -> Self {
        Self { namespace: namespace.to_owned(), users }
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> String {
        format!("{}.changes", self.namespace)
    }

    /// Name of a user by number; `None` when the login itself owns the rows.
    pub(crate) fn user(&self, number: u32) -> Option<String> {
        (self.users > 1).then(|| format!("{}_{number:05}", self.namespace))
    }

    /// The number of a user by name, as messages tell it.
    pub(crate) fn user_number(&self, name: &str) -> Option<u32> {
        if self.users == 1 {
            return Some(0);
        }
        name.strip_prefix(self.namespace.as_str())?.strip_prefix('_')?.parse().ok()
    }

    fn acting(&self, user: u32, statement: &str) -> String {
        match self.user(user) {
            Some(name) => format!("EXECUTE AS '{name}' ({statement})"),
            None => statement.to_owned(),
        }
    }

    /// Inserts `id, run, sent_at, body`.
    pub(crate) fn insert(&self, user: u32) -> String {
        let statement = format!("INSERT INTO {}.rows (id, run, sent_at, body) VALUES ($1, $2, $3, $4)", self.namespace);
        self.acting(user, &statement)
    }

    /// Inserts `id, body` where nothing else is kept of it.
    pub(crate) fn put(&self, user: u32) -> String {
        self.acting(user, &format!("INSERT INTO {}.pairs (id, body) VALUES ($1, $2)", self.namespace))
    }

    /// Gives the row with key `$1` the text `$2`.
    pub(crate) fn update(&self, user: u32) -> String {
        self.acting(user, &format!("UPDATE {}.items SET body = $2 WHERE id = $1", self.namespace))
    }

    /// The text of the row with key `$1`.
    pub(crate) fn select(&self, user: u32) -> String {
        self.acting(user, &format!("SELECT body FROM {}.items WHERE id = $1", self.namespace))
    }

    /// A page of run `$2`'s rows from key `$1` on.
    pub(crate) fn read_back(&self, user: u32, limit: usize) -> String {
        let statement = format!(
            "SELECT id, copy, body FROM {}.rows WHERE id >= $1 AND run = $2 ORDER BY id, copy LIMIT {limit}",
            self.namespace
        );
        self.acting(user, &statement)
    }

    /// Refuses to start when tables or users are missing.
    pub(crate) fn probe(&self, client: &mut Client<'_>, stop: &AtomicBool) -> Result<(), Failure> {
        let sql = self.select(self.users - 1);
        match client.send("/v1/api/sql", &json!({"sql": sql, "params": [0]}), stop, |_| {}) {
            Outcome::Answered(_) => Ok(()),
            Outcome::Refused { message, .. } | Outcome::Unknown { message, .. } => Err(Failure::Refused {
                message: format!("the load's tables cannot be read: {message}"),
                hint: Some("--setup with the same --namespace and --users makes them".into()),
            }),
        }
    }

    /// Makes everything that is missing.
    pub(crate) fn set_up(
        &self,
        client: &mut Client<'_>,
        plan: &Plan,
        partitions: u32,
        secret: &str,
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        let name = &self.namespace;
        let mut run = |sql: &str, allowed: &[&str]| run(client, sql, allowed, stop);
        run(&format!("CREATE NAMESPACE IF NOT EXISTS {name}"), &[])?;
        run(&format!("CREATE USER TABLE IF NOT EXISTS {name}.items (id BIGINT PRIMARY KEY, body TEXT NOT NULL)"), &[])?;
        run(&format!("CREATE USER TABLE IF NOT EXISTS {name}.pairs (id BIGINT PRIMARY KEY, body TEXT NOT NULL)"), &[])?;
        run(
            &format!(
                "CREATE USER TABLE IF NOT EXISTS {name}.rows (id BIGINT, copy BIGINT DEFAULT SNOWFLAKE_ID(), \
                 run TEXT NOT NULL, sent_at BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, copy))"
            ),
            &[],
        )?;
        run(&format!("CREATE TOPIC IF NOT EXISTS {} PARTITIONS {partitions}", self.topic()), &[])?;
        let source = format!("ALTER TOPIC {} ADD SOURCE {name}.rows ON INSERT WITH (payload = 'full')", self.topic());
        run(&source, &[EXISTS])?;
        let users: Vec<String> = (0..self.users).filter_map(|user| self.user(user)).collect();
        for users in users.chunks(SETUP_USERS) {
            let make = |user: &String| format!("CREATE USER IF NOT EXISTS '{user}' WITH PASSWORD '{secret}'");
            run(&users.iter().map(make).collect::<Vec<_>>().join("; "), &[])?;
        }
        let per_statement = (SETUP_BYTES / plan.payload_bytes as usize).clamp(1, SETUP_ROWS);
        for user in 0..self.users.min(u32::try_from(plan.rows).unwrap_or(u32::MAX)) {
            let rows = (u64::from(user)..plan.rows).step_by(self.users as usize);
            let values: Vec<String> =
                rows.map(|index| plan.item(index).id).map(|id| format!("({id}, '{}')", plan.body(id))).collect();
            let insert = |values: &[String]| {
                self.acting(user, &format!("INSERT INTO {name}.items (id, body) VALUES {}", values.join(", ")))
            };
            for values in values.chunks(per_statement) {
                if !run(&insert(values), &[TAKEN])? {
                    // Some of them are there: the others follow one by one.
                    for value in values {
                        run(&insert(std::slice::from_ref(value)), &[TAKEN])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Drops what [`Schema::set_up`] makes; the namespace only when nothing else is in it.
    pub(crate) fn clean_up(&self, client: &mut Client<'_>, stop: &AtomicBool) -> Result<(), Failure> {
        let name = &self.namespace;
        let mut run = |sql: &str, allowed: &[&str]| run(client, sql, allowed, stop);
        run(&format!("DROP TOPIC IF EXISTS {}", self.topic()), &["3F000"])?;
        run(&format!("DROP TABLE IF EXISTS {name}.rows"), &["3F000"])?;
        run(&format!("DROP TABLE IF EXISTS {name}.items"), &["3F000"])?;
        run(&format!("DROP TABLE IF EXISTS {name}.pairs"), &["3F000"])?;
        run(&format!("DROP NAMESPACE IF EXISTS {name}"), &["2BP01"])?;
        let users: Vec<String> = (0..self.users).filter_map(|user| self.user(user)).collect();
        for users in users.chunks(SETUP_USERS) {
            let drop = |user: &String| format!("DROP USER IF EXISTS '{user}'");
            run(&users.iter().map(drop).collect::<Vec<_>>().join("; "), &[])?;
        }
        Ok(())
    }
}

/// Runs statements; `false` when they were refused with one of the allowed SQLSTATEs.
fn run(client: &mut Client<'_>, sql: &str, allowed: &[&str], stop: &AtomicBool) -> Result<bool, Failure> {
    match client.send("/v1/api/sql", &json!({ "sql": sql }), stop, |_| {}) {
        Outcome::Answered(_) => Ok(true),
        Outcome::Refused { sqlstate, .. } if allowed.contains(&sqlstate.as_str()) => Ok(false),
        Outcome::Refused { message, .. } | Outcome::Unknown { message, .. } => {
            let start: String = sql.chars().take(80).collect();
            Err(Failure::Refused { message: format!("{start} ...: {message}"), hint: None })
        }
    }
}
