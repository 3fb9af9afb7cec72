//! Request ids: a ULID or a UUIDv7, either way 48 bits of milliseconds since 1970 and 80 more bits.

use highwater_net::api::{ApiError, ErrorCode};

/// The number behind a `request_id`.
///
/// # Errors
/// INVALID_PARAMETER when it is neither a ULID nor a UUIDv7.
pub(super) fn parse(text: &str) -> Result<u128, ApiError> {
    let uuid =
        || uuid::Uuid::try_parse(text).ok().filter(|uuid| uuid.get_version_num() == 7).map(|uuid| uuid.as_u128());
    // 26 characters of five bits are 130 bits: a first one above 7 would be cut in silence.
    let is_ulid = text.len() == 26 && text.starts_with(|first: char| ('0'..='7').contains(&first));
    let ulid = is_ulid.then(|| ulid::Ulid::from_string(text).ok()).flatten().map(|ulid| ulid.0);
    ulid.or_else(uuid).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::new(
            ErrorCode::InvalidParameter,
            format!("request_id '{shown}' is neither a ULID (26 characters) nor a UUIDv7; make a new one for each request and keep it for its retries"),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ulids_and_version_7_uuids_are_numbers() {
        assert_eq!(parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(), 0x0156_3e3a_b5d3_d676_4c61_efb9_9302_bd5b);
        assert_eq!(parse("01arz3ndektsv4rrffq69g5fav").unwrap(), parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap());
        assert_eq!(parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").unwrap(), 0x017f_22e2_79b0_7cc3_98c4_dc0c_0c07_398f);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "1",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "é",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidParameter, "{text}");
        }
    }
}
