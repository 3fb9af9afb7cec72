//! A store: segmented write-ahead log and LSM tree of one core's groups.
