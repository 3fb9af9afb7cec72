//! Names of objects and users: what is allowed, and what may be changed under a namespace.

use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};

use super::SYSTEM_NAMESPACE;

/// Longest name in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Whether a name can be given to something new; `what` says to what.
pub(super) fn check(what: &str, name: &str) -> Result<(), Diag> {
    let refuse = |why: String| Err(Diag::new(SqlState::INVALID_NAME, format!("{what} {why}")));
    if name.is_empty() {
        return refuse("cannot be empty".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return refuse(format!("of {} bytes is too long; at most {MAX_NAME_BYTES} are allowed", name.len()));
    }
    if name.chars().any(char::is_control) {
        return refuse("cannot contain control characters".to_owned());
    }
    Ok(())
}

/// Whether something can be made or changed in the namespace.
pub(super) fn check_namespace(catalog: &Catalog, namespace: &str) -> Result<(), Diag> {
    if namespace == SYSTEM_NAMESPACE {
        return Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("namespace \"{SYSTEM_NAMESPACE}\" is read-only"),
        )
        .hint("Use a namespace of your own: CREATE NAMESPACE app."));
    }
    if catalog.namespaces.contains_key(namespace) {
        return Ok(());
    }
    Err(Diag::new(SqlState::UNDEFINED_NAMESPACE, format!("namespace \"{namespace}\" does not exist"))
        .hint(format!("Create it first: CREATE NAMESPACE {namespace}.")))
}
