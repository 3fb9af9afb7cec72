//! The house: users of all roles, their rows, tables that belong to everyone, topics.

use highwater_bench::daemon::{Daemon, PASSWORD, Reply};
use highwater_bench::generate::tables::TABLES;
use highwater_runtime::rng::Rng;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::mark::Owner;

/// What a role may, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    User,
    Service,
    Dba,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Dba => "dba",
        }
    }
}

/// A namespace with the generator's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    /// USER tables.
    Own,
    /// SHARED, PUBLIC.
    Open,
    /// SHARED, PRIVATE.
    Closed,
    /// SHARED, DBA.
    Vault,
}

impl Space {
    /// Those of SHARED tables.
    pub(crate) const SHARED: [Self; 3] = [Self::Open, Self::Closed, Self::Vault];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Vault => "vault",
        }
    }

    /// Who may read its tables.
    pub(crate) const fn readers(self) -> Role {
        match self {
            Self::Own | Self::Open => Role::User,
            Self::Closed => Role::Service,
            Self::Vault => Role::Dba,
        }
    }

    /// Who may change its rows.
    pub(crate) const fn writers(self) -> Role {
        match self {
            Self::Own => Role::User,
            Self::Open | Self::Closed => Role::Service,
            Self::Vault => Role::Dba,
        }
    }

    /// Whose marks are in its rows, where all rows have one owner.
    pub(crate) const fn owner(self) -> Option<Owner> {
        match self {
            Self::Own => None,
            Self::Open => Some(Owner(28)),
            Self::Closed => Some(Owner(29)),
            Self::Vault => Some(Owner(30)),
        }
    }
}

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) owner: Owner,
    token: String,
}

/// Users of the house: fifteen of role user, three of role service, two of role dba.
pub(crate) const USERS: u8 = 20;

/// Rows of a user's table `big`: more than are answered in one piece.
const BIG: u32 = 600;

/// The server with all that is in it.
pub(crate) struct House {
    daemon: Daemon,
    root: String,
    pub(crate) users: Vec<User>,
}

impl House {
    /// Makes everything but the rows.
    pub(crate) fn build(daemon: Daemon) -> Result<Self, Failure> {
        let root = daemon.login("root", PASSWORD)?;
        let mut house = Self { daemon, root, users: Vec::new() };
        house.define("CREATE NAMESPACE own")?;
        for space in Space::SHARED {
            house.define(&format!("CREATE NAMESPACE {}", space.name()))?;
        }
        for table in &TABLES {
            let (here, plain) = table.create();
            let named = |text: &str, kind: &str, space: Space| {
                text.replacen("CREATE TABLE ", &format!("CREATE {kind} TABLE {}.", space.name()), 1)
            };
            house.define(&named(&plain, "USER", Space::Own))?;
            for (space, level) in Space::SHARED.into_iter().zip(["PUBLIC", "PRIVATE", "DBA"]) {
                house.define(&format!("{} WITH (ACCESS_LEVEL = '{level}')", named(&here, "SHARED", space)))?;
            }
        }
        for sql in [
            "CREATE INDEX people_k ON own.people (k)",
            "CREATE INDEX people_s ON own.people (s)",
            "CREATE INDEX orders_person ON own.orders (person)",
            "CREATE INDEX closed_s ON closed.people (s)",
            "CREATE USER TABLE own.named (id BIGINT PRIMARY KEY, name TEXT UNIQUE, owner TEXT)",
            "CREATE USER TABLE own.big (id BIGINT PRIMARY KEY, body TEXT)",
            "CREATE STREAM TABLE own.feed (id BIGINT PRIMARY KEY, body TEXT) WITH (TTL_SECONDS = 36000)",
            "CREATE TOPIC own.events PARTITIONS 2",
            "ALTER TOPIC own.events ADD SOURCE own.people ON INSERT WITH (payload = 'full')",
            "ALTER TOPIC own.events ADD SOURCE own.people ON UPDATE WITH (payload = 'diff')",
            "ALTER TOPIC own.events ADD SOURCE own.people ON DELETE WITH (payload = 'full')",
        ] {
            house.define(sql)?;
        }
        for number in 0..USERS {
            let role = match number {
                0..15 => Role::User,
                15..18 => Role::Service,
                _ => Role::Dba,
            };
            let name = format!("u{number:02}");
            house.define(&format!("CREATE USER {name} WITH PASSWORD '{PASSWORD}' ROLE {}", role.word()))?;
            let token = house.daemon.login(&name, PASSWORD)?;
            house.users.push(User { name, role, owner: Owner(number), token });
        }
        Ok(house)
    }

