//! Where an operator of several characters ends: not in a sign, unless one of its characters is of no standard operator.
//! That is PostgreSQL's rule, and what makes `v>-1` two operators.

use sqlparser::tokenizer::{Token, Tokenizer};

use super::DIALECT;

/// Characters that let an operator end in a sign.
const OF_NO_STANDARD: &[char] = &['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// The operators that `written` is, with the number of their characters; `None` when it is one.
pub(super) fn parts(written: &str) -> Option<Vec<(Token, u32)>> {
    let mut rest = written;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (first, others) = rest.split_at(length(rest));
        if first.len() == written.len() {
            return None;
        }
        let token = match Tokenizer::new(&DIALECT, first).tokenize().ok()?.as_slice() {
            [token] => token.clone(),
            _ => Token::CustomBinaryOperator(first.to_owned()),
        };
        parts.push((token, u32::try_from(first.len()).ok()?));
        rest = others;
    }
    Some(parts)
}

/// Bytes of the first operator, all of them ASCII.
fn length(run: &str) -> usize {
    let unsigned = run.trim_end_matches(['+', '-']).len();
    if unsigned == run.len() || run.get(..run.len() - 1).is_some_and(|before| before.contains(OF_NO_STANDARD)) {
        return run.len();
    }
    unsigned.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(written: &str) -> Vec<u32> {
        parts(written).unwrap_or_default().into_iter().map(|(_, length)| length).collect()
    }

    #[test]
    fn an_operator_of_the_standard_ends_before_a_sign() {
        assert_eq!(lengths(">-"), [1, 1]);
        assert_eq!(lengths(">=-"), [2, 1]);
        assert_eq!(lengths("->>-"), [3, 1]);
        assert_eq!(lengths("-+"), [1, 1]);
        assert_eq!(lengths("+-+"), [1, 1, 1]);
        assert_eq!(lengths("<<"), Vec::<u32>::new());
    }

    #[test]
    fn another_one_may_end_in_it() {
        assert_eq!(lengths("@-"), Vec::<u32>::new());
        assert_eq!(lengths("||-"), Vec::<u32>::new());
    }
}
