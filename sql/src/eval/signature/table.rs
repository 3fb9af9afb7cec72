//! The functions of the allow-list, as data.

use super::{Output, Param, Signature, fixed, optional, variadic};
use crate::expr::Function;
use crate::value::{DataType, Element};

const TEXT: Param = Param::Is(DataType::Text);
const BYTES: Param = Param::Is(DataType::Bytes);
const DOUBLE: Param = Param::Is(DataType::Double);
const WHOLE: Param = Param::Is(DataType::BigInt);
const INTEGER: Param = Param::Is(DataType::Int);
const REAL: Param = Param::Is(DataType::Float);
const BOOLEAN: Param = Param::Is(DataType::Boolean);
const TIMESTAMP: Param = Param::Is(DataType::Timestamp);
const TIMESTAMPTZ: Param = Param::Is(DataType::DateTime);
const DATE: Param = Param::Is(DataType::Date);
const TIME: Param = Param::Is(DataType::Time);
const INTERVAL: Param = Param::Is(DataType::Interval);
const INTS: Param = Param::Is(DataType::Array(Element::Int));
const TEXTS: Param = Param::Is(DataType::Array(Element::Text));
const EMBEDDING: Param = Param::Is(DataType::Embedding(0));
const JSON: Param = Param::Is(DataType::Json);

const TO_TEXT: Output = Output::Is(DataType::Text);
const TO_BYTES: Output = Output::Is(DataType::Bytes);
const TO_DOUBLE: Output = Output::Is(DataType::Double);
const TO_INT: Output = Output::Is(DataType::Int);
const TO_BIGINT: Output = Output::Is(DataType::BigInt);
const TO_BOOLEAN: Output = Output::Is(DataType::Boolean);
const TO_REAL: Output = Output::Is(DataType::Float);
const TO_TIMESTAMP: Output = Output::Is(DataType::Timestamp);
const TO_TIMESTAMPTZ: Output = Output::Is(DataType::DateTime);
const TO_DATE: Output = Output::Is(DataType::Date);
const TO_TIME: Output = Output::Is(DataType::Time);
const TO_INTERVAL: Output = Output::Is(DataType::Interval);
const TO_UUID: Output = Output::Is(DataType::Uuid);
const TO_TEXTS: Output = Output::Is(DataType::Array(Element::Text));
const TO_INTS: Output = Output::Is(DataType::Array(Element::Int));
const TO_DECIMAL: Output = Output::Is(DataType::DECIMAL);
const TO_JSON: Output = Output::Is(DataType::Json);

const ANY_NUMBER: &[Signature] = &[
    fixed(&[Param::Integer], Output::First),
    fixed(&[Param::Decimal], Output::First),
    fixed(&[REAL], TO_REAL),
    fixed(&[DOUBLE], TO_DOUBLE),
];
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
const SUBSTR: &[Signature] =
    &[optional(&[BYTES, WHOLE], &[WHOLE], TO_BYTES), optional(&[TEXT, WHOLE], &[WHOLE], TO_TEXT)];
