//! A node's file `cluster`, the roll of its cluster: no bytes disturb the decoder, and what it takes comes back the same.
//!
//! The input is the file without its checksum, which is put behind it: else hardly any input would come further than that.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_server::cluster::reread_roll;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = reread_roll(bytes);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    if let Ok(again) = reread_roll(&sealed) {
        assert_eq!(again, sealed);
    }
});
