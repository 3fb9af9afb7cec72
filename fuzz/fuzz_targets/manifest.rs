//! Any bytes as a manifest: the scan ends, and an edit that decodes encodes to something that decodes to it.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::manifest::edit::{Edit, ManifestState};
use highwater_engine::manifest::frame::scan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = scan(data, 1);
    if let Ok(edit) = Edit::decode(data) {
        assert_eq!(Edit::decode(&edit.encode()).as_ref(), Ok(&edit));
        let _ = ManifestState::new(1, 1).apply(&edit);
    }
});
