//! What `.stats` shows a person: figures in short, the exact ones behind them, and the picture of the levels between.
//!
//! ```text
//! name                 figure       remark
//! ```
//!
//! A remark that does not fit on the line is left out, so that no line wraps but the first, which is the directory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::levels;
use crate::engine::{Rewrite, Stats};
use crate::shell::literal::harmless;
use crate::shell::look::Look;
use crate::shell::units;
use crate::types::EngineKind;

/// A figure.
struct Row {
    name: &'static str,
    figure: String,
    remark: String,
}

const fn row(name: &'static str, figure: String, remark: String) -> Row {
    Row { name, figure, remark }
}

/// The page for a database in `directory`.
pub(super) fn page(stats: &Stats, directory: &str, look: Look) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    page_at(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), stats, directory, look)
}

/// The page at a time, in milliseconds since 1970.
fn page_at(now: u64, stats: &Stats, directory: &str, look: Look) -> String {
    let groups = [size(stats), history(stats, now), of_this_handle(stats)];
    let rows = || groups.iter().flatten();
    let name_width = rows().map(|row| row.name.len()).max().unwrap_or(0);
    let figure_width = rows().map(|row| row.figure.chars().count()).max().unwrap_or(0);
    let [size, history, of_this_handle] = groups
        .each_ref()
        .map(|group| group.iter().map(|row| line(row, name_width, figure_width, look)).collect::<String>());
    let picture = match stats.engine {
        EngineKind::Kv => levels::picture(stats, look) + "\n",
        EngineKind::Simple => String::new(),
    };
    let directory = harmless(directory);
    format!("{directory}\n\n{size}\n{picture}{history}\n{of_this_handle}")
}

fn line(row: &Row, name_width: usize, figure_width: usize, look: Look) -> String {
    let Row { name, figure, remark } = row;
    let fits = name_width + figure_width + 4 + remark.chars().count() <= look.columns.unwrap_or(usize::MAX);
    if remark.is_empty() || !fits {
        return format!("{name:name_width$}  {figure}\n");
    }
    format!("{name:name_width$}  {figure:figure_width$}  {}\n", look.remark(remark))
}

fn size(stats: &Stats) -> Vec<Row> {
    let (counted, outdated, at_least) = if stats.is_exact {
        ("counted", "", "")
    } else {
        ("an estimate, outdated versions included", ", outdated versions included", ", or more")
    };
    let exact = |bytes| format!("{} bytes", units::grouped(bytes));
    vec![
        row("engine", stats.engine.name().into(), format!("last batch {}", units::grouped(stats.lsn.0))),
        row("keys", units::grouped(stats.keys), counted.into()),
        row("live data", units::bytes(stats.live_bytes), exact(stats.live_bytes) + outdated),
        row("on disk", units::bytes(stats.disk_bytes), exact(stats.disk_bytes)),
        row(
            "space amplification",
            ratio(stats.space_amplification()),
            format!("bytes on disk for each live one{at_least}"),
        ),
    ]
}

fn history(stats: &Stats, now: u64) -> Vec<Row> {
    let [user, log, tables] =
        [stats.user_bytes, stats.log_bytes_written, stats.table_bytes_written].map(units::bytes);
    let written = format!("{user} became {log} log, {tables} tables");
    let plural = if stats.log_files == 1 { "" } else { "s" };
    let log = format!("{} bytes in {} file{plural}", units::grouped(stats.log_bytes), stats.log_files);
    let mut rows = vec![
        row("write amplification", ratio(stats.write_amplification()), written),
        row("log", units::bytes(stats.log_bytes), log),
    ];
    if stats.engine == EngineKind::Kv {
        rows.push(rewritten("last flush", stats.last_flush, stats.flushes, now));
    }
    rows.push(rewritten("last compaction", stats.last_compaction, stats.compactions, now));
    rows
}

fn rewritten(name: &'static str, last: Option<Rewrite>, count: u64, now: u64) -> Row {
    let Some(Rewrite { unix_ms, read_bytes, written_bytes }) = last else {
        return row(name, "never".into(), String::new());
    };
    let [read, written] = [read_bytes, written_bytes].map(units::bytes);
    let remark = format!("{read} became {written}; {} so far", units::grouped(count));
    row(name, units::ago(unix_ms, now), remark)
}

