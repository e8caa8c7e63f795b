//! Bars that are drawn with characters: how much of something there is, beside the most of it.

/// Blocks of one to eight eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A bar for `part` where `most` fills `width` columns. What is not nothing has a bar, however short. Without `unicode` it is
/// made of ASCII, in whole columns.
pub(super) fn bar(part: u64, most: u64, width: usize, unicode: bool) -> String {
    let steps = if unicode { EIGHTHS.len() } else { 1 };
    let whole = (width * steps) as u128;
    let scaled = (u128::from(part) * whole + u128::from(most) / 2) / u128::from(most.max(1));
    let least = u128::from(part > 0).min(whole);
    let filled = usize::try_from(scaled.max(least)).unwrap_or(0);
    if !unicode {
        return "#".repeat(filled);
    }
    let rest = (filled % steps).checked_sub(1).map(|eighths| EIGHTHS[eighths]);
    "█".repeat(filled / steps).chars().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_nothing_but_nothing_is_without_one() {
        let bars = |unicode| [0, 1, 50, 100].map(|part| bar(part, 100, 8, unicode));
        assert_eq!(bars(true), ["", "▏", "████", "████████"]);
        assert_eq!(bars(false), ["", "#", "####", "########"]);
        assert_eq!(bar(37, 64, 8, true), "████▋");
        assert_eq!(bar(u64::MAX, u64::MAX, 3, true), "███");
        assert_eq!(bar(1, u64::MAX, 3, true), "▏");
        assert_eq!([bar(0, 0, 8, true), bar(5, 5, 0, true)], ["", ""]);
    }
}
