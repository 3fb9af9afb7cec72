//! The one diagnostic type, from lexer to client.

use serde::{Deserialize, Serialize};

/// Five-character SQLSTATE, as PostgreSQL defines them (appendix A of its manual).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlState(pub [u8; 5]);

macro_rules! sqlstates {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: Self = Self(*$code);)*
            /// Every state that Highwater gives, with its constant's name; the error index in the docs is checked against it.
            pub const ALL: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

sqlstates! {
    /// The statement is known but not supported.
    NOT_SUPPORTED = b"0A000";
    /// Grammar.
    SYNTAX_ERROR = b"42601";
    /// No such column.
    UNDEFINED_COLUMN = b"42703";
    /// No such table.
    UNDEFINED_TABLE = b"42P01";
    /// No such function, or none with these argument types.
    UNDEFINED_FUNCTION = b"42883";
    /// No such namespace.
    UNDEFINED_NAMESPACE = b"3F000";
    /// No such topic, user, job or other object.
    UNDEFINED_OBJECT = b"42704";
    /// A parameter that was not given.
    UNDEFINED_PARAMETER = b"42P02";
    /// The table exists.
    DUPLICATE_TABLE = b"42P07";
    /// The namespace exists.
    DUPLICATE_NAMESPACE = b"42P06";
    /// The column was named twice.
    DUPLICATE_COLUMN = b"42701";
    /// The topic, user or other object exists.
    DUPLICATE_OBJECT = b"42710";
    /// Operand or argument types do not fit.
    DATATYPE_MISMATCH = b"42804";
    /// Expression outside GROUP BY.
    GROUPING_ERROR = b"42803";
    /// A definition that contradicts itself.
    INVALID_TABLE_DEFINITION = b"42P16";
    /// A name longer than the limit, or empty.
    INVALID_NAME = b"42602";
    /// A column name that fits several.
    AMBIGUOUS_COLUMN = b"42702";
    /// ORDER BY or DISTINCT ON names what it may not.
    INVALID_COLUMN_REFERENCE = b"42P10";
    /// A qualifier that fits several relations.
    AMBIGUOUS_ALIAS = b"42P09";
    /// One name for two relations of FROM.
    DUPLICATE_ALIAS = b"42712";
    /// A window or its frame contradicts itself, or stands where it cannot.
    WINDOWING_ERROR = b"42P20";
    /// A subquery that stands for one value gave several rows.
    CARDINALITY_VIOLATION = b"21000";
    /// A recursive query.
    INVALID_RECURSION = b"42P19";
    /// The type of a parameter cannot be inferred.
    INDETERMINATE_DATATYPE = b"42P18";
    /// A type cannot be cast to another.
    CANNOT_COERCE = b"42846";
    /// No right to do this.
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// Something depends on the object.
    DEPENDENT_OBJECTS = b"2BP01";
    /// The text is no value of the type.
    INVALID_TEXT = b"22P02";
    /// Embeddings of other dimensions than wanted, or than each other.
    DATA_EXCEPTION = b"22000";
    /// A number outside the type's range.
    OUT_OF_RANGE = b"22003";
    /// Division by zero.
    DIVISION_BY_ZERO = b"22012";
    /// A timestamp outside the type's range or malformed.
    INVALID_DATETIME = b"22007";
    /// A text too long for its type.
    STRING_TRUNCATION = b"22001";
    /// Invalid UTF-8, or a NUL in a text.
    INVALID_ENCODING = b"22021";
    /// A parameter or option value that is not allowed.
    INVALID_PARAMETER = b"22023";
    /// A regular expression that is none.
    INVALID_REGULAR_EXPRESSION = b"2201B";
    /// LIMIT or OFFSET below zero.
    INVALID_LIMIT = b"2201W";
    /// A sequence has no further number.
    SEQUENCE_LIMIT = b"2200H";
    /// NOT NULL.
    NOT_NULL_VIOLATION = b"23502";
    /// Key or UNIQUE.
    UNIQUE_VIOLATION = b"23505";
    /// CHECK.
    CHECK_VIOLATION = b"23514";
    /// Wrong user or password.
    INVALID_PASSWORD = b"28P01";
    /// A statement beyond a limit of size or work.
    PROGRAM_LIMIT = b"54000";
    /// Too many parameters.
    TOO_MANY_ARGUMENTS = b"54023";
    /// A transaction is open already, or still.
    ACTIVE_TRANSACTION = b"25001";
    /// A transaction that began READ ONLY cannot write.
    READ_ONLY_TRANSACTION = b"25006";
    /// There is no transaction.
    NO_TRANSACTION = b"25P01";
    /// The transaction has failed and takes nothing but its end.
    FAILED_TRANSACTION = b"25P02";
    /// No such savepoint.
    UNDEFINED_SAVEPOINT = b"3B001";
    /// Retry: a concurrent change won.
    SERIALIZATION_FAILURE = b"40001";
    /// The outcome is unknown; retry with the same request id.
    OUTCOME_UNKNOWN = b"40003";
    /// The request id is too old to tell.
    REQUEST_EXPIRED = b"55P04";
    /// The object is not in the state that the statement needs.
    OBJECT_STATE = b"55000";
    /// The store cannot take writes for now.
    INSUFFICIENT_RESOURCES = b"53000";
    /// Disk full.
    DISK_FULL = b"53100";
    /// Out of memory or of a memory budget.
    OUT_OF_MEMORY = b"53200";
    /// Overloaded: retry later.
    OVERLOADED = b"53400";
    /// A deadline has passed.
    TIMEOUT = b"57014";
    /// The node is shutting down.
    SHUTTING_DOWN = b"57P01";
    /// Stored data is damaged.
    DATA_CORRUPTED = b"XX001";
    /// A defect of Highwater.
    INTERNAL = b"XX000";
}

impl SqlState {
    /// The five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Half-open range of characters (not bytes) in the statement's text, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First character.
    pub start: u32,
    /// One past the last character.
    pub end: u32,
}

/// What went wrong, where, and what to do about it. The client draws; the server only says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Diag {
    /// Class and code.
    pub sqlstate: SqlState,
    /// One sentence: what was wrong.
    pub message: String,
    /// More facts, if they help.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the text.
    pub span: Option<Span>,
    /// Names that were probably meant, best first, at most five.
    pub suggestions: Vec<String>,
}

impl Diag {
    /// A diagnostic of one sentence.
    #[must_use]
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, span: None, suggestions: Vec::new() }
    }

    /// The same, with another name in place of one that its reader does not know.
    #[must_use]
    pub fn renamed(self, old: &str, new: &str) -> Self {
        let renamed = |text: String| text.replace(old, new);
        Self { message: renamed(self.message), detail: self.detail.map(renamed), hint: self.hint.map(renamed), ..self }
    }

    /// `what` is not supported (0A000).
    #[must_use]
    pub fn not_supported(what: impl std::fmt::Display) -> Self {
        Self::new(SqlState::NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// Adds the detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place, unless a more precise one is known already.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}
