//! Who is asking: password verifiers, logins and tokens.
//!
//! Owns what a password or token proves; decides nothing about what its user may do (that is `sql`'s access rules and
//! `state`'s checks). A token is good while its user exists with the same role and the same epoch of rights.

mod attempts;
mod ended;
mod known;
mod login;
mod scram;
mod token;

use highwater_net::api::MAX_CREDENTIAL_BYTES;
use highwater_runtime::{Env, WallMicros};
use highwater_sql::catalog::User;
use highwater_sql::diag::{Diag, SqlState};

pub use ended::EndedLogins;
pub use known::KnownTokens;
pub use login::{LoginError, Logins, NodeAttempts, ROOT};
pub use scram::{MalformedVerifier, SALT_BYTES, Verifier};
pub use token::{Claims, ISSUER, LEEWAY_SECONDS, TokenError, TokenType, role_word, sign, verify};

/// The stored form of a password: `SCRAM-SHA-256$...`, as PostgreSQL keeps it. Takes milliseconds: run it through `Env::blocking`.
#[must_use]
pub fn derive_verifier(password: &str, salt: [u8; SALT_BYTES], iterations: u32) -> String {
    Verifier::derive(password, &salt, iterations).to_string()
}

/// Whether a text may become a password: 1 to 1024 bytes, no control characters.
///
/// # Errors
/// 22023 with the reason.
pub fn check_new_password(password: &str) -> Result<(), Diag> {
    let refuse = |reason: String| Err(Diag::new(SqlState::INVALID_PARAMETER, reason));
    if password.is_empty() {
        return refuse("the password is empty".into());
    }
    if password.len() > MAX_CREDENTIAL_BYTES {
        return refuse(format!(
            "the password has {} bytes; at most {MAX_CREDENTIAL_BYTES} are allowed",
            password.len()
        ));
    }
    if password.contains(char::is_control) {
        return refuse("the password holds a control character; it could not be typed again".into());
    }
    Ok(())
}

/// A random salt.
pub fn random_salt<E: Env>(env: &E) -> [u8; SALT_BYTES] {
    random_id(env).to_be_bytes()
}

/// Shortest password that the first setup takes, in characters.
pub const MIN_SETUP_PASSWORD: usize = 8;

/// Whether a password is good enough for the first users of a cluster.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check_setup_password(user: &str, password: &str) -> Result<(), String> {
    check_new_password(password).map_err(|diag| diag.message)?;
    if password.chars().count() < MIN_SETUP_PASSWORD {
        return Err(format!("the password of user '{user}' must have at least {MIN_SETUP_PASSWORD} characters"));
    }
    if password.eq_ignore_ascii_case(user) {
        return Err(format!("the password of user '{user}' must not be the user's name"));
    }
    Ok(())
}

/// 128 random bits.
pub fn random_id<E: Env>(env: &E) -> u128 {
    (u128::from(env.random()) << 64) | u128::from(env.random())
}

/// Lives of tokens, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of an access token.
    pub access: i64,
    /// Of a refresh token.
    pub refresh: i64,
}

/// A fresh pair of tokens.
#[derive(Clone, Debug)]
pub struct Pair {
    /// To ask for things.
    pub access: String,
    /// When it expires, in seconds since 1970.
    pub access_expires: i64,
    /// To get new tokens.
    pub refresh: String,
    /// When it expires, in seconds since 1970.
    pub refresh_expires: i64,
}

/// Tokens for a user who has proved to be that user; `id` names the login, through all its refreshed tokens.
///
/// # Errors
/// [`TokenError::Invalid`] if the claims cannot be written, which does not happen.
pub fn issue(user: &User, key: &[u8; 32], now: WallMicros, lifetimes: Lifetimes, id: &str) -> Result<Pair, TokenError> {
    let iat = now.0.div_euclid(1_000_000);
    let claims = |token_type, life: i64| Claims {
        sub: user.name.clone(),
        iss: ISSUER.into(),
        iat,
        exp: iat.saturating_add(life),
        email: user.email.clone(),
        role: role_word(user.role).into(),
        token_type,
        epoch: user.auth_epoch,
        jti: id.to_owned(),
    };
    let (access, refresh) =
        (claims(TokenType::Access, lifetimes.access), claims(TokenType::Refresh, lifetimes.refresh));
    Ok(Pair {
        access: sign(&access, key)?,
        access_expires: access.exp,
        refresh: sign(&refresh, key)?,
        refresh_expires: refresh.exp,
    })
}

/// Whether the user that a token names still has the rights that the token was given for.
#[must_use]
pub fn still_holds(claims: &Claims, user: &User) -> bool {
    claims.sub == user.name && claims.role == role_word(user.role) && claims.epoch == user.auth_epoch
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use highwater_sql::catalog::Role;

    fn anna() -> User {
        User {
            name: "anna".into(),
            role: Role::Service,
            email: None,
            verifier: None,
            auth_epoch: 4,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn a_password_has_some_but_not_too_many_visible_characters() {
        assert!(check_new_password("p").is_ok());
        assert!(check_new_password(&"é".repeat(512)).is_ok());
        for bad in ["", "a\0b", "line\n", &"x".repeat(1025)] {
            assert!(check_new_password(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_passwords_are_not_short_and_not_the_name() {
        assert!(check_setup_password("anna", "correct horse").is_ok());
        for bad in ["", "seven77", "ANNABELLE"] {
            assert!(check_setup_password("annabelle", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_holds_until_the_users_rights_change() {
        let now = WallMicros(1_800_000_000_000_000);
        let pair = issue(&anna(), &[1; 32], now, Lifetimes { access: 10, refresh: 20 }, "login").unwrap();
        let claims = verify(&pair.access, &[1; 32], now, TokenType::Access).unwrap();
        assert!(still_holds(&claims, &anna()));
        assert_eq!(claims.jti, "login");
        assert_eq!((pair.access_expires, pair.refresh_expires), (1_800_000_010, 1_800_000_020));
        assert!(!still_holds(&claims, &User { auth_epoch: 5, ..anna() }));
        assert!(!still_holds(&claims, &User { role: Role::Dba, ..anna() }));
        assert!(!still_holds(&claims, &User { name: "bert".into(), ..anna() }));
        assert!(verify(&pair.refresh, &[1; 32], now, TokenType::Access).is_err());
    }
}
