//! Transactions: open workspaces beside each other, and commits that are applied whole or not at all.

use std::collections::BTreeMap;

use highwater_runtime::inproc::InProcEnv;
use highwater_sql::catalog::{ColumnId, Operation, Role, TableKind};
use highwater_sql::eval::EvalContext;
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::plan::{KeyBounds, TableAccess, TableChange, WriteKind};
use highwater_sql::value::{DataType, Value};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::cluster::{
    Cluster, SECOND, SHARED, USERS, binary, code, column, delete, ids, insert, literal, refused, run, update,
    with_tables,
};
use crate::command::{Command, RequestHead, RequestId};
use crate::keys::Space;
use crate::outcome::Outcome;
use crate::transaction::Workspace;

const ANN: &str = "ann";

/// An open transaction of ann on app.mine, or of svc on app.ours.
struct Open {
    workspace: Workspace<InProcEnv>,
    who: &'static str,
    table: &'static str,
}

impl Cluster {
    fn begin(&self, who: &'static str, table: &'static str) -> Open {
        let view = self.groups[&self.group_of(table)].view();
        Open { workspace: Workspace::new(view, self.now), who, table }
    }

    async fn within(&mut self, open: &mut Open, kind: WriteKind) -> Outcome {
        self.seed += 1;
        let command = self.write_command(open.who, open.table, kind);
        let catalog = self.groups[&0].catalog().clone();
        open.workspace.write(&catalog, &command, self.seed).await.unwrap()
    }

    /// `id:body:n` of what the transaction reads, and of which rows the `_seq` is known.
    async fn read(&self, open: &mut Open, access: &TableAccess) -> Vec<String> {
        let table = self.table(open.table);
        let user = (table.kind != TableKind::Shared).then_some(open.who);
        let context = EvalContext::new(self.now, open.who, Role::User, &[], 0);
        let mut cursor = open.workspace.rows_of(&table, user, access, &context).await.unwrap();
        let mut rows = Vec::new();
        while let Some((row, _)) = cursor.next().await.unwrap() {
            rows.push(format!("{}:{}:{}", row[0], row[2], row[3]));
        }
        rows
    }

    /// The ids of the last rows that the transaction reads, at most so many.
    async fn read_last(&self, open: &mut Open, access: &TableAccess, most: usize) -> Vec<String> {
        let table = self.table(open.table);
        let user = (table.kind != TableKind::Shared).then_some(open.who);
        let context = EvalContext::new(self.now, open.who, Role::User, &[], 0);
        let mut cursor = open.workspace.rows_of(&table, user, access, &context).await.unwrap().backwards();
        let mut ids = Vec::new();
        while ids.len() < most {
            let Some((row, _)) = cursor.next().await.unwrap() else { break };
            ids.push(row[0].to_string());
        }
        ids
    }

    async fn commit_as(&mut self, open: &Open, head: RequestHead) -> Outcome {
        self.seed += 1;
        match open.workspace.commit(head, self.seed) {
            Ok(None) => Outcome::Done,
            Ok(Some(command)) => self.apply(self.group_of(open.table), Command::Transaction(Box::new(command))).await,
            Err(diag) => Outcome::Refused(Box::new(diag)),
        }
    }

    async fn commit(&mut self, open: &Open) -> Outcome {
        self.commit_as(open, self.head(open.who)).await
    }
}

fn conflict(outcome: Outcome) -> String {
    match outcome {
        Outcome::Conflict(diag) => {
            assert_eq!(diag.sqlstate.as_str(), "40001");
            diag.message
        }
        other => panic!("no conflict: {other:?}"),
    }
}

fn committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed { .. })
}

/// n = n + 1
fn add_one(access: TableAccess) -> WriteKind {
    let sum = binary(BinaryOp::Add, Expr::Column(3, DataType::Int), literal(Value::Int(1)), DataType::Int);
    update(access, 4, sum)
}