const SUBSTRING: &[Signature] = &[
    fixed(&[TEXT, TEXT], TO_TEXT),
    optional(&[BYTES, WHOLE], &[WHOLE], TO_BYTES),
    optional(&[TEXT, WHOLE], &[WHOLE], TO_TEXT),
];
const POSITION: &[Signature] = &[fixed(&[BYTES, BYTES], TO_INT), fixed(&[TEXT, TEXT], TO_INT)];
const TRIM: &[Signature] = &[optional(&[TEXT], &[TEXT], TO_TEXT)];
const PAD: &[Signature] = &[optional(&[TEXT, WHOLE], &[TEXT], TO_TEXT)];
const SIDE: &[Signature] = &[fixed(&[TEXT, WHOLE], TO_TEXT)];
const NOTHING_TO_TEXT: &[Signature] = &[fixed(&[], TO_TEXT)];
const TIME_FIELD: &[Signature] = &[
    fixed(&[INTERVAL], TO_INT),
    fixed(&[TIME], TO_INT),
    fixed(&[DATE], TO_INT),
    fixed(&[TIMESTAMPTZ], TO_INT),
    fixed(&[TIMESTAMP], TO_INT),
];
/// A field by its name, of everything that has fields.
const fn field_of(output: Output) -> [Signature; 5] {
    [
        fixed(&[TEXT, INTERVAL], output),
        fixed(&[TEXT, TIME], output),
        fixed(&[TEXT, DATE], output),
        fixed(&[TEXT, TIMESTAMPTZ], output),
        fixed(&[TEXT, TIMESTAMP], output),
    ]
}
const DATE_PART: &[Signature] = &field_of(TO_DOUBLE);
const EXTRACT: &[Signature] = &field_of(TO_DECIMAL);
const TWO_INTEGERS: &[Signature] = &[fixed(&[Param::Integer, Param::Integer], Output::Common)];
const JUSTIFY: &[Signature] = &[fixed(&[INTERVAL], TO_INTERVAL)];
const NOW: &[Signature] = &[fixed(&[], TO_TIMESTAMPTZ)];
const JSON_TO_JSON: &[Signature] = &[fixed(&[JSON], TO_JSON)];
const JSON_PATH: &[Signature] = &[variadic(&[JSON], TEXT, TO_JSON)];
const JSON_PATH_TEXT: &[Signature] = &[variadic(&[JSON], TEXT, TO_TEXT)];
const JSON_ARRAY: &[Signature] = &[variadic(&[], Param::Any, TO_JSON)];
const JSON_EDIT: &[Signature] = &[optional(&[JSON, TEXTS, JSON], &[BOOLEAN], TO_JSON)];
const TO_JSON_OF: &[Signature] = &[fixed(&[Param::Any], TO_JSON)];
const ARRAY_AND_ITEM: &[Signature] = &[fixed(&[Param::Array, Param::Common], Output::Array)];
const TWO_VECTORS: &[Signature] = &[fixed(&[EMBEDDING, EMBEDDING], TO_DOUBLE)];
const REGEXP: &[Signature] = &[optional(&[TEXT, TEXT], &[TEXT], TO_TEXTS)];
const TEXT_OR_ANY: &[Signature] = &[fixed(&[Param::Any], TO_TEXT)];
const JSON_OBJECT: &[Signature] = &[variadic(&[], Param::Any, TO_JSON)];
const EXTREME: &[Signature] = &[variadic(&[Param::CommonOrdered], Param::CommonOrdered, Output::Common)];

