//! A text as an editor sees it while it is typed: its fragments for highlighting, whether it is finished, and what could come
//! next. Takes every text; says nothing about whether a statement is right. Places are bytes.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use crate::grammar;
use crate::lexer::{self, DIALECT, Walk};

/// What a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentKind {
    /// One of [`KEYWORDS`], unquoted.
    Keyword,
    /// Any other unquoted word.
    Name,
    /// A name in double quotes.
    QuotedName,
    /// A literal text, of any quoting.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// A comment.
    Comment,
    /// `;`
    Semicolon,
    /// `(`, `[` or `{`.
    Opening,
    /// `)`, `]` or `}`.
    Closing,
    /// Operators, commas, dots.
    Symbol,
    /// From here to the end of the text: a text, name or comment that is not closed.
    Unclosed,
}

/// A piece of a text that is not white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What it is.
    pub kind: FragmentKind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Words that mean something in the dialect wherever they stand unquoted, sorted.
pub const KEYWORDS: &[&str] = &[
    "ABORT",
    "ACCESS_LEVEL",
    "ACK",
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "CHAIN",
    "CHECK",
    "CLEAR",
    "CLUSTER",
    "COLUMN",
    "COLUMNS",
    "COMMIT",
    "CONFLICT",
    "CONSTRAINT",
    "CONSUME",
    "CREATE",
    "CROSS",
    "CUBE",
    "CURRENT_ROLE",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DATA",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DO",
    "DROP",
    "EARLIEST",
    "ELSE",
    "EMAIL",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FETCH",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FROM",
    "FULL",
    "GROUP",
    "GROUPING",
    "GROUPS",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "ISOLATION",
    "JOIN",
    "KEY",
    "LAST",
    "LATERAL",
    "LATEST",
    "LEADER",
    "LEFT",
    "LEVEL",
    "LIKE",
    "LIMIT",
    "LIST",
    "MOVE",
    "NAMESPACE",
    "NAMESPACES",
    "NATURAL",
    "NOT",
    "NOTHING",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "ONLY",
    "OR",
    "ORDER",
    "ORDINALITY",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONS",
    "PASSWORD",
    "PRECEDING",
    "PRIMARY",
    "RANGE",
    "READ",
    "REBALANCE",
    "RECURSIVE",
    "RELEASE",
    "RENAME",
    "RESET",
    "RETURNING",
    "RIGHT",
    "ROLE",
    "ROLLBACK",
    "ROLLUP",
    "ROW",
    "ROWS",
    "SAVEPOINT",
    "SCHEMA",
    "SELECT",
    "SERIALIZABLE",
    "SET",
    "SETS",
    "SETTINGS",
    "SHARD",
    "SHARED",
    "SHOW",
    "SOURCE",
    "START",
    "STREAM",
    "TABLE",
    "TABLES",
    "THEN",
    "TO",
    "TOPIC",
    "TOPICS",
    "TRANSACTION",
    "TRANSFER",
    "TRUE",
    "TRUNCATE",
    "UNBOUNDED",
    "UNION",
    "UNIQUE",
    "UNKNOWN",
    "UPDATE",
    "UPTO",
    "USER",
    "USERS",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WORK",
];

/// The fragments of a text, in order.
#[must_use]
pub fn fragments(text: &str) -> Vec<Fragment> {
    let mut raw = Vec::new();
    let spaced = lexer::apart(text);
    let outcome = Tokenizer::new(&DIALECT, &spaced).tokenize_with_location_into_buf(&mut raw);
    let mut walk = Walk::new(text);
    let mut fragments = Vec::with_capacity(raw.len());
    let mut reached = 0;
    for TokenWithSpan { token, span } in raw {
        let start = walk.reach(span.start).byte;
        let end = walk.reach(span.end).byte;
        reached = end;
        let source = text.get(start..end).unwrap_or_default();
        fragments.extend(kind(&token, source).map(|kind| Fragment { kind, start, end }));
    }
    if outcome.is_err() {
        let rest = text.get(reached..).unwrap_or_default();
        let start = reached + (rest.len() - rest.trim_start().len());
        fragments.push(Fragment { kind: FragmentKind::Unclosed, start, end: text.len() });
    }
    fragments
}

fn kind(token: &Token, source: &str) -> Option<FragmentKind> {
    Some(match token {
        Token::EOF => return None,
        Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => return None,
        Token::Whitespace(Whitespace::SingleLineComment { .. }) => FragmentKind::Comment,
        Token::Whitespace(Whitespace::MultiLineComment(_)) if source.len() >= 4 && source.ends_with("*/") => {
            FragmentKind::Comment
        }
        Token::Whitespace(Whitespace::MultiLineComment(_)) => FragmentKind::Unclosed,
        Token::Word(Word { quote_style: Some(_), .. }) => FragmentKind::QuotedName,
        Token::Word(word) if is_keyword(&word.value) => FragmentKind::Keyword,
        Token::Word(_) => FragmentKind::Name,
        Token::Number(..) => FragmentKind::Number,
        Token::Placeholder(_) => FragmentKind::Parameter,
        Token::SemiColon => FragmentKind::Semicolon,
        Token::LParen | Token::LBracket | Token::LBrace => FragmentKind::Opening,
        Token::RParen | Token::RBracket | Token::RBrace => FragmentKind::Closing,
        Token::DollarQuotedString(_) => FragmentKind::Text,
        // Prefixed literals (E'', X'', U&'') are many kinds of token; what they share is how they end.
        _ if source.len() >= 2 && source.ends_with('\'') => FragmentKind::Text,
        _ => FragmentKind::Symbol,
    })
}