#[test]
fn a_transaction_sees_its_own_writes_and_nobody_else_does_until_it_is_committed_whole() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a"), (3, "c")])).await;
        let mut open = cluster.begin(ANN, "mine");
        assert_eq!(cluster.within(&mut open, insert(&[(2, "b"), (4, "d")])).await, Outcome::Written(2));
        assert_eq!(cluster.within(&mut open, delete(ids(3, 3))).await, Outcome::Written(1));
        assert_eq!(cluster.within(&mut open, add_one(ids(1, 2))).await, Outcome::Written(2));
        assert_eq!(cluster.read(&mut open, &TableAccess::Full).await, ["1:a:8", "2:b:8", "4:d:7"]);
        assert_eq!(cluster.read(&mut open, &ids(2, 2)).await, ["2:b:8"]);
        assert_eq!(cluster.read(&mut open, &ids(3, 3)).await, Vec::<String>::new());
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:a:7", "3:c:7"]);
        assert!(committed(&cluster.commit(&open).await));
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:a:8", "2:b:8", "4:d:7"]);
        let seqs: Vec<u64> = cluster.rows_with_seq(ANN, "mine").await.into_iter().map(|(_, seq)| seq).collect();
        assert!(seqs[0] > seqs[2] && seqs[2] < seqs[1], "in the order of the changes: {seqs:?}");
    });
}

#[test]
fn who_read_what_another_has_changed_since_is_refused_and_changes_nothing() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a"), (2, "b")])).await;
        let mut open = cluster.begin(ANN, "mine");
        cluster.read(&mut open, &ids(1, 1)).await;
        cluster.within(&mut open, update(ids(2, 2), 3, literal(Value::Text("x".into())))).await;
        cluster.write(ANN, "mine", add_one(ids(1, 1))).await;
        let before = cluster.contents(USERS).await.len();
        let message = conflict(cluster.commit(&open).await);
        assert!(message.contains("could not serialize"), "{message}");
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:a:8", "2:b:7"]);
        assert_eq!(cluster.contents(USERS).await.len(), before);
    });
}

#[test]
fn write_skew_is_refused() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "on"), (2, "on")])).await;
        let (mut one, mut two) = (cluster.begin(ANN, "mine"), cluster.begin(ANN, "mine"));
        for open in [&mut one, &mut two] {
            assert_eq!(cluster.read(open, &TableAccess::Full).await.len(), 2);
        }
        let off = |id| update(ids(id, id), 3, literal(Value::Text("off".into())));
        cluster.within(&mut one, off(1)).await;
        cluster.within(&mut two, off(2)).await;
        assert!(committed(&cluster.commit(&one).await));
        conflict(cluster.commit(&two).await);
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:off:7", "2:on:7"]);
    });
}

#[test]
fn a_row_that_appeared_in_a_range_that_was_read_is_a_conflict_and_one_beside_it_is_none() {
    with_tables(async |mut cluster| {
        let (mut one, mut two) = (cluster.begin(ANN, "mine"), cluster.begin(ANN, "mine"));
        for open in [&mut one, &mut two] {
            assert_eq!(cluster.read(open, &ids(1, 10)).await.len(), 0);
            cluster.within(open, insert(&[(50 + i64::from(open.who == ANN), "x")])).await;
        }
        cluster.write(ANN, "mine", insert(&[(11, "near")])).await;
        assert!(committed(&cluster.commit(&one).await));
        cluster.write(ANN, "mine", delete(ids(51, 51))).await;
        cluster.write(ANN, "mine", insert(&[(10, "in")])).await;
        conflict(cluster.commit(&two).await);
    });
}

#[test]
fn what_was_read_backwards_is_the_part_from_the_last_row_on() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(10, "a"), (20, "b"), (30, "c"), (40, "d")])).await;
        for (row, is_seen) in [(19, false), (21, true), (99, true), (39, true)] {
            let mut open = cluster.begin(ANN, "mine");
            cluster.within(&mut open, insert(&[(50, "own")])).await;
            cluster.within(&mut open, delete(ids(30, 30))).await;
            assert_eq!(cluster.read_last(&mut open, &TableAccess::Full, 3).await, ["50", "40", "20"]);
            cluster.write(ANN, "mine", insert(&[(row, "other")])).await;
            match (cluster.commit(&open).await, is_seen) {
                (outcome, true) => drop(conflict(outcome)),
                (outcome, false) => {
                    assert!(committed(&outcome), "{row}: {outcome:?}");
                    cluster.write(ANN, "mine", insert(&[(30, "c")])).await;
                    cluster.write(ANN, "mine", delete(ids(50, 50))).await;
                }
            }
            cluster.write(ANN, "mine", delete(ids(row, row))).await;
        }
        // All of it, and nothing.
        for (range, found) in [(ids(15, 25), vec!["20"]), (ids(60, 70), vec![])] {
            for (row, is_seen) in [(14, false), (if found.is_empty() { 65 } else { 16 }, true)] {
                let mut open = cluster.begin(ANN, "mine");
                assert_eq!(cluster.read_last(&mut open, &range, 9).await, found);
                cluster.within(&mut open, insert(&[(80, "own")])).await;
                cluster.write(ANN, "mine", insert(&[(row, "other")])).await;
                assert_eq!(committed(&cluster.commit(&open).await), !is_seen);
                cluster.write(ANN, "mine", delete(ids(row, row))).await;
                cluster.write(ANN, "mine", delete(ids(80, 80))).await;
            }
        }
    });
}

