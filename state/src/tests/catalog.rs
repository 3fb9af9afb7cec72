//! How data groups take the catalog.

use highwater_sql::catalog::{CatalogDelta, CatalogVersion, Namespace};

use super::cluster::{LAYOUT, START, USERS, code, with_cluster, with_tables};
use crate::command::Command;
use crate::group::GroupState;
use crate::outcome::Outcome;
use crate::placement::META;

fn delta(name: &str) -> Vec<CatalogDelta> {
    vec![CatalogDelta::PutNamespace(Namespace { name: name.into(), created_at: START })]
}

fn take(from: u64, to: u64, name: &str) -> Command {
    Command::Catalog { to: CatalogVersion(to), from: CatalogVersion(from), deltas: delta(name) }
}

#[test]
fn a_catalog_is_taken_from_the_groups_own_version_only() {
    with_cluster(async |mut cluster| {
        let at = CatalogVersion(1);
        assert_eq!(cluster.apply(USERS, take(2, 3, "x")).await, Outcome::StaleCatalog { at });
        assert_eq!(cluster.apply(USERS, take(0, 3, "x")).await, Outcome::StaleCatalog { at });
        let applied = cluster.try_apply(USERS, take(1, 3, "x")).await.unwrap();
        assert_eq!((applied.outcome, applied.catalog_changed), (Outcome::Done, true));
        let applied = cluster.try_apply(USERS, take(1, 2, "y")).await.unwrap();
        assert_eq!((applied.outcome, applied.catalog_changed), (Outcome::Done, false));
        let view = cluster.groups[&USERS].view();
        assert_eq!(view.catalog().version, CatalogVersion(3));
        assert!(view.catalog().namespaces.contains_key("x") && !view.catalog().namespaces.contains_key("y"));
    });
}

#[test]
fn meta_takes_no_catalog() {
    with_cluster(async |mut cluster| {
        assert_eq!(code(cluster.apply(META, take(1, 2, "x")).await), "XX000");
    });
}

#[test]
fn a_reopened_group_knows_everything_it_knew() {
    with_tables(async |cluster| {
        for group in LAYOUT.groups() {
            let reopened = GroupState::open(cluster.store.clone(), group, LAYOUT).await.unwrap().view();
            let known = cluster.groups[&group].view();
            assert_eq!(reopened.catalog(), known.catalog());
            assert_eq!(
                (reopened.applied(), reopened.log_time(), reopened.chain()),
                (known.applied(), known.log_time(), known.chain())
            );
        }
    });
}
