//! Bytes on wires: HTTP messages over the runtime's streams.
