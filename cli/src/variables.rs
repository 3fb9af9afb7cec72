//! Variables: `:name` stands for a value in statements, `:'name'` for it as a text, `:"name"` for it as a name. In quotes and
//! comments nothing is replaced, nor is a name that is not set.

use std::collections::BTreeMap;

use highwater_sql::outline::{FragmentKind, fragments};

use crate::command::literal;

/// Variables with their values.
pub(crate) type Variables = BTreeMap<String, String>;

/// Whether a variable may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || character == '_')
}

/// The statement with its variables replaced.
pub(crate) fn substitute(statement: &str, variables: &Variables) -> String {
    if variables.is_empty() || !statement.contains(':') {
        return statement.to_owned();
    }
    let mut out = String::with_capacity(statement.len());
    let mut done = 0;
    let all = fragments(statement);
    for pair in all.windows(2) {
        let [colon, named] = pair else { continue };
        let source = |at: usize, end: usize| statement.get(at..end).unwrap_or_default();
        // `::` is one symbol, and `a[1:n]` has a blank or a digit before its colon.
        let is_marked = source(colon.start, colon.end) == ":" && colon.end == named.start && colon.start >= done;
        let after_digit = source(0, colon.start).ends_with(|before: char| before.is_alphanumeric() || before == ']');
        if !is_marked || after_digit {
            continue;
        }
        let word = source(named.start, named.end);
        let value = match named.kind {
            FragmentKind::Name | FragmentKind::Keyword => variables.get(word).cloned(),
            FragmentKind::Text => unquoted(word, '\'').and_then(|name| variables.get(name)).map(|value| literal(value)),
            FragmentKind::QuotedName => {
                unquoted(word, '"').and_then(|name| variables.get(name)).map(|value| quoted_name(value))
            }
            _ => None,
        };
        if let Some(value) = value {
            out.push_str(source(done, colon.start));
            out.push_str(&value);
            done = named.end;
        }
    }
    out.push_str(statement.get(done..).unwrap_or_default());
    out
}

fn unquoted(word: &str, quote: char) -> Option<&str> {
    word.strip_prefix(quote)?.strip_suffix(quote)
}

/// A text as a quoted name.
pub(crate) fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name as it is kept: folded unless quoted.
pub(crate) fn plain_name(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn with(statement: &str) -> String {
        let variables = [("room", "7"), ("who", "o'neil"), ("t", "My \"T\""), ("key", "k")];
        substitute(statement, &variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn names_stand_for_values() {
        assert_eq!(with("SELECT * FROM a WHERE room = :room AND n=:room"), "SELECT * FROM a WHERE room = 7 AND n=7");
        assert_eq!(with("SELECT :'who', :\"t\", :key"), "SELECT 'o''neil', \"My \"\"T\"\"\", k");
    }

    #[test]
    fn nothing_else_is_touched() {
        for statement in [
            "SELECT ':room', \":room\" -- :room\n /* :room */",
            "SELECT x::room, :missing, :'missing', : room",
            "SELECT a[1:room]",
            "SELECT 1",
            ":",
        ] {
            assert_eq!(with(statement), statement);
        }
    }
}
