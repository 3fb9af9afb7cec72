//! Any bytes as the descriptor of prepared tables, with the right checksum as well: what decodes encodes to what decodes to it.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::offline::{Descriptor, seal_descriptor};
use libfuzzer_sys::fuzz_target;

/// Bytes before the body; the body's length is at 8.
const HEADER: usize = 16;

fn decode(bytes: &[u8]) {
    let Ok(found) = Descriptor::decode(bytes) else { return };
    assert_eq!(Descriptor::decode(&found.encode()).as_ref(), Ok(&found));
    assert!(found.tables.iter().is_sorted_by(|before, after| before.end <= after.start));
}

fuzz_target!(|data: &[u8]| {
    decode(data);
    // Past the header: magic, version, length and checksum are right.
    let mut sealed = data.to_vec();
    if sealed.len() < HEADER {
        return;
    }
    let length = (sealed.len() - HEADER) as u32;
    for (at, field) in [(0, *b"HWEX"), (4, [1, 0, 0, 0]), (8, length.to_le_bytes())] {
        sealed.get_mut(at..at + 4).expect("a header").copy_from_slice(&field);
    }
    seal_descriptor(&mut sealed);
    decode(&sealed);
});
