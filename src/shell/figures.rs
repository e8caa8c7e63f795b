//! `.stats`, `.levels`, `.compact` and `.backup`: figures about the database, for people and for scripts.
//!
//! | output | `.stats`, `.levels` | `.compact`, `.backup` |
//! |---|---|---|
//! | a terminal | a page with a picture of the levels: [`page`], [`levels`] | what was saved or brought, in one line |
//! | no terminal, or mode `script` | `name  figure`, one a line; a level is one line too | `name  figure` |
//! | mode `json`, `jsonl` | one object; `levels` is an array in it | one object |
//!
//! The names are the same wherever there are names, and stay: scripts look for them. What never was is `null`.

mod levels;
mod page;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::command::OutputMode;
use super::failure::Failure;
use super::literal::{harmless, literal};
use super::look::Look;
use super::progress::Meter;
use super::render::json_field;
use super::session::Session;
use super::units;
use crate::db::Db;
use crate::engine::{Backup, Compaction, Level, Progress, Rewrite, Stats};

impl Session {
    pub(super) fn stats(&mut self) -> Result<(), Failure> {
        let stats = self.connection.reader()?.stats()?;
        let directory = self.settings.db.display().to_string();
        if let Some(columns) = self.columns_for_people() {
            let page = page::page(&stats, &directory, Look { columns: Some(columns), ..self.look });
            self.renderer.text(&mut self.output.buffer, &page);
        } else {
            let rows = rows(&stats, &directory, self.speaks_json());
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
        Ok(())
    }

    pub(super) fn levels(&mut self) -> Result<(), Failure> {
        let stats = self.connection.reader()?.stats()?;
        if let Some(columns) = self.columns_for_people() {
            let page = levels::page(&stats, Look { columns: Some(columns), ..self.look });
            self.renderer.text(&mut self.output.buffer, &page);
        } else {
            let rows = level_rows(&stats, self.speaks_json());
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
        Ok(())
    }

    pub(super) fn compact(&mut self) -> Result<(), Failure> {
        self.refuse_in_block(".compact")?;
        self.connection.check_writable()?;
        let begun = Instant::now();
        let done = self.long_work("compacting", |db, progress| db.compact_with(progress))?;
        if self.columns_for_people().is_some() {
            self.renderer.text(&mut self.output.buffer, &saved(done, begun.elapsed()));
        } else {
            let rows = [("bytes_before", done.bytes_before.into()), ("bytes_after", done.bytes_after.into())];
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
        Ok(())
    }

    pub(super) fn backup(&mut self, dir: &Path) -> Result<(), Failure> {
        self.refuse_in_block(".backup")?;
        let begun = Instant::now();
        let done = self.long_work("backing up", |db, progress| db.backup_with(dir, progress))?;
        if self.columns_for_people().is_some() {
            let dir = dir.display().to_string();
            self.renderer.text(&mut self.output.buffer, &backed_up(&done, &harmless(&dir), begun.elapsed()));
        } else {
            self.renderer.figures(&mut self.output.buffer, &backup_rows(&done));
        }
        Ok(())
    }

    /// Has the database do what takes its time: how far it is is shown, and an interrupt stops it.
    fn long_work<R>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&Db, &mut dyn FnMut(Progress) -> bool) -> crate::error::Result<R>,
    ) -> Result<R, Failure> {
        let db = self.connection.reader()?;
        self.output.flush()?;
        let columns = self.errors.width.filter(|_| !self.speaks_json());
        let mut meter = Meter::new(&mut *self.errors.sink, columns, what).look(self.look);
        let interrupt = &self.interrupt;
        Ok(work(&db, &mut |progress| {
            meter.show(progress);
            !interrupt.is_raised()
        })?)
    }

    /// The columns that the output has, if a person reads it there.
    pub(super) fn columns_for_people(&self) -> Option<usize> {
        match self.settings.mode {
            OutputMode::Quoted | OutputMode::Raw | OutputMode::Table => self.renderer.columns(),
            _ => None,
        }
    }
}

/// What a compaction came to.
fn saved(Compaction { bytes_before, bytes_after }: Compaction, time: Duration) -> String {
    let (before, after, time) =
        (units::bytes(bytes_before), units::bytes(bytes_after), units::duration(time));
    match bytes_before.checked_sub(bytes_after) {
        Some(0) => format!("compacted {before} in {time}, nothing to save"),
        Some(saved) => {
            let percent = units::percent(saved, bytes_before);
            let saved = units::bytes(saved);
            format!("compacted {before} to {after}, saved {saved} ({percent}%) in {time}")
        }
        None => format!("compacted {before} to {after} in {time}, nothing to save"),
    }
}

/// What a backup came to, for people.
fn backed_up(backup: &Backup, dir: &str, time: Duration) -> String {
    let part = |what, files: u64, bytes| match files {
        0 => None,
        1 => Some(format!("1 file {what} ({})", units::bytes(bytes))),
        _ => Some(format!("{} files {what} ({})", units::grouped(files), units::bytes(bytes))),
    };
    let parts = [
        part("kept", backup.kept_files, backup.kept_bytes),
        part("linked", backup.linked_files, backup.linked_bytes),
        part("copied and verified", backup.copied_files, backup.copied_bytes),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let parts = if parts.is_empty() { "nothing to copy".into() } else { parts.join(", ") };
    format!("backed up to {dir}: {parts} in {}", units::duration(time))
}

fn backup_rows(backup: &Backup) -> [(&'static str, Value); 8] {
    [
        ("lsn", backup.lsn.0.into()),
        ("kept_files", backup.kept_files.into()),
        ("kept_bytes", backup.kept_bytes.into()),
        ("linked_files", backup.linked_files.into()),
        ("linked_bytes", backup.linked_bytes.into()),
        ("copied_files", backup.copied_files.into()),
        ("copied_bytes", backup.copied_bytes.into()),
        ("verified_bytes", backup.verified_bytes.into()),
    ]
}

/// Named figures. Levels are an array, or a row each.
fn rows(stats: &Stats, directory: &str, nested: bool) -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Value| rows.push((name.to_owned(), value));
    add("directory", directory.into());
    add("engine", stats.engine.name().into());
    add("keys", stats.keys.into());
    add("keys_counted", stats.is_exact.into());
    add("live_bytes", stats.live_bytes.into());
    add("lsn", stats.lsn.0.into());
    add_all(&mut add, &in_memory(stats));
    add("log_files", stats.log_files.into());
    add("log_bytes", stats.log_bytes.into());
    add_all(&mut add, &in_tables(stats));
    add_levels(&mut add, &stats.levels, nested, (level_object, level_text));
    add("disk_bytes", stats.disk_bytes.into());
    add("space_amplification", ratio(stats.space_amplification()));
    add("write_amplification", ratio(stats.write_amplification()));
    add_all(&mut add, &written(stats));
    add_rewrite(&mut add, "last_flush", stats.last_flush);
    add_rewrite(&mut add, "last_compaction", stats.last_compaction);
    add_all(&mut add, &by_this_handle(stats));
    rows
}

/// What `.levels` tells of it, under the same names.
fn level_rows(stats: &Stats, nested: bool) -> Vec<(String, Value)> {
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Value| rows.push((name.to_owned(), value));
    add_all(&mut add, &in_memory(stats));
    add_all(&mut add, &in_tables(stats));
    add_levels(&mut add, &stats.levels, nested, (level_object_with_keys, level_text_with_keys));
    rows
}

/// How a level is written in JSON and on a line.
type LevelForms = (fn(&Level) -> Value, fn(&Level) -> String);

fn add_levels(add: &mut dyn FnMut(&str, Value), levels: &[Level], nested: bool, (object, text): LevelForms) {
    if nested {
        add("levels", levels.iter().map(object).collect());
    } else {
        for (index, level) in levels.iter().enumerate() {
            add(&format!("level_{index}"), text(level).into());
        }
    }
}

fn add_all(add: &mut dyn FnMut(&str, Value), counts: &[(&str, u64)]) {
    for (name, count) in counts {
        add(name, (*count).into());
    }
}

const fn in_memory(stats: &Stats) -> [(&'static str, u64); 2] {
    [("memtable_keys", stats.memtable_keys), ("memtable_bytes", stats.memtable_bytes)]
}

const fn in_tables(stats: &Stats) -> [(&'static str, u64); 2] {
    [("runs", stats.runs), ("tables", stats.tables)]
}

const fn written(stats: &Stats) -> [(&'static str, u64); 5] {
    [
        ("user_bytes", stats.user_bytes),
        ("log_bytes_written", stats.log_bytes_written),
        ("table_bytes_written", stats.table_bytes_written),
        ("flushes", stats.flushes),
        ("compactions", stats.compactions),
    ]
}

const fn by_this_handle(stats: &Stats) -> [(&'static str, u64); 7] {
    [
        ("commits", stats.commits),
        ("syncs", stats.syncs),
        ("sync_micros", stats.sync_micros),
        ("lock_waits", stats.lock_waits),
        ("lock_wait_micros", stats.lock_wait_micros),
        ("open_tables", stats.open_tables),
        ("mapped_bytes", stats.mapped_bytes),
    ]
}

fn add_rewrite(add: &mut dyn FnMut(&str, Value), name: &str, rewrite: Option<Rewrite>) {
    let mut figure = |of: &str, figure: fn(Rewrite) -> u64| {
        add(&format!("{name}_{of}"), rewrite.map(figure).into());
    };
    figure("unix_ms", |rewrite| rewrite.unix_ms);
    figure("read_bytes", |rewrite| rewrite.read_bytes);
    figure("written_bytes", |rewrite| rewrite.written_bytes);
}

fn level_object(level: &Level) -> Value {
    let Level { tables, entries, tombstones, bytes, .. } = level;
    json!({ "tables": tables, "entries": entries, "tombstones": tombstones, "bytes": bytes })
}

fn level_text(level: &Level) -> String {
    let Level { tables, entries, tombstones, bytes, .. } = level;
    format!("tables={tables} entries={entries} tombstones={tombstones} bytes={bytes}")
}

fn level_object_with_keys(level: &Level) -> Value {
    let mut object = level_object(level);
    for (name, key) in [("first_key", &level.first_key), ("last_key", &level.last_key)] {
        let (name, key) = json_field(name, key);
        object[name] = key;
    }
    object
}

fn level_text_with_keys(level: &Level) -> String {
    let [first, last] = [&level.first_key, &level.last_key].map(|key| literal(key));
    format!("{} first={first} last={last}", level_text(level))
}

/// To three places; `null` where nothing is divided.
fn ratio(ratio: Option<f64>) -> Value {
    ratio.map(|ratio| (ratio * 1_000.0).round() / 1_000.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_said_with_its_share_and_growth_is_not_called_saving() {
        let say = |bytes_before, bytes_after| {
            saved(Compaction { bytes_before, bytes_after }, Duration::from_millis(2_100))
        };
        let brief = "compacted 1.2 GiB to 800 MiB, saved 429 MiB (35%) in 2.1 s";
        assert_eq!(say(1_288_490_189, 800 << 20), brief);
        assert_eq!(say(2_048, 4_096), "compacted 2.0 KiB to 4.0 KiB in 2.1 s, nothing to save");
        assert_eq!(say(512, 512), "compacted 512 B in 2.1 s, nothing to save");
    }

    #[test]
    fn what_a_backup_came_to_is_said_in_one_line() {
        let say = |backup| backed_up(&backup, "copy", Duration::from_millis(2_100));
        assert_eq!(say(Backup::default()), "backed up to copy: nothing to copy in 2.1 s");
        let backup = Backup {
            kept_files: 1,
            kept_bytes: 5 << 20,
            linked_files: 1_000,
            linked_bytes: 3 << 20,
            copied_files: 2,
            copied_bytes: 512,
            ..Backup::default()
        };
        let all = "backed up to copy: 1 file kept (5.0 MiB), 1,000 files linked (3.0 MiB), \
                   2 files copied and verified (512 B) in 2.1 s";
        assert_eq!(say(backup), all);
    }

    #[test]
    fn levels_are_nested_or_a_row_each() {
        let level = Level { tables: 2, entries: 30, tombstones: 4, bytes: 5_000, ..Level::default() };
        let stats = Stats { runs: 1, levels: vec![level], ..Stats::default() };
        let find = |nested, name: &str| {
            let rows = rows(&stats, "/db", nested);
            rows.into_iter().find(|row| row.0 == name).map(|row| row.1)
        };
        let object = json!({ "tables": 2, "entries": 30, "tombstones": 4, "bytes": 5_000 });
        assert_eq!(find(true, "levels"), Some(json!([object])));
        assert_eq!(find(true, "level_0"), None);
        assert_eq!(find(false, "level_0"), Some("tables=2 entries=30 tombstones=4 bytes=5000".into()));
        assert_eq!(find(false, "levels"), None);
        for nested in [true, false] {
            assert_eq!(find(nested, "write_amplification"), Some(Value::Null));
            assert_eq!(find(nested, "last_flush_unix_ms"), Some(Value::Null));
        }
    }

    #[test]
    fn keys_of_levels_are_literals_on_lines_and_exact_in_json() {
        let [first_key, last_key] = ["a b".into(), b"\xff".into()];
        let level = Level { tables: 1, entries: 2, tombstones: 0, bytes: 9, first_key, last_key };
        let stats = Stats { memtable_keys: 7, runs: 1, tables: 1, levels: vec![level], ..Stats::default() };
        let lines = level_rows(&stats, false);
        let names: Vec<&str> = lines.iter().map(|row| &*row.0).collect();
        assert_eq!(names, ["memtable_keys", "memtable_bytes", "runs", "tables", "level_0"]);
        let text = r#"tables=1 entries=2 tombstones=0 bytes=9 first="a b" last="\xff""#;
        assert_eq!(lines[4].1, text);
        let objects = &level_rows(&stats, true)[4].1;
        assert_eq!((&objects[0]["first_key"], &objects[0]["last_key_b64"]), (&json!("a b"), &json!("/w==")));
    }

    #[test]
    fn ratios_have_three_places() {
        assert_eq!(ratio(Some(2.0 / 3.0)).to_string(), "0.667");
        assert_eq!(ratio(Some(2.0)).to_string(), "2.0");
    }
}
