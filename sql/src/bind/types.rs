//! The dialect's types by their SQL names.

use sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo};

use crate::diag::{Diag, Span, SqlState};
use crate::suggest;
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

/// A type as written: VARCHAR(n) is TEXT with a limit.
pub(super) struct Named {
    pub(super) data_type: DataType,
    pub(super) max_chars: Option<u32>,
}

const NAMES: &[&str] = &[
    "BIGINT",
    "BOOL",
    "BOOLEAN",
    "BYTEA",
    "BYTES",
    "DECIMAL",
    "DOUBLE",
    "INT",
    "INTEGER",
    "JSON",
    "JSONB",
    "NUMERIC",
    "SMALLINT",
    "TEXT",
    "TIMESTAMP",
    "VARCHAR",
];

/// The type that was written.
pub(super) fn named(written: &ast::DataType, span: Span) -> Result<Named, Diag> {
    let plain = |data_type| Ok(Named { data_type, max_chars: None });
    match written {
        ast::DataType::Bool | ast::DataType::Boolean => plain(DataType::Boolean),
        ast::DataType::SmallInt(None) | ast::DataType::Int2(None) => plain(DataType::SmallInt),
        ast::DataType::Int(None) | ast::DataType::Integer(None) | ast::DataType::Int4(None) => plain(DataType::Int),
        ast::DataType::BigInt(None) | ast::DataType::Int8(None) => plain(DataType::BigInt),
        ast::DataType::Double(ExactNumberInfo::None) | ast::DataType::DoublePrecision | ast::DataType::Float8 => {
            plain(DataType::Double)
        }
        ast::DataType::Decimal(info) | ast::DataType::Numeric(info) | ast::DataType::Dec(info) => {
            plain(decimal(info, span)?)
        }
        ast::DataType::Text => plain(DataType::Text),
        ast::DataType::Varchar(length)
        | ast::DataType::CharacterVarying(length)
        | ast::DataType::CharVarying(length) => {
            Ok(Named { data_type: DataType::Text, max_chars: characters(length.as_ref(), span)? })
        }
        ast::DataType::Bytea | ast::DataType::Bytes(None) => plain(DataType::Bytes),
        ast::DataType::JSON | ast::DataType::JSONB => plain(DataType::Json),
        ast::DataType::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            plain(DataType::Timestamp)
        }
        other => Err(unknown(other, span)),
    }
}

fn unknown(written: &ast::DataType, span: Span) -> Diag {
    let word = written.to_string().to_uppercase();
    let diag = Diag::not_supported(format_args!("type {word}")).at(span);
    let hint = match written {
        ast::DataType::Timestamp(Some(_), _) => Some("TIMESTAMP always has microseconds."),
        ast::DataType::Timestamp(..) | ast::DataType::Datetime(_) => {
            Some("TIMESTAMP is an instant in UTC; a text may carry an offset.")
        }
        ast::DataType::Real | ast::DataType::Float(_) | ast::DataType::Float4 => Some("DOUBLE is binary64."),
        ast::DataType::TinyInt(_) => Some("SMALLINT is the smallest integer."),
        ast::DataType::Uuid => Some("TEXT DEFAULT UUID_V7() holds one."),
        ast::DataType::Char(_) | ast::DataType::Character(_) | ast::DataType::String(_) => {
            Some("Use TEXT or VARCHAR(n).")
        }
        ast::DataType::Custom(name, _) if matches!(name.to_string().to_uppercase().as_str(), "EMBEDDING" | "FILE") => {
            Some("This release has no such columns; BYTES and JSON hold what fits in a row.")
        }
        ast::DataType::Custom(name, _) if name.to_string().to_uppercase().ends_with("SERIAL") => {
            Some("BIGINT DEFAULT SNOWFLAKE_ID() gives rising unique numbers.")
        }
        _ => None,
    };
    let diag = match (hint, written) {
        (Some(hint), _) => return diag.hint(hint),
        (None, ast::DataType::Custom(..)) => Diag::new(
            SqlState::UNDEFINED_OBJECT,
            format!("type \"{}\" does not exist", written.to_string().to_lowercase()),
        )
        .at(span),
        (None, _) => diag,
    };
    suggest::with_nearest(diag, &word, NAMES.iter().copied())
}

fn decimal(info: &ExactNumberInfo, span: Span) -> Result<DataType, Diag> {
    let wrong = |message: String| Err(Diag::new(SqlState::INVALID_PARAMETER, message).at(span));
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            return Err(Diag::new(SqlState::INVALID_PARAMETER, "DECIMAL needs its digits")
                .hint(format!("Write DECIMAL(precision, scale), with at most {MAX_DECIMAL_DIGITS} digits in all."))
                .at(span));
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=MAX_DECIMAL_DIGITS), Ok(scale)) if scale <= precision => {
            Ok(DataType::Decimal { precision, scale })
        }
        (Ok(1..=MAX_DECIMAL_DIGITS), _) => {
            wrong(format!("the scale of DECIMAL({precision},{scale}) is not between 0 and {precision}"))
        }
        _ => wrong(format!("DECIMAL has 1 to {MAX_DECIMAL_DIGITS} digits, not {precision}")),
    }
}

fn characters(length: Option<&CharacterLength>, span: Span) -> Result<Option<u32>, Diag> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, unit: None }) => match u32::try_from(*length) {
            Ok(characters @ 1..=10_485_760) => Ok(Some(characters)),
            _ => {
                Err(Diag::new(SqlState::INVALID_PARAMETER, "the length of VARCHAR is between 1 and 10485760").at(span))
            }
        },
        Some(_) => Err(Diag::not_supported("this form of VARCHAR").hint("Write VARCHAR(n).").at(span)),
    }
}
