//! The meta group: bootstrap, DDL, users, jobs.

use highwater_sql::catalog::{Column, ColumnId, ObjectId, Operation, Role, TableKind};
use highwater_sql::plan::{Ddl, TableSpec};
use highwater_sql::value::DataType;

use super::cluster::{
    Cluster, LAYOUT, SECOND, START, USERS, bootstrap, code, column, refused, run, source, spec, with_cluster,
    with_tables,
};
use crate::command::{Command, MetaCommand};
use crate::definitions::{FIRST_OBJECT_ID, MAX_PARTITIONS};
use crate::group::GroupState;
use crate::jobs::JobStatus;
use crate::outcome::Outcome;
use crate::placement::META;
use crate::roll::{Introduced, RollCommand};

fn create_namespace(name: &str, if_not_exists: bool) -> Ddl {
    Ddl::CreateNamespace { name: name.into(), if_not_exists }
}

fn create_topic(name: &str, partitions: u32) -> Ddl {
    Ddl::CreateTopic {
        namespace: "app".into(),
        name: name.into(),
        if_not_exists: false,
        partitions,
        retention_seconds: None,
        retention_bytes: None,
    }
}

fn create_table(table: TableSpec) -> Ddl {
    Ddl::CreateTable { table, if_not_exists: false }
}

fn drop_table(name: &str) -> Ddl {
    Ddl::DropTable { namespace: "app".into(), name: name.into(), if_exists: false }
}

fn drop_namespace(name: &str, cascade: bool) -> Ddl {
    Ddl::DropNamespace { name: name.into(), if_exists: false, cascade }
}

#[test]
fn bootstrap_makes_root_two_namespaces_and_the_clusters_identity() {
    with_cluster(async |cluster| {
        let view = cluster.groups[&META].view();
        assert_eq!((view.cluster_id(), view.token_key(), view.layout()), (Some(77), Some([9; 32]), LAYOUT));
        let catalog = view.catalog();
        assert_eq!(catalog.namespaces.keys().collect::<Vec<_>>(), ["default", "system"]);
        let root = &catalog.users["root"];
        assert_eq!((root.role, root.verifier.as_deref(), root.auth_epoch), (Role::System, Some("SCRAM-ROOT"), 1));
    });
}

#[test]
fn a_second_bootstrap_is_refused() {
    with_cluster(async |mut cluster| {
        assert_eq!(code(cluster.meta(bootstrap()).await), "55000");
    });
}

#[test]
fn nothing_is_defined_before_bootstrap() {
    run(async |env| {
        let mut cluster = Cluster::open(&env).await;
        assert_eq!(code(cluster.ddl("root", create_namespace("app", false)).await), "55000");
    });
}

#[test]
fn the_meta_group_learns_its_layout_from_bootstrap() {
    run(async |env| {
        let cluster = Cluster::bootstrapped(&env).await;
        let other = crate::placement::Layout { user_shards: 9, ..LAYOUT };
        let group = crate::group::GroupState::open(cluster.store.clone(), META, other).await.unwrap();
        assert_eq!(group.view().layout(), LAYOUT);
    });
}

#[test]
fn a_command_of_meta_in_another_group_is_refused() {
    with_cluster(async |mut cluster| {
        assert_eq!(code(cluster.apply(USERS, Command::Meta(bootstrap())).await), "XX000");
    });
}

#[test]
fn every_definition_makes_one_version_and_says_what_happened() {
    with_cluster(async |mut cluster| {
        let outcome = cluster.ddl("root", create_namespace("app", false)).await;
        let Outcome::Defined { version, message, job } = outcome else { panic!("{outcome:?}") };
        assert_eq!((version.0, message.as_str(), job), (2, "Namespace 'app' created successfully", None));
        assert_eq!(
            cluster.define(create_table(spec("t", TableKind::User))).await,
            "Table 'app.t' created successfully"
        );
        assert_eq!(cluster.define(create_topic("events", 4)).await, "Created topic 'app.events' with 4 partition(s)");
        assert_eq!(cluster.groups[&META].view().catalog().version.0, 4);
        assert_eq!(cluster.groups[&USERS].view().catalog().version.0, 4);
    });
}

