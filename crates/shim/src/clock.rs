//! The time of day, as CRI logs write it.

use std::io::Write;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// Appends RFC 3339 with nine digits of fraction, in UTC.
pub(crate) fn write_rfc3339(out: &mut Vec<u8>, nanoseconds: i64) {
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let fraction = nanoseconds.rem_euclid(1_000_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    // Writing to a vector cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:09}Z", second / 3600, second / 60 % 60, second % 60,);
}

/// Days since 1970-01-01 as a date of the Gregorian calendar, counted in 400-year eras that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::write_rfc3339;

    #[test]
    fn dates_around_leap_days_and_centuries() {
        let check = |nanoseconds: i64, expected: &str| {
            let mut out = Vec::new();
            write_rfc3339(&mut out, nanoseconds);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z");
        check(1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z");
        check(4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z");
    }
}
