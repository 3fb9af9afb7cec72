//! The roll of a cluster, as a node's file `cluster` and as the meta group stores it and members tell it: no bytes disturb the decoders, and
//! what they take comes back the same.
//!
//! The input is the stored roll; and the file without its checksum, which is put behind it: else hardly any input would come further than that.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_server::cluster::reread_roll;
use highwater_state::roll::Roll;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(roll) = Roll::from_bytes(bytes) {
        assert_eq!(Roll::from_bytes(&roll.to_bytes()), Ok(roll));
    }
    let _ = reread_roll(bytes);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    if let Ok(again) = reread_roll(&sealed) {
        assert_eq!(again, sealed);
    }
});
