//! Request ids, rights, log time and the order of entries.

use bytes::Bytes;
use highwater_engine::LogIndex;
use highwater_sql::catalog::Role;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::{Ddl, TableAccess};

use super::cluster::{Cluster, LAYOUT, SECOND, START, USERS, code, delete, insert, refused, with_tables};
use crate::StateError;
use crate::command::{Command, MetaCommand, RequestHead, RequestId};
use crate::group::GroupState;
use crate::keys::{Keys, Space};
use crate::outcome::Outcome;

const MINUTE: i64 = 60 * SECOND;

async fn count(cluster: &Cluster, space: Space) -> usize {
    let span = Keys::new(USERS).space(space);
    cluster.contents(USERS).await.iter().filter(|(key, _)| span.contains(key)).count()
}

#[test]
fn a_retried_write_gets_the_first_answer_and_is_not_applied_again() {
    with_tables(async |mut cluster| {
        let id = cluster.id_at(0, 1);
        assert_eq!(cluster.request("ann", "mine", id, 5, insert(&[(1, "a")])).await, Outcome::Written(1));
        assert_eq!(cluster.write("ann", "mine", delete(TableAccess::Full)).await, Outcome::Written(1));
        cluster.now += 9 * MINUTE;
        assert_eq!(cluster.request("ann", "mine", id, 5, insert(&[(1, "a")])).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
    });
}

#[test]
fn a_retried_refusal_is_refused_again_even_when_it_would_go_through_now() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let id = cluster.id_at(0, 1);
        let first = cluster.request("ann", "mine", id, 5, insert(&[(1, "b")])).await;
        assert_eq!(code(first.clone()), "23505");
        cluster.write("ann", "mine", delete(TableAccess::Full)).await;
        assert_eq!(cluster.request("ann", "mine", id, 5, insert(&[(1, "b")])).await, first);
    });
}

#[test]
fn a_request_id_used_for_another_statement_is_refused() {
    with_tables(async |mut cluster| {
        let id = cluster.id_at(0, 1);
        cluster.request("ann", "mine", id, 5, insert(&[(1, "a")])).await;
        let diag = refused(cluster.request("ann", "mine", id, 6, insert(&[(2, "b")])).await);
        assert_eq!(
            (diag.sqlstate.as_str(), diag.message.as_str()),
            ("22023", "this request id was used for another statement")
        );
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:7"]);
    });
}

#[test]
fn two_users_and_two_statements_of_a_batch_may_share_a_request_id() {
    with_tables(async |mut cluster| {
        let id = cluster.id_at(0, 1);
        assert_eq!(cluster.request("ann", "mine", id, 5, insert(&[(1, "a")])).await, Outcome::Written(1));
        assert_eq!(cluster.request("bob", "mine", id, 6, insert(&[(1, "b")])).await, Outcome::Written(1));
        let mut second = cluster.write_command("ann", "mine", insert(&[(2, "c")]));
        second.head.request = Some(RequestId { id, ordinal: 1 });
        assert_eq!(cluster.apply(USERS, Command::Write(second)).await, Outcome::Written(1));
    });
}

#[test]
fn an_id_older_than_ten_minutes_is_refused_as_too_old_to_tell() {
    with_tables(async |mut cluster| {
        let old = cluster.id_at(-10 * MINUTE - SECOND, 1);
        assert_eq!(code(cluster.request("ann", "mine", old, 5, insert(&[(1, "a")])).await), "55P04");
        let young = cluster.id_at(-10 * MINUTE, 1);
        assert_eq!(cluster.request("ann", "mine", young, 5, insert(&[(1, "a")])).await, Outcome::Written(1));
    });
}

#[test]
fn an_id_more_than_a_minute_in_the_future_is_refused() {
    with_tables(async |mut cluster| {
        let early = cluster.id_at(MINUTE + SECOND, 1);
        assert_eq!(code(cluster.request("ann", "mine", early, 5, insert(&[(1, "a")])).await), "22023");
        let near = cluster.id_at(MINUTE, 1);
        assert_eq!(cluster.request("ann", "mine", near, 5, insert(&[(1, "a")])).await, Outcome::Written(1));
    });
}