#[test]
fn rows_backwards_are_the_rows_in_the_other_order() {
    fn hold(stored: Vec<u8>, own: Vec<u8>, gone: Vec<u8>, erased: bool) -> bool {
        let holds = std::rc::Rc::new(std::cell::Cell::new(false));
        let told = std::rc::Rc::clone(&holds);
        with_tables(async move |mut cluster| {
            cluster.change("mine", cluster.index_ddl("mine", "by_body", &[3], false)).await.unwrap();
            let index = cluster.table("mine").indexes[0].id;
            let body = |id: i64| ["a", "b", "c"][usize::try_from(id % 3).unwrap()];
            let id = |id: &u8| i64::from(id % 16);
            for one in stored.iter().map(id) {
                cluster.write(ANN, "mine", insert(&[(one, body(one))])).await;
            }
            let mut open = cluster.begin(ANN, "mine");
            if erased {
                cluster.within(&mut open, WriteKind::Truncate).await;
            }
            for one in gone.iter().map(id) {
                cluster.within(&mut open, delete(ids(one, one))).await;
            }
            for one in own.iter().map(id) {
                let steps = open.workspace.steps();
                if matches!(cluster.within(&mut open, insert(&[(one, body(one))])).await, Outcome::Refused(_)) {
                    open.workspace.rewind(steps).await.unwrap();
                }
            }
            let texts = ["a", "c"].map(|text| literal(Value::Text(text.into())));
            let bounds = texts.map(|text| KeyBounds { equal: vec![text], lower: None, upper: None }).to_vec();
            let points = [3, 9, 4].map(|id| literal(Value::BigInt(id)));
            let points = points.map(|id| KeyBounds { equal: vec![id], lower: None, upper: None }).to_vec();
            let mut all = true;
            for access in
                [TableAccess::Full, ids(4, 11), TableAccess::Bounds(points), TableAccess::Index { index, bounds }]
            {
                let ids = cluster.read(&mut open, &access).await;
                let ids: Vec<String> = ids.iter().filter_map(|row| row.split(':').next()).map(str::to_owned).collect();
                let mut backwards = cluster.read_last(&mut open, &access, usize::MAX).await;
                backwards.reverse();
                all &= ids == backwards;
            }
            told.set(all);
        });
        holds.get()
    }
    QuickCheck::new().tests(60).quickcheck(hold as fn(Vec<u8>, Vec<u8>, Vec<u8>, bool) -> bool);
}

#[test]
fn writes_whose_answers_stay_the_same_do_not_conflict() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let (mut one, mut two) = (cluster.begin(ANN, "mine"), cluster.begin(ANN, "mine"));
        for open in [&mut one, &mut two] {
            assert_eq!(cluster.within(open, add_one(ids(1, 1))).await, Outcome::Written(1));
        }
        assert!(committed(&cluster.commit(&one).await));
        assert!(committed(&cluster.commit(&two).await));
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:a:9"], "no update is lost");
    });
}

#[test]
fn a_write_that_would_answer_otherwise_is_a_conflict() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let (mut gone, mut taken) = (cluster.begin(ANN, "mine"), cluster.begin(ANN, "mine"));
        assert_eq!(cluster.within(&mut gone, add_one(ids(1, 1))).await, Outcome::Written(1));
        assert_eq!(cluster.within(&mut taken, insert(&[(2, "mine")])).await, Outcome::Written(1));
        cluster.write(ANN, "mine", delete(ids(1, 1))).await;
        cluster.write(ANN, "mine", insert(&[(2, "other")])).await;
        conflict(cluster.commit(&gone).await);
        let Outcome::Conflict(diag) = cluster.commit(&taken).await else { panic!("no conflict") };
        assert_eq!(diag.detail.as_deref(), Some("23505: duplicate key in table app.mine"));
        assert_eq!(cluster.rows(ANN, "mine").await, ["2:other:7"]);
    });
}

