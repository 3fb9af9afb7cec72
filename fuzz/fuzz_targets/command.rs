//! Log entries: no bytes disturb the decoder, and what it takes comes back the same.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_state::ENTRY_VERSION;
use highwater_state::command::Envelope;

/// Longest input: an expression nests at most once per two bytes, and the decoder descends with it.
const MAX_BYTES: usize = 2048;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX_BYTES {
        return;
    }
    let _ = Envelope::decode(bytes);
    let entry = [&[ENTRY_VERSION], bytes].concat();
    if let Ok(envelope) = Envelope::decode(&entry) {
        let encoded = envelope.encode();
        let again = Envelope::decode(&encoded);
        // Bytes are compared, not values: NaN is not equal to itself.
        assert_eq!(again.map(|envelope| envelope.encode()).as_ref(), Ok(&encoded));
    }
});
