//! Names that were probably meant.
//!
//! Owns the measure: edit distance with transpositions, at most half the word's length and never more than three, at most
//! five names, best first.

use crate::diag::Diag;

const MOST: usize = 5;
const LONGEST_WORD: usize = 80;

/// The candidates nearest to `wanted`, best first, at most five; case does not count.
#[must_use]
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if wanted.len() > LONGEST_WORD {
        return Vec::new();
    }
    let wanted = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 2).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST_WORD)
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase());
            (distance <= allowed).then_some((distance, candidate))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// The diagnostic with the nearest candidates as its suggestions.
#[must_use]
pub fn with_nearest<'a>(mut diag: Diag, wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Diag {
    diag.suggestions = nearest(wanted, candidates);
    diag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_far_ones_not_at_all() {
        assert_eq!(nearest("mesages", ["messages", "message", "users"]), ["messages", "message"]);
        assert_eq!(nearest("INSRT", ["INSERT", "UPDATE"]), ["INSERT"]);
        assert!(nearest("x", ["orders"]).is_empty());
    }

    #[test]
    fn at_most_five_are_named() {
        let many: Vec<String> = (0..9).map(|n| format!("column{n}")).collect();
        assert_eq!(nearest("column", many.iter().map(String::as_str)).len(), 5);
    }
}
