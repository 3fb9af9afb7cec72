//! Which texts share a plan, and who may use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use highwater_sql::catalog::User;
use highwater_sql::plan::{Distinct, From, QueryPlan, UserPlan};

use super::*;

fn bound() -> Arc<Bound> {
    let (projection, order_by) = (Vec::new(), Vec::new());
    let (filter, aggregate, limit, offset) = (None, None, None, None);
    let (having, distinct) = (None, Distinct::No);
    let from = From::Nothing;
    let (before, unused) = (Vec::new(), Vec::new());
    let plan =
        QueryPlan { before, unused, from, filter, aggregate, having, projection, distinct, order_by, limit, offset };
    let (catalog_version, execute_as) = (CatalogVersion(1), None);
    Arc::new(Bound {
        catalog_version,
        execute_as,
        parameters: Vec::new(),
        returning: Vec::new(),
        plan: Plan::Query(Arc::new(plan)),
    })
}

fn planned(acts_as: Option<&str>) -> Planned {
    Planned { bound: bound(), acts_as: acts_as.map(str::to_owned), verb: "SELECT" }
}

fn asked(sql: &str) -> Asked<'_> {
    Asked { sql, namespace: "default", user: "ann", role: Role::User }
}

/// A catalog of this version, in which each of these users has a role.
fn catalog(version: u64, users: &[(&str, Role)]) -> Catalog {
    let user = |(name, role): &(&str, Role)| {
        let name = (*name).to_owned();
        let user = User {
            name: name.clone(),
            role: *role,
            email: None,
            verifier: None,
            auth_epoch: 0,
            created_at: 0,
            updated_at: 0,
        };
        (name, Arc::new(user))
    };
    Catalog { version: CatalogVersion(version), users: users.iter().map(user).collect(), ..Catalog::default() }
}

#[test]
fn a_plan_serves_every_user_of_the_same_text_role_namespace_and_catalog() {
    let (mut plans, one, two) = (Plans::default(), catalog(1, &[]), catalog(2, &[]));
    let made = planned(None);
    plans.keep(one.version, &asked("a"), &made);
    for user in ["ann", "ben"] {
        assert!(Arc::ptr_eq(&plans.find(&one, &Asked { user, ..asked("a") }).unwrap().bound, &made.bound));
    }
    for other in [asked("b"), Asked { role: Role::Dba, ..asked("a") }, Asked { namespace: "x", ..asked("a") }] {
        assert!(plans.find(&one, &other).is_none(), "{other:?}");
    }
    assert!(plans.find(&two, &asked("a")).is_none());
    plans.keep(two.version, &asked("b"), &made);
    assert!(plans.find(&one, &asked("a")).is_none() && plans.find(&two, &asked("a")).is_none());
}

#[test]
fn a_plan_made_for_acting_as_one_user_serves_acting_as_any_that_one_may_act_as() {
    let catalog = catalog(1, &[("ann", Role::User), ("ben", Role::User), ("svc", Role::Service), ("dora", Role::Dba)]);
    let mut plans = Plans::default();
    let by = |role, user, sql| Asked { sql, namespace: "default", user, role };
    plans.keep(catalog.version, &by(Role::Service, "svc", "EXECUTE AS 'ann' (SELECT $1)"), &planned(Some("ann")));
    let acts = |asked| plans.find(&catalog, &asked).map(|planned| planned.acts_as.unwrap());
    assert_eq!(acts(by(Role::Service, "svc", "EXECUTE AS 'ben' (SELECT $1)")).as_deref(), Some("ben"));
    assert_eq!(acts(by(Role::Service, "svc", "EXECUTE AS 'svc' (SELECT $1)")).as_deref(), Some("svc"));
    for refused in ["EXECUTE AS 'dora' (SELECT $1)", "EXECUTE AS 'nobody' (SELECT $1)", "EXECUTE AS 'ben' (SELECT $2)"]
    {
        assert_eq!(acts(by(Role::Service, "svc", refused)), None, "{refused}");
    }
    // Another service user is not below this one, and a user of role user acts as itself only.
    assert_eq!(acts(by(Role::Service, "other", "EXECUTE AS 'svc' (SELECT $1)")), None);
    plans.keep(catalog.version, &by(Role::User, "ann", "EXECUTE AS 'ann' (SELECT $1)"), &planned(Some("ann")));
    let acts = |asked| plans.find(&catalog, &asked).map(|planned| planned.acts_as.unwrap());
    assert_eq!(acts(by(Role::User, "ben", "EXECUTE AS 'ben' (SELECT $1)")).as_deref(), Some("ben"));
    assert_eq!(acts(by(Role::User, "ben", "EXECUTE AS 'ann' (SELECT $1)")), None);
    assert_eq!(acts(by(Role::System, "root", "EXECUTE AS 'ann' (SELECT $1)")), None, "each role has plans of its own");
}

#[test]
fn only_a_name_that_stands_as_it_is_may_be_another() {
    let name = |sql| Shape::of(sql).acts_as;
    assert_eq!(name("EXECUTE AS 'ann' (SELECT 'x')"), Some("ann"));
    assert_eq!(name(" execute\n as\tuser 'ann'(SELECT 1)"), Some("ann"));
    for whole in [
        "SELECT 'ann'",
        "EXECUTE AS '' (SELECT 1)",
        "EXECUTE AS 'o''neil' (SELECT 1)",
        "EXECUTE AS E'ann' (SELECT 1)",
        "EXECUTE AS 'a\\nn' (SELECT 1)",
        "EXECUTE AS /* ' */ 'ann' (SELECT 1)",
        "EXPLAIN EXECUTE AS 'ann' (SELECT 1)",
        "EXECUTE AS USER USER 'ann' (SELECT 1)",
        "EXECUTE AS 'ann (SELECT 1)",
    ] {
        assert_eq!(Shape::of(whole), Shape { before: whole, acts_as: None, after: "" });
    }
    // What was read as another name than it looks like is not kept.
    let (mut plans, catalog) = (Plans::default(), catalog(1, &[("ann", Role::User)]));
    plans.keep(catalog.version, &asked("EXECUTE AS 'ann' 'a' (SELECT 1)"), &planned(Some("anna")));
    assert!(plans.kept.is_empty());
}

#[test]
fn a_change_of_users_is_never_kept_because_it_is_allowed_by_who_asks() {
    let mut plans = Plans::default();
    let mut change = planned(None);
    let drop = Plan::User(UserPlan::Drop { name: "ann".to_owned(), if_exists: false });
    change.bound = Arc::new(Bound { plan: drop, ..(*change.bound).clone() });
    plans.keep(CatalogVersion(1), &asked("DROP USER ann"), &change);
    assert!(plans.kept.is_empty());
}

#[test]
fn the_oldest_gives_way_and_long_texts_are_not_kept() {
    let (mut plans, one, made) = (Plans::default(), catalog(1, &[]), planned(None));
    for number in 0..=KEPT {
        plans.keep(one.version, &asked(&number.to_string()), &made);
    }
    assert!(plans.find(&one, &asked("0")).is_none());
    assert!(plans.find(&one, &asked("1")).is_some() && plans.kept.len() == KEPT);
    let long = "x".repeat(TEXT_BYTES + 1);
    plans.keep(one.version, &asked(&long), &made);
    assert!(plans.find(&one, &asked(&long)).is_none());
}
