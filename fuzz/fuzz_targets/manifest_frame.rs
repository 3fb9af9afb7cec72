//! Any bytes as a manifest file: the scan ends, frames follow each other and lie inside.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::manifest::frame::{End, scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (frames, end) = scan(data, 1);
    let bytes: usize = frames.iter().map(|frame| frame.bytes).sum();
    assert!(bytes <= data.len());
    if let End::Damaged(at) = end {
        assert_eq!(at, bytes);
    }
});
