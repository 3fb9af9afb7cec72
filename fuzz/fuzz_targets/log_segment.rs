//! Any bytes as a segment of the log, with a valid header before them as well: the scan ends inside, at a block's boundary.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::log::segment::{ParsedSegment, SegmentHeader};
use highwater_engine::scan_segment_bytes;
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 4096;

fuzz_target!(|data: &[u8]| {
    if let Some((end, _)) = scan_segment_bytes(data) {
        assert!(end <= data.len() && end.is_multiple_of(BLOCK));
    }
    // Past the header's checksum: the fields are taken from the bytes, the rest follows.
    let number =
        |at: usize| data.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight));
    let header = SegmentHeader {
        database: 1,
        store: 0,
        previous: number(0) as u32,
        segment: number(8),
        salt: number(16),
        first: number(24),
        bytes: data.len() as u64,
        manifest: 0,
    };
    let mut segment = vec![0; BLOCK];
    header.encode(&mut segment);
    assert_eq!(SegmentHeader::parse(&segment), ParsedSegment::Header(header));
    segment.extend_from_slice(data);
    assert!(scan_segment_bytes(&segment).is_some_and(|(end, _)| end <= data.len()));
});
