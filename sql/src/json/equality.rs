//! Equality of documents, as PostgreSQL's of jsonb: one text that all equal documents share, and no other.
//!
//! Members stand by the length of their names and then by these, the last of each name alone; numbers are equal by value, strings by
//! content. White space is gone already.

use super::tree::Node;
use super::{JsonType, push_string, type_of, unquote};

/// Zeros that a number is written with rather than with an exponent.
const MOST_ZEROS: usize = 40;

/// The text that a compact JSON text shares with all that are equal to it.
#[must_use]
pub fn canonical(json: &str) -> String {
    let Some(tree) = Node::parse(json) else { return json.to_owned() };
    let mut out = String::with_capacity(json.len());
    write(&tree, &mut out);
    out
}

fn write(node: &Node<'_>, out: &mut String) {
    match node {
        Node::Object(members) => {
            let mut members: Vec<&(String, Node<'_>)> = members.iter().collect();
            members
                .sort_unstable_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.cmp(right)));
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_string(name, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Node::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Node::Scalar(text) => match (type_of(text), unquote(text)) {
            (JsonType::String, Some(content)) => push_string(&content, out),
            (JsonType::Number, _) => number(text, out),
            _ => out.push_str(text),
        },
    }
}

/// A number by its value. One whose exponent nobody can count with is itself.
fn number(text: &str, out: &mut String) {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return;
    }
    let behind = digits.len() - digits.trim_end_matches('0').len();
    let places = i64::try_from(fraction.len()).ok().zip(i64::try_from(behind).ok());
    // The value is the significant digits, as a whole number, times ten to this power.
    let power = exponent.parse::<i64>().ok().zip(places);
    let power = power.and_then(|(power, (fraction, behind))| power.checked_sub(fraction)?.checked_add(behind));
    let Some(power) = power else { return out.push_str(text) };
    out.push_str(sign);
    let (shift, length) = (usize::try_from(power.unsigned_abs()).unwrap_or(usize::MAX), significant.len());
    match () {
        () if power >= 0 && shift <= MOST_ZEROS => {
            out.push_str(significant);
            out.extend(std::iter::repeat_n('0', shift));
        }
        () if power < 0 && shift < length => {
            let (whole, fraction) = significant.split_at(length - shift);
            out.push_str(&format!("{whole}.{fraction}"));
        }
        () if power < 0 && shift - length <= MOST_ZEROS => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', shift - length));
            out.push_str(significant);
        }
        () => out.push_str(&format!("{significant}e{power}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::canonical;
    use crate::json::compact;

    #[test]
    fn equal_documents_share_one_text_and_others_do_not() {
        for equal in [
            &["1", "1.0", "1.00", "10e-1", "0.1E1", "1e0"][..],
            &["0", "-0", "0.000", "0e99", "-0e-5"],
            &["-120", "-1.2e2", "-12e+1"],
            &["0.05", "5e-2", "0.0500"],
            &["1e100", "10e99", "0.1e101"],
            &["1e-100", "0.1e-99"],
            &["1e99999999999999999999999"],
            &[r#""a\u0041\/""#, r#""aA/""#],
            &[r#"{"b": 1, "aa": [1.0], "a": null}"#, r#"{"a":null,"b":1e0,"aa":[1]}"#],
            &[r#"{"a": 1, "a": 2}"#, r#"{"a": 2}"#],
            &["[1, 2]"],
            &["[2, 1]"],
            &["[]"],
            &["{}"],
            &["null"],
            &[r#""null""#],
            &["true"],
            &["[[]]"],
        ]
        .windows(2)
        {
            let text = |json: &str| canonical(&compact(json).unwrap());
            for json in equal[0] {
                assert_eq!(text(json), text(equal[0][0]), "{json}");
                assert_ne!(text(json), text(equal[1][0]), "{json}");
                assert_eq!(compact(&text(json)).unwrap(), text(json), "{json} stays JSON");
                assert_eq!(canonical(&text(json)), text(json), "{json} is canonical at once");
            }
        }
        assert_eq!(
            canonical(r#"{"bb":1.50,"a":-0.25,"c":{"y":2e3,"x":0.001}}"#),
            r#"{"a":-0.25,"c":{"x":0.001,"y":2000},"bb":1.5}"#
        );
    }
}
