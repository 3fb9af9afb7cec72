//! Numbers by template: `to_char(number, template)` and `to_number`.
//!
//! A template is a picture of the number: a digit per `9` or `0`, a point, group separators, and where its sign stands.

use rust_decimal::Decimal;

use super::template::ordinal;
use crate::decimal;
use crate::diag::{Diag, SqlState};

/// Longest template, in characters.
const MAX_TEMPLATE: usize = 200;

/// A character of the picture, or several that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Nine,
    Zero,
    Point,
    Group,
    /// The number's sign where the number begins or ends.
    Sign,
    /// `MI`: a minus, or a space.
    Minus,
    /// `PL`: a plus, or a space.
    Plus,
    /// `SG`: a plus or a minus.
    PlusMinus,
    /// `PR`: a negative number in angle brackets.
    Brackets,
    /// `L`: the currency symbol, which is a space here.
    Currency,
    /// `TH`, `th`.
    Ordinal {
        upper: bool,
    },
    Literal(char),
}

/// A template, read.
struct Picture {
    tokens: Vec<Token>,
    /// FM: no padding.
    bare: bool,
    /// EEEE.
    scientific: bool,
    /// RN, rn; true: upper case.
    roman: Option<bool>,
    /// Digits before the point.
    whole: usize,
    /// Digits after the point.
    places: usize,
}

fn invalid(reason: &str) -> Diag {
    Diag::new(SqlState::SYNTAX_ERROR, format!("the number template is not valid: {reason}"))
}

