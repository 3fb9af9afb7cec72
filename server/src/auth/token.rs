//! Login tokens: JWT with HS256, signed by the cluster's token key.
//!
//! A token carries the role and the epoch of its user's rights; it is good only while both equal what is stored, so that a
//! new password, a new role or DROP USER ends it at once. Only HS256 is ever accepted (`alg: none` is no token).
//! Time is the caller's: the library's own clock is never asked.

use std::sync::Once;

use highwater_runtime::WallMicros;
use highwater_sql::catalog::Role;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::scram::mac;

/// The issuer that clients expect.
pub const ISSUER: &str = "kalamdb";
/// Seconds by which clocks may differ.
pub const LEEWAY_SECONDS: i64 = 60;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// To ask for things.
    Access,
    /// To get new tokens.
    Refresh,
}

/// A token's claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// User.
    pub sub: String,
    /// Issuer, [`ISSUER`].
    pub iss: String,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Expires at, in seconds since 1970.
    pub exp: i64,
    /// The user's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The user's role: `user`, `service`, `dba` or `system`.
    pub role: String,
    /// What it is for.
    pub token_type: TokenType,
    /// Epoch of the user's rights.
    #[serde(default)]
    pub epoch: u64,
    /// The token's own id: names the owner of its consumer claims.
    #[serde(default)]
    pub jti: String,
}

impl Claims {
    /// The login that the token belongs to; `None` for a token that this release did not make.
    #[must_use]
    pub fn login(&self) -> Option<u128> {
        u128::from_str_radix(&self.jti, 16).ok()
    }
}

/// Why a token is refused before its user is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not signed by this cluster, not HS256, or not a token at all.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired; log in again")]
    Expired,
    /// A refresh token where an access token belongs, or the other way round.
    #[error("this is a token of the wrong type")]
    WrongType,
}

/// The word for a role in tokens and answers.
#[must_use]
pub const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Service => "service",
        Role::Dba => "dba",
        Role::System => "system",
    }
}

/// Signs claims.
///
/// # Errors
/// [`TokenError::Invalid`] if the claims cannot be written as JSON, which none of ours does.
pub fn sign(claims: &Claims, key: &[u8; 32]) -> Result<String, TokenError> {
    install();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key))
        .map_err(|_| TokenError::Invalid)
}

/// The claims of a token that this cluster signed, that has not expired and is of the type asked for.
///
/// # Errors
/// Why not.
pub fn verify(token: &str, key: &[u8; 32], now: WallMicros, wanted: TokenType) -> Result<Claims, TokenError> {
    let claims = signed(token, key)?;
    check(&claims, now, wanted)?;
    Ok(claims)
}

/// The claims of a token that this cluster signed, at whatever time.
pub(super) fn signed(token: &str, key: &[u8; 32]) -> Result<Claims, TokenError> {
    install();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    // The library would read the machine's clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(key), &validation)
        .map(|token| token.claims)
        .map_err(|_| TokenError::Invalid)
}

/// Whether signed claims are good now, and of the type asked for.
pub(super) fn check(claims: &Claims, now: WallMicros, wanted: TokenType) -> Result<(), TokenError> {
    let seconds = now.0.div_euclid(1_000_000);
    if claims.exp.saturating_add(LEEWAY_SECONDS) <= seconds {
        return Err(TokenError::Expired);
    }
    if claims.iat.saturating_sub(LEEWAY_SECONDS) > seconds {
        return Err(TokenError::Invalid);
    }
    if claims.token_type != wanted {
        return Err(TokenError::WrongType);
    }
    Ok(())
}

/// Tells the library to use our HMAC, once per process.
fn install() {
    static ONCE: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match (algorithm, key.family()) {
            (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256(key.as_bytes().to_vec()))),
            _ => Err(JwtError::from(ErrorKind::InvalidAlgorithm)),
        },
        verifier_factory: |algorithm, key| match (algorithm, key.family()) {
            (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256(key.try_get_as_bytes()?.to_vec()))),
            _ => Err(JwtError::from(ErrorKind::InvalidAlgorithm)),
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    // A second installation would be by another crate of this process: there is none.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

/// HMAC-SHA-256 for the token library.
struct Hs256(Vec<u8>);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(mac(&self.0, message).to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        if bool::from(mac(&self.0, message).as_slice().ct_eq(given.as_slice())) {
            Ok(())
        } else {
            Err(signature::Error::new())
        }
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    pub(in crate::auth) const KEY: [u8; 32] = [7; 32];
    const NOW: WallMicros = WallMicros(1_800_000_000_000_000);

    /// What a token of each test says.
    pub(in crate::auth) fn claims(token_type: TokenType) -> Claims {
        Claims {
            sub: "anna".into(),
            iss: ISSUER.into(),
            iat: 1_800_000_000,
            exp: 1_800_086_400,
            email: None,
            role: "dba".into(),
            token_type,
            epoch: 3,
            jti: "t1".into(),
        }
    }

    #[test]
    fn a_signed_token_gives_its_claims_back() {
        let token = sign(&claims(TokenType::Access), &KEY).unwrap();
        assert_eq!(verify(&token, &KEY, NOW, TokenType::Access), Ok(claims(TokenType::Access)));
        assert_eq!(verify(&token, &KEY, NOW, TokenType::Refresh), Err(TokenError::WrongType));
    }

    /// Signature of the example in RFC 7515, appendix A.1.
    #[test]
    fn the_signature_is_hs256() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signed = Hs256(key).try_sign(message.as_bytes()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(signed), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_token_ends_when_its_time_is_over_with_a_minute_of_leeway() {
        let token = sign(&claims(TokenType::Access), &KEY).unwrap();
        let at = |seconds: i64| verify(&token, &KEY, WallMicros(seconds * 1_000_000), TokenType::Access);
        assert!(at(1_800_086_459).is_ok());
        assert_eq!(at(1_800_086_460), Err(TokenError::Expired));
        assert!(at(1_799_999_940).is_ok());
        assert_eq!(at(1_799_999_939), Err(TokenError::Invalid));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let token = sign(&claims(TokenType::Access), &KEY).unwrap();
        let refuse =
            |token: &str| assert_eq!(verify(token, &KEY, NOW, TokenType::Access), Err(TokenError::Invalid), "{token}");
        assert_eq!(verify(&token, &[8; 32], NOW, TokenType::Access), Err(TokenError::Invalid));
        let mut parts = token.split('.');
        let (_, body, mark) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS384"}"#, r#"{"alg":"RS256"}"#, "{}"] {
            let header = URL_SAFE_NO_PAD.encode(header);
            refuse(&format!("{header}.{body}.{mark}"));
            refuse(&format!("{header}.{body}."));
        }
        for cut in 0..token.len() {
            refuse(&token[..cut]);
        }
        let other = sign(&Claims { iss: "someone".into(), ..claims(TokenType::Access) }, &KEY).unwrap();
        refuse(&other);
    }
}
