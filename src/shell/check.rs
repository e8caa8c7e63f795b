//! `.check`: what is wrong with the files of the database, for people and for scripts.
//!
//! | output | a fault | what was read |
//! |---|---|---|
//! | a terminal | a paragraph: where, what, which keys | one sentence |
//! | no terminal, or mode `script` | `fault  FILE at offset N: …`, one a line | `name  figure`, one a line |
//! | mode `json`, `jsonl` | an object in the array `faults` | the same object |
//!
//! A check that is interrupted tells the faults that it has found in the same way, and that there may be more.
//!
//! Faults are the reply, on standard output; that there are any is an error behind it, with the exit code for corruption.

use std::ops::Bound;
use std::path::Path;

use serde_json::{Map, Value};

use super::exit::Exit;
use super::failure::Failure;
use super::literal::brief;
use super::progress::Meter;
use super::render::json_field;
use super::session::Session;
use super::units;
use crate::engine::{Check, Progress};
use crate::error::{Error, Fault, keys_text, shell_word};

/// Bytes of a key that a fault shows.
const MAX_SHOWN_KEY: usize = 64;

impl Session {
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        let (mut seen, mut found_so_far) = (Progress::default(), Vec::new());
        let check = self.metered("checking", |connection, progress| {
            connection.check(&mut |now, faults| {
                seen = now;
                if found_so_far.len() != faults.len() {
                    found_so_far = faults.to_vec();
                }
                progress(now)
            })
        });
        if let Err(Failure::Database(Error::Interrupted)) = check {
            self.stopped = Some(so_far(seen));
            self.tell_so_far(found_so_far);
        }
        let check = check?;
        for notice in &check.notices {
            self.note(&notice.to_string());
        }
        if self.columns_for_people().is_some() {
            let text = page(&check);
            self.renderer.text(&mut self.output.buffer, &text);
        } else {
            let rows = rows(&check, self.speaks_json());
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
        if check.is_clean() { Ok(()) } else { Err(found(check.faults.len(), &self.settings.db)) }
    }

    /// Tells what an interrupted check has found, if it has found something.
    fn tell_so_far(&mut self, mut faults: Vec<Fault>) {
        if faults.is_empty() {
            return;
        }
        faults.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        if self.columns_for_people().is_some() {
            let text: String = faults.iter().map(|fault| paragraph(fault, "")).collect();
            self.renderer.text(&mut self.output.buffer, &text);
        } else {
            let mut rows = fault_rows(&faults, self.speaks_json());
            rows.push(("interrupted", true.into()));
            self.renderer.figures(&mut self.output.buffer, &rows);
        }
    }

    /// Runs long work with a line that shows how far it is.
    pub(super) fn metered<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&super::connection::Connection, &mut dyn FnMut(Progress) -> bool) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        self.output.flush()?;
        let columns = self.errors.width.filter(|_| !self.speaks_json());
        let mut meter = Meter::new(&mut *self.errors.sink, columns, what).look(self.look);
        let interrupt = &self.interrupt;
        let done = work(&self.connection, &mut |progress| {
            meter.show(progress);
            !interrupt.is_raised()
        });
        drop(meter);
        Ok(done?)
    }
}

/// What an interrupted check has looked at, and found.
fn so_far(Progress { done, total, faults, .. }: Progress) -> String {
    let found = if faults == 0 { "no fault".into() } else { units::counted(faults, "fault") };
    format!("{} of {} were looked at: {found}", units::grouped(done), units::counted(total, "record"))
}

/// That there are faults, and what to do.
fn found(count: usize, dir: &Path) -> Failure {
    Failure::Refused {
        message: format!("{} has {}", dir.display(), units::counted(count as u64, "fault")),
        help: Some(format!("kvdb --db {} repair writes what can be read to a new database", shell_word(dir))),
        exit: Exit::CORRUPTION,
    }
}

