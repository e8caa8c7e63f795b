//! A picture of the levels: what is in memory and each run of tables, newest first, with bars in proportion to their bytes.
//!
//! ```text
//!          tables    entries  tombstones      bytes
//! memory                 412               40.2 KiB
//! level 0       1     12,044         301    1.2 MiB  ▍
//! level 1       2    125,000           0   14.3 MiB  ███▌
//! level 2       5  1,062,956           0    128 MiB  ████████████████████████████████
//! ```
//!
//! 1. The longest bar stands for the most bytes. Where there are bytes there is a bar, however short; no bytes are no bar.
//! 2. Bars are never wider than [`MAX_BAR`] columns, and no line is wider than the terminal: columns of lesser interest are left
//!    out until the bars have [`MIN_BAR`] columns, then the bars.

use crate::engine::{Level, Stats};
use crate::shell::bar::bar;
use crate::shell::look::Look;
use crate::shell::units;

const MAX_BAR: usize = 40;
const MIN_BAR: usize = 8;

/// What stands between columns.
const GAP: &str = "  ";

/// Columns in the order in which they are left out; their names and the level's bytes always stay.
const SPARE: [&str; 3] = ["tombstones", "tables", "entries"];

/// A column of text, its heading first.
struct Column {
    cells: Vec<String>,
    width: usize,
}

impl Column {
    fn new(heading: &str, cells: impl Iterator<Item = String>) -> Self {
        let cells: Vec<String> = std::iter::once(heading.to_owned()).chain(cells).collect();
        let width = cells.iter().map(String::len).max().unwrap_or(0);
        Self { cells, width }
    }

    fn heading(&self) -> &str {
        &self.cells[0]
    }
}

/// The picture, a line for each level below the headings.
pub(super) fn picture(stats: &Stats, look: Look) -> String {
    let mut columns = columns(stats);
    let room = look.columns.unwrap_or(usize::MAX);
    let used = |columns: &[Column]| columns.iter().map(|column| column.width + GAP.len()).sum::<usize>();
    for name in SPARE {
        if used(&columns) + MIN_BAR > room {
            columns.retain(|column| column.heading() != name);
        }
    }
    let left = room.saturating_sub(used(&columns));
    let bar_width = if left < MIN_BAR { 0 } else { left.min(MAX_BAR) };
    let sizes: Vec<u64> =
        std::iter::once(stats.memtable_bytes).chain(stats.levels.iter().map(|level| level.bytes)).collect();
    let most = sizes.iter().copied().max().unwrap_or(0);
    let mut picture = line(&columns, 0, "");
    for (index, bytes) in sizes.into_iter().enumerate() {
        picture += &line(&columns, index + 1, &look.bar(&bar(bytes, most, bar_width, look.unicode)));
    }
    picture
}

fn columns(stats: &Stats) -> Vec<Column> {
    let names = (0..stats.levels.len()).map(|index| format!("level {index}"));
    let of_levels = |figure: fn(&Level) -> u64| stats.levels.iter().map(move |l| units::grouped(figure(l)));
    let with_memory = |memory: String, levels| std::iter::once(memory).chain(levels);
    let sizes: Vec<String> = stats.levels.iter().map(|level| units::bytes(level.bytes)).collect();
    vec![
        Column::new("", std::iter::once("memory".to_owned()).chain(names)),
        Column::new("tables", with_memory(String::new(), of_levels(|level| level.tables))),
        Column::new(
            "entries",
            with_memory(units::grouped(stats.memtable_keys), of_levels(|level| level.entries)),
        ),
        Column::new("tombstones", with_memory(String::new(), of_levels(|level| level.tombstones))),
        Column::new("bytes", std::iter::once(units::bytes(stats.memtable_bytes)).chain(sizes)),
    ]
}

/// A row of cells, the first at the left and the others at the right of their columns, and a bar.
fn line(columns: &[Column], row: usize, bar: &str) -> String {
    let align = |(index, Column { cells, width }): (usize, &Column)| match (index, &cells[row]) {
        (0, cell) => format!("{cell:width$}"),
        (_, cell) => format!("{cell:>width$}"),
    };
    let cells = columns.iter().enumerate().map(align);
    let bar = Some(bar.to_owned()).filter(|bar| !bar.is_empty());
    cells.chain(bar).collect::<Vec<_>>().join(GAP) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTF8: Look = Look { unicode: true, ..Look::PLAIN };

    fn level(tables: u64, entries: u64, tombstones: u64, bytes: u64) -> Level {
        Level { tables, entries, tombstones, bytes }
    }

    fn stats(levels: &[Level]) -> Stats {
        Stats { memtable_keys: 412, memtable_bytes: 41_165, levels: levels.to_vec(), ..Stats::default() }
    }

    fn widest(picture: &str) -> usize {
        picture.lines().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn without_tables_there_is_memory() {
        let shown = picture(&stats(&[]), Look::PLAIN);
        let expected = format!("memory              412              40.2 KiB  {}", "#".repeat(MAX_BAR));
        assert_eq!(
            shown.lines().collect::<Vec<_>>(),
            ["        tables  entries  tombstones     bytes", &expected]
        );
        let empty = picture(&Stats::default(), UTF8);
        assert!(!empty.contains(['▏', '█']) && empty.ends_with("  0 B\n"), "{empty}");
    }

    #[test]
    fn one_run_and_many() {
        let one = picture(&stats(&[level(1, 9, 0, 41_165)]), UTF8);
        assert_eq!(one.matches('█').count(), 2 * MAX_BAR, "{one}");
        let many: Vec<Level> = (0..12).map(|power| level(1, 1 << power, 0, 1_000 << (2 * power))).collect();
        let many = picture(&stats(&many), UTF8);
        assert_eq!(many.lines().count(), 14);
        assert!(many.lines().skip(1).all(|line| line.contains(|c| ('█'..='▏').contains(&c))), "{many}");
        assert!(many.lines().last().unwrap().ends_with(&"█".repeat(MAX_BAR)));
    }

    #[test]
    fn columns_line_up() {
        let levels = [
            level(1, 12_044, 301, 1_258_291),
            level(2, 125_000, 0, 14_994_636),
            level(5, 1_062_956, 0, 128 << 20),
        ];
        let look = Look { columns: Some(80), ..UTF8 };
        let expected = "
         tables    entries  tombstones     bytes
memory                 412              40.2 KiB  ▏
level 0       1     12,044         301   1.2 MiB  ▎
level 1       2    125,000           0  14.3 MiB  ███▍
level 2       5  1,062,956           0   128 MiB  ██████████████████████████████
";
        assert_eq!(format!("\n{}", picture(&stats(&levels), look)), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let stats = stats(&[level(1, 12_044, 301, 1_258_291), level(123_456, u64::MAX, u64::MAX, u64::MAX)]);
        for columns in 20..160 {
            let picture = picture(&stats, Look { columns: Some(columns), ..UTF8 });
            assert!(widest(&picture) <= columns, "{columns}\n{picture}");
            assert!(picture.contains("16.0 EiB"));
        }
        let narrow = picture(&stats, Look { columns: Some(30), ..UTF8 });
        assert!(narrow.contains("████") && !narrow.contains("tombstones"), "{narrow}");
    }

    #[test]
    fn bars_are_coloured_only_on_request() {
        let coloured = picture(&stats(&[]), Look { colour: true, ..UTF8 });
        assert!(coloured.contains("\x1b[36m█"), "{coloured:?}");
        assert!(!picture(&stats(&[]), UTF8).contains('\x1b'));
    }
}
