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
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}
