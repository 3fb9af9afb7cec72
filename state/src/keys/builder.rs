//! How the parts of a key become bytes.

use super::KeySpan;

/// Bytes of group and space.
pub(super) const PREFIX: usize = 5;
pub(super) const SIGN: u64 = 1 << 63;

/// A key that is being put together, part by part.
pub(super) struct Builder(pub(super) Vec<u8>);

impl Builder {
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn u128(self, value: u128) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn i64(self, value: i64) -> Self {
        self.u64(value.cast_unsigned() ^ SIGN)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.raw(&[0, 1])
    }

    pub(super) fn maybe_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(text),
            None => self,
        }
    }

    /// All keys that begin with what was built.
    pub(super) fn span(self) -> KeySpan {
        KeySpan::of_prefix(self.0)
    }
}
