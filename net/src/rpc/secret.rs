//! The cluster's secret and what is proven with it. It is never sent, printed or compared in time that tells about it.

use std::fmt;
use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Least length of a secret, in bytes. Who records a handshake can try secrets against it; no one tries 2^128.
pub const MIN_SECRET_BYTES: usize = 16;
/// Bytes of a proof.
pub const PROOF_BYTES: usize = 32;

/// The secret that all nodes of a cluster share.
#[derive(Clone)]
pub struct ClusterSecret(Rc<[u8]>);

/// The secret is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster secret has {0} bytes; it needs at least {MIN_SECRET_BYTES}, drawn at random (openssl rand -hex 32)"
)]
pub struct SecretTooShort(pub usize);

impl ClusterSecret {
    /// These bytes as a secret.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < MIN_SECRET_BYTES { Err(SecretTooShort(bytes.len())) } else { Ok(Self(bytes.into())) }
    }

    fn mac(&self, label: &str, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            // Lengths go in, so that no two lists of parts give the same bytes.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Some(mac)
    }

    /// HMAC-SHA-256 over the label and the parts.
    pub(crate) fn prove(&self, label: &str, parts: &[&[u8]]) -> [u8; PROOF_BYTES] {
        // HMAC takes keys of any length, so that there is always one; zeros would prove nothing to anybody.
        self.mac(label, parts).map_or([0; PROOF_BYTES], |mac| mac.finalize().into_bytes().into())
    }

    /// Whether `proof` is what [`Self::prove`] gives, compared in constant time.
    pub(crate) fn verify(&self, label: &str, parts: &[&[u8]], proof: &[u8; PROOF_BYTES]) -> bool {
        self.mac(label, parts).is_some_and(|mac| mac.verify_slice(proof).is_ok())
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}
