//! Criterion suites over the parts of the system.
