//! Requests of the HTTP interface: no bytes disturb a decoder, and a decoded statement survives being sent again.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use highwater_net::api::{AckRequest, ConsumeRequest, LoginRequest, SetupRequest, SqlRequest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = (LoginRequest::decode(bytes), SetupRequest::decode(bytes));
    let _ = ConsumeRequest::decode(bytes);
    let _ = AckRequest::decode(bytes);
    if let Ok(request) = SqlRequest::decode(bytes) {
        assert_eq!(SqlRequest::decode(&request.encode()).as_ref(), Ok(&request));
        for param in request.params {
            let _ = param.into_value();
        }
    }
});
