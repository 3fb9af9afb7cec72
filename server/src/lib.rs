//! The daemon: cores, group drivers, routing, reads, auth and front ends.
