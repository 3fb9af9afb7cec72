//! A small catalog, made by the dialect's own definitions.

use std::sync::Arc;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{
    Catalog, CatalogDelta, CatalogVersion, Column, ColumnId, IndexState, Namespace, ObjectId, Role, Table, Topic, User,
};
use highwater_sql::parse::parse;
use highwater_sql::plan::{Ddl, Plan, TableChange, UserPlan};

const DEFINITIONS: &str = "
CREATE NAMESPACE app;
CREATE NAMESPACE other;
CREATE USER TABLE app.messages (
    id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), room INT NOT NULL, body TEXT NOT NULL, likes INT DEFAULT 0,
    created_at TIMESTAMP DEFAULT NOW(), CHECK (length(body) > 0));
CREATE TABLE app.prices (
    region TEXT, sku INT, day SMALLINT, price DECIMAL(10,2) NOT NULL, note VARCHAR(20), extra JSON, weight DOUBLE, active BOOLEAN,
    PRIMARY KEY (region, sku, day));
CREATE TABLE app.counters (bucket INT, name TEXT, n BIGINT NOT NULL, PRIMARY KEY (bucket, name)) PARTITION BY (bucket);
CREATE TABLE app.ids (id TEXT PRIMARY KEY DEFAULT UUID_V7(), at TIMESTAMP, raw BYTES) WITH (ACCESS_LEVEL = 'PUBLIC');
CREATE STREAM TABLE app.events (at TIMESTAMP PRIMARY KEY, kind TEXT, data JSON) WITH (TTL_SECONDS = 60);
CREATE TABLE other.secrets (id INT PRIMARY KEY, what TEXT) WITH (ACCESS_LEVEL = 'DBA');
CREATE TABLE other.people (id INT PRIMARY KEY, mail TEXT UNIQUE, room INT, born INT);
CREATE INDEX ON other.people (room, born);
CREATE TOPIC app.changes PARTITIONS 4;
CREATE TOPIC app.log;
ALTER TOPIC app.log ADD SOURCE app.messages ON INSERT;
";

/// Namespaces app and other, tables of every kind, two topics, a user of each role.
pub fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (name, role) in [
        ("alice", Role::User),
        ("bob", Role::User),
        ("worker", Role::Service),
        ("admin", Role::Dba),
        ("root", Role::System),
    ] {
        step(&mut catalog, CatalogDelta::PutUser(Arc::new(user(name, role))));
    }
    for statement in parse(DEFINITIONS).unwrap() {
        let context = BindContext { catalog: &catalog, namespace: "app", user: "root", role: Role::System };
        let plan = bind(&statement, &context).unwrap().plan;
        perform(plan, &mut catalog);
    }
    catalog
}

fn user(name: &str, role: Role) -> User {
    User { name: name.to_owned(), role, email: None, verifier: None, auth_epoch: 0, created_at: 0, updated_at: 0 }
}

/// Takes a definition or a new user into the catalog; other plans leave it as it is.
pub fn perform(plan: Plan, catalog: &mut Catalog) {
    match plan {
        Plan::Ddl(ddl) => {
            if let Some(delta) = delta(ddl, catalog) {
                step(catalog, delta);
            }
        }
        Plan::User(UserPlan::Create { name, role, .. }) => {
            step(catalog, CatalogDelta::PutUser(Arc::new(user(&name, role))))
        }
        _ => {}
    }
}

fn step(catalog: &mut Catalog, delta: CatalogDelta) {
    catalog.advance(CatalogVersion(catalog.version.0 + 1), &[delta]);
}

/// What the meta group would decide, as far as the tests need it.
fn delta(ddl: Ddl, catalog: &Catalog) -> Option<CatalogDelta> {
    let id = ObjectId(catalog.version.0 + 100);
    Some(match ddl {
        Ddl::CreateNamespace { name, .. } => CatalogDelta::PutNamespace(Namespace { name, created_at: 0 }),
        Ddl::CreateTable { table, .. } => CatalogDelta::PutTable(Arc::new(table.into_table(id, 0))),
        Ddl::CreateTopic { namespace, name, partitions, retention_seconds, retention_bytes, .. } => {
            CatalogDelta::PutTopic(Arc::new(Topic {
                id,
                incarnation: 1,
                namespace,
                name,
                partitions,
                retention_seconds,
                retention_bytes,
                sources: Vec::new(),
                clear_count: 0,
                created_at: 0,
                updated_at: 0,
            }))
        }
        Ddl::AddSource { topic, source, .. } => {
            let mut topic = Topic::clone(&catalog.topics[&topic]);
            topic.sources.push(source);
            CatalogDelta::PutTopic(Arc::new(topic))
        }
        Ddl::AlterTable { table, change, .. } => {
            let mut table = Table::clone(&catalog.tables[&table]);
            match change {
                TableChange::AddColumn(column) => {
                    table.columns.push(Column { id: ColumnId(table.next_column), ..*column });
                    table.next_column += 1;
                }
                TableChange::RenameColumn { column, to } => {
                    table
                        .columns
                        .iter_mut()
                        .filter(|known| known.id == column)
                        .for_each(|known| known.name = to.clone());
                }
                TableChange::Rename(to) => table.name = to,
                _ => return None,
            }
            CatalogDelta::PutTable(Arc::new(table))
        }
        Ddl::CreateIndex { table, index, .. } => {
            let mut table = Table::clone(&catalog.tables[&table]);
            table.indexes.push(index.into_index(ObjectId(id.0 + 1000), IndexState::Public));
            CatalogDelta::PutTable(Arc::new(table))
        }
        Ddl::DropNamespace { .. }
        | Ddl::DropTable { .. }
        | Ddl::DropIndex { .. }
        | Ddl::DropSource { .. }
        | Ddl::ClearTopic { .. }
        | Ddl::DropTopic { .. } => return None,
    })
}
