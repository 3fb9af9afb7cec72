//! The highwater shell.
