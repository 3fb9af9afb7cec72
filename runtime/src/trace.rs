//! The rolling hash over everything that happens in a simulated run: equal seeds must give equal hashes.

use xxhash_rust::xxh3::Xxh3;

/// A 64-bit hash that each event is folded into, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
}

impl Trace {
    pub const fn new() -> Self {
        Self { hash: 0, events: 0 }
    }

    pub fn fold(&mut self, event: &str, a: u64, b: u64) {
        let mut hasher = Xxh3::with_seed(self.hash);
        hasher.update(event.as_bytes());
        hasher.update(&a.to_le_bytes());
        hasher.update(&b.to_le_bytes());
        self.hash = hasher.digest();
        self.events += 1;
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// Folds a path or other text to the 64 bits that an event carries.
pub(crate) fn text(text: &std::path::Path) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_os_str().as_encoded_bytes())
}
