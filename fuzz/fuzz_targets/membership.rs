//! Changes of a group's membership in its log, and the membership beside its state: no bytes disturb the decoders, and what they
//! take comes back the same.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_raft::{Membership, MembershipChange};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(change) = MembershipChange::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(change.encode().as_ref(), data);
    }
    if let Some(membership) = Membership::decode(data) {
        assert_eq!(Membership::decode(&membership.encode()), Some(membership));
    }
});
