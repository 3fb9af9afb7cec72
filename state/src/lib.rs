//! What a committed command does: rows, catalog, topics, groups and sessions, deterministically.