fn is_keyword(word: &str) -> bool {
    word.len() <= 20 && KEYWORDS.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}

/// Whether a text can be run as it is: nothing is left open, and its last statement has its `;`. Blanks and comments alone
/// are finished.
#[must_use]
pub fn is_finished(text: &str) -> bool {
    let (mut depth, mut is_inside) = (0_usize, false);
    for fragment in fragments(text) {
        match fragment.kind {
            FragmentKind::Comment => continue,
            FragmentKind::Unclosed => return false,
            FragmentKind::Semicolon if depth == 0 => {
                is_inside = false;
                continue;
            }
            FragmentKind::Opening => depth += 1,
            FragmentKind::Closing => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_inside = true;
    }
    !is_inside
}

/// Which statement of a text the character at `position` belongs to, counted from 1; none in a text of a single one.
#[must_use]
pub fn statement_at(text: &str, position: u32) -> Option<usize> {
    let byte = text.char_indices().nth(position as usize).map_or(text.len(), |(byte, _)| byte);
    let (mut ended, mut is_inside, mut found) = (0, false, None);
    for fragment in fragments(text) {
        if fragment.kind == FragmentKind::Comment {
            continue;
        }
        if fragment.start >= byte && found.is_none() {
            found = Some(ended + 1);
        }
        let is_end = fragment.kind == FragmentKind::Semicolon;
        ended += usize::from(is_end && is_inside);
        is_inside = !is_end;
    }
    let count = ended + usize::from(is_inside);
    (count > 1).then(|| found.unwrap_or(count).min(count))
}

/// What the grammar would take next after a text, whose last statement may be empty: words in capitals, and phrases such as
/// "a topic name". Empty inside of queries and expressions, inside of a literal, and after what is wrong already.
#[must_use]
pub fn expected_at_end(text: &str) -> Vec<&'static str> {
    let Ok(lexed) = lexer::lex(text) else { return Vec::new() };
    let last = lexed.tokens.iter().rposition(|token| token.token == Token::SemiColon);
    grammar::expected_after(&lexed, last.map_or(0, |at| at + 1), lexed.tokens.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn drawn(text: &str) -> Vec<(FragmentKind, &str)> {
        fragments(text).into_iter().map(|fragment| (fragment.kind, &text[fragment.start..fragment.end])).collect()
    }

    #[test]
    fn a_position_is_in_a_statement_of_several() {
        assert_eq!(statement_at("SELEC 1", 0), None);
        assert_eq!(statement_at("SELEC 1;  -- done", 0), None);
        assert_eq!(statement_at("SELEC 1; SELECT 2", 0), Some(1));
        assert_eq!(statement_at("SELECT ';é'; ;SELEC 2", 14), Some(2));
        assert_eq!(statement_at("SELECT 1; SELECT (", 18), Some(2));
        assert_eq!(statement_at("SELECT 1; SELECT 'é", 900), Some(2));
    }

    #[test]
    fn keywords_are_sorted() {
        assert!(KEYWORDS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn fragments_cover_everything_but_white_space() {
        use FragmentKind::*;
        assert_eq!(
            drawn("SELECT é, \"a b\" -- c\n FROM t WHERE x = 'it''s' AND y > $1 + 1.5;"),
            [
                (Keyword, "SELECT"),
                (Name, "é"),
                (Symbol, ","),
                (QuotedName, "\"a b\""),
                (Comment, "-- c"),
                (Keyword, "FROM"),
                (Name, "t"),
                (Keyword, "WHERE"),
                (Name, "x"),
                (Symbol, "="),
                (Text, "'it''s'"),
                (Keyword, "AND"),
                (Name, "y"),
                (Symbol, ">"),
                (Parameter, "$1"),
                (Symbol, "+"),
                (Number, "1.5"),
                (Semicolon, ";"),
            ]
        );
        assert_eq!(drawn("SELECT 'open; x"), [(Keyword, "SELECT"), (Unclosed, "'open; x")]);
        assert_eq!(drawn("/* open").last().unwrap().0, Unclosed);
    }

    #[test]
    fn a_text_is_finished_when_nothing_is_open_and_the_last_statement_is_closed() {
        for finished in ["", "  -- c", "SELECT 1;", "SELECT 1; -- done", ";", "SELECT (1);", "SELECT ';' /* ; */;"] {
            assert!(is_finished(finished), "{finished}");
        }
        for open in
            ["SELECT 1", "SELECT ';", "SELECT 1; SELECT", "/* ;", "SELECT $$;", "SELECT \"a;", "SELECT (1;", "E'\\';"]
        {
            assert!(!is_finished(open), "{open}");
        }
    }

    #[test]
    fn the_grammar_says_what_could_come_next() {
        assert!(expected_at_end("").contains(&"SELECT"));
        assert!(expected_at_end("SELECT 1; ").contains(&"CREATE"));
        let after_create = expected_at_end("CREATE ");
        assert!(after_create.contains(&"TOPIC") && after_create.contains(&"NAMESPACE"), "{after_create:?}");
        assert!(expected_at_end("DROP TOPIC ").contains(&"a topic name"));
        assert!(expected_at_end("CREATE TOPIC app.t ").contains(&"PARTITIONS"));
        assert_eq!(expected_at_end("CREATE TOPIC 'x"), Vec::<&str>::new());
    }
}
