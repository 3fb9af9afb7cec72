//! The front half of SQL: text to statements (parse), statements to plans with their access paths (bind).

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Namespace, ObjectId, Role};
use highwater_sql::parse::parse;
use highwater_sql::plan::{Ddl, Plan};

const TABLE: &str = "CREATE USER TABLE app.messages (id BIGINT PRIMARY KEY, room INT NOT NULL, body TEXT NOT NULL, at TIMESTAMP DEFAULT NOW())";

const STATEMENTS: [(&str, &str); 7] = [
    ("lookup", "SELECT body FROM messages WHERE id = $1"),
    ("insert", "INSERT INTO messages (id, room, body) VALUES ($1, $2, $3)"),
    (
        "grouped",
        "SELECT room, count(*) AS n, max(at) FROM messages WHERE at >= $1 AND body LIKE 'a%' GROUP BY room ORDER BY n DESC LIMIT 10",
    ),
    (
        "join",
        "SELECT a.body, b.body FROM messages a LEFT JOIN messages b ON b.room = a.room AND b.id > a.id WHERE a.id BETWEEN $1 AND $2 ORDER BY a.at",
    ),
    (
        "subqueries",
        "WITH last AS (SELECT room, max(at) AS at FROM messages GROUP BY room) SELECT m.body FROM messages m JOIN last ON last.room = m.room \
         WHERE EXISTS (SELECT 1 FROM messages o WHERE o.room = m.room AND o.at < m.at) AND m.id IN (SELECT id FROM messages WHERE room < $1)",
    ),
    ("window", "SELECT id, row_number() OVER (PARTITION BY room ORDER BY at, id) AS n FROM messages WHERE room = $1"),
    (
        "consume",
        "CONSUME FROM app.events PARTITION 3 GROUP 'g' FROM EARLIEST LIMIT 10 WITH (ack = 'manual', timeout = '5s')",
    ),
];

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let namespace = CatalogDelta::PutNamespace(Namespace { name: "app".into(), created_at: 0 });
    catalog.advance(CatalogVersion(1), &[namespace]);
    let context = BindContext { catalog: &catalog, namespace: "app", user: "root", role: Role::System };
    let plan =
        parse(TABLE).ok().and_then(|statements| bind(statements.first()?, &context).ok()).map(|bound| bound.plan);
    let Some(Plan::Ddl(Ddl::CreateTable { table, .. })) = plan else { return catalog };
    let table = table.into_table(ObjectId(1), 0);
    catalog.advance(CatalogVersion(2), &[CatalogDelta::PutTable(Arc::new(table))]);
    catalog
}

fn front(c: &mut Criterion) {
    let catalog = catalog();
    let context = BindContext { catalog: &catalog, namespace: "app", user: "root", role: Role::System };
    for (name, sql) in STATEMENTS {
        c.bench_function(&format!("parse {name}"), |b| b.iter(|| parse(black_box(sql))));
        if let Ok([statement]) = parse(sql).as_deref()
            && bind(statement, &context).is_ok()
        {
            c.bench_function(&format!("bind {name}"), |b| b.iter(|| bind(black_box(statement), &context)));
        }
    }
    let rows: Vec<String> = (0..1_000).map(|row| format!("({row}, 1, 'a message of some words')")).collect();
    let sql = format!("INSERT INTO messages (id, room, body) VALUES {}", rows.join(", "));
    let mut group = c.benchmark_group("insert of 1000 rows");
    group.throughput(Throughput::Bytes(u64::try_from(sql.len()).unwrap_or(u64::MAX)));
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&sql))));
    if let Ok([statement]) = parse(&sql).as_deref() {
        group.bench_function("bind", |b| b.iter(|| bind(black_box(statement), &context)));
    }
    group.finish();
}

criterion_group!(benches, front);
criterion_main!(benches);
