//! What the tokens and islands of SQL are read with: sqlparser's PostgreSQL, and what it reads otherwise than PostgreSQL does.
//!
//! Owns the precedence of prefix operators, ISNULL, which words may be names, and the refusal of other systems' operators.
//! [`Dialect::dialect`] says PostgreSQL, so that sqlparser's own questions for it are answered yes.

use std::any::TypeId;

use sqlparser::ast::{Expr, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

const POSTGRESQL: PostgreSqlDialect = PostgreSqlDialect {};

/// What an error calls a string literal behind an expression or a name; [`crate::lexer::parser_failure`] explains it.
pub(crate) const NO_STRING: &str = "no string literal";

/// What an error calls an operator of another system; [`crate::lexer::parser_failure`] explains it.
pub(crate) const NO_SUCH_OPERATOR: &str = "an operator of this dialect";

/// The dialect of this system.
#[derive(Debug)]
pub(crate) struct Highwater;

/// Operators that sqlparser knows from other systems, where PostgreSQL has a name.
fn of_another_system(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(keyword, K::DIV | K::GLOB | K::MATCH | K::MEMBER | K::REGEXP | K::RLIKE | K::XOR)
}

/// Whether what stands before this token is an alias rather than an operator.
fn ends_an_item(next: &Token) -> bool {
    match next {
        Token::Word(word) => matches!(word.keyword, Keyword::FROM | Keyword::WHERE),
        other => matches!(other, Token::Comma | Token::RParen | Token::EOF),
    }
}

/// Words that begin a clause in other systems only stay names where no such clause can follow.
pub(crate) fn names_are_no_keywords(tokens: &mut [TokenWithSpan]) {
    use Keyword as K;
    // The next token, and those behind it.
    let mut behind: Option<Token> = None;
    let mut further: [Option<Token>; 3] = [None, None, None];
    for token in tokens.iter_mut().rev() {
        if let Token::Word(word) = &mut token.token {
            let follows = match &behind {
                Some(Token::Word(next)) => !ends_a_name(next.keyword),
                Some(Token::LParen | Token::Number(..)) => true,
                _ => false,
            };
            let begins = match word.keyword {
                K::TOP | K::SETTINGS | K::FORMAT | K::PIVOT | K::UNPIVOT | K::PARTITION | K::QUALIFY => follows,
                K::GLOBAL => {
                    follows
                        || matches!(&behind, Some(Token::Word(next)) if matches!(next.keyword, K::JOIN | K::LEFT | K::RIGHT | K::INNER | K::FULL | K::CROSS))
                }
                keyword => !is_type_of_another_system(keyword, &behind, &further),
            };
            if !begins {
                word.keyword = K::NoKeyword;
            }
        }
        further.rotate_right(1);
        if let Some(next) = further.first_mut() {
            *next = behind.take();
        }
        behind = Some(token.token.clone());
    }
}

/// Types that this dialect has not, by the words that sqlparser knows them by: read as names, they are refused where they stand. `behind` is the
/// next token, `further` are those behind it.
fn is_type_of_another_system(keyword: Keyword, behind: &Option<Token>, further: &[Option<Token>; 3]) -> bool {
    use Keyword as K;
    let is_word = |token: &Option<Token>, words: &[Keyword]| matches!(token, Some(Token::Word(next)) if words.contains(&next.keyword));
    let [second, _, fourth] = further;
    match keyword {
        // BIT '101' is read as a value of that type.
        _ if matches!(behind, Some(Token::SingleQuotedString(_))) => false,
        K::CHAR | K::CHARACTER => !is_word(behind, &[K::VARYING, K::LARGE]),
        K::TINYINT
        | K::MEDIUMINT
        | K::NVARCHAR
        | K::CLOB
        | K::BLOB
        | K::TINYBLOB
        | K::MEDIUMBLOB
        | K::LONGBLOB
        | K::TINYTEXT
        | K::MEDIUMTEXT
        | K::LONGTEXT
        | K::BINARY
        | K::VARBINARY
        | K::STRING
        | K::BIT
        | K::HUGEINT
        | K::INT64
        | K::FLOAT64 => true,
        K::INT | K::INTEGER | K::INT2 | K::INT4 | K::INT8 | K::SMALLINT | K::BIGINT => *behind == Some(Token::LParen),
        // TIMESTAMP(3), but for what tells the zone behind it.
        K::TIMESTAMP | K::TIMESTAMPTZ | K::TIME | K::DATETIME => {
            *behind == Some(Token::LParen)
                && !matches!(second, Some(Token::Number(digits, _)) if digits == "6")
                && !is_word(fourth, &[K::WITH, K::WITHOUT])
        }
        _ => false,
    }
}

/// Words that stand behind a name.
fn ends_a_name(keyword: Keyword) -> bool {
    use Keyword as K;
    matches!(
        keyword,
        K::FROM
            | K::AS
            | K::WHERE
            | K::GROUP
            | K::ORDER
            | K::HAVING
            | K::LIMIT
            | K::OFFSET
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::JOIN
            | K::LEFT
            | K::RIGHT
            | K::INNER
            | K::FULL
            | K::CROSS
            | K::NATURAL
            | K::ON
            | K::USING
            | K::AND
            | K::OR
            | K::IS
            | K::IN
            | K::NOT
            | K::LIKE
            | K::BETWEEN
            | K::ASC
            | K::DESC
            | K::THEN
            | K::ELSE
            | K::END
            | K::WHEN
            | K::SET
            | K::WINDOW
            | K::FETCH
            | K::RETURNING
    )
}

/// Whether INTERVAL stands for a column here.
fn interval_is_a_name(next: &Token) -> bool {
    match next {
        Token::Word(word) => ends_a_name(word.keyword),
        other => !matches!(
            other,
            Token::SingleQuotedString(_)
                | Token::EscapedStringLiteral(_)
                | Token::DollarQuotedString(_)
                | Token::Number(..)
                | Token::Placeholder(_)
                | Token::LParen
                | Token::Period
        ),
    }
}

/// Questions that PostgreSQL's dialect answers.
macro_rules! as_postgresql {
    ($($question:ident)*) => {
        $(fn $question(&self) -> bool {
            POSTGRESQL.$question()
        })*
    };
}

impl Dialect for Highwater {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRESQL.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        POSTGRESQL.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        POSTGRESQL.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        POSTGRESQL.is_identifier_part(character)
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        POSTGRESQL.is_custom_operator_part(character)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRESQL.prec_value(precedence)
    }

    fn is_table_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        POSTGRESQL.is_table_alias(keyword, parser)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        match keyword {
            Keyword::CASE => true,
            // Names of columns too, where nothing stands behind them that makes them more.
            Keyword::EXISTS | Keyword::TRIM => false,
            _ => POSTGRESQL.is_reserved_for_identifier(keyword),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Tilde => UnaryOperator::BitwiseNot,
            Token::AtSign => UnaryOperator::PGAbs,
            Token::PGSquareRoot => UnaryOperator::PGSquareRoot,
            Token::PGCubeRoot => UnaryOperator::PGCubeRoot,
            Token::Word(word)
                if word.keyword == Keyword::INTERVAL
                    && word.quote_style.is_none()
                    && interval_is_a_name(&parser.peek_nth_token_ref(1).token) =>
            {
                return Some(parser.parse_identifier().map(Expr::Identifier));
            }
            _ => return None,
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(self.prec_value(Precedence::PgOther));
        Some(operand.map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull") => {
                Some(Ok(self.prec_value(Precedence::Is)))
            }
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => {
                Some(parser.expected_ref(NO_STRING, parser.peek_token_ref()))
            }
            Token::Word(word)
                if of_another_system(word.keyword) && ends_an_item(&parser.peek_nth_token_ref(1).token) =>
            {
                Some(Ok(self.prec_unknown()))
            }
            _ => POSTGRESQL.get_next_precedence(parser),
        }
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let Token::Word(word) = &parser.peek_token_ref().token else { return None };
        match word.keyword {
            keyword if of_another_system(keyword) => {
                Some(parser.expected_ref(NO_SUCH_OPERATOR, parser.peek_token_ref()))
            }
            _ if word.value.eq_ignore_ascii_case("isnull") => {
                parser.advance_token();
                Some(Ok(Expr::IsNull(Box::new(left.clone()))))
            }
            _ => None,
        }
    }

    as_postgresql! {
        supports_unicode_string_literal
        supports_filter_during_aggregation
        supports_group_by_expr
        supports_alter_user_as_alter_role
        allow_extract_custom
        allow_extract_single_quotes
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_listen_notify
        supports_exclude_constraint
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_colon_operator
        supports_named_fn_args_with_expr_name
        supports_empty_projections
        supports_nested_comments
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_order_by_using_operator
        supports_set_names
        supports_alter_column_type_using
        supports_left_associative_joins_without_parens
        supports_notnull_operator
        supports_interval_options
        supports_insert_table_alias
        supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias
        supports_comma_separated_trim
        supports_xml_expressions
        supports_comment_optimizer_hint
    }
}
