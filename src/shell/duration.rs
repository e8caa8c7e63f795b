//! Lengths of time as the language writes them.
//!
//! ```text
//! 500ms  10s  10m  2h  7d  1h30m  9m59.998s        milliseconds, seconds, minutes, hours, days
//! ```
//!
//! 1. Parts go from large to small, each unit at most once. Only seconds have fractions: up to three digits.
//! 2. What is printed is exact to the millisecond and reads back: `d h m s` with the fraction at the seconds, `ms` below one.

use std::time::Duration;

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const MILLIS_PER_SECOND: u64 = 1_000;

/// Reads a length of time; `None` when it is none, or has more milliseconds than 64 bits.
pub(crate) fn parse(text: &[u8]) -> Option<Duration> {
    let mut rest = std::str::from_utf8(text).ok()?;
    let (mut millis, mut units) = (0_u64, &UNITS[..]);
    while !rest.is_empty() || millis == 0 && units.len() == UNITS.len() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number_len);
        let unit_len = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let at = units.iter().position(|(name, _)| *name == &behind[..unit_len])?;
        millis = millis.checked_add(part(number, units[at].1)?)?;
        (rest, units) = (&behind[unit_len..], &units[at + 1..]);
    }
    Some(Duration::from_millis(millis))
}

/// So many of a unit, in milliseconds.
fn part(number: &str, unit: u64) -> Option<u64> {
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(unit);
    };
    if unit != MILLIS_PER_SECOND || !(1..=3).contains(&fraction.len()) {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(thousandths)
}

/// Writes a length of time, without what is less than a millisecond.
pub(crate) fn text(time: Duration) -> String {
    let mut millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if millis < MILLIS_PER_SECOND {
        return format!("{millis}ms");
    }
    let mut text = String::new();
    for (name, unit) in UNITS.into_iter().filter(|(_, unit)| *unit > MILLIS_PER_SECOND) {
        if millis >= unit {
            text.extend([(millis / unit).to_string().as_str(), name]);
            millis %= unit;
        }
    }
    match (millis / MILLIS_PER_SECOND, millis % MILLIS_PER_SECOND) {
        (0, 0) => text,
        (seconds, 0) => text + &format!("{seconds}s"),
        (seconds, thousandths) => {
            let fraction = format!("{thousandths:03}");
            text + &format!("{seconds}.{}s", fraction.trim_end_matches('0'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u64> {
        parse(text.as_bytes()).map(|time| u64::try_from(time.as_millis()).unwrap())
    }

    #[test]
    fn parts_add_up() {
        for (text, expected) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1d1ms", 86_400_001),
            ("9m59.998s", 599_998),
            ("0.5s", 500),
            ("0s", 0),
            ("0d0ms", 0),
            ("90m", 5_400_000),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "ms",
            "-5s",
            "+5s",
            "5 s",
            "5S",
            "5sec",
            "1m1h",
            "1s1s",
            "1.5m",
            "1.s",
            ".5s",
            "1.2345s",
            "1..5s",
            "5s ",
            "1h30",
            "1µs",
            "18446744073709551616ms",
            "18446744073709552s",
            "300000000000000d",
            "٣s",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for (millis, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_010, "1.01s"),
            (59_998, "59.998s"),
            (60_000, "1m"),
            (60_001, "1m0.001s"),
            (90_061_500, "1d1h1m1.5s"),
            (604_800_000, "7d"),
        ] {
            let time = Duration::from_millis(millis);
            assert_eq!(text(time), expected);
            assert_eq!(parse(expected.as_bytes()), Some(time));
        }
    }
}
