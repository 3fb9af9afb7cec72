//! Cluster simulation: plans, faults, checkers and replay.