    /// Fills all tables, and gives every user what only has to be made once.
    pub(crate) fn fill(&self, rng: &mut Rng) -> Result<(), Failure> {
        for space in Space::SHARED {
            self.refill_shared(space, rng)?;
        }
        for user in &self.users {
            let letter = user.owner.letter().to_string();
            let rows = |from: u32, to: u32, length: usize| {
                let rows: Vec<String> = (from..to).map(|id| format!("({id}, '{}')", letter.repeat(length))).collect();
                rows.join(", ")
            };
            self.must(user, &format!("INSERT INTO own.big VALUES {}", rows(0, BIG, 200)))?;
            self.must(user, &format!("INSERT INTO own.feed VALUES {}", rows(0, 5, 8)))?;
            self.refill(user, rng)?;
        }
        Ok(())
    }

    /// Empties a user's tables and fills them with new rows.
    pub(crate) fn refill(&self, user: &User, rng: &mut Rng) -> Result<(), Failure> {
        for table in &TABLES {
            self.must(user, &format!("DELETE FROM own.{}", table.name))?;
            for sql in table.fill(rng) {
                self.must(user, &user.owner.mark(&sql).replacen("INTO ", "INTO own.", 1))?;
            }
        }
        Ok(())
    }

    /// Empties the tables of a namespace of SHARED tables and fills them with new rows.
    pub(crate) fn refill_shared(&self, space: Space, rng: &mut Rng) -> Result<(), Failure> {
        let Some(owner) = space.owner() else { return Ok(()) };
        for table in &TABLES {
            let name = format!("{}.{}", space.name(), table.name);
            match table.columns.first().filter(|_| table.is_spread) {
                Some(column) => {
                    for value in 0..7 {
                        self.define(&format!("DELETE FROM {name} WHERE {} = {value}", column.name))?;
                    }
                }
                None => self.define(&format!("DELETE FROM {name}"))?,
            }
            for sql in table.fill(rng) {
                let into = format!("INTO {}.", space.name());
                let key: Vec<&str> = table.columns.iter().take(table.key).map(|column| column.name).collect();
                // Another user may have put a row there meanwhile.
                let unless = format!(" ON CONFLICT ({}) DO NOTHING", key.join(", "));
                self.define(&(owner.mark(&sql).replacen("INTO ", &into, 1) + &unless))?;
            }
        }
        Ok(())
    }

    /// A statement of root that must succeed.
    fn define(&self, sql: &str) -> Result<(), Failure> {
        let reply = self.daemon.post("/v1/api/sql", Some(&self.root), &json!({ "sql": sql }))?;
        if reply.status == 200 { Ok(()) } else { Err(Failure::SetUp(format!("{sql}: {}", reply.text))) }
    }

    fn must(&self, user: &User, sql: &str) -> Result<(), Failure> {
        let reply = self.run(user, sql, &[], None)?;
        if reply.status == 200 { Ok(()) } else { Err(Failure::SetUp(format!("{}: {sql}: {}", user.name, reply.text))) }
    }

    /// A user's statement, unqualified names in `own`.
    pub(crate) fn run(
        &self,
        user: &User,
        sql: &str,
        params: &[Value],
        request: Option<&str>,
    ) -> Result<Reply, Failure> {
        let body = json!({ "sql": sql, "namespace_id": "own", "params": params, "request_id": request });
        Ok(self.daemon.post("/v1/api/sql", Some(&user.token), &body)?)
    }

    /// A user's statement in a session.
    pub(crate) fn run_within(&self, user: &User, session: &str, sql: &str) -> Result<Reply, Failure> {
        let body = json!({ "sql": sql, "namespace_id": "own" });
        Ok(self.daemon.post_within("/v1/api/sql", Some(&user.token), Some(session), &body)?)
    }

    /// A user's request to another path.
    pub(crate) fn post(&self, user: &User, path: &str, body: &Value) -> Result<Reply, Failure> {
        Ok(self.daemon.post(path, Some(&user.token), body)?)
    }
}