/// The page for people.
fn page(check: &Check) -> String {
    let faults = check.faults.iter().map(|fault| paragraph(fault, ""));
    let verdict = match check.faults.len() {
        0 => "no faults in".into(),
        1 => "1 fault; what was read:".into(),
        count => format!("{count} faults; what was read:"),
    };
    let Check { tables, table_records, log_records, table_bytes, .. } = check;
    let summary = format!(
        "{verdict} {} ({} in {}) and {}\n",
        units::counted(*tables, "table"),
        units::counted(*table_records, "record"),
        units::bytes(*table_bytes),
        units::counted(*log_records, "record of the log"),
    );
    faults.collect::<String>() + &summary
}

/// A fault for people: where, and below it what.
pub(super) fn paragraph(fault: &Fault, more: &str) -> String {
    let len = if fault.len > 0 { format!(", {} bytes", units::grouped(fault.len)) } else { String::new() };
    let place = format!("{} at offset {}{len}", fault.file.display(), fault.offset);
    let lines = std::iter::once(fault.what.clone()).chain(concerned(fault));
    let lines = lines.flat_map(|line| ["    ".to_owned(), line, "\n".to_owned()]);
    format!("{place}\n{}{more}\n", lines.collect::<String>())
}

/// A fault on one line.
pub(super) fn line(fault: &Fault) -> String {
    let len = if fault.len > 0 { format!(", {} bytes", fault.len) } else { String::new() };
    let parts = std::iter::once(fault.what.clone()).chain(concerned(fault)).collect::<Vec<_>>();
    format!("{} at offset {}{len}: {}", fault.file.display(), fault.offset, parts.join("; "))
}

/// The keys and the batches that a fault concerns.
fn concerned(fault: &Fault) -> Vec<String> {
    let keys = fault.keys.as_ref().map(|keys| keys_text(keys, &|key| brief(key, MAX_SHOWN_KEY)));
    let lsns = fault.lsns.map(|(first, last)| match last {
        _ if first == last => format!("batch {first}"),
        _ => format!("batches {first} to {last}"),
    });
    keys.into_iter().chain(lsns).collect()
}

fn fault_rows(faults: &[Fault], nested: bool) -> Vec<(&'static str, Value)> {
    if nested {
        return vec![("faults", faults.iter().map(|fault| Value::Object(object(fault))).collect())];
    }
    let mut rows = vec![("faults", faults.len().into())];
    rows.extend(faults.iter().map(|fault| ("fault", line(fault).into())));
    rows
}

fn rows(check: &Check, nested: bool) -> Vec<(&'static str, Value)> {
    let mut rows = fault_rows(&check.faults, nested);
    rows.extend([
        ("tables", check.tables.into()),
        ("table_records", check.table_records.into()),
        ("table_bytes", check.table_bytes.into()),
        ("log_records", check.log_records.into()),
        ("changes", check.changes.into()),
        ("lsn", check.lsn.0.into()),
    ]);
    rows
}

