//! Any bytes as an edit of the manifest: what decodes encodes to something that decodes to it, and fits a state or is refused.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::manifest::edit::{Edit, ManifestState};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(edit) = Edit::decode(data) else { return };
    assert_eq!(Edit::decode(&edit.encode()).as_ref(), Ok(&edit));
    let mut state = ManifestState::new(1, 1);
    if state.apply(&edit).is_ok() {
        // A snapshot stands for the state that it was taken of.
        let mut again = ManifestState::new(0, 0);
        assert_eq!(again.apply(&state.snapshot()), Ok(()));
        assert_eq!(again, state);
    }
});
