//! Bound expressions: names resolved, types known, ready to be evaluated or logged.
//!
//! Part of commands' stored format: variants are only ever appended, never reordered or removed.

mod walk;

use serde::{Deserialize, Serialize};

use crate::value::{DataType, Value};

/// An expression over one input row, the statement's parameters and the evaluation context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    /// A constant of a known type (NULL has one too).
    Literal(Value, DataType),
    /// The input row's value at this position.
    Column(u32, DataType),
    /// The statement's parameter at this position, from 0.
    Param(u16, DataType),
    /// `op expr`.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        expr: Box<Expr>,
    },
    /// `left op right`; both sides have been cast to a common type where the operator needs one.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// Type of the result.
        data_type: DataType,
    },
    /// `expr IS [NOT] NULL`.
    IsNull {
        /// The operand.
        expr: Box<Expr>,
        /// IS NOT NULL.
        negated: bool,
    },
    /// `expr [NOT] IN (list)` with SQL's NULL rules.
    InList {
        /// The operand.
        expr: Box<Expr>,
        /// Candidates, cast to the operand's type.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// `expr [NOT] LIKE|ILIKE pattern [ESCAPE c]`.
    Like {
        /// The text.
        expr: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// Escape character, a backslash unless told.
        escape: Option<char>,
        /// ILIKE.
        case_insensitive: bool,
        /// NOT LIKE.
        negated: bool,
    },
    /// Searched CASE (a simple CASE is bound to comparisons).
    Case {
        /// WHEN condition THEN result, in order.
        branches: Vec<(Expr, Expr)>,
        /// ELSE, NULL when absent.
        otherwise: Option<Box<Expr>>,
        /// Type of every result.
        data_type: DataType,
    },
    /// `CAST(expr AS to)`.
    Cast {
        /// The operand.
        expr: Box<Expr>,
        /// The wanted type.
        to: DataType,
        /// An assignment cast (INSERT, UPDATE): out-of-range is an error, text must fit.
        assignment: bool,
    },
    /// A scalar function of the allow-list.
    Function {
        /// Which one.
        function: Function,
        /// Arguments, already cast to the signature's types.
        args: Vec<Expr>,
        /// Type of the result.
        data_type: DataType,
    },
    /// `expr IS [NOT] DISTINCT FROM other`.
    IsDistinct {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// IS NOT DISTINCT FROM.
        negated: bool,
    },
    /// `expr IS [NOT] TRUE|FALSE|UNKNOWN`.
    IsBool {
        /// The operand.
        expr: Box<Expr>,
        /// What it is compared with; `None` is UNKNOWN.
        value: Option<bool>,
        /// IS NOT.
        negated: bool,
    },
}

/// Unary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnaryOp {
    /// Boolean NOT.
    Not,
    /// Arithmetic minus.
    Minus,
    /// `~`: every bit of an integer turned.
    BitNot,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// AND, three-valued.
    And,
    /// OR, three-valued.
    Or,
    /// `||` on texts.
    Concat,
    /// `->` with a text key or an integer index: JSON.
    JsonGet,
    /// `->>`: the same as text.
    JsonGetText,
    /// `#>` with an array of keys and indexes: JSON.
    JsonGetPath,
    /// `#>>`: the same as text.
    JsonGetPathText,
    /// `@>`: the left side holds the right one (JSON, arrays).
    Contains,
    /// `<@`: the right side holds the left one.
    ContainedBy,
    /// `?`: the key, or the text as an element, is in the JSON value.
    JsonHasKey,
    /// `?|`: one of the keys is.
    JsonHasAnyKey,
    /// `?&`: all keys are.
    JsonHasAllKeys,
    /// `#-` with an array of keys and indexes: JSON without it.
    JsonDeletePath,
    /// `&&`: arrays with an element in common.
    Overlaps,
    /// `~`: the text matches the regular expression.
    Matches,
    /// `~*`: the same without regard to case.
    MatchesInsensitive,
    /// `!~`
    MatchesNot,
    /// `!~*`
    MatchesNotInsensitive,
    /// `^`
    Power,
    /// `&` on integers.
    BitAnd,
    /// `|` on integers.
    BitOr,
    /// `#` on integers.
    BitXor,
    /// `<<` on integers.
    ShiftLeft,
    /// `>>` on integers.
    ShiftRight,
}

impl BinaryOp {
    /// Whether it is one of `= <> < <= > >=`.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual
        )
    }
}

