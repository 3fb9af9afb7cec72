//! The first setup of a cluster, and logins that are ended.

use highwater_sql::catalog::Role;

use super::cluster::{Cluster, LAYOUT, START, code, run, with_cluster};
use crate::command::MetaCommand;
use crate::outcome::Outcome;
use crate::placement::META;

fn setup(user: &str) -> MetaCommand {
    MetaCommand::Setup { user: user.into(), verifier: "SCRAM-A".into(), email: None, root_verifier: "SCRAM-R".into() }
}

#[test]
fn a_cluster_without_a_root_password_is_set_up_exactly_once() {
    run(async |env| {
        let mut cluster = Cluster::open(&env).await;
        assert_eq!(code(cluster.meta(setup("anna")).await), "55000", "there is nothing to set up yet");
        let root_verifier = String::new();
        let first = MetaCommand::Bootstrap { cluster_id: 77, layout: LAYOUT, token_key: [9; 32], root_verifier };
        cluster.meta(first).await;
        assert_eq!(code(cluster.meta(setup("root")).await), "42710");
        assert_eq!(code(cluster.meta(setup("")).await), "42602");
        assert!(matches!(cluster.meta(setup("anna")).await, Outcome::Defined { .. }));
        let view = cluster.groups[&META].view();
        let users = &view.catalog().users;
        assert_eq!((users["anna"].role, users["anna"].verifier.as_deref()), (Role::Dba, Some("SCRAM-A")));
        assert_eq!((users["root"].role, users["root"].verifier.as_deref()), (Role::System, Some("SCRAM-R")));
        assert_eq!(code(cluster.meta(setup("bert")).await), "55000");
    });
}

#[test]
fn an_ended_login_stays_ended_until_its_tokens_expire_by_themselves() {
    with_cluster(async |mut cluster| {
        let end = |login: u128, until| MetaCommand::EndLogin { login, until };
        let is_ended =
            async |cluster: &Cluster, login| cluster.groups[&META].view().login_is_ended(login).await.unwrap();
        assert!(!is_ended(&cluster, 7).await);
        cluster.meta(end(7, START + 1_000_000_000)).await;
        cluster.meta(end(8, 0)).await;
        assert!(is_ended(&cluster, 7).await);
        assert!(!is_ended(&cluster, 8).await, "what has expired is not kept");
        assert!(!is_ended(&cluster, 9).await);
    });
}
