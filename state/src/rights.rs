//! Whether the rights that a request was authorised with still hold in a group's catalog.

use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};

use crate::command::RequestHead;

/// A user whose password, role or existence changed after the edge looked is refused, whether it writes or reads: the node that looked may
/// not have heard of it, the group has before the change was acknowledged.
///
/// # Errors
/// 42501.
pub fn check(catalog: &Catalog, head: &RequestHead) -> Result<(), Diag> {
    let gone = |what: &str| {
        Err(Diag::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied: user \"{}\" {what}", head.principal),
        )
        .hint("Log in again."))
    };
    match catalog.users.get(&head.principal) {
        Some(user) if user.auth_epoch > head.auth_epoch => gone("has a new password or role since this login"),
        Some(user) if user.auth_epoch == head.auth_epoch && user.role < head.role => gone("has no such role"),
        // An epoch is the catalog version that gave it: a group that is at least there and does not know the user lost it.
        None if head.auth_epoch > 0 && head.auth_epoch <= catalog.version.0 => gone("was dropped"),
        Some(_) | None => Ok(()),
    }
}