#[test]
fn what_exists_is_refused_or_fine_as_the_statement_says() {
    with_tables(async |mut cluster| {
        cluster.define(create_topic("events", 1)).await;
        let version = cluster.groups[&META].view().catalog().version;
        let again = |if_not_exists| {
            [
                create_namespace("app", if_not_exists),
                Ddl::CreateTable { table: spec("mine", TableKind::User), if_not_exists },
                Ddl::CreateTopic {
                    namespace: "app".into(),
                    name: "events".into(),
                    if_not_exists,
                    partitions: 1,
                    retention_seconds: None,
                    retention_bytes: None,
                },
            ]
        };
        for (ddl, expected) in again(false).into_iter().zip(["42P06", "42P07", "42710"]) {
            assert_eq!(code(cluster.ddl("root", ddl).await), expected);
        }
        for ddl in again(true) {
            let outcome = cluster.ddl("root", ddl).await;
            assert!(matches!(&outcome, Outcome::Defined { version: at, .. } if *at == version), "{outcome:?}");
        }
    });
}

#[test]
fn what_is_missing_is_refused_or_fine_as_the_statement_says() {
    with_tables(async |mut cluster| {
        let missing = |if_exists| {
            let (namespace, name) = ("app".to_owned(), "none".to_owned());
            [
                Ddl::DropNamespace { name: name.clone(), if_exists, cascade: false },
                Ddl::DropTable { namespace: namespace.clone(), name: name.clone(), if_exists },
                Ddl::DropTopic { namespace, name, if_exists },
            ]
        };
        for (ddl, expected) in missing(false).into_iter().zip(["3F000", "42P01", "42704"]) {
            assert_eq!(code(cluster.ddl("root", ddl).await), expected);
        }
        for ddl in missing(true) {
            let outcome = cluster.ddl("root", ddl).await;
            assert!(matches!(outcome, Outcome::Defined { .. }), "{outcome:?}");
        }
    });
}

#[test]
fn ids_are_never_given_twice() {
    with_tables(async |mut cluster| {
        let (first, second) = (cluster.table("mine").id, cluster.table("ours").id);
        assert_eq!((first, second), (ObjectId(FIRST_OBJECT_ID), ObjectId(FIRST_OBJECT_ID + 1)));
        cluster.define(drop_table("ours")).await;
        let third = cluster.create_table(spec("ours", TableKind::Shared)).await;
        assert_eq!(third, ObjectId(FIRST_OBJECT_ID + 2));
        cluster.define(create_topic("events", 1)).await;
        assert!(cluster.groups[&META].view().catalog().topics.contains_key(&ObjectId(FIRST_OBJECT_ID + 3)));
    });
}

#[test]
fn the_system_namespace_is_read_only_and_default_stays() {
    with_cluster(async |mut cluster| {
        let table = TableSpec { namespace: "system".into(), ..spec("t", TableKind::Shared) };
        assert_eq!(code(cluster.ddl("root", create_table(table)).await), "42501");
        assert_eq!(code(cluster.ddl("root", drop_namespace("system", true)).await), "42501");
        assert_eq!(code(cluster.ddl("root", drop_namespace("default", true)).await), "42501");
    });
}

#[test]
fn definitions_need_dba() {
    with_tables(async |mut cluster| {
        for name in ["ann", "svc"] {
            assert_eq!(code(cluster.ddl(name, create_namespace("x", false)).await), "42501");
        }
        assert!(matches!(cluster.ddl("dba", create_namespace("x", false)).await, Outcome::Defined { .. }));
        assert_eq!(code(cluster.ddl("nobody", create_namespace("y", false)).await), "42501");
    });
}

