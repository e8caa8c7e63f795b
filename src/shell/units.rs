//! Numbers as people read them: `1.2 GiB`, `1,234,567`, `3 minutes ago`.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Spans of time, the longest first, in seconds.
const SPANS: [(u64, &str); 5] =
    [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];

/// Bytes in the largest unit of which there is one, with a tenth where that still says something.
pub(super) fn bytes(count: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10;
    while tenths + 5 >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
        tenths = rounded(u128::from(count) * 10, 1 << (10 * unit));
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    match (unit, whole) {
        (0, _) => format!("{count} B"),
        (_, 0..100) => format!("{whole}.{tenth} {}", UNITS[unit]),
        _ => format!("{} {}", rounded(tenths, 10), UNITS[unit]),
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things, each called so.
pub(super) fn counted(count: u64, thing: &str) -> String {
    if count == 1 {
        return format!("1 {thing}");
    }
    let (first, rest) = thing.split_once(' ').unwrap_or((thing, ""));
    let space = if rest.is_empty() { "" } else { " " };
    format!("{} {first}s{space}{rest}", grouped(count))
}

/// How many hundredths of `whole` a part is.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = rounded(u128::from(part) * 100, u128::from(whole.max(1)));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// A length of time, to two digits or more.
pub(super) fn duration(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// How long ago something was, both in milliseconds since 1970.
pub(super) fn ago(then_unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(then_unix_ms) / 1_000;
    match SPANS.iter().find(|(span, _)| seconds >= *span) {
        Some((span, name)) => {
            let count = seconds / span;
            format!("{count} {name}{} ago", if count == 1 { "" } else { "s" })
        }
        None => "just now".into(),
    }
}

const fn rounded(dividend: u128, divisor: u128) -> u128 {
    (dividend + divisor / 2) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_digits_that_count() {
        let expected = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (14_694, "14.3 KiB"),
            (800 << 20, "800 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (1_288_490_189, "1.2 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (count, text) in expected {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let expected = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in expected {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn parts_are_rounded_to_a_hundredth() {
        assert_eq!(
            [percent(1, 3), percent(2, 3), percent(0, 0), percent(u64::MAX, u64::MAX)],
            [33, 67, 0, 100]
        );
    }

    #[test]
    fn times_are_short() {
        let expected = [
            (7, "7 µs"),
            (1_290, "1.2 ms"),
            (350_000, "350 ms"),
            (2_140_000, "2.1 s"),
            (125_000_000, "2 min 5 s"),
        ];
        for (micros, text) in expected {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
        let now = 1_000_000_000_000;
        assert_eq!(ago(now - 999, now), "just now");
        assert_eq!(ago(now + 5_000, now), "just now");
        assert_eq!(ago(now - 1_000, now), "1 second ago");
        assert_eq!(ago(now - 7_300_000, now), "2 hours ago");
        assert_eq!(ago(0, now), "31 years ago");
    }
}
