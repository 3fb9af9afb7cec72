//! Any bytes as an index of a table: every entry can be read, or the index is refused.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_engine::offline::index_entries;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    assert_eq!(index_entries(bytes.clone()), index_entries(bytes));
});
