//! CREATE, ALTER and DROP USER.

use super::{BindContext, missing};
use crate::catalog::Role;
use crate::diag::{Diag, SqlState};
use crate::plan::{UserChange, UserPlan};
use crate::statement::{AlterUser, CreateUser, Name};

/// The refusal of a user that does not exist; only who manages users is told similar names.
pub(super) fn unknown(name: &Name, context: &BindContext<'_>) -> Diag {
    let tells = context.role >= Role::Dba;
    let known = context.catalog.users.keys().map(String::as_str).filter(|_| tells);
    missing(SqlState::UNDEFINED_OBJECT, "user", &name.value, &name.value, name.span, known)
}

pub(super) fn create(create: &CreateUser) -> UserPlan {
    UserPlan::Create {
        name: create.name.value.clone(),
        password: create.password.clone(),
        role: create.role.unwrap_or(Role::User),
        email: create.email.clone(),
        if_not_exists: create.if_not_exists,
    }
}

pub(super) fn alter(name: &Name, change: &AlterUser, context: &BindContext<'_>) -> Result<UserPlan, Diag> {
    if context.role >= Role::Dba && !context.catalog.users.contains_key(&name.value) {
        return Err(unknown(name, context));
    }
    let change = match change {
        AlterUser::Password(password) => UserChange::Password(password.clone()),
        AlterUser::Role(role) => UserChange::Role(*role),
        AlterUser::Email(email) => UserChange::Email(email.clone()),
    };
    Ok(UserPlan::Alter { name: name.value.clone(), change })
}

pub(super) fn drop(name: &Name, if_exists: bool, context: &BindContext<'_>) -> Result<UserPlan, Diag> {
    if !if_exists && context.role >= Role::Dba && !context.catalog.users.contains_key(&name.value) {
        return Err(unknown(name, context));
    }
    Ok(UserPlan::Drop { name: name.value.clone(), if_exists })
}