#[test]
fn what_was_returned_of_a_row_holds_or_is_a_conflict() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let mut open = cluster.begin(ANN, "mine");
        let mut command = cluster.write_command(ANN, "mine", add_one(ids(1, 1)));
        command.plan.returning = vec![Expr::Column(3, DataType::Int), Expr::Column(4, DataType::BigInt)];
        let catalog = cluster.groups[&0].catalog().clone();
        let answer = open.workspace.write(&catalog, &command, 1).await.unwrap();
        let own = vec![Value::Int(8), Value::Null];
        assert_eq!(answer, Outcome::Returned { changed: 1, rows: vec![own] }, "an own `_seq` is not known yet");
        let mut other = cluster.begin(ANN, "mine");
        open.workspace.rewind(1).await.unwrap();
        assert_eq!(other.workspace.write(&catalog, &command, 1).await.unwrap(), answer);
        assert!(committed(&cluster.commit(&open).await));
        conflict(cluster.commit(&other).await);
        assert_eq!(cluster.rows(ANN, "mine").await, ["1:a:8"]);
    });
}

#[test]
fn a_refusal_that_the_client_saw_must_still_hold() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(5, "e")])).await;
        assert_eq!(code(cluster.within(&mut open, insert(&[(6, "f"), (1, "b")])).await), "23505");
        open.workspace.rewind(1).await.unwrap();
        assert_eq!(cluster.read(&mut open, &TableAccess::Full).await, ["1:a:7", "5:e:7"], "nothing of it is left");
        let mut blind = cluster.begin(ANN, "mine");
        assert_eq!(code(cluster.within(&mut blind, insert(&[(1, "b")])).await), "23505");
        blind.workspace.rewind(0).await.unwrap();
        cluster.within(&mut blind, insert(&[(7, "g")])).await;
        cluster.write(ANN, "mine", delete(ids(1, 1))).await;
        conflict(cluster.commit(&open).await);
        conflict(cluster.commit(&blind).await);
    });
}

#[test]
fn what_was_rolled_back_to_a_savepoint_is_not_committed_but_what_it_answered_holds() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        for meanwhile in [false, true] {
            let mut open = cluster.begin(ANN, "mine");
            cluster.within(&mut open, insert(&[(10 + i64::from(meanwhile), "kept")])).await;
            let savepoint = open.workspace.steps();
            assert_eq!(cluster.within(&mut open, delete(ids(1, 1))).await, Outcome::Written(1));
            open.workspace.rewind(savepoint).await.unwrap();
            assert!(cluster.read(&mut open, &ids(1, 1)).await.len() == 1);
            if meanwhile {
                cluster.write(ANN, "mine", delete(ids(1, 1))).await;
                conflict(cluster.commit(&open).await);
            } else {
                assert!(committed(&cluster.commit(&open).await));
            }
        }
        assert_eq!(cluster.rows(ANN, "mine").await, ["10:kept:7"]);
    });
}

#[test]
fn a_transaction_that_only_reads_sees_one_moment_and_has_nothing_to_commit() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let mut open = cluster.begin(ANN, "mine");
        cluster.write(ANN, "mine", add_one(TableAccess::Full)).await;
        cluster.write(ANN, "mine", insert(&[(2, "b")])).await;
        assert_eq!(cluster.read(&mut open, &TableAccess::Full).await, ["1:a:7"]);
        assert_eq!(cluster.commit(&open).await, Outcome::Done);
    });
}

