//! Any bytes as the parts of a table: nothing panics, and versions that decode are as many each time.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use std::collections::VecDeque;

use bytes::Bytes;
use highwater_engine::tree::table::block::Block;
use highwater_engine::tree::table::filter::Filter;
use highwater_engine::tree::table::format::{Codec, Footer, Pointer, decode_index};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = Footer::decode(data);
    let _ = Filter::decode(bytes.clone());
    let _ = decode_index(&bytes);
    let raw = (data.len() as u32).saturating_mul(4);
    let pointer = Pointer { offset: 0, stored: data.len() as u32, raw, codec: Codec::Lz4, checksum: 0 };
    let _ = pointer.unpack(bytes.clone());
    let Ok(block) = Block::decode(bytes) else { return };
    for interval in 0..block.intervals().min(64) {
        let (mut first, mut second) = (VecDeque::new(), VecDeque::new());
        let outcomes = (block.interval(interval, &mut first).is_ok(), block.interval(interval, &mut second).is_ok());
        assert_eq!(outcomes.0, outcomes.1);
        assert_eq!(first, second);
    }
});
