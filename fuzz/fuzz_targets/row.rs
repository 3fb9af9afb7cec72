//! Stored rows: no bytes make the decoder panic, and what it reads is written again as a row that reads the same.
#![allow(clippy::disallowed_types, reason = "libFuzzer's macro opens files")]
#![no_main]

use highwater_fuzz::table;
use highwater_sql::row::{decode_row, decode_seq, encode_row};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let table = table();
    let Ok((row, seq)) = decode_row(&table, bytes) else { return };
    assert_eq!(decode_seq(bytes), Ok(seq));
    let again = encode_row(&table, &row, seq);
    let (back, back_seq) = decode_row(&table, &again).expect("an encoded row is a row");
    // Encoded once more, because NaN differs from itself.
    assert_eq!((encode_row(&table, &back, back_seq), back_seq), (again, seq));
});
