//! Limits of the dialect, in one place. Beyond each the answer is a typed refusal, never a truncation.

/// Longest text of one request, in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Most statements in one text.
pub const MAX_STATEMENTS: usize = 1_000;

/// Deepest nesting of parentheses and brackets.
pub const MAX_NESTING: usize = 50;

/// Longest chain of operators without parentheses, in tokens: it bounds the depth of the parsed tree.
pub const MAX_CHAIN: usize = 1_000;

/// Most UNION, INTERSECT and EXCEPT in one statement: it bounds the depth of the parsed tree.
pub const MAX_SET_OPERATIONS: usize = 50;

/// Recursion that the expression parser is given; above what [`MAX_NESTING`] needs.
pub const PARSER_RECURSION: usize = 300;

/// Deepest bound expression. Long AND, OR and `||` chains do not count: they are balanced.
pub const MAX_EXPRESSION_DEPTH: u32 = 100;

/// Deepest nesting that the binder follows, parentheses included.
pub const MAX_BINDER_NESTING: usize = 120;

/// Longest name of an object, in characters.
pub const MAX_NAME_CHARS: usize = 63;

/// Longest name of a user, in bytes.
pub const MAX_USER_NAME_BYTES: usize = 128;

/// Longest name of a consumer group, and longest consumer id, in bytes.
pub const MAX_GROUP_NAME_BYTES: usize = 256;

/// Most parameters of a statement.
pub const MAX_PARAMETERS: usize = 50;

/// Most values of outer rows, and subqueries that run once, in one statement.
pub const MAX_SLOTS: u16 = 1_000;

/// Deepest nesting of queries in queries.
pub const MAX_QUERY_NESTING: usize = 12;

/// Most tables and subqueries in one FROM.
pub const MAX_RELATIONS: usize = 64;

/// Most grouping sets of one GROUP BY.
pub const MAX_GROUPING_SETS: usize = 256;

/// Most keys where there are grouping sets.
pub const MAX_GROUPING_KEYS: usize = 60;

/// Most changes of one ALTER TABLE.
pub const MAX_TABLE_CHANGES: usize = 64;

/// Most parts of one CUBE.
pub const MAX_CUBE_PARTS: usize = 8;

/// Most rounds of WITH RECURSIVE.
pub const MAX_RECURSION: usize = 10_000;

/// Most columns of a table or of a result.
pub const MAX_COLUMNS: usize = 1_000;

/// Most columns of a primary key.
pub const MAX_KEY_COLUMNS: usize = 32;

/// Most rows of one INSERT.
pub const MAX_INSERT_ROWS: usize = 100_000;

/// Most bounds that a statement's key conditions are multiplied out to.
pub const MAX_KEY_BOUNDS: usize = 1_000;

/// Most bounds that arrays of alternatives (`= ANY ($1)`) are multiplied out to; beyond it all keys are looked at.
pub const MAX_ALTERNATIVES: usize = 100_000;

/// Most partitions of a topic.
pub const MAX_PARTITIONS: u32 = 1_024;

/// Longest wait of a CONSUME, in microseconds.
pub const MAX_CONSUME_WAIT_MICROS: u64 = 600_000_000;