fn read(template: &str) -> Result<Picture, Diag> {
    if template.chars().count() > MAX_TEMPLATE {
        return Err(invalid(&format!("it is longer than {MAX_TEMPLATE} characters")));
    }
    let mut picture = Picture { tokens: Vec::new(), bare: false, scientific: false, roman: None, whole: 0, places: 0 };
    let mut rest = template;
    let mut after_point = false;
    while let Some(first) = rest.chars().next() {
        let upper = rest.get(..4.min(rest.len())).unwrap_or(rest).to_ascii_uppercase();
        let (token, length) = if upper.starts_with("EEEE") {
            picture.scientific = true;
            (None, 4)
        } else if upper.starts_with("FM") {
            picture.bare = true;
            (None, 2)
        } else if upper.starts_with("RN") {
            picture.roman = Some(rest.starts_with('R'));
            (None, 2)
        } else if upper.starts_with("MI") {
            (Some(Token::Minus), 2)
        } else if upper.starts_with("PL") {
            (Some(Token::Plus), 2)
        } else if upper.starts_with("SG") {
            (Some(Token::PlusMinus), 2)
        } else if upper.starts_with("PR") {
            (Some(Token::Brackets), 2)
        } else if upper.starts_with("TH") {
            (Some(Token::Ordinal { upper: rest.starts_with('T') }), 2)
        } else {
            match first {
                '9' => (Some(Token::Nine), 1),
                '0' => (Some(Token::Zero), 1),
                '.' | 'D' | 'd' => {
                    if after_point {
                        return Err(invalid("it has several decimal points"));
                    }
                    after_point = true;
                    (Some(Token::Point), 1)
                }
                ',' | 'G' | 'g' => (Some(Token::Group), 1),
                'S' | 's' => (Some(Token::Sign), 1),
                'L' | 'l' => (Some(Token::Currency), 1),
                'V' | 'v' => {
                    return Err(Diag::not_supported("V in a number template").hint("multiply the number first"));
                }
                '"' => {
                    let inner = rest.get(1..).unwrap_or_default();
                    let (text, after) = inner.split_once('"').unwrap_or((inner, ""));
                    picture.tokens.extend(text.chars().map(Token::Literal));
                    rest = after;
                    continue;
                }
                other => (Some(Token::Literal(other)), other.len_utf8()),
            }
        };
        if let Some(token) = token {
            if matches!(token, Token::Nine | Token::Zero) {
                *(if after_point { &mut picture.places } else { &mut picture.whole }) += 1;
            }
            picture.tokens.push(token);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    let signs = picture
        .tokens
        .iter()
        .filter(|token| matches!(token, Token::Sign | Token::Minus | Token::Plus | Token::PlusMinus | Token::Brackets));
    if signs.clone().count() > 1 && signs.clone().any(|token| matches!(token, Token::Sign | Token::Brackets)) {
        return Err(invalid("it has several signs"));
    }
    Ok(picture)
}

/// `to_char(number, template)`; `None` is a number beyond DECIMAL, of which only `#` is shown.
pub(super) fn write(number: Option<Decimal>, template: &str) -> Result<String, Diag> {
    let picture = read(template)?;
    if let Some(upper) = picture.roman {
        return Ok(roman(number, upper, picture.bare));
    }
    if picture.scientific {
        return scientific(number, &picture);
    }
    let rounded = match number {
        Some(number) => Some(decimal::round_at(number, i32::try_from(picture.places).unwrap_or(0), true)?),
        None => None,
    };
    let negative = rounded.is_some_and(|number| number.is_sign_negative() && !number.is_zero());
    let (whole, fraction) = match rounded {
        Some(number) => {
            let text = number.abs().to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            (whole.trim_start_matches('0').to_owned(), format!("{fraction:0<width$}", width = picture.places))
        }
        None => ("#".repeat(picture.whole + 1), String::new()),
    };
    let fraction: String = fraction.chars().take(picture.places).collect();
    let overflow = whole.len() > picture.whole;
    Ok(Writer { picture: &picture, whole, fraction, negative, overflow }.write())
}

struct Writer<'p> {
    picture: &'p Picture,
    /// Digits before the point, without leading zeros.
    whole: String,
    /// Digits after the point, as many as the picture has.
    fraction: String,
    negative: bool,
    /// More digits than the picture has places for.
    overflow: bool,
}

impl Writer<'_> {
    fn write(&self) -> String {
        let tokens = &self.picture.tokens;
        let bare = self.picture.bare;
        let explicit =
            tokens.iter().any(|token| matches!(token, Token::Sign | Token::Minus | Token::PlusMinus | Token::Brackets));
        let brackets = tokens.contains(&Token::Brackets);
        let first_digit = tokens.iter().position(|token| matches!(token, Token::Nine | Token::Zero | Token::Point));
        let leading_sign =
            tokens.iter().position(|token| *token == Token::Sign).is_some_and(|at| Some(at) < first_digit);
        // What stands directly before the first digit.
        let mut lead = match (explicit, self.negative) {
            (false, true) => "-",
            (false, false) => {
                if bare {
                    ""
                } else {
                    " "
                }
            }
            (true, negative) if leading_sign => {
                if negative {
                    "-"
                } else {
                    "+"
                }
            }
            (true, true) if brackets => "<",
            (true, false) if brackets => {
                if bare {
                    ""
                } else {
                    " "
                }
            }
            (true, _) => "",
        };
        let kept = if bare { self.kept_places() } else { self.picture.places };
        let zero_start = tokens
            .iter()
            .take_while(|token| **token != Token::Point)
            .filter(|token| matches!(token, Token::Nine | Token::Zero))
            .position(|token| *token == Token::Zero);
        let missing = self.picture.whole.saturating_sub(self.whole.len());
        let lone_zero = self.whole.is_empty() && (self.picture.places == 0 || bare && kept == 0);
        let (mut at, mut place) = (0, 0);
        let mut out = String::new();
        let mut started = false;
        let mut after_point = false;
        for token in tokens {
            match token {
                Token::Nine | Token::Zero if after_point => {
                    if self.overflow {
                        out.push('#');
                    } else if place < kept {
                        out.extend(self.fraction.chars().nth(place));
                    }
                    place += 1;
                }
                Token::Nine | Token::Zero => {
                    let digit = if self.overflow {
                        Some('#')
                    } else if at >= missing {
                        self.whole.chars().nth(at - missing)
                    } else if zero_start.is_some_and(|zero| at >= zero) || lone_zero && at + 1 == self.picture.whole {
                        Some('0')
                    } else {
                        None
                    };
                    at += 1;
                    match digit {
                        Some(digit) => {
                            out.push_str(std::mem::take(&mut lead));
                            out.push(digit);
                            started = true;
                        }
                        None if !bare => out.push(' '),
                        None => {}
                    }
                }
                Token::Point => {
                    out.push_str(std::mem::take(&mut lead));
                    // Without a place behind it PostgreSQL writes no point.
                    if self.picture.places > 0 {
                        out.push('.');
                    }
                    (after_point, started) = (true, true);
                }
                Token::Group if started => out.push(','),
                Token::Group => {
                    if !bare {
                        out.push(' ')
                    }
                }
                Token::Sign if leading_sign => {}
                Token::Sign => out.push(if self.negative { '-' } else { '+' }),
                Token::Minus if self.negative => out.push('-'),
                Token::Plus if !self.negative => out.push('+'),
                Token::Minus | Token::Plus => {
                    if !bare {
                        out.push(' ')
                    }
                }
                Token::PlusMinus => out.push(if self.negative { '-' } else { '+' }),
                Token::Brackets if self.negative => out.push('>'),
                Token::Brackets => {
                    if !bare {
                        out.push(' ')
                    }
                }
                Token::Currency => {
                    if !bare {
                        out.push(' ')
                    }
                }
                Token::Ordinal { upper } if !self.negative && self.picture.places == 0 => {
                    let digits = if self.whole.is_empty() { "0" } else { &self.whole };
                    let suffix = ordinal(digits);
                    out.push_str(&if *upper { suffix.to_ascii_uppercase() } else { suffix.to_owned() });
                }
                Token::Ordinal { .. } => {}
                Token::Literal(literal) => out.push(*literal),
            }
        }
        out
    }

    /// Digits after the point that FM leaves: those of `0`, and others up to the last that is not zero.
    fn kept_places(&self) -> usize {
        let after = self.picture.tokens.iter().skip_while(|token| **token != Token::Point);
        let forced = after
            .filter(|token| matches!(token, Token::Nine | Token::Zero))
            .enumerate()
            .filter(|(_, token)| **token == Token::Zero)
            .map(|(at, _)| at + 1)
            .last()
            .unwrap_or(0);
        self.fraction.trim_end_matches('0').len().max(forced)
    }
}

