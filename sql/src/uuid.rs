//! UUIDs as 128 bits, and their text.

use std::fmt;

/// Writes `01234567-89ab-cdef-0123-456789abcdef`.
///
/// # Errors
/// Only the writer's own.
pub fn write(uuid: u128, f: &mut impl fmt::Write) -> fmt::Result {
    let part = |shift: u32, digits: u32| uuid >> shift & ((1 << (digits * 4)) - 1);
    write!(f, "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
}

/// Reads 32 hexadecimal digits of any case, hyphens after any group of four, braces around; `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<u128> {
    let text = text.trim_ascii();
    let text = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => text,
    };
    let mut uuid = 0_u128;
    let mut digits = 0;
    let mut after_hyphen = true;
    for character in text.chars() {
        if character == '-' {
            if after_hyphen || digits % 4 != 0 || digits == 32 {
                return None;
            }
            after_hyphen = true;
            continue;
        }
        after_hyphen = false;
        digits += 1;
        if digits > 32 {
            return None;
        }
        uuid = uuid << 4 | u128::from(character.to_digit(16)?);
    }
    (digits == 32).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_in_postgresqls_forms_and_written_in_one() {
        let wanted = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11;
        for text in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(parse(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "a0eebc99",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let mut text = String::new();
        assert!(write(wanted, &mut text).is_ok());
        assert_eq!(text, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
}
