//! One kind of error for the whole program: a sentence. A run that fails is reported and ends; nothing is handled.

use std::fmt;

/// Why a run could not go on.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl Failure {
    /// A failure with this sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
