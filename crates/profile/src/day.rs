//! Days of the calendar, as waivers and histories name them: UTC, ISO 8601.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::reader::{FromToml, Value, Wrong, a};

/// A day of the Gregorian calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// Reads `2026-11-30`; `None` where there is no such day.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        if !shaped {
            return None;
        }
        let mut parts = text.split('-');
        let (year, month, day) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        ((1..=length(year, month)).contains(&day)).then_some(Self { year, month, day })
    }

    /// The day that a time falls on; of times before 1970, the first day of 1970.
    pub fn of(time: SystemTime) -> Self {
        const A_DAY: u64 = 86_400;
        let mut left = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) / A_DAY;
        let (mut year, mut month) = (1970, 1);
        while left >= u64::from(length(year, month)) && year < 9999 {
            left -= u64::from(length(year, month));
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
        Self { year, month, day: left.min(30) as u8 + 1 }
    }

    /// Days since 1970-01-01, which is 0; days before it are negative.
    pub fn number(self) -> i32 {
        // Years that begin in March put the leap day at their end (Hinnant, "chrono-compatible low-level date algorithms").
        let (m, d) = (i32::from(self.month), i32::from(self.day));
        let y = i32::from(self.year) - i32::from(m <= 2);
        let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
        let of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The day of a number of days since 1970-01-01; `None` before 1970 and after 9999.
    pub fn of_number(number: i32) -> Option<Self> {
        Self { year: 1970, month: 1, day: 1 }.after(f64::from(number))
    }

    /// The day so many whole days later; `None` where that is beyond the year 9999, or no number of days.
    pub fn after(self, days: f64) -> Option<Self> {
        // More than eight thousand years.
        if !(0.0..=3e6).contains(&days) {
            return None;
        }
        let Self { mut year, mut month, day } = self;
        let mut left = days as u64 + u64::from(day) - 1;
        while left >= u64::from(length(year, month)) {
            left -= u64::from(length(year, month));
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            if year > 9999 {
                return None;
            }
        }
        Some(Self { year, month, day: left as u8 + 1 })
    }
}

/// Days of a month; 0 where there is no such month.
fn length(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromToml for Day {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        // TOML has dates of its own; a date in quotes is as good.
        let text = match value {
            Value::String(text) => text.to_string(),
            Value::Datetime(date) => date.to_string(),
            _ => return Err(Wrong::new(format!("this is {}, no day", a(value)), "write a day such as \"2026-11-30\"")),
        };
        let wrong = || Wrong::new(format!("`{text}` is no day of the calendar"), "write a day such as \"2026-11-30\"");
        Self::parse(&text).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_of_days_are_those_of_the_calendar() {
        for (text, number) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-26", 20_783), ("2100-03-01", 47_541)]
        {
            let day = Day::parse(text).unwrap();
            assert_eq!((day.number(), Day::of_number(number)), (number, Some(day)));
        }
        assert_eq!((Day::parse("1969-12-31").unwrap().number(), Day::of_number(-1)), (-1, None));
    }

    fn check(seconds: u64, day: &str) {
        let found = Day::of(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(found.to_string(), day);
        assert_eq!(Day::parse(day), Some(found));
    }

    #[test]
    fn times_fall_on_their_days() {
        // `date -u -d @SECONDS +%F`
        check(0, "1970-01-01");
        check(86_399, "1970-01-01");
        check(951_782_400, "2000-02-29");
        check(1_764_115_200, "2025-11-26");
        check(4_107_542_400, "2100-03-01");
    }

    #[test]
    fn days_later_are_counted_over_leap_years_and_end_somewhere() {
        let later = |day: &str, days| Day::parse(day).unwrap().after(days).map(|d| d.to_string());
        // `date -u -d "DAY + DAYS days" +%F`
        assert_eq!(later("2026-11-26", 0.0).as_deref(), Some("2026-11-26"));
        assert_eq!(later("2026-11-26", 5.9).as_deref(), Some("2026-12-01"));
        assert_eq!(later("2027-12-31", 60.0).as_deref(), Some("2028-02-29"));
        assert_eq!(later("2026-11-26", 36_525.0).as_deref(), Some("2126-11-27"));
        for days in [3e6, 1e300, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(later("2026-11-26", days), None, "{days}");
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in
            ["2026-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "+026-01-01", "2026-04-31", "", "2026-01-01T00:00"]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert!(Day::parse("2026-12-31") < Day::parse("2027-01-01"));
    }
}