#[test]
fn whenever_a_retry_comes_it_is_answered_or_refused_as_too_old_never_applied_twice() {
    with_tables(async |mut cluster| {
        // Ids from the past, the present and the future; retries at every half minute for 13 minutes.
        let offsets = [-10 * MINUTE, -5 * MINUTE, 0, MINUTE];
        let ids: Vec<u128> = offsets.iter().map(|offset| cluster.id_at(*offset, 1)).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(cluster.request("ann", "mine", *id, 5, insert(&[(n as i64, "a")])).await, Outcome::Written(1));
        }
        cluster.write("ann", "mine", delete(TableAccess::Full)).await;
        for _ in 0..26 {
            cluster.now += 30 * SECOND;
            for (n, id) in ids.iter().enumerate() {
                match cluster.request("ann", "mine", *id, 5, insert(&[(n as i64, "a")])).await {
                    Outcome::Written(1) => {}
                    outcome => assert_eq!(code(outcome), "55P04"),
                }
            }
            assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
        }
        assert_eq!((count(&cluster, Space::Session).await, count(&cluster, Space::SessionEnd).await), (0, 0));
    });
}

#[test]
fn answers_are_kept_for_ten_minutes_and_removed_a_few_at_a_time() {
    with_tables(async |mut cluster| {
        for n in 0..50 {
            let id = cluster.id_at(0, n);
            cluster.request("ann", "mine", id, 5, insert(&[(n as i64, "a")])).await;
        }
        cluster.now += 10 * MINUTE;
        cluster.write("bob", "mine", insert(&[(1, "b")])).await;
        assert_eq!(count(&cluster, Space::Session).await, 50);
        cluster.now += 1;
        cluster.write("bob", "mine", insert(&[(2, "b")])).await;
        assert_eq!(count(&cluster, Space::Session).await, 50 - crate::sessions::ENDED_PER_ENTRY);
        cluster.write("bob", "mine", insert(&[(3, "b")])).await;
        assert_eq!((count(&cluster, Space::Session).await, count(&cluster, Space::SessionEnd).await), (0, 0));
    });
}

#[test]
fn a_stale_plan_is_not_kept_as_the_answer() {
    with_tables(async |mut cluster| {
        let id = cluster.id_at(0, 1);
        let mut command = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        command.head.request = Some(RequestId { id, ordinal: 0 });
        command.plan.table_version = 9;
        let outcome = cluster.apply(USERS, Command::Write(command)).await;
        assert!(matches!(outcome, Outcome::StaleCatalog { .. }));
        assert_eq!(cluster.request("ann", "mine", id, 0, insert(&[(1, "a")])).await, Outcome::Written(1));
    });
}

#[test]
fn log_time_never_falls() {
    with_tables(async |mut cluster| {
        cluster.now -= 60 * SECOND;
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        assert_eq!(cluster.groups[&USERS].view().log_time(), START);
        cluster.now = START + 1;
        cluster.write("ann", "mine", insert(&[(2, "a")])).await;
        assert_eq!(cluster.groups[&USERS].view().log_time(), START + 1);
    });
}

#[test]
fn an_entry_out_of_order_stops_the_group_and_changes_nothing() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let before = cluster.contents(USERS).await;
        let last = cluster.entries[&USERS].last().unwrap().clone();
        let group = cluster.groups.get_mut(&USERS).unwrap();
        let applied = group.applied();
        for index in [applied, LogIndex(applied.0 + 2), LogIndex(0)] {
            let error = group.apply(index, &last).await.unwrap_err();
            assert_eq!(error, StateError::OutOfOrder { group: USERS, expected: applied.next(), found: index });
        }
        assert_eq!(cluster.contents(USERS).await, before);
    });
}

#[test]
fn an_entry_without_effects_is_no_link_of_the_chain() {
    with_tables(async |mut cluster| {
        let before = (cluster.chains(), cluster.contents(USERS).await.len());
        let group = cluster.groups.get_mut(&USERS).unwrap();
        let applied = group.apply(group.applied().next(), &[]).await.unwrap();
        assert_eq!(applied.outcome, Outcome::Done);
        assert_eq!(cluster.contents(USERS).await.len(), before.1);
        assert_eq!(cluster.chains(), before.0);
    });
}

