//! Any bytes as a data block: nothing panics, versions decode to the same each time, and compressed bytes unpack or are refused.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_engine::offline::versions;
use highwater_engine::tree::table::format::{Codec, Pointer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let raw = (data.len() as u32).saturating_mul(4);
    let pointer = Pointer { offset: 0, stored: data.len() as u32, raw, codec: Codec::Lz4, checksum: 0 };
    if let Ok(unpacked) = pointer.unpack(bytes.clone()) {
        assert_eq!(unpacked.len(), raw as usize);
    }
    assert_eq!(versions(bytes.clone()), versions(bytes));
});
