//! The functions of the allow-list, as data.

use super::{Output, Param, Signature, fixed, optional, variadic};
use crate::expr::Function;
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

const TEXT: Param = Param::Is(DataType::Text);
const BYTES: Param = Param::Is(DataType::Bytes);
const DOUBLE: Param = Param::Is(DataType::Double);
const WHOLE: Param = Param::Is(DataType::BigInt);
const TIME: Param = Param::Is(DataType::Timestamp);
const JSON: Param = Param::Is(DataType::Json);

const TO_TEXT: Output = Output::Is(DataType::Text);
const TO_BYTES: Output = Output::Is(DataType::Bytes);
const TO_DOUBLE: Output = Output::Is(DataType::Double);
const TO_INT: Output = Output::Is(DataType::Int);
const TO_BIGINT: Output = Output::Is(DataType::BigInt);
const TO_BOOLEAN: Output = Output::Is(DataType::Boolean);
const TO_TIME: Output = Output::Is(DataType::Timestamp);
const TO_JSON: Output = Output::Is(DataType::Json);
/// EXTRACT has six digits after the point at most.
const TO_EXTRACT: Output = Output::Is(DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: 6 });

const ANY_NUMBER: &[Signature] =
    &[fixed(&[Param::Integer], Output::First), fixed(&[Param::Decimal], Output::First), fixed(&[DOUBLE], TO_DOUBLE)];
const DECIMAL_OR_DOUBLE: &[Signature] = &[fixed(&[Param::Decimal], Output::First), fixed(&[DOUBLE], TO_DOUBLE)];
const ROUNDING: &[Signature] = &[
    fixed(&[Param::Decimal], Output::First),
    fixed(&[DOUBLE], TO_DOUBLE),
    fixed(&[Param::Decimal, WHOLE], Output::First),
];
const MODULO: &[Signature] = &[
    fixed(&[Param::Decimal, Param::Decimal], Output::First),
    fixed(&[Param::Integer, Param::Integer], Output::Common),
];
const OF_DOUBLE: &[Signature] = &[fixed(&[DOUBLE], TO_DOUBLE)];
const TWO_DOUBLES: &[Signature] = &[fixed(&[DOUBLE, DOUBLE], TO_DOUBLE)];
const LENGTH: &[Signature] = &[fixed(&[BYTES], TO_INT), fixed(&[TEXT], TO_INT)];
const TEXT_TO_TEXT: &[Signature] = &[fixed(&[TEXT], TO_TEXT)];
const SUBSTRING: &[Signature] =
    &[optional(&[BYTES, WHOLE], &[WHOLE], TO_BYTES), optional(&[TEXT, WHOLE], &[WHOLE], TO_TEXT)];
const POSITION: &[Signature] = &[fixed(&[BYTES, BYTES], TO_INT), fixed(&[TEXT, TEXT], TO_INT)];
const TRIM: &[Signature] = &[optional(&[TEXT], &[TEXT], TO_TEXT)];
const PAD: &[Signature] = &[optional(&[TEXT, WHOLE], &[TEXT], TO_TEXT)];
const SIDE: &[Signature] = &[fixed(&[TEXT, WHOLE], TO_TEXT)];
const NOTHING_TO_TEXT: &[Signature] = &[fixed(&[], TO_TEXT)];
const TIME_FIELD: &[Signature] = &[fixed(&[TIME], TO_INT)];
const JSON_OBJECT: &[Signature] = &[variadic(&[], Param::Any, TO_JSON)];
const EXTREME: &[Signature] = &[variadic(&[Param::CommonOrdered], Param::CommonOrdered, Output::Common)];