/// Every name, sorted, with its function and signatures.
pub(super) const FUNCTIONS: &[(&str, Function, &[Signature])] = &[
    ("abs", Function::Abs, ANY_NUMBER),
    ("acos", Function::Acos, OF_DOUBLE),
    ("acosh", Function::Acosh, OF_DOUBLE),
    (
        "age",
        Function::Age,
        &[optional(&[TIMESTAMPTZ], &[TIMESTAMPTZ], TO_INTERVAL), optional(&[TIMESTAMP], &[TIMESTAMP], TO_INTERVAL)],
    ),
    ("array_append", Function::ArrayAppend, ARRAY_AND_ITEM),
    ("array_cat", Function::ArrayCat, &[fixed(&[Param::Array, Param::Array], Output::Array)]),
    ("array_dims", Function::ArrayDims, &[fixed(&[Param::Array], TO_TEXT)]),
    ("array_fill", Function::ArrayFill, &[fixed(&[Param::Common, INTS], Output::Array)]),
    ("array_length", Function::ArrayLength, &[fixed(&[Param::Array, WHOLE], TO_INT)]),
    ("array_lower", Function::ArrayLower, &[fixed(&[Param::Array, WHOLE], TO_INT)]),
    ("array_ndims", Function::ArrayNdims, &[fixed(&[Param::Array], TO_INT)]),
    ("array_position", Function::ArrayPosition, &[optional(&[Param::Array, Param::Common], &[WHOLE], TO_INT)]),
    ("array_positions", Function::ArrayPositions, &[fixed(&[Param::Array, Param::Common], TO_INTS)]),
    ("array_prepend", Function::ArrayPrepend, &[fixed(&[Param::Common, Param::Array], Output::Array)]),
    ("array_remove", Function::ArrayRemove, ARRAY_AND_ITEM),
    ("array_replace", Function::ArrayReplace, &[fixed(&[Param::Array, Param::Common, Param::Common], Output::Array)]),
    ("array_to_json", Function::ToJson, &[fixed(&[Param::Array], TO_JSON)]),
    ("array_to_string", Function::ArrayToString, &[optional(&[Param::Array, TEXT], &[TEXT], TO_TEXT)]),
    ("array_upper", Function::ArrayLength, &[fixed(&[Param::Array, WHOLE], TO_INT)]),
    ("ascii", Function::Ascii, &[fixed(&[TEXT], TO_INT)]),
    ("asin", Function::Asin, OF_DOUBLE),
    ("asinh", Function::Asinh, OF_DOUBLE),
    ("atan", Function::Atan, OF_DOUBLE),
    ("atan2", Function::Atan2, TWO_DOUBLES),
    ("atanh", Function::Atanh, OF_DOUBLE),
    ("btrim", Function::Trim, TRIM),
    ("cardinality", Function::Cardinality, &[fixed(&[Param::Array], TO_INT)]),
    ("cbrt", Function::Cbrt, OF_DOUBLE),
    ("ceil", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("ceiling", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("char_length", Function::Length, LENGTH),
    ("character_length", Function::Length, LENGTH),
    ("chr", Function::Chr, &[fixed(&[WHOLE], TO_TEXT)]),
    ("coalesce", Function::Coalesce, &[variadic(&[Param::Common], Param::Common, Output::Common)]),
    ("concat", Function::Concat, &[variadic(&[], Param::Any, TO_TEXT)]),
    ("concat_ws", Function::ConcatWs, &[variadic(&[TEXT], Param::Any, TO_TEXT)]),
    ("cos", Function::Cos, OF_DOUBLE),
    ("cosh", Function::Cosh, OF_DOUBLE),
    ("cosine_distance", Function::CosineDistance, TWO_VECTORS),
    ("cot", Function::Cot, OF_DOUBLE),
    ("current_date", Function::CurrentDate, &[fixed(&[], TO_DATE)]),
    ("current_role", Function::CurrentRole, NOTHING_TO_TEXT),
    ("current_timestamp", Function::Now, NOW),
    ("current_user", Function::CurrentUser, NOTHING_TO_TEXT),
    (
        "date_bin",
        Function::DateBin,
        &[
            fixed(&[INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], TO_TIMESTAMPTZ),
            fixed(&[INTERVAL, TIMESTAMP, TIMESTAMP], TO_TIMESTAMP),
        ],
    ),
    ("date_part", Function::DatePart, DATE_PART),
    (
        "date_trunc",
        Function::DateTrunc,
        &[
            fixed(&[TEXT, INTERVAL], TO_INTERVAL),
            fixed(&[TEXT, TIMESTAMPTZ], TO_TIMESTAMPTZ),
            fixed(&[TEXT, TIMESTAMP], TO_TIMESTAMP),
        ],
    ),
    ("day", Function::DatePart, TIME_FIELD),
    ("decode", Function::Decode, &[fixed(&[TEXT, TEXT], TO_BYTES)]),
    ("degrees", Function::Degrees, OF_DOUBLE),
    ("div", Function::Div, &[fixed(&[Param::Decimal, Param::Decimal], TO_DECIMAL)]),
    ("encode", Function::Encode, &[fixed(&[TEXT, TEXT], TO_TEXT), fixed(&[BYTES, TEXT], TO_TEXT)]),
    ("exp", Function::Exp, OF_DOUBLE),
    ("extract", Function::DatePart, EXTRACT),
    ("factorial", Function::Factorial, &[fixed(&[WHOLE], TO_DECIMAL)]),
    ("floor", Function::Floor, DECIMAL_OR_DOUBLE),
    ("format", Function::Format, &[variadic(&[TEXT], Param::Any, TO_TEXT)]),
    ("gcd", Function::Gcd, TWO_INTEGERS),
    ("gen_random_uuid", Function::GenRandomUuid, &[fixed(&[], TO_UUID)]),
    ("greatest", Function::Greatest, EXTREME),
    ("hour", Function::DatePart, TIME_FIELD),
    ("initcap", Function::InitCap, TEXT_TO_TEXT),
    ("inner_product", Function::InnerProduct, TWO_VECTORS),
    ("json_array_length", Function::JsonArrayLength, &[fixed(&[JSON], TO_INT)]),
    ("json_build_array", Function::JsonBuildArray, JSON_ARRAY),
    ("json_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("json_extract_path", Function::JsonExtractPath, JSON_PATH),
    ("json_extract_path_text", Function::JsonExtractPathText, JSON_PATH_TEXT),
    ("json_strip_nulls", Function::JsonStripNulls, JSON_TO_JSON),
    ("json_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("jsonb_array_length", Function::JsonArrayLength, &[fixed(&[JSON], TO_INT)]),
    ("jsonb_build_array", Function::JsonBuildArray, JSON_ARRAY),
    ("jsonb_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("jsonb_extract_path", Function::JsonExtractPath, JSON_PATH),
    ("jsonb_extract_path_text", Function::JsonExtractPathText, JSON_PATH_TEXT),
    ("jsonb_insert", Function::JsonInsert, JSON_EDIT),
    ("jsonb_pretty", Function::JsonPretty, &[fixed(&[JSON], TO_TEXT)]),
    ("jsonb_set", Function::JsonSet, JSON_EDIT),
    ("jsonb_strip_nulls", Function::JsonStripNulls, JSON_TO_JSON),
    ("jsonb_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("justify_days", Function::JustifyDays, JUSTIFY),
    ("justify_hours", Function::JustifyHours, JUSTIFY),
    ("justify_interval", Function::JustifyInterval, JUSTIFY),
    ("l2_distance", Function::L2Distance, TWO_VECTORS),
    ("lcm", Function::Lcm, TWO_INTEGERS),
    ("least", Function::Least, EXTREME),
    ("left", Function::Left, SIDE),
    ("length", Function::Length, LENGTH),
    ("ln", Function::Ln, OF_DOUBLE),
    ("localtime", Function::LocalTime, &[fixed(&[], TO_TIME)]),
    ("localtimestamp", Function::LocalTimestamp, &[fixed(&[], TO_TIMESTAMP)]),
    ("log", Function::Log, &[optional(&[DOUBLE], &[DOUBLE], TO_DOUBLE)]),
    ("log10", Function::Log, OF_DOUBLE),
    ("lower", Function::Lower, TEXT_TO_TEXT),
    ("lpad", Function::LeftPad, PAD),
    ("ltrim", Function::LeftTrim, TRIM),
    ("make_date", Function::MakeDate, &[fixed(&[INTEGER, INTEGER, INTEGER], TO_DATE)]),
    (
        "make_interval",
        Function::MakeInterval,
        &[optional(&[], &[INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, DOUBLE], TO_INTERVAL)],
    ),
    ("make_time", Function::MakeTime, &[fixed(&[INTEGER, INTEGER, DOUBLE], TO_TIME)]),
    (
        "make_timestamp",
        Function::MakeTimestamp,
        &[fixed(&[INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, DOUBLE], TO_TIMESTAMP)],
    ),
    (
        "make_timestamptz",
        Function::MakeTimestamptz,
        &[fixed(&[INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, DOUBLE], TO_TIMESTAMPTZ)],
    ),
    ("md5", Function::Md5, &[fixed(&[BYTES], TO_TEXT), fixed(&[TEXT], TO_TEXT)]),
    ("min_scale", Function::MinScale, &[fixed(&[Param::Decimal], TO_INT)]),
    ("minute", Function::DatePart, TIME_FIELD),
    ("mod", Function::Mod, MODULO),
    ("month", Function::DatePart, TIME_FIELD),
    ("now", Function::Now, NOW),
    ("nullif", Function::NullIf, &[fixed(&[Param::CommonEqual, Param::CommonEqual], Output::Common)]),
    ("num_nonnulls", Function::NumNonNulls, &[variadic(&[], Param::Any, TO_INT)]),
    ("num_nulls", Function::NumNulls, &[variadic(&[], Param::Any, TO_INT)]),
    ("octet_length", Function::OctetLength, LENGTH),
    ("overlay", Function::Overlay, &[optional(&[TEXT, TEXT, WHOLE], &[WHOLE], TO_TEXT)]),
    ("pi", Function::Pi, &[fixed(&[], TO_DOUBLE)]),
    ("position", Function::Position, POSITION),
    ("pow", Function::Power, TWO_DOUBLES),
    ("power", Function::Power, TWO_DOUBLES),
    ("quote_ident", Function::QuoteIdent, TEXT_TO_TEXT),
    ("quote_literal", Function::QuoteLiteral, TEXT_OR_ANY),
    ("quote_nullable", Function::QuoteNullable, TEXT_OR_ANY),
    ("radians", Function::Radians, OF_DOUBLE),
    ("random", Function::Random, &[fixed(&[], TO_DOUBLE)]),
    ("regexp_count", Function::RegexpCount, &[optional(&[TEXT, TEXT], &[WHOLE, TEXT], TO_INT)]),
    ("regexp_like", Function::RegexpLike, &[optional(&[TEXT, TEXT], &[TEXT], TO_BOOLEAN)]),
    ("regexp_match", Function::RegexpMatch, REGEXP),
    ("regexp_replace", Function::RegexpReplace, &[optional(&[TEXT, TEXT, TEXT], &[TEXT], TO_TEXT)]),
    ("regexp_split_to_array", Function::RegexpSplitToArray, REGEXP),
    ("regexp_substr", Function::RegexpSubstr, &[fixed(&[TEXT, TEXT], TO_TEXT)]),
    ("repeat", Function::Repeat, SIDE),
    ("replace", Function::Replace, &[fixed(&[TEXT, TEXT, TEXT], TO_TEXT)]),
    ("reverse", Function::Reverse, TEXT_TO_TEXT),
    ("right", Function::Right, SIDE),
    ("round", Function::Round, ROUNDING),
    ("rpad", Function::RightPad, PAD),
    ("rtrim", Function::RightTrim, TRIM),
    ("scale", Function::Scale, &[fixed(&[Param::Decimal], TO_INT)]),
    ("second", Function::DatePart, TIME_FIELD),
    ("session_user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("sha256", Function::Sha256, &[fixed(&[TEXT], TO_BYTES), fixed(&[BYTES], TO_BYTES)]),
    ("sha512", Function::Sha512, &[fixed(&[TEXT], TO_BYTES), fixed(&[BYTES], TO_BYTES)]),
    ("sign", Function::Sign, DECIMAL_OR_DOUBLE),
    ("sin", Function::Sin, OF_DOUBLE),
    ("sinh", Function::Sinh, OF_DOUBLE),
    ("snowflake_id", Function::SnowflakeId, &[fixed(&[], TO_BIGINT)]),
    ("split_part", Function::SplitPart, &[fixed(&[TEXT, TEXT, WHOLE], TO_TEXT)]),
    ("sqrt", Function::Sqrt, OF_DOUBLE),
    ("starts_with", Function::StartsWith, &[fixed(&[TEXT, TEXT], TO_BOOLEAN)]),
    ("statement_timestamp", Function::Now, NOW),
    ("string_to_array", Function::StringToArray, &[optional(&[TEXT, TEXT], &[TEXT], TO_TEXTS)]),
    ("strpos", Function::StrPos, POSITION),
    ("substr", Function::Substring, SUBSTR),
    ("substring", Function::Substring, SUBSTRING),
    ("tan", Function::Tan, OF_DOUBLE),
    ("tanh", Function::Tanh, OF_DOUBLE),
    (
        "timezone",
        Function::AtTimeZone,
        &[
            fixed(&[INTERVAL, TIMESTAMP], TO_TIMESTAMPTZ),
            fixed(&[INTERVAL, TIMESTAMPTZ], TO_TIMESTAMP),
            fixed(&[TEXT, TIMESTAMP], TO_TIMESTAMPTZ),
            fixed(&[TEXT, TIMESTAMPTZ], TO_TIMESTAMP),
        ],
    ),
    (
        "to_char",
        Function::ToChar,
        &[
            fixed(&[INTERVAL, TEXT], TO_TEXT),
            fixed(&[Param::Decimal, TEXT], TO_TEXT),
            fixed(&[DOUBLE, TEXT], TO_TEXT),
            fixed(&[TIMESTAMPTZ, TEXT], TO_TEXT),
            fixed(&[TIMESTAMP, TEXT], TO_TEXT),
        ],
    ),
    ("to_date", Function::ToDate, &[fixed(&[TEXT, TEXT], TO_DATE)]),
    ("to_hex", Function::ToHex, &[fixed(&[Param::Integer], TO_TEXT)]),
    ("to_json", Function::ToJson, TO_JSON_OF),
    ("to_jsonb", Function::ToJson, TO_JSON_OF),
    ("to_number", Function::ToNumber, &[fixed(&[TEXT, TEXT], TO_DECIMAL)]),
    ("to_timestamp", Function::ToTimestamp, &[fixed(&[TEXT, TEXT], TO_TIMESTAMPTZ), fixed(&[DOUBLE], TO_TIMESTAMPTZ)]),
    ("transaction_timestamp", Function::Now, NOW),
    ("translate", Function::Translate, &[fixed(&[TEXT, TEXT, TEXT], TO_TEXT)]),
    ("trim", Function::Trim, TRIM),
    ("trim_array", Function::TrimArray, &[fixed(&[Param::Array, WHOLE], Output::Array)]),
    ("trim_scale", Function::TrimScale, &[fixed(&[Param::Decimal], TO_DECIMAL)]),
    ("trunc", Function::Trunc, ROUNDING),
    ("ulid", Function::Ulid, NOTHING_TO_TEXT),
    ("upper", Function::Upper, TEXT_TO_TEXT),
    ("user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("uuid_v7", Function::UuidV7, &[fixed(&[], TO_UUID)]),
    ("vector_dims", Function::VectorDims, &[fixed(&[EMBEDDING], TO_INT)]),
    ("vector_norm", Function::VectorNorm, &[fixed(&[EMBEDDING], TO_DOUBLE)]),
    (
        "width_bucket",
        Function::WidthBucket,
        &[fixed(&[Param::CommonOrdered, Param::Array], TO_INT), fixed(&[DOUBLE, DOUBLE, DOUBLE, INTEGER], TO_INT)],
    ),
    ("year", Function::DatePart, TIME_FIELD),
];

/// Functions and aggregates that PostgreSQL has and this dialect has not.
pub(super) const NOT_YET: &[&str] = &[
    "clock_timestamp",
    "corr",
    "covar_pop",
    "covar_samp",
    "current_time",
    "erf",
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "json_populate_record",
    "json_to_record",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_exists",
    "jsonb_path_match",
    "jsonb_path_query",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "regexp_instr",
    "regexp_matches",
    "regexp_split_to_table",
    "row_to_json",
    "setseed",
    "string_to_table",
    "timeofday",
    "unnest",
    "xmlagg",
];

/// Every aggregate's name, sorted.
pub(super) const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];
