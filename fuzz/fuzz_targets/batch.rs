//! Any bytes as a batch of writes: what decodes has as many operations as it says, and they make the same bytes again.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_engine::{Operation, WriteBatch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = WriteBatch::decode(data.to_vec()) else { return };
    let count = batch.len();
    let mut again = WriteBatch::new();
    let mut operations = 0;
    for operation in batch.operations() {
        operations += 1;
        match operation {
            Operation::Put { key, value, expires_at } => again.put_expiring(key, value, expires_at),
            Operation::Delete { key } => again.delete(key),
            Operation::DeleteRange { start, end } => again.delete_range(start, end),
        }
    }
    assert_eq!(operations, count);
    // Varints have longer forms that decode to the same number; those of the engine's own are the shortest.
    assert!(again.byte_size() <= data.len());
    assert_eq!(again.len(), count);
});
