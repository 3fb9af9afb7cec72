//! Any bytes as the records of a block: as many as claimed, with entries that lie where they say, or an error.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::Bytes;
use highwater_engine::log::record::{self, Record};
use highwater_engine::offline::LogReplay;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((count, payload)) = data.split_first() else { return };
    let payload = Bytes::copy_from_slice(payload);
    let Ok(records) = record::decode(&payload, u32::from(*count)) else { return };
    assert_eq!(records.len(), usize::from(*count));
    // A log that was written holds no index near the end of numbers; the engine refuses such entries before.
    let mut replay = LogReplay::new(&std::collections::BTreeMap::new());
    for record in records {
        if let Record::Entries { entries, .. } | Record::Relocated { entries, .. } = &record {
            for entry in entries {
                assert_eq!(payload.get(entry.at..entry.at + entry.data.len()), Some(entry.data.as_ref()));
            }
        }
        replay.apply(record, 1, 4096, 4096);
    }
    for facts in replay.groups().values() {
        assert!(facts.last >= facts.start || facts.has_gap);
    }
});
