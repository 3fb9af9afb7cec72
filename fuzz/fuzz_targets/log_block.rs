//! Any bytes as a segment of the log: the scan ends, and what it accepts decodes.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::log::block::{BlockHeader, CHECKPOINT, HEADER, block_bytes, checksum, seal_block};
use highwater_engine::log::verdict::{Expected, scan_bytes};
use highwater_engine::{log::record, scan_segment_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = scan_segment_bytes(data);
    // Past the checksums: the records of a block that carries the right one.
    let mut block = vec![0; block_bytes(data.len())];
    if let Some(payload) = block.get_mut(HEADER..HEADER + data.len()) {
        payload.copy_from_slice(data);
    }
    let header = BlockHeader {
        flags: CHECKPOINT,
        length: data.len() as u32,
        records: u32::from(data.first().copied().unwrap_or(0)),
        segment: 1,
        sequence: 1,
        durable: 0,
        previous: 0,
        checksum: 0,
    };
    let sum = seal_block(&mut block, &header, 7);
    assert_eq!(sum, checksum(&block, 7));
    let _ = scan_bytes(&block, Expected { segment: 1, salt: 7, sequence: 1, previous: 0 });
    let _ = record::decode(&bytes::Bytes::copy_from_slice(data), header.records);
});
