//! Parameters and cells: any JSON value becomes a value of every type or an error, and a value's own text is that value again.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_fuzz::TYPES;
use highwater_net::api::{SqlRequest, TypeName, decode_cell};
use highwater_sql::cast::cast;
use highwater_sql::value::DataType;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(cell) = serde_json::from_str(text) {
        for data_type in TYPES {
            let _ = decode_cell(&cell, TypeName::from(data_type));
        }
    }
    let Ok(request) = SqlRequest::decode(format!("{{\"sql\":\"SELECT $1\",\"params\":[{text}]}}").as_bytes()) else {
        return;
    };
    for value in request.params.into_iter().filter_map(|param| param.into_value().ok()) {
        for data_type in TYPES {
            let Ok(value) = cast(value.clone(), data_type, false) else { continue };
            let Ok(text) = cast(value.clone(), DataType::Text, true) else { continue };
            let again = cast(text.clone(), data_type, true);
            // By their text: NaN differs from itself.
            assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, ()>(&value)), "{text:?} as {data_type:?}");
        }
    }
});
