//! What a syntax error in SQL's own statements was probably about: a misspelt word of a clause, which sqlparser takes for an
//! alias so that it stops one word later, or half of a pair of words.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use crate::diag::{Diag, SqlState};
use crate::lexer::{Lexed, Wanted, syntax_error};

/// Words that begin a clause, where an alias may stand.
const CLAUSES: &[&str] = &[
    "CROSS",
    "EXCEPT",
    "FETCH",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "INNER",
    "INTERSECT",
    "JOIN",
    "LEFT",
    "LIMIT",
    "NATURAL",
    "OFFSET",
    "ORDER",
    "RETURNING",
    "RIGHT",
    "SET",
    "UNION",
    "USING",
    "VALUES",
    "WHERE",
    "WINDOW",
];

/// Words that stand where no alias can.
const OTHERS: &[&str] = &["AND", "ASC", "BETWEEN", "CONFLICT", "DESC", "LIKE", "NOTHING", "NULLS", "UPDATE"];

/// The error, where it can say more: at the word that is probably wrong.
pub(super) fn explained(lexed: &Lexed<'_>, start: usize, end: usize, diag: Diag) -> Diag {
    let known = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES"];
    let begins = |at: &usize| word(lexed, *at).is_some_and(|first| known.contains(&first.as_str()));
    let prefixed = matches!(word(lexed, start).as_deref(), Some("EXPLAIN" | "EXECUTE"));
    let behind_prefix = if prefixed { (start..end).find(begins) } else { Some(start).filter(begins) };
    let plain = diag.sqlstate == SqlState::SYNTAX_ERROR && diag.suggestions.is_empty() && diag.hint.is_none();
    let (Some(span), Some(start)) = (diag.span.filter(|_| plain), behind_prefix) else { return diag };
    let index = lexed.index_of_char(span.start).min(end);
    if index <= start {
        return diag;
    }
    let found = half_of_a_pair(lexed, start, index, end);
    if let Some(found) = found.or_else(|| half_of_a_pair(lexed, start, index - 1, end)) {
        return found;
    }
    if lexed.token(index) == Some(&Token::LBracket) && word(lexed, start).as_deref() == Some("UPDATE") {
        return Diag::not_supported("an assignment to one element of an array")
            .hint("Assign the whole array.")
            .at(lexed.span_at(index));
    }
    let alias = index - 1;
    if alias > start && may_be_alias(lexed, alias) {
        let meant = nearest(lexed, alias, CLAUSES);
        if !meant.is_empty() {
            return at_word(lexed, alias, end, meant);
        }
    }
    if index < end {
        let meant = nearest(lexed, index, &[CLAUSES, OTHERS].concat());
        if !meant.is_empty() {
            return at_word(lexed, index, end, meant);
        }
    }
    diag
}

/// ORDER and GROUP without BY, OUTER without its side, SET as an alias without AS.
fn half_of_a_pair(lexed: &Lexed<'_>, start: usize, index: usize, end: usize) -> Option<Diag> {
    let found = word(lexed, index).filter(|_| index < end)?;
    let next = word(lexed, index + 1).filter(|_| index + 1 < end);
    match found.as_str() {
        "ORDER" | "GROUP" if next.as_deref() != Some("BY") => {
            Some(syntax_error(lexed, index + 1, end, Wanted::Expected("BY")).hint(format!("Write {found} BY.")))
        }
        "SET" if index > start && word(lexed, start).as_deref() != Some("UPDATE") => {
            let diag = syntax_error(lexed, index, end, Wanted::Expected("the end of the statement"));
            Some(diag.hint("An alias that is called set needs AS before it."))
        }
        "SET" if index > start + 1 && word(lexed, index - 1).as_deref() == Some("SET") => {
            let diag =
                syntax_error(lexed, index - 1, end, Wanted::Sentence("expected AS before an alias of this name"));
            Some(diag.hint("Write UPDATE table AS set SET ..."))
        }
        "OUTER" if next.as_deref() == Some("JOIN") => {
            let wanted = Wanted::Expected("LEFT, RIGHT or FULL before OUTER");
            Some(syntax_error(lexed, index, end, wanted).hint("Write LEFT JOIN to keep the rows of the left side."))
        }
        "SYMMETRIC" if index > start && word(lexed, index - 1).as_deref() == Some("BETWEEN") => {
            let diag = Diag::not_supported("BETWEEN SYMMETRIC").at(lexed.span_at(index));
            Some(diag.hint("Write x BETWEEN least(a, b) AND greatest(a, b)."))
        }
        "FROM" if index > 0 && lexed.token(index - 1) == Some(&Token::Comma) => {
            let wanted = Wanted::Expected("an expression after \",\"");
            Some(syntax_error(lexed, index, end, wanted))
        }
        _ => None,
    }
}

fn at_word(lexed: &Lexed<'_>, index: usize, end: usize, meant: Vec<String>) -> Diag {
    let sentence = format!("did you mean {}?", meant.join(" or "));
    let mut diag = syntax_error(lexed, index, end, Wanted::Sentence(&sentence));
    diag.suggestions = meant;
    diag
}

/// An unquoted word, in capitals.
fn word(lexed: &Lexed<'_>, index: usize) -> Option<String> {
    match lexed.token(index) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// Whether it is a word that sqlparser knows: then it is not misspelt.
fn is_known(lexed: &Lexed<'_>, index: usize) -> bool {
    matches!(lexed.token(index), Some(Token::Word(word)) if word.keyword != Keyword::NoKeyword)
}

/// Whether a word stands where an alias may, without AS.
fn may_be_alias(lexed: &Lexed<'_>, index: usize) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|before| lexed.token(before)) else { return false };
    match before {
        Token::Word(word) => word.quote_style.is_some() || !word.value.eq_ignore_ascii_case("as"),
        Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_) | Token::Mul => true,
        _ => false,
    }
}

/// The known words that differ from this one by a letter, or by two of a long one.
fn nearest(lexed: &Lexed<'_>, index: usize, known: &[&str]) -> Vec<String> {
    let of_length = |found: &String| (3..=12).contains(&found.len()) && !is_known(lexed, index);
    let Some(found) = word(lexed, index).filter(of_length) else { return Vec::new() };
    let allowed = if found.len() <= 4 { 1 } else { 2 };
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&found, known), *known))
        .filter(|(distance, _)| (1..=allowed).contains(distance))
        .collect();
    near.sort_unstable();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.into_iter().filter(|(distance, _)| *distance == best).map(|(_, known)| known.to_owned()).collect()
}
