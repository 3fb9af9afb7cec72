//! The `Date` header (RFC 9110, section 5.6.7) from the runtime's wall clock.

use std::cell::RefCell;

use highwater_runtime::WallMicros;
use hyper::header::HeaderValue;

/// The header's values of one connection: every answer has one, and most are of the same second as the one before.
#[derive(Debug, Default)]
pub(crate) struct Dates(RefCell<Option<(i64, HeaderValue)>>);

impl Dates {
    /// The value at `now`.
    pub(crate) fn at(&self, now: WallMicros) -> Option<HeaderValue> {
        let second = now.0.div_euclid(1_000_000);
        let mut last = self.0.borrow_mut();
        if let Some((_, date)) = last.as_ref().filter(|(at, _)| *at == second) {
            return Some(date.clone());
        }
        let date = HeaderValue::try_from(http_date(now)).ok()?;
        *last = Some((second, date.clone()));
        Some(date)
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: WallMicros) -> String {
    let seconds = now.0.div_euclid(1_000_000);
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let name =
        |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or("");
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60
    )
}

/// Year, month (from 1) and day (from 1) of a number of days since 1970-01-01, in the proleptic Gregorian calendar. Counts in
/// years that begin in March, so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let day_of_era = from_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        let at = |seconds: i64| http_date(WallMicros(seconds * 1_000_000));
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(at(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(at(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn a_connections_dates_go_on_with_the_clock() {
        let dates = Dates::default();
        for micros in [0, 999_999, 1_000_000, 1_500_000, 86_400_000_000, 0] {
            let at = WallMicros(micros);
            assert_eq!(dates.at(at), HeaderValue::try_from(http_date(at)).ok());
        }
    }
}
