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
//! It is a part of `.stats`, and most of `.levels`, where below each level stand its first and its last key.
//!
//! 1. The longest bar stands for the most bytes. Where there are bytes there is a bar, however short; no bytes are no bar.
//! 2. Bars are never wider than [`MAX_BAR`] columns, and no line is wider than the terminal: columns of lesser interest are left
//!    out until the bars have [`MIN_BAR`] columns, then the bars.
//! 3. Two keys that don't fit on one line have one each, and are cut only where that is not enough.

use unicode_width::UnicodeWidthStr;

use crate::engine::{Level, Stats};
use crate::shell::bar::bar;
use crate::shell::literal::literal;
use crate::shell::look::Look;
use crate::shell::render::cut;
use crate::shell::units;
use crate::types::EngineKind;

const MAX_BAR: usize = 40;
const MIN_BAR: usize = 8;

/// What stands before the keys of a level.
const INDENT: &str = "  ";

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
    lines(stats, look).concat()
}

/// What `.levels` shows a person: the picture, the keys of each level, and what it means.
pub(super) fn page(stats: &Stats, look: Look) -> String {
    if stats.engine == EngineKind::Simple {
        let (keys, bytes) = (units::counted(stats.keys, "key"), units::bytes(stats.live_bytes));
        return format!("no levels in the engine simple\n{keys}, {bytes}, all in memory\n");
    }
    let columns = look.columns.unwrap_or(usize::MAX);
    let keys = stats.levels.iter().map(|level| keys(level, columns));
    let below = [String::new(), String::new()].into_iter().chain(keys);
    let picture: String = lines(stats, look).into_iter().zip(below).flat_map(<[String; 2]>::from).collect();
    format!("{picture}\n{}\n", look.remark(meaning(stats)))
}

/// What there is to know of the picture.
const fn meaning(stats: &Stats) -> &'static str {
    match (stats.levels.len(), stats.memtable_keys) {
        (0, 0) => "the database is empty",
        (0, _) => "no tables yet: all is still in memory",
        _ => "newest first; reads look from the top",
    }
}

/// The first and the last key of a level.
fn keys(level: &Level, columns: usize) -> String {
    let [first, last] = [&level.first_key, &level.last_key].map(|key| literal(key));
    let line = format!("{INDENT}{first} to {last}\n");
    if line.trim_end().width() <= columns {
        return line;
    }
    let lines = [first, format!("to {last}")].map(|key| INDENT.to_owned() + &key);
    lines.iter().flat_map(|line| [cut(line, columns), "\n".into()]).collect()
}

/// The headings, memory, and each level, on a line each.
fn lines(stats: &Stats, look: Look) -> Vec<String> {
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
    let bars = sizes.into_iter().map(|bytes| look.bar(&bar(bytes, most, bar_width, look.unicode)));
    let bars = std::iter::once(String::new()).chain(bars);
    bars.enumerate().map(|(row, bar)| line(&columns, row, &bar)).collect()
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
        Level { tables, entries, tombstones, bytes, ..Level::default() }
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

    fn with_keys(first: &[u8], last: &[u8]) -> Level {
        Level { first_key: first.into(), last_key: last.into(), ..level(1, 12_044, 301, 1_258_291) }
    }

    #[test]
    fn each_level_is_shown_with_its_keys() {
        let older = Level { tables: 5, bytes: 14_994_636, ..with_keys(b"a", b"\xff\0") };
        let levels = [with_keys(b"user:000012", b"user:999871"), older];
        let expected = r#"
         tables  entries  tombstones     bytes
memory               412              40.2 KiB  ▏
level 0       1   12,044         301   1.2 MiB  ██▋
  "user:000012" to "user:999871"
level 1       5   12,044         301  14.3 MiB  ████████████████████████████████
  "a" to "\xff\x00"

newest first; reads look from the top
"#;
        let stats = stats(&levels);
        assert_eq!(format!("\n{}", page(&stats, Look { columns: Some(80), ..UTF8 })), expected);
        let grammar = include_str!("../../../grammar.md");
        assert!(grammar.contains(&format!("```text{expected}```\n")), "grammar.md shows another page");
    }

    #[test]
    fn keys_that_do_not_fit_have_a_line_each_and_are_cut() {
        let keys = keys(&with_keys("customer/2026-11-21/鍵".as_bytes(), &[b'z'; 60]), 40);
        let cut = format!("  to \"{}…", "z".repeat(33));
        assert_eq!(keys.lines().collect::<Vec<_>>(), ["  \"customer/2026-11-21/鍵\"", &cut]);
        let levels = [with_keys("鍵".repeat(300).as_bytes(), &[0xff; 9]), with_keys(b"", b"")];
        for columns in 40..100 {
            let shown = page(&stats(&levels), Look { columns: Some(columns), ..UTF8 });
            assert!(shown.lines().all(|line| line.width() <= columns), "{columns}\n{shown}");
        }
    }

    #[test]
    fn without_levels_it_says_why() {
        let shown = |stats: &Stats| page(stats, Look::PLAIN);
        let simple = Stats { engine: EngineKind::Simple, keys: 1, live_bytes: 12, ..Stats::default() };
        assert!(shown(&simple).ends_with("simple\n1 key, 12 B, all in memory\n"));
        assert!(shown(&stats(&[])).ends_with("no tables yet: all is still in memory\n"));
        assert!(shown(&Stats::default()).ends_with("\n\nthe database is empty\n"));
    }
}