#[test]
fn a_new_password_or_role_ends_older_logins() {
    with_tables(async |mut cluster| {
        let old = cluster.write_command("svc", "ours", insert(&[(1, "a")]));
        let head = cluster.head("root");
        let name = "svc".to_owned();
        cluster
            .meta(MetaCommand::AlterUser { head, name, verifier: Some("NEW".into()), role: None, email: None })
            .await;
        let diag = refused(cluster.apply(super::cluster::SHARED, Command::Write(old)).await);
        assert_eq!(diag.sqlstate.as_str(), "42501");
        assert_eq!(diag.hint.as_deref(), Some("Log in again."));
        assert_eq!(cluster.write("svc", "ours", insert(&[(1, "a")])).await, Outcome::Written(1));
    });
}

#[test]
fn a_dropped_user_writes_no_more_even_if_made_again() {
    with_tables(async |mut cluster| {
        let old = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        let head = cluster.head("root");
        cluster.meta(MetaCommand::DropUser { head, name: "ann".into(), if_exists: false }).await;
        assert_eq!(code(cluster.apply(USERS, Command::Write(old.clone())).await), "42501");
        cluster.create_user("ann", Role::User).await;
        assert_eq!(code(cluster.apply(USERS, Command::Write(old)).await), "42501");
        assert_eq!(cluster.write("ann", "mine", insert(&[(1, "a")])).await, Outcome::Written(1));
    });
}

#[test]
fn a_claimed_role_counts_for_nothing() {
    with_tables(async |mut cluster| {
        let mut command = cluster.write_command("ann", "ours", insert(&[(1, "a")]));
        command.head.role = Role::System;
        assert_eq!(code(cluster.apply(super::cluster::SHARED, Command::Write(command)).await), "42501");
    });
}

#[test]
fn a_change_of_membership_is_kept_with_the_mark_shown_by_views_and_found_again() {
    with_tables(async |mut cluster| {
        let chains = cluster.chains();
        let store = cluster.store.clone();
        let group = cluster.groups.get_mut(&USERS).unwrap();
        let (before, index) = (group.view(), group.applied().next());
        assert_eq!(group.membership(), None);
        group.apply_membership(index, Bytes::from_static(b"these")).unwrap();
        let error = group.apply_membership(index, Bytes::from_static(b"those")).unwrap_err();
        assert_eq!(error, StateError::OutOfOrder { group: USERS, expected: index.next(), found: index });
        let reopened = GroupState::open(store, USERS, LAYOUT).await.unwrap();
        for view in [group.view(), reopened.view()] {
            assert_eq!((view.applied(), view.membership().map(|who| &who[..])), (index, Some(&b"these"[..])));
        }
        assert_eq!((before.membership(), reopened.membership()), (None, group.membership()));
        assert_ne!(cluster.chains(), chains);
    });
}

#[test]
fn a_definition_that_cannot_be_planned_again_gets_the_answer_of_its_first_try_and_else_is_refused_for_good() {
    with_tables(async |mut cluster| {
        let why = || Diag::new(SqlState::UNDEFINED_TABLE, "there is no such table");
        let head = |cluster: &Cluster, random| {
            let request = Some(RequestId { id: cluster.id_at(0, random), ordinal: 0 });
            RequestHead { request, ..cluster.head("root") }
        };
        let drop_mine = || Ddl::DropTable { namespace: "app".into(), name: "mine".into(), if_exists: false };
        let drop = |head| MetaCommand::Ddl { head, ddl: drop_mine() };
        let refuse = |head| MetaCommand::Refuse { head, why: Box::new(why()) };
        let (applied, lost) = (head(&cluster, 1), head(&cluster, 2));
        let first = cluster.meta(drop(applied.clone())).await;
        assert!(matches!(first, Outcome::Defined { .. }), "{first:?}");
        assert_eq!(cluster.meta(refuse(applied)).await, first);
        assert_eq!(refused(cluster.meta(refuse(lost.clone())).await), why());
        assert_eq!(refused(cluster.meta(drop(lost)).await), why(), "a first try that comes after all");
    });
}
