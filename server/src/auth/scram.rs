//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 5803, RFC 7677), in PostgreSQL's form:
//!
//! ```text
//! SCRAM-SHA-256$<iterations>:<salt, base64>$<stored key, base64>:<server key, base64>
//! ```
//!
//! A verifier proves a password and a server, but gives neither the password nor a way to log in elsewhere. Passwords are
//! taken as their UTF-8 bytes (equal to SASLprep for ASCII). Deriving takes milliseconds on purpose: callers run it on the
//! blocking pool, never on a shard core.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a new verifier's salt.
pub const SALT_BYTES: usize = 16;
/// Longest salt that is accepted in a stored verifier, in bytes.
const MAX_SALT: usize = 1024;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// `H(HMAC(salted password, "Client Key"))`.
    pub stored_key: [u8; 32],
    /// `HMAC(salted password, "Server Key")`.
    pub server_key: [u8; 32],
}

/// A text that is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored password verifier is malformed; set the user's password again")]
pub struct MalformedVerifier;

impl Verifier {
    /// Derives the verifier of a password.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
        let client_key = mac(&salted, b"Client Key");
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(client_key).into(),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`MalformedVerifier`] for anything else.
    pub fn parse(text: &str) -> Result<Self, MalformedVerifier> {
        let parse = || {
            let mut parts = text.split('$');
            let (name, rounds_salt, keys, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
            if name != "SCRAM-SHA-256" || end.is_some() {
                return None;
            }
            let (iterations, salt) = rounds_salt.split_once(':')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            let key = |text: &str| <[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok();
            let salt = STANDARD.decode(salt).ok()?;
            let iterations = iterations.parse().ok().filter(|rounds| *rounds > 0)?;
            if salt.is_empty() || salt.len() > MAX_SALT {
                return None;
            }
            Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
        };
        parse().ok_or(MalformedVerifier)
    }

    /// Whether this is the password: derived again, compared in constant time.
    #[must_use]
    pub fn accepts(&self, password: &str) -> bool {
        let derived = Self::derive(password, &self.salt, self.iterations);
        bool::from(derived.stored_key.ct_eq(&self.stored_key) & derived.server_key.ct_eq(&self.server_key))
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            text(&self.salt),
            text(&self.stored_key),
            text(&self.server_key)
        )
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} iterations)", self.iterations)
    }
}

/// HMAC-SHA-256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_verifier_accepts_the_proof_and_gives_the_signature_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::derive("pencil", &salt, 4096);
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
             c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_signature = mac(&verifier.stored_key, exchange.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(client_signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(client_key)), verifier.stored_key);
        let server_signature = mac(&verifier.server_key, exchange.as_bytes());
        assert_eq!(STANDARD.encode(server_signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn the_stored_form_reads_back_and_accepts_only_its_password() {
        let verifier = Verifier::derive("pässwörd", b"0123456789abcdef", 4096);
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"), "{text}");
        let read = Verifier::parse(&text).unwrap();
        assert_eq!(read, verifier);
        assert!(read.accepts("pässwörd"));
        for wrong in ["", "pässwörd ", "passwörd", "PÄSSWÖRD"] {
            assert!(!read.accepts(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = Verifier::derive("x", b"salt", 1).to_string();
        for cut in 0..good.len() {
            assert!(Verifier::parse(&good[..cut]).is_err());
        }
        for text in [
            "md5abc",
            "SCRAM-SHA-256$0:c2FsdA==$a:b",
            &good.replace("$1:", "$-1:"),
            &format!("{good}$"),
            &good.replace("256", "1"),
        ] {
            assert!(Verifier::parse(text).is_err(), "{text}");
        }
    }
}
