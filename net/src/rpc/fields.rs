//! Reading the fields of payloads, in order, from any bytes. Byte strings are slices of the payload, not copies.

use bytes::{Buf as _, Bytes};

/// Why a payload is not what its frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within the named field.
    #[error("the payload ends within {0}")]
    Short(&'static str),
    /// The named field has a value that it must not have.
    #[error("the payload's {0} has a value that is not allowed")]
    Value(&'static str),
    /// There are bytes after its end.
    #[error("the payload has {0} bytes too many")]
    Trailing(usize),
}

/// What is left of a payload.
pub(crate) struct Fields(Bytes);

macro_rules! integer {
    ($($name:ident $read:ident $type:ty),*) => { $(
        pub(crate) fn $name(&mut self, what: &'static str) -> Result<$type, Malformed> {
            self.0.$read().map_err(|_| Malformed::Short(what))
        }
    )* };
}

impl Fields {
    pub(crate) fn of(payload: &Bytes) -> Self {
        Self(payload.clone())
    }

    integer!(u8 try_get_u8 u8, u16 try_get_u16_le u16, u32 try_get_u32_le u32, u64 try_get_u64_le u64,
        i64 try_get_i64_le i64, u128 try_get_u128_le u128);

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value(what)),
        }
    }

    pub(crate) fn bytes(&mut self, length: usize, what: &'static str) -> Result<Bytes, Malformed> {
        if self.0.len() < length { Err(Malformed::Short(what)) } else { Ok(self.0.split_to(length)) }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes(N, what)?);
        Ok(out)
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.0.len())) }
    }
}
