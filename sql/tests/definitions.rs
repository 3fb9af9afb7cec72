//! What SHOW CREATE TABLE writes makes an equal table in another namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Arc;

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Namespace, Role, Table};
use highwater_sql::definition::create_table;
use highwater_sql::parse::parse;
use highwater_sql::plan::{Ddl, Plan, TableChange};
use quickcheck::{Arbitrary, Gen, quickcheck};

fn with_namespace(mut catalog: Catalog, name: &str) -> Catalog {
    let namespace = Namespace { name: name.to_owned(), created_at: 0 };
    catalog.advance(CatalogVersion(catalog.version.0 + 1), &[CatalogDelta::PutNamespace(namespace)]);
    catalog
}

fn run(catalog: &mut Catalog, namespace: &str, sql: &str) {
    for statement in parse(sql).unwrap_or_else(|diag| panic!("{sql}: {diag}")) {
        let context = BindContext { catalog, namespace, user: "root", role: Role::System };
        let plan = bind(&statement, &context).unwrap_or_else(|diag| panic!("{sql}: {diag}")).plan;
        if let Plan::Ddl(Ddl::AlterTable { table, change: TableChange::Comment(comment), .. }) = &plan {
            let table = Table { comment: comment.clone(), ..Table::clone(&catalog.tables[table]) };
            catalog.advance(CatalogVersion(catalog.version.0 + 1), &[CatalogDelta::PutTable(Arc::new(table))]);
            continue;
        }
        support::fixture::perform(plan, catalog);
    }
}

/// The table but for what differs between two that were made alike.
fn alike(table: &Table) -> Table {
    let mut table = Table { id: highwater_sql::catalog::ObjectId(0), version: 0, ..table.clone() };
    table.namespace.clear();
    table.indexes.iter_mut().for_each(|index| index.id = highwater_sql::catalog::ObjectId(0));
    table
}

fn holds(catalog: &Catalog, table: &Table) {
    let mut other = with_namespace(catalog.clone(), "copies");
    let text = create_table(table);
    run(&mut other, "copies", &text);
    let copy = other.table("copies", &table.name).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(alike(copy), alike(table), "{text}");
    assert_eq!(create_table(copy), text);
}

#[test]
fn the_tables_of_the_fixture_are_made_again_by_their_text() {
    let catalog = support::fixture::catalog();
    catalog.tables.values().for_each(|table| holds(&catalog, table));
}

#[derive(Clone, Debug)]
struct Definition(String);

impl Arbitrary for Definition {
    fn arbitrary(g: &mut Gen) -> Self {
        const TYPES: &[&str] = &[
            "BOOLEAN DEFAULT true",
            "SMALLINT CHECK (#>0)",
            "INT DEFAULT 1 + 2",
            "BIGINT DEFAULT SNOWFLAKE_ID()",
            "REAL",
            "DOUBLE DEFAULT -1.5",
            "DECIMAL",
            "DECIMAL(10,2) NOT NULL DEFAULT 0",
            "TEXT DEFAULT 'it''s; -- \"'",
            "VARCHAR(7) UNIQUE",
            "BYTES",
            "JSON DEFAULT '{\"a\": 1}'",
            "DATE",
            "TIME DEFAULT '10:00'",
            "TIMESTAMP DEFAULT NOW()",
            "TIMESTAMPTZ NOT NULL",
            "INTERVAL",
            "UUID",
            "INT[] DEFAULT ARRAY[1, 2]",
            "EMBEDDING(3)",
            "SERIAL",
            "BIGSERIAL NULL",
            "TEXT NULL CHECK (# IS NULL OR # LIKE '%x')",
        ];
        const NAMES: &[&str] = &["a", "\"B c\"", "_d", "\"select\"", "\"quo\"\"te\"", "e1", "\"Äh\"", "\"check\""];
        let count = 1 + usize::arbitrary(g) % 7;
        let mut columns: Vec<String> = Vec::new();
        for name in &NAMES[..count] {
            columns.push(format!("{name} {}", g.choose(TYPES).unwrap().replace('#', name)));
        }
        let kind = *g.choose(&["", "USER ", "SHARED "]).unwrap();
        let partition = if kind == "USER " { "" } else { *g.choose(&["", " PARTITION BY (k)"]).unwrap() };
        let level = match kind {
            "USER " => "",
            _ => *g.choose(&["", " WITH (ACCESS_LEVEL = 'PUBLIC')", " WITH (ACCESS_LEVEL = 'DBA')"]).unwrap(),
        };
        let columns = if partition.is_empty() { columns.join(", ") } else { columns.join(", ").replace(" UNIQUE", "") };
        let name = *g.choose(&["t", "\"T 1\"", "\"user\""]).unwrap();
        let mut text = format!(
            "CREATE {kind}TABLE {name} (k INT, l TEXT, {columns}, PRIMARY KEY (k, l), CONSTRAINT \"of It\" CHECK (k > 0)){partition}{level};"
        );
        if bool::arbitrary(g) {
            text.push_str(&format!(
                "CREATE INDEX \"by L\" ON {name} (l DESC, k); COMMENT ON TABLE {name} IS 'what''s it';"
            ));
        }
        Self(text)
    }
}

quickcheck! {
    fn any_table_is_made_again_by_its_text(definition: Definition) -> bool {
        let mut catalog = with_namespace(support::fixture::catalog(), "first");
        run(&mut catalog, "first", &definition.0);
        let table = catalog.tables.values().find(|table| table.namespace == "first").unwrap();
        holds(&catalog, table);
        true
    }
}
