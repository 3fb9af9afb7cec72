//! SERIAL columns.

use highwater_sql::catalog::{Column, ColumnId, TableKind};
use highwater_sql::plan::{Ddl, TableSpec, WriteKind};
use highwater_sql::value::{DataType, Value};

use super::cluster::{Cluster, code, literal, spec, with_tables};
use crate::outcome::Outcome;

impl Cluster {
    async fn with_serial(&mut self, kind: TableKind) {
        let mut table = spec("numbered", kind);
        table.columns[0] = Column { serial: true, nullable: false, ..Column::new(1, "id", DataType::SmallInt) };
        self.create_table(table).await;
    }

    async fn ids(&self, user: &str) -> Vec<i64> {
        self.rows_with_seq(user, "numbered").await.into_iter().map(|(row, _)| row[0].as_i64().unwrap()).collect()
    }
}

/// Rows whose id is given or drawn.
fn rows(given: &[Option<i16>]) -> WriteKind {
    let row = |id: &Option<i16>| vec![id.map(|id| literal(Value::SmallInt(id)))];
    WriteKind::Insert { columns: vec![ColumnId(1)], rows: given.iter().map(row).collect(), conflict: None }
}

#[test]
fn numbers_rise_and_each_user_has_an_own_sequence() {
    with_tables(async |mut cluster| {
        cluster.with_serial(TableKind::User).await;
        for user in ["ann", "bob", "ann"] {
            assert_eq!(cluster.write(user, "numbered", rows(&[None, None])).await, Outcome::Written(2));
        }
        assert_eq!(cluster.ids("ann").await, [1, 2, 3, 4]);
        assert_eq!(cluster.ids("bob").await, [1, 2]);
    });
}

#[test]
fn a_number_given_by_hand_moves_the_sequence_past_it() {
    with_tables(async |mut cluster| {
        cluster.with_serial(TableKind::Shared).await;
        cluster.write("svc", "numbered", rows(&[None, Some(5), None])).await;
        cluster.write("svc", "numbered", rows(&[Some(3), None])).await;
        assert_eq!(cluster.ids("svc").await, [1, 3, 5, 6, 7]);
    });
}

#[test]
fn a_refused_statement_gives_its_numbers_back_and_the_end_of_the_type_is_refused() {
    with_tables(async |mut cluster| {
        cluster.with_serial(TableKind::Shared).await;
        assert_eq!(code(cluster.write("svc", "numbered", rows(&[None, Some(1)])).await), "23505");
        cluster.write("svc", "numbered", rows(&[None])).await;
        assert_eq!(cluster.ids("svc").await, [1]);
        cluster.write("svc", "numbered", rows(&[Some(i16::MAX)])).await;
        assert_eq!(code(cluster.write("svc", "numbered", rows(&[None])).await), "2200H");
    });
}

#[test]
fn a_table_made_anew_begins_anew() {
    with_tables(async |mut cluster| {
        for _ in 0..2 {
            cluster.with_serial(TableKind::Shared).await;
            cluster.write("svc", "numbered", rows(&[None])).await;
            assert_eq!(cluster.ids("svc").await, [1]);
            let (namespace, name) = ("app".to_owned(), "numbered".to_owned());
            cluster.define(Ddl::DropTable { namespace, name, if_exists: false }).await;
        }
        let stream = TableSpec { ttl_seconds: Some(60), kind: TableKind::Stream, ..spec("events", TableKind::Stream) };
        let mut stream = stream;
        stream.columns[0].serial = true;
        assert_eq!(code(cluster.ddl("root", Ddl::CreateTable { table: stream, if_not_exists: false }).await), "0A000");
    });
}