#[test]
fn a_definition_that_contradicts_itself_is_refused() {
    with_tables(async |mut cluster| {
        let id = || column(1, "id", DataType::BigInt, false);
        let with = |columns: Vec<Column>| TableSpec { columns, checks: vec![], ..spec("t", TableKind::Shared) };
        let cases = [
            (with(vec![]), "42P16"),
            (with(vec![id(), column(2, "id", DataType::Int, true)]), "42701"),
            (with(vec![id(), column(1, "n", DataType::Int, true)]), "42P16"),
            (with(vec![id(), column(2, "_seq", DataType::Int, true)]), "42602"),
            (with(vec![id(), column(2, "", DataType::Int, true)]), "42602"),
            (TableSpec { primary_key: vec![], ..spec("t", TableKind::Shared) }, "42P16"),
            (TableSpec { primary_key: vec![9], ..spec("t", TableKind::Shared) }, "42P16"),
            (TableSpec { primary_key: vec![0, 0], ..spec("t", TableKind::Shared) }, "42P16"),
            (with(vec![column(1, "id", DataType::Json, false)]), "42P16"),
            (TableSpec { partition_columns: 2, ..spec("t", TableKind::Shared) }, "42P16"),
            (TableSpec { partition_columns: 1, ..spec("t", TableKind::User) }, "42P16"),
            (TableSpec { ttl_seconds: Some(1), ..spec("t", TableKind::Shared) }, "42P16"),
            (TableSpec { ttl_seconds: Some(0), ..spec("t", TableKind::Stream) }, "42P16"),
            (TableSpec { namespace: "none".into(), ..spec("t", TableKind::Shared) }, "3F000"),
            (spec(&"x".repeat(129), TableKind::Shared), "42602"),
        ];
        for (n, (table, expected)) in cases.into_iter().enumerate() {
            assert_eq!(code(cluster.ddl("root", create_table(table)).await), expected, "case {n}");
        }
        for partitions in [0, MAX_PARTITIONS + 1] {
            assert_eq!(code(cluster.ddl("root", create_topic("t", partitions)).await), "22023");
        }
    });
}

#[test]
fn a_table_that_is_a_source_is_not_dropped() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        let topic = cluster.create_topic(table, &[Operation::Insert, Operation::Update]).await;
        let diag = refused(cluster.ddl("root", drop_table("mine")).await);
        assert_eq!(diag.message, "table \"app.mine\" cannot be dropped: it is a source of topic \"app.events\"");
        assert_eq!(diag.hint.as_deref(), Some("Drop the source first: ALTER TOPIC app.events DROP SOURCE app.mine."));
        cluster.define(Ddl::DropSource { topic, table, operation: Some(Operation::Insert) }).await;
        assert_eq!(code(cluster.ddl("root", drop_table("mine")).await), "2BP01");
        cluster.define(Ddl::DropSource { topic, table, operation: None }).await;
        assert_eq!(code(cluster.ddl("root", Ddl::DropSource { topic, table, operation: None }).await), "42704");
        assert_eq!(cluster.define(drop_table("mine")).await, "Table 'app.mine' dropped successfully");
    });
}

#[test]
fn a_namespace_that_holds_something_is_dropped_with_cascade_only() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        cluster.define(create_namespace("other", false)).await;
        cluster
            .define(Ddl::CreateTopic {
                namespace: "other".into(),
                name: "far".into(),
                if_not_exists: false,
                partitions: 1,
                retention_seconds: None,
                retention_bytes: None,
            })
            .await;
        let far = cluster.groups[&META].view().catalog().topic("other", "far").unwrap().id;
        cluster.define(Ddl::AddSource { topic: far, table_version: 1, source: source(table, Operation::Insert) }).await;
        let diag = refused(cluster.ddl("root", drop_namespace("app", false)).await);
        assert_eq!(diag.sqlstate.as_str(), "2BP01");
        assert_eq!(diag.detail.as_deref(), Some("It holds table app.mine, table app.ours."));
        assert_eq!(cluster.define(drop_namespace("app", true)).await, "Namespace 'app' dropped successfully");
        let view = cluster.groups[&USERS].view();
        assert!(view.catalog().tables.is_empty());
        assert!(view.catalog().topics[&far].sources.is_empty());
    });
}

