//! Any bytes as a filter, asked for any key.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_engine::offline::filter_lets_through;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (key, filter) = input;
    let filter = Bytes::copy_from_slice(filter);
    assert_eq!(filter_lets_through(filter.clone(), key), filter_lets_through(filter, key));
});
