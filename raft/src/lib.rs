//! The Raft state machine: messages in, Ready out.