/// Scalar functions. The name is the SQL name in lower case with words joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each variant is the SQL function of that name, described in the function table of the book"
)]
pub enum Function {
    Abs,
    Ceil,
    Floor,
    Round,
    Trunc,
    Mod,
    Power,
    Sqrt,
    Exp,
    Ln,
    Log,
    Sign,
    Greatest,
    Least,
    Length,
    Lower,
    Upper,
    Substring,
    Position,
    Replace,
    Trim,
    LeftTrim,
    RightTrim,
    LeftPad,
    RightPad,
    Left,
    Right,
    Concat,
    ConcatWs,
    SplitPart,
    StartsWith,
    Md5,
    Sha256,
    Encode,
    Decode,
    OctetLength,
    Coalesce,
    NullIf,
    Now,
    DateTrunc,
    DatePart,
    ToTimestamp,
    JsonBuildObject,
    JsonTypeof,
    SnowflakeId,
    UuidV7,
    Ulid,
    CurrentUser,
    CurrentRole,
    /// `left op ANY (array)`.
    Any(BinaryOp),
    /// `left op ALL (array)`.
    All(BinaryOp),
    /// `text [NOT] [I]LIKE ANY|ALL (array of patterns)`.
    LikeEach {
        /// ILIKE.
        case_insensitive: bool,
        /// NOT, of each pattern.
        negated: bool,
        /// ALL in place of ANY.
        all: bool,
    },
    /// `ARRAY[...]`.
    ArrayOf,
    /// `array[index]`.
    Subscript,
    /// `array[from:to]`; NULL bounds are the array's own.
    Slice,
    ArrayLength,
    Cardinality,
    ArrayAppend,
    ArrayPrepend,
    ArrayCat,
    ArrayPosition,
    ArrayPositions,
    ArrayRemove,
    ArrayReplace,
    ArrayToString,
    StringToArray,
    TrimArray,
    Ascii,
    Chr,
    InitCap,
    Reverse,
    Repeat,
    Translate,
    Overlay,
    ToHex,
    Format,
    QuoteLiteral,
    QuoteNullable,
    QuoteIdent,
    Sha512,
    RegexpMatch,
    RegexpReplace,
    RegexpLike,
    RegexpCount,
    RegexpSubstr,
    RegexpSplitToArray,
    Similar,
    NumNulls,
    NumNonNulls,
    Div,
    Gcd,
    Lcm,
    Pi,
    Degrees,
    Radians,
    Sin,
    Cos,
    Tan,
    Cot,
    Asin,
    Acos,
    Atan,
    Atan2,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Cbrt,
    Factorial,
    WidthBucket,
    Scale,
    MinScale,
    TrimScale,
    Random,
    GenRandomUuid,
    CurrentDate,
    LocalTime,
    LocalTimestamp,
    Age,
    MakeDate,
    MakeTime,
    MakeTimestamp,
    MakeTimestamptz,
    MakeInterval,
    JustifyDays,
    JustifyHours,
    JustifyInterval,
    DateBin,
    ToChar,
    ToDate,
    ToNumber,
    AtTimeZone,
    Overlaps,
    JsonBuildArray,
    ToJson,
    JsonArrayLength,
    JsonExtractPath,
    JsonExtractPathText,
    JsonSet,
    JsonInsert,
    JsonStripNulls,
    JsonPretty,
    IsJson,
    CosineDistance,
    L2Distance,
    InnerProduct,
    VectorDims,
    VectorNorm,
    StrPos,
    ArrayLower,
    ArrayDims,
    ArrayNdims,
    ArrayFill,
}

/// Aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count(*)`.
    CountStar,
    /// `count(expr)`: values that are not NULL.
    Count,
    /// `sum(expr)`: BIGINT for integers (an overflow is an error), else the operand's type.
    Sum,
    /// `avg(expr)`: DECIMAL for integers and decimals, else DOUBLE.
    Avg,
    /// `min(expr)`.
    Min,
    /// `max(expr)`.
    Max,
    /// `bool_and(expr)`.
    BoolAnd,
    /// `bool_or(expr)`.
    BoolOr,
    /// `string_agg(expr, separator)` in input order.
    StringAgg,
    /// `stddev_pop(expr)`, DOUBLE.
    StddevPop,
    /// `stddev_samp(expr)`, DOUBLE.
    StddevSamp,
    /// `var_pop(expr)`, DOUBLE.
    VarPop,
    /// `var_samp(expr)`, DOUBLE.
    VarSamp,
    /// `bit_and(expr)`.
    BitAnd,
    /// `bit_or(expr)`.
    BitOr,
    /// `bit_xor(expr)`.
    BitXor,
    /// `array_agg(expr)`, NULLs among the elements.
    ArrayAgg,
    /// `json_agg(expr)`, NULLs as null.
    JsonAgg,
    /// `json_object_agg(key, value)`, NULL values as null.
    JsonObjectAgg,
}

/// One aggregate of a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which one.
    pub function: AggregateFunction,
    /// Its arguments over the input row.
    pub args: Vec<Expr>,
    /// Only distinct values count.
    pub distinct: bool,
    /// Type of the result.
    pub data_type: DataType,
    /// ORDER BY inside the call: its keys are the last of `args`, and these are their directions.
    pub order: Vec<SortDirection>,
    /// FILTER: the condition stands in `args` before the keys of ORDER BY, and rows for which it is not true do not count.
    pub filtered: bool,
}

/// How one key sorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortDirection {
    /// DESC.
    pub descending: bool,
    /// NULLs first.
    pub nulls_first: bool,
}
