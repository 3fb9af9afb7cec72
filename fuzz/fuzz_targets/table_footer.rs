//! Any bytes as a footer with its properties, with the right checksum as well, and what they point to in the file before it.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::offline::take_apart;
use highwater_engine::tree::table::format::Footer;
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let _ = Footer::decode(data);
    let _ = take_apart(data);
    // Past the checksum.
    let mut file = vec![0; data.len().next_multiple_of(BLOCK).max(BLOCK)];
    let at = file.len() - BLOCK;
    file.get_mut(..data.len()).expect("at least as long").copy_from_slice(data);
    let sum = crc32fast::hash(file.get(at..at + BLOCK - 4).expect("a block"));
    file.get_mut(at + BLOCK - 4..).expect("a block").copy_from_slice(&sum.to_le_bytes());
    if let Ok(parts) = take_apart(&file) {
        assert_eq!(parts.checksum, sum);
        for part in parts.parts {
            let _ = part.content.map(|bytes| bytes.len());
        }
    }
});