fn scientific(number: Option<Decimal>, picture: &Picture) -> Result<String, Diag> {
    let Some(number) = number else { return Ok("#".repeat(picture.whole + picture.places + 5)) };
    let mut exponent = 0_i32;
    let mut mantissa = number.abs().normalize();
    if !mantissa.is_zero() {
        let digits = i32::try_from(mantissa.mantissa().unsigned_abs().to_string().len()).unwrap_or(0);
        exponent = digits - 1 - i32::try_from(mantissa.scale()).unwrap_or(0);
        let scale = u32::try_from(digits - 1).unwrap_or(0);
        mantissa = Decimal::try_from_i128_with_scale(mantissa.mantissa(), scale).map_err(|_| decimal::overflow())?;
    }
    let places = i32::try_from(picture.places).unwrap_or(0);
    let mut rounded = decimal::round_at(mantissa, places, true)?;
    if rounded >= Decimal::TEN {
        exponent += 1;
        rounded = decimal::round_at(decimal::divide(rounded, Decimal::TEN)?, places, true)?;
    }
    let sign = if number.is_sign_negative() && !number.is_zero() {
        "-"
    } else if picture.bare {
        ""
    } else {
        " "
    };
    let (exponent_sign, exponent) = (if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
    Ok(format!("{sign}{rounded}e{exponent_sign}{exponent:02}"))
}

fn roman(number: Option<Decimal>, upper: bool, bare: bool) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let rounded = number.and_then(|number| decimal::round_at(number, 0, true).ok());
    let Some(mut rest) =
        rounded.and_then(|number| u32::try_from(number).ok()).filter(|rest| (1..=3_999).contains(rest))
    else {
        return "#".repeat(15);
    };
    let mut out = String::new();
    for (value, numeral) in NUMERALS {
        while rest >= value {
            rest -= value;
            out.push_str(numeral);
        }
    }
    if !upper {
        out = out.to_ascii_lowercase();
    }
    if bare { out } else { format!("{out:>15}") }
}

/// `to_number(text, template)`
pub(super) fn parse(text: &str, template: &str) -> Result<Decimal, Diag> {
    let picture = read(template)?;
    if picture.scientific || picture.roman.is_some() {
        return Err(Diag::not_supported("EEEE and RN in to_number").hint("CAST reads numbers with an exponent"));
    }
    let mut digits = String::new();
    let mut negative = false;
    let mut input = text.chars().peekable();
    let mut sign = |input: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        if let Some(sign) = input.next_if(|next| matches!(next, '+' | '-' | '<')) {
            negative |= sign != '+';
        }
    };
    for token in &picture.tokens {
        match token {
            Token::Nine | Token::Zero => {
                while input.next_if_eq(&' ').is_some() {}
                if digits.is_empty() {
                    sign(&mut input);
                }
                match input.peek() {
                    Some(digit) if digit.is_ascii_digit() => {
                        digits.push(*digit);
                        input.next();
                    }
                    _ => {}
                }
            }
            Token::Point => {
                if input.next_if_eq(&'.').is_some() && !digits.contains('.') {
                    digits.push('.');
                }
            }
            Token::Group => {
                input.next_if_eq(&',');
            }
            Token::Sign | Token::Minus | Token::Plus | Token::PlusMinus => sign(&mut input),
            Token::Brackets => {
                input.next_if_eq(&'>');
            }
            Token::Currency | Token::Literal(_) => {
                input.next_if(|next| !next.is_ascii_digit() && !matches!(next, '.' | '-' | '+'));
            }
            Token::Ordinal { .. } => {
                input.next();
                input.next();
            }
        }
    }
    let refused = || {
        let shown: String = text.chars().take(40).collect();
        Diag::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type DECIMAL: \"{shown}\""))
    };
    let number = decimal::parse(&digits).map_err(|_| refused())?;
    Ok(if negative { -number } else { number })
}
