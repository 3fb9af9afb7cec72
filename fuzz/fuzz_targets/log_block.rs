//! Any bytes as the payload of a block that carries the right checksum: inspection and scan agree, records decode or are refused.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::log::block::{BlockHeader, CHECKPOINT, HEADER, Parsed, block_bytes, checksum, parse, seal_block};
use highwater_engine::log::verdict::{Expected, Found, inspect, scan_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As they are: a header or none.
    if let Parsed::Header(header) = parse(data) {
        assert!(header.block_bytes() >= HEADER);
    }
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
        offset: 4096,
        previous: 0,
        checksum: 0,
    };
    let sum = seal_block(&mut block, &header, 7);
    assert_eq!(sum, checksum(&block, 7));
    let expected = Expected::first(1, 7, 1, 0);
    assert_eq!(inspect(parse(&block), Some(&block), &expected), Found::Expected);
    let (end, _) = scan_bytes(&block, expected);
    assert!(end == 0 || end == block.len());
});
