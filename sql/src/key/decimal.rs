//! DECIMAL in keys: drawn in the parent module.

use rust_decimal::Decimal;

use super::take;

/// Most digits of a mantissa of 96 bits.
const MAX_DIGITS: usize = 29;

pub(super) fn encode(value: Decimal, out: &mut Vec<u8>) {
    let value = value.normalize();
    let mantissa = value.mantissa();
    if mantissa == 0 {
        out.push(0x80);
        return;
    }
    let digits = mantissa.unsigned_abs().to_string();
    // An exponent is between -27 (the smallest fraction) and 29 (the largest integer), so it fits a byte with its offset.
    let exponent = i64::try_from(digits.len()).unwrap_or(0) - i64::from(value.scale()) + 32;
    let exponent = u8::try_from(exponent).unwrap_or(0);
    let negative = mantissa < 0;
    let mask = if negative { 0xff } else { 0x00 };
    out.push(if negative { 0x80 - exponent } else { 0x80 + exponent });
    let digits = digits.trim_end_matches('0').as_bytes();
    for pair in digits.chunks(2) {
        let high = pair.first().map_or(0, |digit| digit - b'0');
        let low = pair.get(1).map_or(0, |digit| digit - b'0');
        out.push((high * 10 + low + 1) ^ mask);
    }
    out.push(mask);
}

/// The value with `scale` digits after the point where it has no more; `None` for bytes that [`encode`] never writes.
pub(super) fn decode(scale: u8, rest: &mut &[u8]) -> Option<Decimal> {
    let [first] = take::<1>(rest)?;
    let (negative, exponent) = match first {
        0x80 => return Decimal::try_from_i128_with_scale(0, u32::from(scale)).ok(),
        0x81.. => (false, i32::from(first) - 0x80 - 32),
        0x00..0x80 => (true, 0x80 - i32::from(first) - 32),
    };
    let mask = if negative { 0xff } else { 0x00 };
    let mut digits: Vec<u8> = Vec::with_capacity(MAX_DIGITS + 1);
    loop {
        let [byte] = take::<1>(rest)?;
        match byte ^ mask {
            0 => break,
            pair @ 1..=100 if digits.len() < MAX_DIGITS => digits.extend([(pair - 1) / 10, (pair - 1) % 10]),
            _ => return None,
        }
    }
    if digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.last().is_none_or(|digit| *digit == 0) || digits.first() == Some(&0) {
        return None;
    }
    let mut mantissa = digits.iter().fold(0_i128, |value, digit| value * 10 + i128::from(*digit));
    let mut places = i32::try_from(digits.len()).ok()? - exponent;
    while places < 0 {
        mantissa = mantissa.checked_mul(10)?;
        places += 1;
    }
    let mantissa = if negative { -mantissa } else { mantissa };
    let mut value = Decimal::try_from_i128_with_scale(mantissa, u32::try_from(places).ok()?).ok()?;
    if value.scale() < u32::from(scale) {
        value.rescale(u32::from(scale));
    }
    Some(value)
}
