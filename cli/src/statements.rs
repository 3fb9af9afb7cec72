//! Where one statement or command ends and the next begins. Knows just enough of the lexical grammar: quoted texts and
//! names, dollar quotes, comments. Linear in the input, so that scripts of any length are split; whether an input that is being
//! typed is finished is for the dialect's own lexer to say.

use std::borrow::Cow;

use highwater_sql::outline;

/// A piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A statement without its `;`, or several with `\;` between them.
    Statement(&'a str),
    /// A statement that ends with a command instead: `\g`, `\gx`, `\gset` or `\watch`, without the backslash.
    StatementWith(&'a str, &'a str),
    /// A line that starts with `\`, without it.
    Command(&'a str),
}

/// The pieces of an input, in order. The last statement may lack its `;`.
pub(crate) fn split(input: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = input;
    while let Some((piece, _, after)) = next(rest) {
        pieces.extend(piece);
        rest = after;
    }
    pieces
}

/// Whether an input can be run as it is: nothing is left open, and its last statement has its `;`.
pub(crate) fn is_complete(input: &str) -> bool {
    let mut rest = input;
    while let Some((piece, is_closed, after)) = next(rest) {
        let is_finished = match piece {
            // A `;` inside of parentheses ends nothing.
            Some(Piece::Statement(statement)) => is_closed && outline::is_finished(&format!("{};", sent(statement))),
            Some(Piece::Command(_) | Piece::StatementWith(..)) | None => is_closed,
        };
        if !is_finished {
            return false;
        }
        rest = after;
    }
    true
}

/// Where a piece begins in the input that it was split from, in bytes.
pub(crate) fn offset_in(input: &str, piece: &str) -> usize {
    (piece.as_ptr() as usize).saturating_sub(input.as_ptr() as usize).min(input.len())
}

/// The first piece (`None` for an empty statement), whether it is closed, and what follows it; `None` when there is nothing
/// but blanks and comments.
fn next(input: &str) -> Option<(Option<Piece<'_>>, bool, &str)> {
    let start = skip_blanks(input);
    let text = input.get(start..)?;
    if text.is_empty() {
        return None;
    }
    if let Some(command) = text.strip_prefix('\\') {
        let (line, after) = command.split_once('\n').unwrap_or((command, ""));
        return Some((Some(Piece::Command(line.trim())), true, after));
    }
    let (end, is_closed) = end_of_statement(text);
    let statement = text.get(..end)?.trim();
    if let (false, Some(command)) = (is_closed, text.get(end..).and_then(|rest| rest.strip_prefix('\\'))) {
        let (line, after) = command.split_once('\n').unwrap_or((command, ""));
        return Some((Some(Piece::StatementWith(statement, line.trim())), true, after));
    }
    let after = text.get(end + usize::from(is_closed)..).unwrap_or("");
    Some(((!statement.is_empty()).then_some(Piece::Statement(statement)), is_closed, after))
}

/// Bytes of white space and comments at the start. An unclosed comment is not skipped.
fn skip_blanks(input: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or("");
        let blanks = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        let comment = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            end_of_comment(rest).unwrap_or(0)
        } else {
            0
        };
        at += blanks + comment;
        if comment == 0 {
            return at;
        }
    }
}

/// Commands that may end a statement.
const ENDING: [&str; 4] = ["g", "gx", "gset", "watch"];

/// Whether a text behind a backslash is a command that ends a statement.
fn ends_statement(rest: &str) -> bool {
    let word: &str = rest.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
    ENDING.contains(&word)
}

/// Where the statement ends: at its `;` (true), or at a command or the end of the input (false). Behind a backslash a `;` ends nothing.
fn end_of_statement(text: &str) -> (usize, bool) {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let skipped = match rest.as_bytes() {
            [b';', ..] => return (at, true),
            [b'\\', b';', ..] => Some(JOINING.len()),
            [b'\\', ..] if ends_statement(rest.get(1..).unwrap_or_default()) => return (at, false),
            _ => length_at(text, at, rest),
        };
        match skipped {
            Some(skipped) => at += skipped,
            None => return (text.len(), false),
        }
    }
    (text.len(), false)
}

/// Length of the quoted text, comment or character at `at`, where `rest` begins; `None` if it is never closed.
fn length_at(text: &str, at: usize, rest: &str) -> Option<usize> {
    match rest.as_bytes() {
        [quote @ (b'\'' | b'"'), ..] => end_of_quoted(rest, char::from(*quote), at > 0 && is_escape_prefix(text, at)),
        [b'-', b'-', ..] => Some(rest.find('\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => end_of_comment(rest),
        [b'$', ..] if !ends_in_word(text, at) => end_of_dollar_quoted(rest),
        _ => rest.chars().next().map(char::len_utf8),
    }
}

/// Between statements that are sent together.
const JOINING: &str = "\\;";

/// A statement as it is sent. What joins several has the length that it had, so that places stay what they are.
pub(crate) fn sent(statement: &str) -> Cow<'_, str> {
    if !statement.contains(JOINING) {
        return Cow::Borrowed(statement);
    }
    let mut text = String::with_capacity(statement.len());
    while let Some(rest) = statement.get(text.len()..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(JOINING) {
            text.push_str(" ;");
        } else {
            let length = length_at(statement, text.len(), rest).unwrap_or(rest.len());
            text.push_str(rest.get(..length).unwrap_or(rest));
        }
    }
    Cow::Owned(text)
}

/// Length of a quoted text or name; a doubled quote is one quote, and after `E` a backslash takes the next character along.
fn end_of_quoted(rest: &str, quote: char, has_escapes: bool) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if has_escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return Some(at + quote.len_utf8());
            }
        }
    }
    None
}

