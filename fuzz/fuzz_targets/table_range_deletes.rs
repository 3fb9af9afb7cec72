//! Any bytes as the range deletes of a table.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_engine::offline::range_deletes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(deletes) = range_deletes(&bytes) {
        let length: usize = deletes.iter().map(|delete| delete.start.len() + delete.end.len()).sum();
        assert!(length <= data.len());
    }
});
