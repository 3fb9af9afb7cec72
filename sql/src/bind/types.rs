//! The dialect's types by their SQL names.

use sqlparser::ast::{self, ArrayElemTypeDef, CharacterLength, ExactNumberInfo, Spanned, TimezoneInfo};

use crate::diag::{Diag, Span, SqlState};
use crate::embedding;
use crate::lexer::char_span;
use crate::suggest;
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

/// A type as written: VARCHAR(n) is TEXT with a limit, and an array of it one of TEXT with that limit on each element.
pub(super) struct Named {
    pub(super) data_type: DataType,
    pub(super) max_chars: Option<u32>,
}

/// Most digits of a TIME or TIMESTAMP's fraction of a second, and the only number that may be asked for.
const MICROSECONDS: u64 = 6;

const NAMES: &[&str] = &[
    "BIGINT",
    "BOOL",
    "BOOLEAN",
    "BYTEA",
    "BYTES",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "DOUBLE",
    "EMBEDDING",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "JSON",
    "JSONB",
    "NUMERIC",
    "REAL",
    "SMALLINT",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "UUID",
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
        ast::DataType::Timestamp(None | Some(MICROSECONDS), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            plain(DataType::Timestamp)
        }
        ast::DataType::Timestamp(None | Some(MICROSECONDS), TimezoneInfo::Tz | TimezoneInfo::WithTimeZone)
        | ast::DataType::Datetime(None | Some(MICROSECONDS)) => plain(DataType::DateTime),
        ast::DataType::Time(None | Some(MICROSECONDS), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            plain(DataType::Time)
        }
        ast::DataType::Date => plain(DataType::Date),
        ast::DataType::Interval { fields: None, precision: None | Some(MICROSECONDS) } => plain(DataType::Interval),
        ast::DataType::Uuid => plain(DataType::Uuid),
        ast::DataType::Real | ast::DataType::Float4 => plain(DataType::Float),
        ast::DataType::Float(info) => plain(float(info, span)?),
        ast::DataType::Array(of) => array(of, span),
        ast::DataType::Custom(name, arguments) if name.to_string().eq_ignore_ascii_case("embedding") => {
            plain(embedding(arguments, span)?)
        }
        other => Err(unknown(other, span)),
    }
}

#[inline(never)]
fn unknown(written: &ast::DataType, span: Span) -> Diag {
    let (span, name) = match written {
        ast::DataType::Custom(name, _) => {
            // Where only the type stands, its numbers are of it.
            let own = char_span(name.span()).filter(|own| own.start != span.start);
            (own.unwrap_or(span), name.to_string().to_uppercase())
        }
        _ => (span, String::new()),
    };
    let word = written.to_string().to_uppercase();
    let diag = Diag::not_supported(format_args!("type {word}")).at(span);
    let hint = match written {
        ast::DataType::Timestamp(Some(_), _) | ast::DataType::Datetime(Some(_)) => {
            Some("A TIMESTAMP always has microseconds.")
        }
        ast::DataType::Time(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            Some("A time of day without its date has no zone: use TIME, or TIMESTAMPTZ.")
        }
        ast::DataType::Time(Some(_), _) => Some("A TIME always has microseconds."),
        ast::DataType::Interval { .. } => Some("An INTERVAL has all fields, months, days and microseconds."),
        ast::DataType::Custom(..) => instead_of(&name),
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

/// What to use instead of a type of another system, or one that is written with a number here.
fn instead_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "TINYINT" => "SMALLINT is the smallest integer.",
        "MEDIUMINT" | "INT" | "INTEGER" | "INT2" | "INT4" | "INT8" | "INT64" | "SMALLINT" | "BIGINT" | "HUGEINT" => {
            "Integers are SMALLINT, INT and BIGINT, without a width."
        }
        "FLOAT64" => "Use DOUBLE.",
        "CHAR" | "CHARACTER" | "NVARCHAR" | "CLOB" | "TINYTEXT" | "MEDIUMTEXT" | "LONGTEXT" | "STRING" => {
            "Use TEXT or VARCHAR(n)."
        }
        "BLOB" | "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" | "BINARY" | "VARBINARY" => "Use BYTES.",
        "BIT" => "Use an integer with & and |, or BYTES.",
        "TIMESTAMP" | "TIMESTAMPTZ" | "DATETIME" => "A TIMESTAMP always has microseconds.",
        "TIME" => "A TIME always has microseconds.",
        "FILE" => "This release stores no files; BYTES holds what fits in a row, TEXT the address of the rest.",
        name if name.ends_with("SERIAL") => "BIGINT DEFAULT SNOWFLAKE_ID() gives rising unique numbers.",
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo, span: Span) -> Result<DataType, Diag> {
    let wrong = |message: String| Err(Diag::new(SqlState::INVALID_PARAMETER, message).at(span));
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(DataType::DECIMAL),
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

/// FLOAT is REAL; FLOAT(n) is REAL up to 24 binary digits and DOUBLE up to 53.
fn float(info: &ExactNumberInfo, span: Span) -> Result<DataType, Diag> {
    match info {
        ExactNumberInfo::None | ExactNumberInfo::Precision(1..=24) => Ok(DataType::Float),
        ExactNumberInfo::Precision(25..=53) => Ok(DataType::Double),
        ExactNumberInfo::Precision(_) | ExactNumberInfo::PrecisionAndScale(..) => {
            Err(Diag::new(SqlState::INVALID_PARAMETER, "the precision of FLOAT is between 1 and 53 bits").at(span))
        }
    }
}

fn array(of: &ArrayElemTypeDef, span: Span) -> Result<Named, Diag> {
    let element = match of {
        ArrayElemTypeDef::SquareBracket(element, None) | ArrayElemTypeDef::Qualified(element, None) => element,
        ArrayElemTypeDef::SquareBracket(_, Some(_)) | ArrayElemTypeDef::Qualified(_, Some(_)) => {
            return Err(Diag::not_supported("an array of fixed length")
                .hint("Write INT[] and CHECK (cardinality(column) = n).")
                .at(span));
        }
        ArrayElemTypeDef::None | ArrayElemTypeDef::AngleBracket(_) | ArrayElemTypeDef::Parenthesis(_) => {
            return Err(Diag::not_supported("this form of an array's type").hint("Write INT[].").at(span));
        }
    };
    // Not followed: there may be thousands of them.
    if matches!(element.as_ref(), ast::DataType::Array(_)) {
        return Err(Diag::not_supported("an array of arrays").at(span));
    }
    let element = named(element, span)?;
    let data_type = element.data_type.array().ok_or_else(|| Diag::not_supported("an array of EMBEDDING").at(span))?;
    Ok(Named { data_type, max_chars: element.max_chars })
}

fn embedding(arguments: &[String], span: Span) -> Result<DataType, Diag> {
    let most = embedding::MAX_DIMENSIONS;
    match arguments {
        [digits] if digits.parse().is_ok_and(|dimensions: u32| (1..=most).contains(&dimensions)) => {
            Ok(DataType::Embedding(digits.parse().unwrap_or(0)))
        }
        [] => Err(Diag::new(SqlState::INVALID_PARAMETER, "EMBEDDING needs its number of dimensions")
            .hint("Write EMBEDDING(384).")
            .at(span)),
        _ => Err(Diag::new(SqlState::INVALID_PARAMETER, format!("EMBEDDING has 1 to {most} dimensions")).at(span)),
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
