//! Keys: no bytes make the decoder panic, and bytes that are a key are the only bytes of that key.
#![allow(clippy::disallowed_types, reason = "libFuzzer's macro opens files")]
#![no_main]

use highwater_fuzz::TYPES;
use highwater_sql::key::{decode_key, encode_key};
use highwater_sql::value::DataType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (first, second, bytes) = input;
    let pick = |choice: u8| TYPES.get(usize::from(choice) % (TYPES.len() + 1)).copied();
    let types: Vec<DataType> = [pick(first), pick(second)].into_iter().flatten().collect();
    if let Ok(values) = decode_key(&types, bytes) {
        let again = encode_key(&values);
        assert!(again.is_err() || again.as_deref() == Ok(bytes), "{values:?}");
    }
});