#[test]
fn a_commit_under_a_request_id_is_applied_once_and_answers_its_writes_again() {
    with_tables(async |mut cluster| {
        let request = Some(RequestId { id: cluster.id_at(0, 1), ordinal: 2 });
        let head = RequestHead { request, statement_hash: 5, ..cluster.head(ANN) };
        assert_eq!(cluster.groups[&USERS].view().answer_of(&head).await.unwrap(), None);
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(1, "a"), (2, "b")])).await;
        let command = Command::Transaction(Box::new(open.workspace.commit(head.clone(), 77).unwrap().unwrap()));
        let first = cluster.apply(USERS, command.clone()).await;
        assert_eq!(first, Outcome::Committed { attempt: 77, answers: vec![Outcome::Written(2)] });
        cluster.write(ANN, "mine", delete(ids(1, 1))).await;
        assert_eq!(cluster.apply(USERS, command).await, first);
        assert_eq!(cluster.groups[&USERS].view().answer_of(&head).await.unwrap(), Some(first));
        assert_eq!(cluster.rows(ANN, "mine").await, ["2:b:7"]);
    });
}

#[test]
fn a_conflict_is_not_kept_so_that_the_same_request_may_succeed_when_it_is_run_anew() {
    with_tables(async |mut cluster| {
        cluster.write(ANN, "mine", insert(&[(1, "a")])).await;
        let request = Some(RequestId { id: cluster.id_at(0, 1), ordinal: 0 });
        let head = RequestHead { request, ..cluster.head(ANN) };
        for attempt in 0..2 {
            let mut open = cluster.begin(ANN, "mine");
            cluster.read(&mut open, &TableAccess::Full).await;
            cluster.within(&mut open, add_one(ids(1, 1))).await;
            if attempt == 0 {
                cluster.write(ANN, "mine", insert(&[(2, "b")])).await;
                conflict(cluster.commit_as(&open, head.clone()).await);
            } else {
                assert!(committed(&cluster.commit_as(&open, head.clone()).await));
            }
        }
    });
}

#[test]
fn a_settled_request_is_never_applied_after_and_one_that_was_applied_keeps_its_answer() {
    with_tables(async |mut cluster| {
        let why = Box::new(crate::transaction::conflict_diag("its node was lost"));
        for is_first in [true, false] {
            let request = Some(RequestId { id: cluster.id_at(0, u128::from(is_first)), ordinal: 0 });
            let head = RequestHead { request, ..cluster.head(ANN) };
            let settle = Command::Settle { head: head.clone(), why: why.clone() };
            let mut open = cluster.begin(ANN, "mine");
            cluster.within(&mut open, insert(&[(1, "a")])).await;
            if is_first {
                assert_eq!(code(cluster.apply(USERS, settle).await), "40001");
                assert_eq!(code(cluster.commit_as(&open, head).await), "40001");
                assert_eq!(cluster.rows(ANN, "mine").await, Vec::<String>::new());
            } else {
                assert!(committed(&cluster.commit_as(&open, head).await));
                assert!(committed(&cluster.apply(USERS, settle).await));
            }
        }
    });
}

#[test]
fn a_table_that_was_redefined_since_is_a_conflict() {
    with_tables(async |mut cluster| {
        let (mut read, mut written) = (cluster.begin(ANN, "mine"), cluster.begin(ANN, "mine"));
        cluster.read(&mut read, &TableAccess::Full).await;
        for open in [&mut read, &mut written] {
            cluster.within(open, insert(&[(1, "a")])).await;
        }
        cluster.alter("mine", TableChange::AddColumn(Box::new(column(0, "extra", DataType::Int, true)))).await.unwrap();
        for open in [&read, &written] {
            assert!(conflict(cluster.commit(open).await).contains("redefined"));
        }
    });
}

#[test]
fn a_table_that_is_newer_than_the_view_is_written_all_the_same() {
    with_tables(async |mut cluster| {
        cluster.write("svc", "ours", insert(&[(1, "a")])).await;
        let mut open = cluster.begin("svc", "ours");
        cluster.alter("ours", TableChange::AddColumn(Box::new(column(0, "extra", DataType::Int, true)))).await.unwrap();
        assert_eq!(cluster.within(&mut open, add_one(ids(1, 1))).await, Outcome::Written(1));
        assert_eq!(cluster.read(&mut open, &TableAccess::Full).await, ["1:a:8"]);
        assert!(committed(&cluster.commit(&open).await));
    });
}