/// A fault as an object. Bounds of keys that are not there are left out.
pub(super) fn object(fault: &Fault) -> Map<String, Value> {
    let mut object = Map::new();
    let mut add = |name: &str, value: Value| drop(object.insert(name.into(), value));
    add("file", fault.file.display().to_string().into());
    add("offset", fault.offset.into());
    add("bytes", fault.len.into());
    add("what", fault.what.as_str().into());
    if let Some((first, last)) = fault.lsns {
        add("first_lsn", first.0.into());
        add("last_lsn", last.0.into());
    }
    let bounds =
        fault.keys.as_ref().map(|keys| [("first", "after", &keys.start), ("last", "before", &keys.end)]);
    for (included, excluded, bound) in bounds.into_iter().flatten() {
        let (name, key) = match bound {
            Bound::Included(key) => (format!("{included}_key"), key),
            Bound::Excluded(key) => (format!("{excluded}_key"), key),
            Bound::Unbounded => continue,
        };
        let (name, value) = json_field(&name, key);
        object.insert(name, value);
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::command::{Command, OutputMode};
    use super::super::interrupt::Interrupt;
    use super::super::session::{Place, Stream, Streams, Way};
    use super::super::tests::captured::Captured;
    use super::*;
    use crate::config::Settings;
    use crate::db::Db;
    use crate::types::{KeyRange, Lsn};

    fn fault() -> Fault {
        let keys = KeyRange { start: Bound::Excluded("a b".into()), end: Bound::Included(b"\xff".into()) };
        Fault { len: 4096, ..Fault::new("db/000001.sst".into(), 8192, "a checksum does not match") }
            .of_keys(keys)
    }

    #[test]
    fn a_fault_says_where_what_and_which_keys_in_every_form() {
        let text = r#"db/000001.sst at offset 8192, 4096 bytes: a checksum does not match; keys behind "a b" to "\xff""#;
        assert_eq!(line(&fault()), text);
        let text = paragraph(&fault(), "");
        assert!(text.starts_with("db/000001.sst at offset 8192, 4,096 bytes\n    a checksum"), "{text}");
        let object = object(&fault());
        assert_eq!(object["after_key"], json!("a b"));
        assert_eq!(object["last_key_b64"], json!("/w=="));
        assert_eq!((&object["offset"], &object["bytes"]), (&json!(8192), &json!(4096)));
    }

    /// What `.check` prints of a database without one of its locks if it is interrupted, and what it exits with.
    fn interrupted(mode: OutputMode, width: Option<fn() -> usize>) -> (String, Exit) {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        (settings.db, settings.mode) = (dir.path().join("db"), mode);
        Db::open(&settings.db).unwrap().set("a", "1").unwrap();
        std::fs::remove_file(settings.db.join("TURN")).unwrap();
        let (out, err) = (Captured::default(), Captured::default());
        let streams = Streams { output: Stream { width, ..out.stream() }, errors: err.stream() };
        let mut session = Session::new(settings, Way::OneShot, streams, Interrupt::never());
        session.interrupt.flag().store(true, std::sync::atomic::Ordering::SeqCst);
        session.run(Command::Check, Place::NONE);
        let exit = session.finish();
        (out.text().replace(&dir.path().display().to_string(), ""), exit)
    }

    #[test]
    fn an_interrupted_check_tells_what_it_has_found() {
        let what = "the file is missing: processes take turns by locking it; an empty one will do";
        let rows = format!("faults       1\nfault        /db/TURN at offset 0: {what}\ninterrupted  true\n");
        assert_eq!(interrupted(OutputMode::Quoted, None), (rows, Exit::INTERRUPTED));
        let page = format!("/db/TURN at offset 0\n    {what}\n");
        assert_eq!(interrupted(OutputMode::Quoted, Some(|| 120)), (page, Exit::INTERRUPTED));
        let (json, exit) = interrupted(OutputMode::Json, None);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json["faults"][0]["what"].as_str(), &json["interrupted"]), (Some(what), &json!(true)));
        assert_eq!(exit, Exit::INTERRUPTED);
    }

    #[test]
    fn an_interrupted_check_says_what_it_has_looked_at() {
        let seen = Progress { done: 1_024, total: 2_000, ..Progress::default() };
        assert_eq!(so_far(seen), "1,024 of 2,000 records were looked at: no fault");
        let text = so_far(Progress { faults: 2, ..seen });
        assert_eq!(text, "1,024 of 2,000 records were looked at: 2 faults");
    }

    #[test]
    fn batches_are_told_too() {
        let fault = Fault::new("db/000001.wal".into(), 72, "LSN 3 can't be read").of_lsns(Lsn(3), Lsn(5));
        assert!(line(&fault).ends_with("; batches 3 to 5"));
        assert_eq!(object(&fault)["last_lsn"], json!(5));
        assert!(page(&Check::default()).starts_with("no faults in 0 tables (0 records in 0 B)"));
    }
}
