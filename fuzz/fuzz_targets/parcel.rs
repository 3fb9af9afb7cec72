//! Commands and outcomes outside the log: no bytes disturb the decoders, and what they take comes back the same.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_state::PARCEL_VERSION;
use highwater_state::command::Command;
use highwater_state::outcome::Outcome;

/// Longest input: an expression nests at most once per two bytes, and the decoder descends with it.
const MAX_BYTES: usize = 2048;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX_BYTES {
        return;
    }
    let _ = (Command::decode(bytes), Outcome::decode(bytes));
    let parcel = [&[PARCEL_VERSION], bytes].concat();
    // Bytes are compared, not values: NaN is not equal to itself.
    if let Ok(command) = Command::decode(&parcel) {
        let encoded = command.encode_after(Vec::new());
        assert_eq!(Command::decode(&encoded).map(|again| again.encode_after(Vec::new())).as_ref(), Ok(&encoded));
    }
    if let Ok(outcome) = Outcome::decode(&parcel) {
        let encoded = outcome.encode_after(Vec::new());
        assert_eq!(Outcome::decode(&encoded).map(|again| again.encode_after(Vec::new())).as_ref(), Ok(&encoded));
    }
});