#[test]
fn a_write_that_was_planned_before_the_views_definitions_is_stale_and_the_transaction_goes_on() {
    with_tables(async |mut cluster| {
        let old = cluster.write_command(ANN, "mine", insert(&[(1, "old")]));
        cluster.alter("mine", TableChange::AddColumn(Box::new(column(0, "extra", DataType::Int, true)))).await.unwrap();
        let mut open = cluster.begin(ANN, "mine");
        let catalog = cluster.groups[&0].catalog().clone();
        let answer = open.workspace.write(&catalog, &old, 1).await.unwrap();
        assert_eq!(answer, Outcome::StaleCatalog { at: catalog.version });
        assert_eq!(cluster.within(&mut open, insert(&[(1, "new")])).await, Outcome::Written(1));
        assert!(committed(&cluster.commit(&open).await));
    });
}

#[test]
fn a_user_that_was_dropped_since_commits_nothing() {
    with_tables(async |mut cluster| {
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(1, "a")])).await;
        let head = cluster.head(ANN);
        let drop =
            crate::command::MetaCommand::DropUser { head: cluster.head("root"), name: ANN.into(), if_exists: false };
        cluster.meta(drop).await;
        assert_eq!(code(cluster.commit_as(&open, head).await), "42501");
        assert_eq!(cluster.rows(ANN, "mine").await, Vec::<String>::new());
    });
}

#[test]
fn messages_of_all_its_writes_come_in_order_and_only_when_it_is_committed() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        cluster.create_topic(table, &[Operation::Insert, Operation::Update]).await;
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(1, "a")])).await;
        cluster.within(&mut open, add_one(ids(1, 1))).await;
        cluster.within(&mut open, insert(&[(2, "b")])).await;
        let outbox =
            async |cluster: &Cluster| cluster.groups[&USERS].view().outbox_range(SHARED, 0, 1 << 20).await.unwrap();
        assert_eq!(outbox(&cluster).await.records, vec![]);
        cluster.now += SECOND;
        assert!(committed(&cluster.commit(&open).await));
        let records = outbox(&cluster).await.records;
        let operations: Vec<Operation> = records.iter().map(|record| record.operation).collect();
        assert_eq!(operations, [Operation::Insert, Operation::Update, Operation::Insert]);
        assert!(records.iter().all(|record| record.timestamp == cluster.now), "the time of the commit");
        cluster.ship(USERS).await;
    });
}

#[test]
fn reads_beyond_what_a_commit_can_look_at_again_are_refused_only_of_one_that_writes() {
    with_tables(async |mut cluster| {
        for first in 0..3 {
            let rows: Vec<(i64, &str)> = (0..68_000).map(|row| (first * 68_000 + row, "x")).collect();
            assert_eq!(cluster.write(ANN, "mine", insert(&rows)).await, Outcome::Written(68_000));
        }
        let mut open = cluster.begin(ANN, "mine");
        assert_eq!(cluster.read(&mut open, &TableAccess::Full).await.len(), 204_000);
        assert_eq!(cluster.commit(&open).await, Outcome::Done);
        cluster.within(&mut open, delete(ids(1, 1))).await;
        let diag = refused(cluster.commit(&open).await);
        assert_eq!(diag.sqlstate.as_str(), "54000");
    });
}

#[test]
fn ended_answers_and_rows_go_out_with_a_transaction_as_with_any_entry() {
    with_tables(async |mut cluster| {
        let request = Some(RequestId { id: cluster.id_at(0, 1), ordinal: 0 });
        let head = RequestHead { request, ..cluster.head(ANN) };
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(1, "a")])).await;
        assert!(committed(&cluster.commit_as(&open, head).await));
        let sessions = async |cluster: &Cluster| {
            let span = crate::keys::Keys::new(USERS).space(Space::SessionEnd);
            cluster.contents(USERS).await.iter().filter(|(key, _)| span.contains(key)).count()
        };
        assert_eq!(sessions(&cluster).await, 1);
        cluster.now += 11 * 60 * SECOND;
        let mut open = cluster.begin(ANN, "mine");
        cluster.within(&mut open, insert(&[(2, "b")])).await;
        assert!(committed(&cluster.commit(&open).await));
        assert_eq!(sessions(&cluster).await, 0);
    });
}