#[test]
fn a_source_is_added_once_and_only_if_its_table_is_as_planned() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        let topic = cluster.create_topic(table, &[Operation::Insert]).await;
        let add =
            |table, table_version, operation| Ddl::AddSource { topic, table_version, source: source(table, operation) };
        assert_eq!(code(cluster.ddl("root", add(table, 1, Operation::Insert)).await), "42710");
        for stale in [add(table, 2, Operation::Update), add(ObjectId(1), 1, Operation::Update)] {
            let at = cluster.groups[&META].view().catalog().version;
            assert_eq!(cluster.ddl("root", stale).await, Outcome::StaleCatalog { at });
        }
        let stream = cluster.create_table(spec("stream", TableKind::Stream)).await;
        assert_eq!(code(cluster.ddl("root", add(stream, 1, Operation::Update)).await), "0A000");
        cluster.define(add(stream, 1, Operation::Insert)).await;
    });
}

#[test]
fn clearing_a_topic_is_a_job_that_ends_once() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        let topic = cluster.create_topic(table, &[]).await;
        let outcome = cluster.ddl("root", Ddl::ClearTopic { topic }).await;
        let Outcome::Defined { job: Some(id), .. } = outcome else { panic!("{outcome:?}") };
        assert!(id.starts_with("TC-") && id.len() == 29, "{id}");
        assert_eq!(cluster.groups[&USERS].view().catalog().topics[&topic].clear_count, 1);
        let job = cluster.groups[&META].view().jobs().await.unwrap().remove(0);
        assert_eq!(
            (job.id.as_str(), job.status, job.parameters.as_str()),
            (id.as_str(), JobStatus::Running, r#"{"topic_id":"app.events"}"#)
        );
        cluster.now += SECOND;
        let finish =
            |failure: Option<&str>| MetaCommand::FinishJob { job: id.clone(), failure: failure.map(str::to_owned) };
        assert_eq!(cluster.meta(finish(None)).await, Outcome::Done);
        cluster.now += SECOND;
        assert_eq!(cluster.meta(finish(Some("late"))).await, Outcome::Done);
        let job = cluster.groups[&META].view().jobs().await.unwrap().remove(0);
        assert_eq!((job.status, job.message, job.finished_at), (JobStatus::Completed, None, Some(START + SECOND)));
        let missing = MetaCommand::FinishJob { job: "TC-0".into(), failure: None };
        assert_eq!(code(cluster.meta(missing).await), "42704");
    });
}

#[test]
fn the_roll_of_members_is_kept_shown_by_views_and_found_again_and_a_refused_change_leaves_it() {
    with_cluster(async |mut cluster| {
        let node = |node: u64| Introduced { node, incarnation: 10 * node, rpc_addr: format!("db-{node}:2910") };
        assert!(cluster.groups[&META].view().roll().is_none());
        let early = cluster.meta(MetaCommand::Roll(RollCommand::Enter(node(4)))).await;
        assert_eq!(code(early), "53400");
        let done = cluster.meta(MetaCommand::Roll(RollCommand::Found((1..=3).map(node).collect()))).await;
        assert!(matches!(done, Outcome::Defined { .. }), "{done:?}");
        let before = cluster.groups[&META].view();
        let taken = Introduced { incarnation: 5, ..node(3) };
        assert_eq!(code(cluster.meta(MetaCommand::Roll(RollCommand::Enter(taken))).await), "55000");
        cluster.meta(MetaCommand::Roll(RollCommand::Enter(node(4)))).await;
        let reopened = GroupState::open(cluster.store.clone(), META, LAYOUT).await.unwrap();
        for view in [cluster.groups[&META].view(), reopened.view()] {
            let roll = view.roll().unwrap();
            assert_eq!((roll.version, roll.founders.len(), roll.members.len()), (2, 3, 4));
        }
        assert_eq!(before.roll().unwrap().members.len(), 3, "a view stays as it was");
        assert_eq!(
            code(cluster.apply(USERS, Command::Meta(MetaCommand::Roll(RollCommand::Enter(node(5))))).await),
            "XX000"
        );
    });
}

#[test]
fn root_cannot_be_dropped_and_keeps_its_role() {
    with_tables(async |mut cluster| {
        cluster.create_user("sys", Role::System).await;
        let head = cluster.head("sys");
        assert_eq!(
            code(
                cluster.meta(MetaCommand::DropUser { head: head.clone(), name: "root".into(), if_exists: false }).await
            ),
            "55000"
        );
        let lose = MetaCommand::AlterUser {
            head: head.clone(),
            name: "root".into(),
            verifier: None,
            role: Some(Role::Dba),
            email: None,
        };
        assert_eq!(code(cluster.meta(lose).await), "55000");
        let password =
            MetaCommand::AlterUser { head, name: "root".into(), verifier: Some("NEW".into()), role: None, email: None };
        assert!(matches!(cluster.meta(password).await, Outcome::Defined { .. }));
    });
}

