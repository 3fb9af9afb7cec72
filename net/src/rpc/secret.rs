//! The cluster's secret and what is proven with it. It is never sent, printed or compared in time that tells about it.

use std::fmt;
use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::ids::{ClusterId, NodeId};

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

    /// Bytes for another purpose than handshakes: the same on every node, and telling nothing about the secret.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; PROOF_BYTES] {
        self.prove(purpose, &[])
    }

    /// The identity of the cluster that these nodes form with this secret, in whatever order they are given: every node finds the same.
    #[must_use]
    pub fn cluster_of(&self, nodes: &[NodeId]) -> ClusterId {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        nodes.dedup();
        let ids: Vec<u8> = nodes.iter().flat_map(|node| node.0.to_le_bytes()).collect();
        let proof = self.prove("highwater cluster", &[&ids]);
        ClusterId(proof.first_chunk::<16>().map_or(0, |bytes| u128::from_le_bytes(*bytes)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret(text: &str) -> ClusterSecret {
        ClusterSecret::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_node_finds_the_same_cluster_and_another_secret_or_node_finds_another() {
        let ours = secret("a secret of sixteen bytes or more");
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let found = ours.cluster_of(&nodes(&[1, 2, 3]));
        assert_eq!(ours.cluster_of(&nodes(&[3, 1, 2, 2])), found);
        assert_ne!(ours.cluster_of(&nodes(&[1, 2])), found);
        assert_ne!(secret("another secret of some bytes").cluster_of(&nodes(&[1, 2, 3])), found);
        // Kept by every node for its life: a release that found another one could not talk to the one before.
        assert_eq!(format!("{:032x}", found.0), "d6a5562b00fe5ad3f8283a69f9c2721a");
    }

    #[test]
    fn what_is_derived_for_one_purpose_is_not_what_is_derived_for_another() {
        let ours = secret("a secret of sixteen bytes or more");
        assert_eq!(ours.derive("one"), ours.derive("one"));
        assert_ne!(ours.derive("one"), ours.derive("other"));
    }
}
