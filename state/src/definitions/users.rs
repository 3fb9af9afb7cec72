//! CREATE, ALTER and DROP USER.
//!
//! A user's auth epoch is the catalog version of its last new password, role or creation: it never falls, not even over DROP
//! and CREATE of one name, so an older login never counts again. Dropping a user leaves its rows.

use std::sync::Arc;

use highwater_sql::access::role_name;
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Role, User};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;

use super::{Deciding, Decision, ROOT, names};

/// A user as CREATE USER describes it.
pub(super) struct NewUser<'a> {
    pub name: &'a str,
    pub verifier: Option<&'a str>,
    pub role: Role,
    pub email: Option<&'a str>,
}

/// What ALTER USER changes.
pub(super) struct Change<'a> {
    pub verifier: Option<&'a str>,
    pub role: Option<Role>,
    pub email: Option<&'a str>,
}

pub(super) fn create(deciding: &Deciding<'_>, wanted: &NewUser<'_>, if_not_exists: bool) -> Result<Decision, Diag> {
    deciding.needs_dba("CREATE USER")?;
    not_above(deciding, wanted.role, "CREATE USER with")?;
    let name = wanted.name;
    if deciding.catalog.users.contains_key(name) {
        return if if_not_exists {
            Ok(Decision::nothing(format!("User '{name}' already exists")))
        } else {
            Err(Diag::new(SqlState::DUPLICATE_OBJECT, format!("user \"{name}\" already exists")))
        };
    }
    names::check("a user's name", name)?;
    let user = User {
        name: name.to_owned(),
        role: wanted.role,
        email: wanted.email.map(str::to_owned),
        verifier: wanted.verifier.map(str::to_owned),
        auth_epoch: deciding.to.0,
        created_at: deciding.now,
        updated_at: deciding.now,
    };
    Ok(Decision::change(CatalogDelta::PutUser(Arc::new(user)), format!("User '{name}' created successfully")))
}

/// Who comes first: the one moment at which nobody needs to be logged in to make a user.
pub(super) fn set_up(
    catalog: &Catalog,
    to: CatalogVersion,
    now: Micros,
    wanted: &NewUser<'_>,
    root_verifier: &str,
) -> Result<Vec<CatalogDelta>, Diag> {
    let Some(root) = catalog.users.get(ROOT).filter(|root| root.verifier.is_none()) else {
        return Err(Diag::new(SqlState::OBJECT_STATE, "the server is set up already: root has a password")
            .hint("Log in, and make users with CREATE USER."));
    };
    names::check("a user's name", wanted.name)?;
    if catalog.users.contains_key(wanted.name) {
        return Err(Diag::new(SqlState::DUPLICATE_OBJECT, format!("user \"{}\" already exists", wanted.name)));
    }
    let user = User {
        name: wanted.name.to_owned(),
        role: wanted.role,
        email: wanted.email.map(str::to_owned),
        verifier: wanted.verifier.map(str::to_owned),
        auth_epoch: to.0,
        created_at: now,
        updated_at: now,
    };
    let root =
        User { verifier: Some(root_verifier.to_owned()), auth_epoch: to.0, updated_at: now, ..User::clone(root) };
    Ok(vec![CatalogDelta::PutUser(Arc::new(root)), CatalogDelta::PutUser(Arc::new(user))])
}

pub(super) fn alter(deciding: &Deciding<'_>, name: &str, change: &Change<'_>) -> Result<Decision, Diag> {
    let user = existing(deciding, name)?;
    let own = name == deciding.principal && change.role.is_none();
    if !own {
        deciding.needs_dba("ALTER USER")?;
        not_above(deciding, user.role, "ALTER USER of")?;
    }
    if let Some(role) = change.role {
        not_above(deciding, role, "ALTER USER to")?;
        if name == ROOT && role != Role::System {
            return Err(Diag::new(SqlState::OBJECT_STATE, format!("user \"{ROOT}\" cannot lose role system")));
        }
    }
    let mut changed = User { updated_at: deciding.now, ..User::clone(user) };
    if let Some(verifier) = change.verifier {
        changed.verifier = Some(verifier.to_owned());
        changed.auth_epoch = deciding.to.0;
    }
    if let Some(role) = change.role {
        changed.role = role;
        changed.auth_epoch = deciding.to.0;
    }
    if let Some(email) = change.email {
        changed.email = Some(email.to_owned());
    }
    Ok(Decision::change(CatalogDelta::PutUser(Arc::new(changed)), format!("User '{name}' altered successfully")))
}

pub(super) fn drop(deciding: &Deciding<'_>, name: &str, if_exists: bool) -> Result<Decision, Diag> {
    deciding.needs_dba("DROP USER")?;
    if if_exists && !deciding.catalog.users.contains_key(name) {
        return Ok(Decision::nothing(format!("User '{name}' does not exist")));
    }
    let user = existing(deciding, name)?;
    if name == ROOT {
        return Err(Diag::new(SqlState::OBJECT_STATE, format!("user \"{ROOT}\" cannot be dropped")));
    }
    if name == deciding.principal {
        return Err(Diag::new(SqlState::OBJECT_STATE, "a user cannot drop itself")
            .hint("Log in as another user of role dba or system."));
    }
    not_above(deciding, user.role, "DROP USER of")?;
    Ok(Decision::change(CatalogDelta::DropUser(name.to_owned()), user_dropped(name)))
}

/// The answer of a DROP USER that dropped the user.
#[must_use]
pub fn user_dropped(name: &str) -> String {
    format!("User '{name}' dropped successfully")
}

fn existing<'a>(deciding: &Deciding<'a>, name: &str) -> Result<&'a Arc<User>, Diag> {
    deciding
        .catalog
        .users
        .get(name)
        .ok_or_else(|| Diag::new(SqlState::UNDEFINED_OBJECT, format!("user \"{name}\" does not exist")))
}

fn not_above(deciding: &Deciding<'_>, role: Role, what: &str) -> Result<(), Diag> {
    if role <= deciding.role {
        return Ok(());
    }
    Err(Diag::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied: {what} role {} needs a role at least as high", role_name(role)),
    )
    .detail(format!("The role of user \"{}\" is {}.", deciding.principal, role_name(deciding.role))))
}
