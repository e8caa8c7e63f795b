//! Moments, as expiries name them: whole milliseconds, written as RFC 3339 in UTC.
//!
//! ```text
//! 2026-11-22T14:05:09.250Z      written always so: three digits behind the point, Z
//! 2026-11-22T14:05:09Z          read as well, with up to three digits behind the point or none
//! ```

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

const MILLIS_PER_SECOND: u64 = 1_000;
const MILLIS_PER_DAY: u64 = 86_400 * MILLIS_PER_SECOND;

/// Days of 400 years, after which the calendar repeats itself.
const DAYS_PER_ERA: u64 = 146_097;

/// Days from the first of March of the year 0 to 1970 began.
const DAYS_BEFORE_1970: u64 = 719_468;

/// A moment: milliseconds since 1970 began, UTC, leap seconds not counted. At least 1, at most the end of the year 9999.
///
/// ```
/// let moment: kvdb::Timestamp = "2026-11-22T14:05:09.25Z".parse().unwrap();
/// assert_eq!(moment.unix_millis(), 1_795_356_309_250);
/// assert_eq!(moment.to_string(), "2026-11-22T14:05:09.250Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The first moment that there is: 1 ms after 1970 began.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    /// The last moment that there is, the last millisecond of the year 9999.
    pub const MAX: Self = Self(NonZeroU64::new(253_402_300_799_999).expect("it is not zero"));

    /// The moment so many milliseconds after 1970 began; `None` for 0 and for what lies behind the year 9999.
    #[must_use]
    #[inline]
    pub fn from_unix_millis(millis: u64) -> Option<Self> {
        NonZeroU64::new(millis).map(Self).filter(|moment| *moment <= Self::MAX)
    }

    /// The moment so long after 1970 began, or the nearest there is.
    pub(crate) fn nearest(since_1970: Duration) -> Self {
        let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let bounded = millis.clamp(Self::MIN.unix_millis(), Self::MAX.unix_millis());
        Self::from_unix_millis(bounded).unwrap_or(Self::MAX)
    }

    /// Milliseconds since 1970 began.
    #[must_use]
    #[inline]
    pub const fn unix_millis(self) -> u64 {
        self.0.get()
    }

    /// The moment so much later, its fractions of a millisecond cut off; `None` behind the year 9999.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let millis = u64::try_from(duration.as_millis()).ok()?;
        Self::from_unix_millis(self.unix_millis().checked_add(millis)?)
    }

    /// How much later this is than `earlier`; nothing if it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.unix_millis().saturating_sub(earlier.unix_millis()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.unix_millis();
        let (year, month, day) = civil(millis / MILLIS_PER_DAY);
        let rest = millis % MILLIS_PER_DAY;
        let (seconds, fraction) = (rest / MILLIS_PER_SECOND, rest % MILLIS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

/// What is no moment: not written as RFC 3339 in UTC, no day of the calendar, or not between the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a moment as in 2026-11-22T14:05:09.250Z, from 1970 to the end of the year 9999")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        parse(text.as_bytes()).ok_or(NotATimestamp)
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (fixed, rest) = text.split_at_checked("2026-11-22T14:05:09".len())?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| fixed[at] != mark) {
        return None;
    }
    let [year, month, day, hour, minute, second] =
        [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(|place| number(&fixed[place]));
    let (year, month, day) = (year?, month?, day?);
    let (hour, minute, second) = (hour?, minute?, second?);
    let days = days_since_1970(year, month, day)?;
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second;
    Timestamp::from_unix_millis(days * MILLIS_PER_DAY + seconds * MILLIS_PER_SECOND + fraction(rest)?)
}

/// Milliseconds behind the seconds: `Z`, or a point, one to three digits and `Z`.
fn fraction(rest: &[u8]) -> Option<u64> {
    match rest.strip_suffix(b"Z")? {
        [] => Some(0),
        [b'.', digits @ ..] if (1..=3).contains(&digits.len()) => {
            Some(number(digits)? * [100, 10, 1][digits.len() - 1])
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

/// Year, month and day of a day, after Howard Hinnant's `civil_from_days`: years begin in March there, so that the leap day
/// is a year's last.
const fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as u64, month, day)
}

/// The inverse of [`civil`], after Howard Hinnant's `days_from_civil`; `None` before 1970. A day that does not exist becomes one
/// that does.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_PER_ERA + day_of_era).checked_sub(DAYS_BEFORE_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(millis: u64) -> String {
        Timestamp::from_unix_millis(millis).unwrap().to_string()
    }

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        assert_eq!(written(1), "1970-01-01T00:00:00.001Z");
        assert_eq!(written(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(written(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(written(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut millis = 1;
        while let Some(moment) = Timestamp::from_unix_millis(millis) {
            assert_eq!(moment.to_string().parse(), Ok(moment));
            millis += 86_399_999 * 37;
        }
    }

    #[test]
    fn fractions_may_be_short_or_missing() {
        let millis = |text: &str| text.parse::<Timestamp>().map(Timestamp::unix_millis);
        assert_eq!(millis("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(millis("1970-01-01T00:00:01.5Z"), Ok(1_500));
        assert_eq!(millis("1970-01-01T00:00:01.05Z"), Ok(1_050));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "Z",
            "1970-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "+026-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }

    #[test]
    fn sums_stay_between_the_limits() {
        let moment = Timestamp::from_unix_millis(1_000).unwrap();
        assert_eq!(moment.checked_add(Duration::from_micros(1_999)).unwrap().unix_millis(), 1_001);
        assert_eq!(moment.checked_add(Duration::MAX), None);
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_millis(1)), None);
        assert_eq!(Timestamp::MIN.since(moment), Duration::ZERO);
        assert_eq!(moment.since(Timestamp::MIN), Duration::from_millis(999));
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }
}