/// Whether the quote at `at` follows a lone `E`: then backslashes escape.
fn is_escape_prefix(text: &str, at: usize) -> bool {
    let mut before = text.get(..at).unwrap_or("").chars().rev();
    matches!(before.next(), Some('e' | 'E'))
        && before.next().is_none_or(|character| !is_word(character))
        && text.as_bytes().get(at) == Some(&b'\'')
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

fn ends_in_word(text: &str, at: usize) -> bool {
    text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(is_word)
}

/// Length of a comment, comments inside it included.
fn end_of_comment(rest: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = rest.get(at..).filter(|rest| !rest.is_empty()) {
        match rest.as_bytes() {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    None
}

/// Length of `$tag$ ... $tag$`; of the `$` alone when no such quote begins here (a parameter `$1`).
fn end_of_dollar_quoted(rest: &str) -> Option<usize> {
    let Some(tag_len) = rest.get(1..).and_then(|after| after.find('$')) else { return Some(1) };
    let Some(tag) = rest.get(..tag_len + 2) else { return Some(1) };
    let name = tag.trim_matches('$');
    let is_tag = name.chars().all(|character| character.is_alphanumeric() || character == '_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_tag {
        return Some(1);
    }
    let body = rest.get(tag.len()..)?;
    body.find(tag).map(|at| tag.len() + at + tag.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::Piece::{Command, Statement, StatementWith};
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        let input =
            "SELECT ';', \"a;b\" /* ; /* ; */ ; */ -- ;\n, $$;$$, $x$ $$; $x$, $1; ; INSERT 'it''s;' ;SELECT E'\\';'";
        assert_eq!(
            split(input),
            [
                Statement("SELECT ';', \"a;b\" /* ; /* ; */ ; */ -- ;\n, $$;$$, $x$ $$; $x$, $1"),
                Statement("INSERT 'it''s;'"),
                Statement("SELECT E'\\';'"),
            ]
        );
    }

    #[test]
    fn a_line_that_starts_with_a_backslash_is_a_command() {
        let input = "-- first\n\\dt\nSELECT 1;\n  \\d app.t \n/* x */ SELECT\n\\not a command;";
        assert_eq!(
            split(input),
            [Command("dt"), Statement("SELECT 1"), Command("d app.t"), Statement("SELECT\n\\not a command")]
        );
    }

    #[test]
    fn a_statement_may_end_with_a_command() {
        assert_eq!(
            split("SELECT 1 \\gset a_\nSELECT 2\n\\watch 1 3\nSELECT '\\g';"),
            [StatementWith("SELECT 1", "gset a_"), StatementWith("SELECT 2", "watch 1 3"), Statement("SELECT '\\g'")]
        );
        assert!(is_complete("SELECT 1 \\gx"));
        let input = "\n SELECT 1;\nSELECT 2;";
        let [_, Statement(second)] = split(input)[..] else { panic!() };
        assert_eq!(offset_in(input, second), 12);
    }

    #[test]
    fn statements_that_are_joined_are_sent_as_one_text() {
        let joined = r"SET a = '\;'\; SELECT ';' -- \;
\;SELECT 2";
        let input = format!("{joined}; SELECT 3;");
        assert_eq!(split(&input), [Statement(joined), Statement("SELECT 3")]);
        assert!(is_complete(&input) && !is_complete(r"SELECT 1\; SELECT 2") && is_complete(r"SELECT 1\; SELECT 2;"));
        assert_eq!(sent(joined), "SET a = '\\;' ; SELECT ';' -- \\;\n ;SELECT 2");
        assert_eq!((sent("SELECT 1"), sent(r"'\;"), sent(r"é\;")), ("SELECT 1".into(), r"'\;".into(), "é ;".into()));
    }

    #[test]
    fn an_input_is_complete_when_nothing_is_open() {
        for complete in ["", "  -- c", "SELECT 1;", "\\dt", "\\d t\nSELECT 1; -- done", ";"] {
            assert!(is_complete(complete), "{complete}");
        }
        for open in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1; SELECT",
            "/* ;",
            "SELECT $$;",
            "SELECT \"a;",
            "SELECT E'\\';",
            "SELECT (1;",
        ] {
            assert!(!is_complete(open), "{open}");
        }
    }

    #[test]
    fn blanks_and_comments_alone_are_nothing() {
        assert_eq!(split(" \n -- nothing\n /* here */ ;;; "), []);
        assert_eq!(split(""), []);
        assert_eq!(split("/* open"), [Statement("/* open")]);
    }

    #[test]
    fn no_input_is_too_strange() {
        for input in ["$", "'", "\\", "ä$ö$;$ö$;", "$ä", "e'", "/*/", "--", "$a", "😀;'😀"] {
            let _ = (split(input), is_complete(input));
        }
    }
}