/// Every name, sorted, with its function and signatures.
pub(super) const FUNCTIONS: &[(&str, Function, &[Signature])] = &[
    ("abs", Function::Abs, ANY_NUMBER),
    ("btrim", Function::Trim, TRIM),
    ("ceil", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("ceiling", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("char_length", Function::Length, LENGTH),
    ("character_length", Function::Length, LENGTH),
    ("coalesce", Function::Coalesce, &[variadic(&[Param::Common], Param::Common, Output::Common)]),
    ("concat", Function::Concat, &[variadic(&[], Param::Any, TO_TEXT)]),
    ("concat_ws", Function::ConcatWs, &[variadic(&[TEXT], Param::Any, TO_TEXT)]),
    ("current_role", Function::CurrentRole, NOTHING_TO_TEXT),
    ("current_timestamp", Function::Now, &[fixed(&[], TO_TIME)]),
    ("current_user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("date_part", Function::DatePart, &[fixed(&[TEXT, TIME], TO_DOUBLE)]),
    ("date_trunc", Function::DateTrunc, &[fixed(&[TEXT, TIME], TO_TIME)]),
    ("day", Function::DatePart, TIME_FIELD),
    ("decode", Function::Decode, &[fixed(&[TEXT, TEXT], TO_BYTES)]),
    ("encode", Function::Encode, &[fixed(&[TEXT, TEXT], TO_TEXT), fixed(&[BYTES, TEXT], TO_TEXT)]),
    ("exp", Function::Exp, OF_DOUBLE),
    ("extract", Function::DatePart, &[fixed(&[TEXT, TIME], TO_EXTRACT)]),
    ("floor", Function::Floor, DECIMAL_OR_DOUBLE),
    ("greatest", Function::Greatest, EXTREME),
    ("hour", Function::DatePart, TIME_FIELD),
    ("json_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("json_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("jsonb_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("jsonb_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("least", Function::Least, EXTREME),
    ("left", Function::Left, SIDE),
    ("length", Function::Length, LENGTH),
    ("ln", Function::Ln, OF_DOUBLE),
    ("log", Function::Log, &[optional(&[DOUBLE], &[DOUBLE], TO_DOUBLE)]),
    ("log10", Function::Log, OF_DOUBLE),
    ("lower", Function::Lower, TEXT_TO_TEXT),
    ("lpad", Function::LeftPad, PAD),
    ("ltrim", Function::LeftTrim, TRIM),
    ("md5", Function::Md5, &[fixed(&[BYTES], TO_TEXT), fixed(&[TEXT], TO_TEXT)]),
    ("minute", Function::DatePart, TIME_FIELD),
    ("mod", Function::Mod, MODULO),
    ("month", Function::DatePart, TIME_FIELD),
    ("now", Function::Now, &[fixed(&[], TO_TIME)]),
    ("nullif", Function::NullIf, &[fixed(&[Param::CommonOrdered, Param::CommonOrdered], Output::Common)]),
    ("octet_length", Function::OctetLength, LENGTH),
    ("position", Function::Position, POSITION),
    ("pow", Function::Power, TWO_DOUBLES),
    ("power", Function::Power, TWO_DOUBLES),
    ("replace", Function::Replace, &[fixed(&[TEXT, TEXT, TEXT], TO_TEXT)]),
    ("right", Function::Right, SIDE),
    ("round", Function::Round, ROUNDING),
    ("rpad", Function::RightPad, PAD),
    ("rtrim", Function::RightTrim, TRIM),
    ("second", Function::DatePart, TIME_FIELD),
    ("session_user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("sha256", Function::Sha256, &[fixed(&[TEXT], TO_BYTES), fixed(&[BYTES], TO_BYTES)]),
    ("sign", Function::Sign, DECIMAL_OR_DOUBLE),
    ("snowflake_id", Function::SnowflakeId, &[fixed(&[], TO_BIGINT)]),
    ("split_part", Function::SplitPart, &[fixed(&[TEXT, TEXT, WHOLE], TO_TEXT)]),
    ("sqrt", Function::Sqrt, OF_DOUBLE),
    ("starts_with", Function::StartsWith, &[fixed(&[TEXT, TEXT], TO_BOOLEAN)]),
    ("substr", Function::Substring, SUBSTRING),
    ("substring", Function::Substring, SUBSTRING),
    ("to_timestamp", Function::ToTimestamp, &[fixed(&[DOUBLE], TO_TIME)]),
    ("trim", Function::Trim, TRIM),
    ("trunc", Function::Trunc, ROUNDING),
    ("ulid", Function::Ulid, NOTHING_TO_TEXT),
    ("upper", Function::Upper, TEXT_TO_TEXT),
    ("user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("uuid_v7", Function::UuidV7, NOTHING_TO_TEXT),
    ("year", Function::DatePart, TIME_FIELD),
];

/// Functions and aggregates of the dialect that do not exist yet.
pub(super) const NOT_YET: &[&str] = &[
    "age",
    "array_agg",
    "cosine_distance",
    "date_bin",
    "format",
    "json_agg",
    "json_build_array",
    "jsonb_agg",
    "jsonb_set",
    "l2_distance",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "row_to_json",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "strpos",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "var_pop",
    "var_samp",
    "variance",
];

/// Every aggregate's name, sorted.
pub(super) const AGGREGATES: &[&str] =
    &["avg", "bool_and", "bool_or", "count", "every", "max", "min", "string_agg", "sum"];
