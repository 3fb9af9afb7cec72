//! Marks: what tells from any part of a value whose row it comes from.
//!
//! An owner has a Cyrillic letter, which no text of the generator has: a text of one of its rows begins and ends with it, so that most of what functions
//! make of the text still shows it. UUIDs and bytes carry the owner's number.

use std::collections::BTreeSet;

use serde_json::Value;

/// Whose rows: a user by number, or one of the houses that SHARED tables belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner(pub(crate) u8);

/// Owners that have a letter.
const OWNERS: u8 = 32;
/// The letter of owner 0.
const FIRST: u32 = 0x430;
/// Texts of the generator that are marked; others are patterns, formats and parts of them.
const TEXTS: [&str; 8] = ["a", "ab", "abc", "b", "Zebra", "zebra", "hello w", "x_y"];

impl Owner {
    /// Its letter, in lower case.
    pub(crate) fn letter(self) -> char {
        char::from_u32(FIRST + u32::from(self.0 % OWNERS)).unwrap_or('?')
    }

    fn uuid(self) -> String {
        format!("{0:02x}7e{0:02x}7e000", self.0)
    }

    fn bytes(self) -> [u64; 2] {
        [0xC0 + u64::from(self.0), 0xE1]
    }

    /// `sql` with this owner's marks in its values.
    pub(crate) fn mark(self, sql: &str) -> String {
        let letter = self.letter();
        let mut marked =
            sql.replace("'00000000-0000-7000-8000-00000000000", &format!("'00000000-0000-7000-8000-{}", self.uuid()));
        marked = marked.replace("'\\x", &format!("'\\x{:02x}e1", 0xC0 + self.0));
        for text in TEXTS {
            // A VARCHAR of the generator's tables takes eight characters.
            let end = if text.len() > 6 { String::new() } else { letter.to_string() };
            marked = marked.replace(&format!("'{text}'"), &format!("'{letter}{text}{end}'"));
        }
        marked
    }
}

/// The owners whose marks an answer's body shows.
pub(crate) fn owners(body: &str) -> BTreeSet<Owner> {
    let mut found = BTreeSet::new();
    letters(body, &mut found);
    if let Ok(value) = serde_json::from_str(body) {
        look(&value, &mut found);
    }
    found
}

fn letters(text: &str, found: &mut BTreeSet<Owner>) {
    for letter in text.chars().flat_map(char::to_lowercase) {
        let number = u32::from(letter).wrapping_sub(FIRST);
        if let Ok(number) = u8::try_from(number)
            && number < OWNERS
        {
            found.insert(Owner(number));
        }
    }
}

/// What only the parsed answer shows: escaped letters, UUIDs, bytes.
fn look(value: &Value, found: &mut BTreeSet<Owner>) {
    match value {
        Value::String(text) => {
            letters(text, found);
            if let Some((_, rest)) = text.split_once("-8000-")
                && let Some(number) = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())
                && rest.starts_with(&Owner(number).uuid())
            {
                found.insert(Owner(number));
            }
        }
        Value::Array(items) => {
            let first: Vec<u64> = items.iter().take(2).filter_map(Value::as_u64).collect();
            found.extend((0..OWNERS).map(Owner).filter(|owner| first == owner.bytes()));
            items.iter().for_each(|item| look(item, found));
        }
        Value::Object(fields) => fields.values().for_each(|field| look(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn a_mark_is_seen_in_what_functions_make_of_a_value() {
        let sql = Owner(3).mark("INSERT INTO t VALUES ('abc', CAST('\\x02ff00' AS BYTEA), CAST('00000000-0000-7000-8000-000000000001' AS UUID))");
        assert_eq!(
            sql,
            "INSERT INTO t VALUES ('гabcг', CAST('\\xc3e102ff00' AS BYTEA), CAST('00000000-0000-7000-8000-037e037e0001' AS UUID))"
        );
        for body in [
            r#"["гabcг"]"#,
            r#"["Г"]"#,
            r#"{"a":"cba\u0433"}"#,
            "[[195, 225, 2]]",
            r#"["00000000-0000-7000-8000-037e037e0001"]"#,
            "broken г",
        ] {
            assert_eq!(owners(body), BTreeSet::from([Owner(3)]), "{body}");
        }
        assert_eq!(owners(r#"{"message":"relation \"people\" ä 195 225"}"#), BTreeSet::new());
    }
}