#[test]
fn nobody_makes_or_changes_users_above_its_own_role() {
    with_tables(async |mut cluster| {
        let create = |cluster: &Cluster, by: &str, role| MetaCommand::CreateUser {
            head: cluster.head(by),
            name: "new".into(),
            verifier: None,
            role,
            email: None,
            if_not_exists: false,
        };
        let alter = |cluster: &Cluster, by: &str, name: &str, role| MetaCommand::AlterUser {
            head: cluster.head(by),
            name: name.into(),
            verifier: None,
            role,
            email: Some("x@y".into()),
        };
        let drop = |cluster: &Cluster, by: &str, name: &str| MetaCommand::DropUser {
            head: cluster.head(by),
            name: name.into(),
            if_exists: false,
        };
        let refusals = [
            create(&cluster, "svc", Role::User),
            create(&cluster, "dba", Role::System),
            alter(&cluster, "svc", "ann", None),
            alter(&cluster, "dba", "root", None),
            alter(&cluster, "dba", "ann", Some(Role::System)),
            alter(&cluster, "ann", "ann", Some(Role::Dba)),
            drop(&cluster, "dba", "root"),
            drop(&cluster, "svc", "ann"),
        ];
        for (n, command) in refusals.into_iter().enumerate() {
            let outcome = cluster.meta(command).await;
            let expected = if n == 6 { "55000" } else { "42501" };
            assert_eq!(code(outcome), expected, "case {n}");
        }
        assert_eq!(code(cluster.meta(drop(&cluster, "dba", "dba")).await), "55000");
        for command in
            [create(&cluster, "dba", Role::Dba), alter(&cluster, "ann", "ann", None), drop(&cluster, "dba", "ann")]
        {
            let outcome = cluster.meta(command).await;
            assert!(matches!(outcome, Outcome::Defined { .. }), "{outcome:?}");
        }
    });
}

#[test]
fn an_auth_epoch_rises_with_password_and_role_but_not_with_an_address() {
    with_tables(async |mut cluster| {
        let epoch = |cluster: &Cluster| cluster.groups[&META].view().catalog().users["ann"].auth_epoch;
        let mut last = epoch(&cluster);
        for (verifier, role, email, rises) in [
            (Some("NEW"), None, None, true),
            (None, Some(Role::Service), None, true),
            (None, None, Some("ann@example.org"), false),
        ] {
            let head = cluster.head("root");
            let (verifier, email) = (verifier.map(str::to_owned), email.map(str::to_owned));
            cluster.meta(MetaCommand::AlterUser { head, name: "ann".into(), verifier, role, email }).await;
            assert_eq!(epoch(&cluster) > last, rises);
            last = epoch(&cluster);
        }
        let ann = cluster.groups[&META].view().catalog().users["ann"].clone();
        assert_eq!(
            (ann.role, ann.verifier.as_deref(), ann.email.as_deref()),
            (Role::Service, Some("NEW"), Some("ann@example.org"))
        );
    });
}

#[test]
fn a_retried_definition_is_answered_not_refused_as_existing() {
    with_cluster(async |mut cluster| {
        let mut head = cluster.head("root");
        head.request = Some(crate::command::RequestId { id: cluster.id_at(0, 1), ordinal: 0 });
        let command = MetaCommand::Ddl { head, ddl: create_namespace("app", false) };
        let first = cluster.meta(command.clone()).await;
        assert!(matches!(first, Outcome::Defined { .. }));
        assert_eq!(cluster.meta(command).await, first);
    });
}

#[test]
fn column_ids_are_kept() {
    with_tables(async |cluster| {
        let ids: Vec<ColumnId> = cluster.table("mine").columns.iter().map(|column| column.id).collect();
        assert_eq!(ids, [ColumnId(1), ColumnId(2), ColumnId(3), ColumnId(4)]);
    });
}
