//! Commands that one node hands to another, and their answers: no bytes disturb the decoders, and what they take comes back the
//! same.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_server::node::{ForwardedAnswer, ForwardedProposal};

/// Longest input: an expression nests at most once per two bytes, and the decoder descends with it.
const MAX_BYTES: usize = 2048;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX_BYTES {
        return;
    }
    // Bytes are compared, not values: NaN is not equal to itself.
    if let Ok(proposal) = ForwardedProposal::decode(bytes) {
        let encoded = proposal.encode();
        assert_eq!(ForwardedProposal::decode(&encoded).map(|again| again.encode()).as_ref(), Ok(&encoded));
    }
    if let Ok(answer) = ForwardedAnswer::decode(bytes) {
        let encoded = answer.encode();
        assert_eq!(ForwardedAnswer::decode(&encoded).map(|again| again.encode()).as_ref(), Ok(&encoded));
    }
});
