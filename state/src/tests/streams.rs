//! STREAM tables: append-only rows that end.

use highwater_sql::catalog::TableKind;
use highwater_sql::plan::{TableAccess, TableSpec};

use super::cluster::{Cluster, SECOND, USERS, code, delete, insert, literal, run, update};
use crate::keys::{Keys, Space};
use crate::outcome::Outcome;

fn with_stream<F: AsyncFnOnce(Cluster)>(body: F) {
    run(async |env| {
        let mut cluster = Cluster::with_tables(&env).await;
        cluster.create_table(TableSpec { ttl_seconds: Some(60), ..spec() }).await;
        body(cluster).await;
    });
}

fn spec() -> TableSpec {
    super::cluster::spec("events", TableKind::Stream)
}

async fn count(cluster: &Cluster, space: Space) -> usize {
    let span = Keys::new(USERS).space(space);
    cluster.contents(USERS).await.iter().filter(|(key, _)| span.contains(key)).count()
}

#[test]
fn a_row_is_hidden_from_its_end_on_and_then_removed() {
    with_stream(async |mut cluster| {
        cluster.write("ann", "events", insert(&[(1, "a")])).await;
        cluster.now += 30 * SECOND;
        cluster.write("ann", "events", insert(&[(2, "b")])).await;
        cluster.now += 30 * SECOND - 1000;
        cluster.write("bob", "mine", insert(&[(1, "x")])).await;
        assert_eq!(cluster.rows("ann", "events").await, ["1:a:7", "2:b:7"]);
        cluster.now += 1000;
        cluster.write("bob", "mine", insert(&[(2, "x")])).await;
        assert_eq!(cluster.rows("ann", "events").await, ["2:b:7"]);
        assert_eq!(count(&cluster, Space::RowEnd).await, 1);
        cluster.now += 60 * SECOND;
        cluster.write("bob", "mine", insert(&[(3, "x")])).await;
        assert_eq!(count(&cluster, Space::RowEnd).await, 0);
        assert_eq!(count(&cluster, Space::Row).await, 3);
    });
}

#[test]
fn the_key_of_an_ended_row_is_free_before_it_is_removed() {
    with_stream(async |mut cluster| {
        cluster.write("ann", "events", insert(&[(1, "old")])).await;
        assert_eq!(code(cluster.write("ann", "events", insert(&[(1, "new")])).await), "23505");
        cluster.now += 60 * SECOND;
        assert_eq!(cluster.write("ann", "events", insert(&[(1, "new")])).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "events").await, ["1:new:7"]);
        assert_eq!(count(&cluster, Space::RowEnd).await, 1);
        cluster.now += 59 * SECOND;
        cluster.write("bob", "mine", insert(&[(1, "x")])).await;
        assert_eq!(cluster.rows("ann", "events").await, ["1:new:7"]);
    });
}

#[test]
fn many_ended_rows_go_a_bounded_number_at_a_time() {
    with_stream(async |mut cluster| {
        let rows: Vec<(i64, &str)> = (0..1500).map(|id| (id, "")).collect();
        cluster.write("ann", "events", insert(&rows)).await;
        cluster.now += 60 * SECOND;
        cluster.write("bob", "mine", insert(&[(1, "x")])).await;
        assert_eq!(cluster.rows("ann", "events").await, Vec::<String>::new());
        assert_eq!(count(&cluster, Space::RowEnd).await, 1500 - crate::write::rows::ENDED_ROWS_PER_ENTRY);
        cluster.write("bob", "mine", insert(&[(2, "x")])).await;
        assert_eq!((count(&cluster, Space::RowEnd).await, count(&cluster, Space::Row).await), (0, 2));
    });
}

#[test]
fn a_stream_is_append_only() {
    with_stream(async |mut cluster| {
        cluster.write("ann", "events", insert(&[(1, "a")])).await;
        assert_eq!(code(cluster.write("ann", "events", delete(TableAccess::Full)).await), "0A000");
        let set = update(TableAccess::Full, 3, literal(highwater_sql::value::Value::Null));
        assert_eq!(code(cluster.write("ann", "events", set).await), "0A000");
    });
}

#[test]
fn a_stream_without_a_time_to_live_keeps_its_rows() {
    run(async |env| {
        let mut cluster = Cluster::with_tables(&env).await;
        cluster.create_table(spec()).await;
        cluster.write("ann", "events", insert(&[(1, "a")])).await;
        cluster.now += 1_000_000 * SECOND;
        cluster.write("bob", "mine", insert(&[(1, "x")])).await;
        assert_eq!(cluster.rows("ann", "events").await, ["1:a:7"]);
        assert_eq!(count(&cluster, Space::RowEnd).await, 0);
    });
}
