//! The types that an array's elements may have: every scalar type, and no array.

use serde::{Deserialize, Serialize};

use super::DataType;

macro_rules! elements {
    ($($name:ident),*) => {
        /// Type of an array's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each variant is the scalar type of that name")]
        pub enum Element {
            $($name,)*
            Decimal { precision: u8, scale: u8 },
        }

        impl Element {
            /// The element type of arrays of this type; `None` for arrays and embeddings, of which there are no arrays.
            #[must_use]
            pub const fn of(data_type: DataType) -> Option<Self> {
                match data_type {
                    $(DataType::$name => Some(Self::$name),)*
                    DataType::Decimal { precision, scale } => Some(Self::Decimal { precision, scale }),
                    DataType::Embedding(_) | DataType::Array(_) => None,
                }
            }

            /// The type of one element.
            #[must_use]
            pub const fn data_type(self) -> DataType {
                match self {
                    $(Self::$name => DataType::$name,)*
                    Self::Decimal { precision, scale } => DataType::Decimal { precision, scale },
                }
            }
        }
    };
}

elements!(
    Boolean, SmallInt, Int, BigInt, Double, Text, Bytes, Json, Timestamp, Float, Date, Time, DateTime, Interval, Uuid
);

impl Element {
    /// The same type without precision and scale, as a value of it carries it.
    #[must_use]
    pub(crate) const fn plain(self) -> Self {
        match self {
            Self::Decimal { .. } => Self::Decimal { precision: 0, scale: 0 },
            other => other,
        }
    }
}
