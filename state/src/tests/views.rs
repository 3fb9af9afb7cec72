//! Views.

use highwater_sql::catalog::Operation;
use highwater_sql::key::{KeyRange, encode_key};
use highwater_sql::plan::{StartPosition, TableAccess};
use highwater_sql::value::Value;

use super::cluster::{SHARED, USERS, delete, ids, insert, literal, update, with_tables};
use crate::command::Command;

fn key(id: i64) -> Vec<u8> {
    encode_key(&[Value::BigInt(id)]).unwrap()
}

#[test]
fn a_view_stays_as_it_was_while_later_entries_apply() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b")])).await;
        let view = cluster.groups[&USERS].view();
        let table = cluster.table("mine");
        let mut cursor = view.rows(&table, Some("ann"), &[KeyRange::full()]).await;
        assert_eq!(cursor.next().await.unwrap().unwrap().0[0], Value::BigInt(1));
        cluster.write("ann", "mine", delete(TableAccess::Full)).await;
        assert_eq!(cursor.next().await.unwrap().unwrap().0[0], Value::BigInt(2));
        assert_eq!(cursor.next().await.unwrap(), None);
        assert_eq!(view.applied().0 + 1, cluster.groups[&USERS].view().applied().0);
    });
}

#[test]
fn rows_are_those_of_the_ranges_in_their_order() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")])).await;
        let (view, table) = (cluster.groups[&USERS].view(), cluster.table("mine"));
        let ranges = [
            KeyRange { start: key(3), end: None },
            KeyRange::point(key(1)),
            KeyRange::point(key(9)),
            KeyRange { start: key(2), end: Some(key(3)) },
        ];
        let mut cursor = view.rows(&table, Some("ann"), &ranges).await;
        let mut found = Vec::new();
        while let Some((row, _)) = cursor.next().await.unwrap() {
            found.push(row[0].as_i64().unwrap());
        }
        assert_eq!(found, [3, 4, 1, 2]);
    });
}

#[test]
fn a_message_exists_if_and_only_if_its_change_does() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        let topic = cluster.create_topic(table, &[Operation::Insert, Operation::Update, Operation::Delete]).await;
        let applied = cluster
            .try_apply(USERS, Command::Write(cluster.write_command("ann", "mine", insert(&[(1, "a"), (2, "b")]))))
            .await
            .unwrap();
        assert!(applied.outbox);
        cluster.write("ann", "mine", insert(&[(3, "c"), (1, "dup")])).await;
        cluster.write("ann", "mine", update(ids(1, 1), 3, literal(Value::Text("x".into())))).await;
        cluster.write("ann", "mine", delete(ids(2, 2))).await;
        cluster.ship(USERS).await;
        let view = cluster.groups[&SHARED].view();
        let consumed = view.messages(topic, 0, StartPosition::Earliest, 100, 1 << 20).await.unwrap();
        let seen: Vec<_> = consumed
            .messages
            .iter()
            .map(|message| (message.offset, message.operation, message.key.as_deref().unwrap()))
            .collect();
        let expected = [
            (0, Operation::Insert, "1"),
            (1, Operation::Insert, "2"),
            (2, Operation::Update, "1"),
            (3, Operation::Delete, "2"),
        ];
        assert_eq!(seen, expected);
    });
}