/// A statement of a random transaction.
#[derive(Clone, Debug)]
enum Op {
    Read(i64, i64),
    ByN(i32),
    Insert(i64, i32),
    AddOne(i64, i64),
    Delete(i64, i64),
    /// UPDATE t SET id = id + 1 WHERE id = ?
    Shift(i64),
    Save,
    Back,
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        let small = |g: &mut Gen| i64::from(u8::arbitrary(g) % 5);
        let (a, b) = (small(g), small(g));
        let (low, high) = (a.min(b), a.max(b));
        match u8::arbitrary(g) % 13 {
            0 | 1 => Self::Read(low, low),
            2 => Self::Read(low, high),
            3 => Self::ByN(i32::try_from(a).unwrap()),
            4..=6 => Self::Insert(a, i32::try_from(b).unwrap()),
            7 | 8 => Self::AddOne(low, low + b % 2),
            9 => Self::Delete(low, low),
            10 => Self::Shift(a),
            11 => Self::Save,
            _ => Self::Back,
        }
    }
}

/// Transactions, and which of them takes the next step; one that has no statement left commits.
#[derive(Clone, Debug)]
struct Interleaving {
    transactions: Vec<Vec<Op>>,
    turns: Vec<u8>,
}

impl Arbitrary for Interleaving {
    fn arbitrary(g: &mut Gen) -> Self {
        let count = 2 + usize::from(u8::arbitrary(g) % 3);
        let transactions: Vec<Vec<Op>> = (0..count)
            .map(|_| {
                let length = 1 + usize::from(u8::arbitrary(g) % 5);
                (0..length).map(|_| Op::arbitrary(g)).collect()
            })
            .collect();
        let turns = (0..40).map(|_| u8::arbitrary(g)).collect();
        Self { transactions, turns }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let whole = self.clone();
        let fewer = self.transactions.shrink().map(move |transactions| Self { transactions, ..whole.clone() });
        let whole = self.clone();
        Box::new(fewer.chain(self.turns.shrink().map(move |turns| Self { turns, ..whole.clone() })))
    }
}

/// The table as a map.
type Model = BTreeMap<i64, i32>;

/// What a statement answers when everything runs one after the other.
fn serially(model: &mut Model, op: &Op, saved: &mut Option<Model>) -> String {
    let within =
        |model: &Model, low: i64, high: i64| -> Vec<i64> { model.range(low..=high).map(|(id, _)| *id).collect() };
    match op {
        Op::Read(low, high) => format!("{:?}", model.range(low..=high).collect::<Vec<_>>()),
        Op::ByN(n) => format!("{:?}", model.iter().filter(|(_, found)| *found == n).collect::<Vec<_>>()),
        Op::Insert(id, _) if model.contains_key(id) => "refused".into(),
        Op::Insert(id, n) => {
            model.insert(*id, *n);
            "1".into()
        }
        Op::AddOne(low, high) => {
            let found = within(model, *low, *high);
            for id in &found {
                *model.get_mut(id).unwrap() += 1;
            }
            found.len().to_string()
        }
        Op::Delete(low, high) => {
            let found = within(model, *low, *high);
            model.retain(|id, _| !found.contains(id));
            found.len().to_string()
        }
        Op::Shift(id) => match model.get(id).copied() {
            None => "0".into(),
            Some(_) if model.contains_key(&(id + 1)) => "refused".into(),
            Some(n) => {
                model.remove(id);
                model.insert(id + 1, n);
                "1".into()
            }
        },
        Op::Save => {
            *saved = Some(model.clone());
            String::new()
        }
        Op::Back => {
            if let Some(saved) = saved {
                *model = saved.clone();
            }
            String::new()
        }
    }
}

