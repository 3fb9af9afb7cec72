//! Any bytes as frames between nodes: they are taken in order or refused, never more than came. Checksums are made right for half of
//! the inputs, so that what lies behind them is reached too.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::BytesMut;
use highwater_net::rpc::frame::{Expected, HEADER_BYTES, take};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    let payload = bytes.get(HEADER_BYTES..).map(crc32fast::hash);
    let mend = data.last().is_some_and(|last| last % 2 == 1);
    if let (true, Some(payload), Some(header)) = (mend, payload, bytes.first_chunk_mut::<HEADER_BYTES>()) {
        let [head @ .., c0, c1, c2, c3, h0, h1, h2, h3] = header;
        let [p0, p1, p2, p3] = payload.to_le_bytes();
        (*c0, *c1, *c2, *c3) = (p0, p1, p2, p3);
        let sum = crc32fast::hash(&[&head[..], &[p0, p1, p2, p3]].concat());
        let [s0, s1, s2, s3] = sum.to_le_bytes();
        (*h0, *h1, *h2, *h3) = (s0, s1, s2, s3);
    }
    let mut buffer = BytesMut::from(&bytes[..]);
    let mut expected = Expected { version: 1, sequence: 0, limit: 1 << 16 };
    while let Ok(Some((header, payload))) = take(&mut buffer, expected) {
        assert_eq!(u32::try_from(payload.len()), Ok(header.length));
        expected.sequence += 1;
    }
    assert!(buffer.len() <= bytes.len());
});
