//! CREATE, ALTER and DROP USER.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::sequence::preceded;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::terminal::{if_exists, if_not_exists, stop, text, text_or_name, twice, word};
use crate::access;
use crate::catalog::Role;
use crate::diag::{Diag, SqlState};
use crate::limits;
use crate::statement::{AlterUser, CreateUser, Name, Stmt};
use crate::suggest;

fn user_name(input: Tokens<'_>) -> Parsed<'_, Name> {
    let (rest, name) = text_or_name("a user name")(input)?;
    let wrong = if name.value.is_empty() {
        "a user name is empty".to_owned()
    } else if name.value.len() > limits::MAX_USER_NAME_BYTES {
        format!("a user name has {} bytes, more than the limit of {}", name.value.len(), limits::MAX_USER_NAME_BYTES)
    } else {
        return Ok((rest, name));
    };
    refuse(Diag::new(SqlState::INVALID_NAME, wrong).at(name.span))
}

fn role(input: Tokens<'_>) -> Parsed<'_, Role> {
    let (rest, word) = text_or_name("a role")(input)?;
    let folded = word.value.to_ascii_lowercase();
    match access::role_by_name(&folded) {
        Some(role) => Ok((rest, role)),
        None => {
            let diag = Diag::new(SqlState::INVALID_PARAMETER, format!("\"{}\" is no role", word.value))
                .hint("Roles are user, service, dba and system.")
                .at(word.span);
            refuse(suggest::with_nearest(diag, &folded, access::ROLES.map(access::role_name)))
        }
    }
}

/// `PASSWORD 'p'`, `ROLE r` or `EMAIL 'e'`
fn property(input: Tokens<'_>) -> Parsed<'_, AlterUser> {
    alt((
        preceded(word("PASSWORD"), text("a password in quotes")).map(|text| AlterUser::Password(text.value)),
        preceded(word("ROLE"), role).map(AlterUser::Role),
        preceded(word("EMAIL"), text("an address in quotes")).map(|text| AlterUser::Email(text.value)),
    ))
    .parse(input)
}

/// `USER [IF NOT EXISTS] name [WITH] [PASSWORD 'p'] [ROLE r] [EMAIL 'e']`
pub(super) fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (mut rest, (_, if_not_exists, name, _)) =
        (word("USER"), if_not_exists, user_name, opt(word("WITH"))).parse(input)?;
    let mut user = CreateUser { name, if_not_exists, password: None, role: None, email: None };
    while !rest.is_empty() {
        let before = rest;
        let given;
        (rest, given) =
            property(rest).or_else(|error| if matches!(&error, nom::Err::Error(_)) { stop() } else { Err(error) })?;
        let (clause, repeated) = match given {
            AlterUser::Password(password) => ("PASSWORD", user.password.replace(password).is_some()),
            AlterUser::Role(role) => ("ROLE", user.role.replace(role).is_some()),
            AlterUser::Email(email) => ("EMAIL", user.email.replace(email).is_some()),
        };
        if repeated {
            return twice(clause, before.here());
        }
    }
    Ok((rest, Stmt::CreateUser(user)))
}

/// `USER name SET PASSWORD 'p' | SET ROLE r | SET EMAIL 'e'`
pub(super) fn alter(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, name, _, change)) =
        (word("USER"), user_name, alt((word("SET"), word("WITH"))), property).parse(input)?;
    if rest.at_words(&["SET"]) || rest.at_words(&["PASSWORD"]) || rest.at_words(&["ROLE"]) || rest.at_words(&["EMAIL"])
    {
        return not_supported("more than one change in ALTER USER", rest.here());
    }
    Ok((rest, Stmt::AlterUser { name, change }))
}

/// `USER [IF EXISTS] name`
pub(super) fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, if_exists, name)) = (word("USER"), if_exists, user_name).parse(input)?;
    Ok((rest, Stmt::DropUser { name, if_exists }))
}
