//! Options in WITH: which exist, which values they take.

use crate::diag::{Diag, Span, SqlState};
use crate::statement::{OptionValue, WithOption};
use crate::suggest;

/// The options of a statement, each taken at most once.
pub(super) struct Options<'a> {
    given: &'a [WithOption],
}

impl<'a> Options<'a> {
    /// Refuses options that are unknown or repeated; `known` in lower case.
    pub(super) fn checked(given: &'a [WithOption], known: &[&str], statement: &str) -> Result<Self, Diag> {
        for (index, option) in given.iter().enumerate() {
            if !known.contains(&option.name.value.as_str()) {
                let diag = Diag::new(
                    SqlState::INVALID_PARAMETER,
                    format!("{statement} has no option \"{}\"", option.name.value),
                )
                .hint(format!("Options are {}.", known.join(", ")))
                .at(option.name.span);
                return Err(suggest::with_nearest(diag, &option.name.value, known.iter().copied()));
            }
            if given.iter().take(index).any(|earlier| earlier.name.value == option.name.value) {
                return Err(Diag::new(
                    SqlState::SYNTAX_ERROR,
                    format!("option \"{}\" is given twice", option.name.value),
                )
                .at(option.name.span));
            }
        }
        Ok(Self { given })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a WithOption> {
        self.given.iter().find(|option| option.name.value == name)
    }

    /// One of these words, in any case, quoted or not.
    pub(super) fn word<T: Copy>(&self, name: &str, values: &[(&'static str, T)]) -> Result<Option<(T, Span)>, Diag> {
        let Some(option) = self.get(name) else { return Ok(None) };
        let given = option.value.as_text();
        match values.iter().find(|(word, _)| word.eq_ignore_ascii_case(given)) {
            Some((_, value)) => Ok(Some((*value, option.span))),
            None => {
                let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
                let diag = Diag::new(SqlState::INVALID_PARAMETER, format!("\"{given}\" is no value of option {name}"))
                    .hint(format!("Values are {}.", words.join(", ")))
                    .at(option.span);
                Err(suggest::with_nearest(diag, given, words))
            }
        }
    }

    /// A positive whole number.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Diag> {
        let Some(option) = self.get(name) else { return Ok(None) };
        let number = match &option.value {
            OptionValue::Number(digits) | OptionValue::Text(digits) => digits.parse::<u64>().ok(),
            OptionValue::Word(_) => None,
        };
        match number.filter(|number| *number > 0 && i64::try_from(*number).is_ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Diag::new(SqlState::INVALID_PARAMETER, format!("option {name} takes a whole number above 0"))
                .at(option.span)),
        }
    }

    /// A duration in microseconds: `'7 days'`, `'5s'`, `'1 hour 30 minutes'`, or a number of seconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, Diag> {
        let Some(option) = self.get(name) else { return Ok(None) };
        let micros = match &option.value {
            OptionValue::Number(digits) => {
                digits.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000))
            }
            OptionValue::Text(text) => duration(text),
            OptionValue::Word(_) => None,
        };
        match micros.filter(|micros| i64::try_from(*micros).is_ok()) {
            Some(micros) => Ok(Some(micros)),
            None => Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                format!("option {name} takes a duration, not \"{}\"", option.value.as_text()),
            )
            .hint("Write '500 ms', '5s', '1 hour 30 minutes', '7 days', or a number of seconds.")
            .at(option.span)),
        }
    }
}

/// Units of durations in microseconds.
const UNITS: &[(&[&str], u64)] = &[
    (&["us", "microsecond", "microseconds"], 1),
    (&["ms", "millisecond", "milliseconds"], 1_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000),
    (&["h", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
];

/// Numbers with units, summed up; a lone number is in seconds.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return seconds.checked_mul(1_000_000);
    }
    let mut total: Option<u64> = None;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let (_, micros) = UNITS.iter().find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(unit)))?;
        let part = number.parse::<u64>().ok()?.checked_mul(*micros)?;
        total = Some(total.unwrap_or(0).checked_add(part)?);
        rest = behind.trim_start();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("7 days"), Some(604_800_000_000));
        assert_eq!(duration("5s"), Some(5_000_000));
        assert_eq!(duration("1 hour 30 minutes"), Some(5_400_000_000));
        assert_eq!(duration(" 250 MS "), Some(250_000));
        assert_eq!(duration("60"), Some(60_000_000));
        for wrong in ["", "days", "7 fortnights", "-5s", "1.5h", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