fn of_this_handle(stats: &Stats) -> Vec<Row> {
    let mean = Duration::from_micros(stats.sync_micros / stats.syncs.max(1));
    let syncs =
        format!("by this process, in {} syncs of {}", units::grouped(stats.syncs), units::duration(mean));
    let waited = format!("{} in all", units::duration(Duration::from_micros(stats.lock_wait_micros)));
    let mut rows = vec![
        row(
            "commits",
            units::grouped(stats.commits),
            if stats.syncs == 0 { "by this process".into() } else { syncs },
        ),
        row(
            "waits for a lock",
            units::grouped(stats.lock_waits),
            if stats.lock_waits == 0 { String::new() } else { waited },
        ),
    ];
    if stats.engine == EngineKind::Kv {
        let open = format!("{} of {}", units::grouped(stats.open_tables), units::grouped(stats.tables));
        rows.push(row("open tables", open, format!("{} mapped", units::bytes(stats.mapped_bytes))));
    }
    rows
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "none".into(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Level;
    use crate::types::Lsn;

    const NOW: u64 = 1_900_000_000_000;

    fn stats() -> Stats {
        Stats {
            engine: EngineKind::Kv,
            keys: 1_050_000,
            live_bytes: 137_400_000,
            lsn: Lsn(1_250_321),
            memtable_keys: 12_044,
            memtable_bytes: 1_258_291,
            log_files: 3,
            log_bytes: 1_500_000,
            runs: 1,
            tables: 2,
            levels: vec![Level {
                tables: 2,
                entries: 1_062_956,
                tombstones: 5,
                bytes: 145_000_000,
                ..Level::default()
            }],
            disk_bytes: 180_355_072,
            user_bytes: 161_480_704,
            log_bytes_written: 190_000_000,
            table_bytes_written: 290_000_000,
            flushes: 1_024,
            compactions: 3,
            last_flush: Some(Rewrite {
                unix_ms: NOW - 65_000,
                read_bytes: 16 << 20,
                written_bytes: 14 << 20,
            }),
            commits: 1_020,
            syncs: 1_000,
            sync_micros: 1_234_000,
            ..Stats::default()
        }
    }

    fn shown(stats: &Stats, columns: usize) -> String {
        page_at(NOW, stats, "/home/ann/.kvdb", Look { columns: Some(columns), unicode: true, ..Look::PLAIN })
    }

    #[test]
    fn a_page_has_figures_in_short_and_exactly() {
        let expected = "\
/home/ann/.kvdb

engine               kv            last batch 1,250,321
keys                 1,050,000     an estimate, outdated versions included
live data            131 MiB       137,400,000 bytes, outdated versions included
on disk              172 MiB       180,355,072 bytes
space amplification  1.31          bytes on disk for each live one, or more

         tables    entries  tombstones    bytes
memory              12,044              1.2 MiB  ▎
level 0       2  1,062,956           5  138 MiB  ███████████████████████████████

write amplification  2.97          154 MiB became 181 MiB log, 277 MiB tables
log                  1.4 MiB       1,500,000 bytes in 3 files
last flush           1 minute ago  16.0 MiB became 14.0 MiB; 1,024 so far
last compaction      never

commits              1,020         by this process, in 1,000 syncs of 1.2 ms
waits for a lock     0
open tables          0 of 2        0 B mapped
";
        assert_eq!(shown(&stats(), 80), expected);
        let grammar = include_str!("../../../grammar.md");
        assert!(grammar.contains(&format!("```text\n{expected}```\n")), "grammar.md shows another page");
    }

    #[test]
    fn remarks_that_do_not_fit_are_left_out() {
        for columns in 40..120 {
            let page = shown(&stats(), columns);
            assert!(page.lines().all(|line| line.chars().count() <= columns), "{page}");
        }
    }

    #[test]
    fn the_simple_engine_has_no_levels() {
        let page = shown(&Stats { engine: EngineKind::Simple, ..stats() }, 80);
        assert!(
            !page.contains("level") && !page.contains("flush") && !page.contains("open tables"),
            "{page}"
        );
    }
}
