//! Any bytes as each payload between nodes: no decoder is disturbed, and what is understood is written back as it came.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use bytes::{Bytes, BytesMut};
use highwater_net::rpc::call::{Request, Response};
use highwater_net::rpc::hello::{Challenge, Hello, Refused};
use highwater_net::rpc::{Ping, SnapshotChunk, decode_messages, encode_messages};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let same = |encode: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        encode(&mut out);
        assert_eq!(out, bytes);
    };
    let _ = (Hello::decode(&bytes), Challenge::decode(&bytes), Refused::decode(&bytes));
    if let Ok(messages) = decode_messages(&bytes) {
        same(&|out| encode_messages(&messages, out));
    }
    if let Ok(ping) = Ping::decode(&bytes) {
        same(&|out| ping.encode(out));
    }
    if let Ok(request) = Request::decode(&bytes) {
        same(&|out| request.encode(out));
    }
    if let Ok(response) = Response::decode(&bytes) {
        same(&|out| response.encode(out));
    }
    if let Ok((id, timeout, chunk)) = SnapshotChunk::decode(&bytes) {
        same(&|out| chunk.encode(id, timeout, out));
    }
});