async fn within_workspace(cluster: &mut Cluster, open: &mut Open, op: &Op, saved: &mut Option<usize>) -> String {
    let shown = |rows: Vec<String>| {
        let pairs: Vec<(i64, i32)> = rows
            .iter()
            .map(|row| {
                let mut parts = row.split(':');
                (parts.next().unwrap().parse().unwrap(), parts.nth(1).unwrap().parse().unwrap())
            })
            .collect();
        format!("{:?}", pairs.iter().map(|(id, n)| (id, n)).collect::<Vec<_>>())
    };
    let kind = match op {
        Op::Read(low, high) => return shown(cluster.read(open, &ids(*low, *high)).await),
        Op::ByN(n) => {
            let bounds = vec![KeyBounds { equal: vec![literal(Value::Int(*n))], lower: None, upper: None }];
            let index = cluster.table("mine").indexes[0].id;
            return shown(cluster.read(open, &TableAccess::Index { index, bounds }).await);
        }
        Op::Save => {
            *saved = Some(open.workspace.steps());
            return String::new();
        }
        Op::Back => {
            if let Some(saved) = saved {
                open.workspace.rewind(*saved).await.unwrap();
            }
            return String::new();
        }
        Op::Insert(id, n) => WriteKind::Insert {
            columns: vec![ColumnId(1), ColumnId(4)],
            rows: vec![vec![Some(literal(Value::BigInt(*id))), Some(literal(Value::Int(*n)))]],
            conflict: None,
        },
        Op::AddOne(low, high) => add_one(ids(*low, *high)),
        Op::Delete(low, high) => delete(ids(*low, *high)),
        Op::Shift(id) => {
            let next =
                binary(BinaryOp::Add, Expr::Column(0, DataType::BigInt), literal(Value::BigInt(1)), DataType::BigInt);
            update(ids(*id, *id), 1, next)
        }
    };
    match cluster.within(open, kind).await {
        Outcome::Written(rows) => rows.to_string(),
        Outcome::Refused(diag) => {
            assert_eq!(diag.sqlstate.as_str(), "23505");
            // As a client with a savepoint before every statement.
            let steps = open.workspace.steps();
            open.workspace.rewind(steps).await.unwrap();
            "refused".into()
        }
        other => panic!("{other:?}"),
    }
}

/// One transaction of an interleaving on its way.
struct Running {
    open: Option<Open>,
    done: usize,
    saved: Option<usize>,
    answers: Vec<String>,
    /// The model when it read nothing but its own view.
    seen: Model,
}

/// Runs an interleaving; false where a committed transaction's answers are not those of the serial order.
async fn is_serializable(env: &InProcEnv, plan: Interleaving) -> bool {
    let mut cluster = Cluster::with_tables(env).await;
    cluster.change("mine", cluster.index_ddl("mine", "by_n", &[4], false)).await.unwrap();
    cluster.write(ANN, "mine", insert(&[(0, "x"), (1, "x"), (3, "x")])).await;
    let mut model: Model = [(0, 7), (1, 7), (3, 7)].into();
    let new = || Running { open: None, done: 0, saved: None, answers: Vec::new(), seen: Model::new() };
    let mut running: Vec<Option<Running>> = plan.transactions.iter().map(|_| Some(new())).collect();
    // What was left over when the turns were used up ends one after the other.
    let rest = (0..running.len()).flat_map(|who| std::iter::repeat_n(u8::try_from(who).unwrap(), 8));
    for turn in plan.turns.iter().copied().chain(rest) {
        if running.is_empty() {
            break;
        }
        let who = usize::from(turn) % running.len();
        let Some(mut state) = running[who].take() else { continue };
        let mut open = state.open.take().unwrap_or_else(|| {
            state.seen = model.clone();
            cluster.begin(ANN, "mine")
        });
        if let Some(op) = plan.transactions[who].get(state.done) {
            state.answers.push(within_workspace(&mut cluster, &mut open, op, &mut state.saved).await);
            state.done += 1;
            state.open = Some(open);
            running[who] = Some(state);
            continue;
        }
        let outcome = cluster.commit(&open).await;
        let explains = |start: &Model| {
            let (mut after, mut saved) = (start.clone(), None);
            let answers: Vec<String> =
                plan.transactions[who].iter().map(|op| serially(&mut after, op, &mut saved)).collect();
            (answers == state.answers).then_some(after)
        };
        match outcome {
            // It only read: at the moment of its view.
            Outcome::Done => {
                if explains(&state.seen).is_none() {
                    return false;
                }
            }
            Outcome::Committed { .. } => match explains(&model) {
                Some(after) => model = after,
                None => return false,
            },
            Outcome::Conflict(_) => {}
            other => panic!("{other:?}"),
        }
        cluster.check_indexes().await;
    }
    let rows: Model = cluster
        .rows_with_seq(ANN, "mine")
        .await
        .into_iter()
        .map(|(row, _)| (row[0].as_i64().unwrap(), i32::try_from(row[3].as_i64().unwrap()).unwrap()))
        .collect();
    rows == model
}

#[test]
fn committed_transactions_answer_as_if_they_had_run_one_after_the_other() {
    fn holds(plan: Interleaving) -> bool {
        let mut is_held = false;
        run(async |env| is_held = is_serializable(&env, plan).await);
        is_held
    }
    QuickCheck::new().tests(250).quickcheck(holds as fn(Interleaving) -> bool);
}
