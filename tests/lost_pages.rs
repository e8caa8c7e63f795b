//! Files that are cut under an open session: what is gone is an error that names the place, never the end of the process and
//! never a wrong answer, and everything else goes on.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin};

use common::Sandbox;
use kvdb::{Db, Error};

const KEYS: u32 = 20_000;

fn key(number: u32) -> String {
    format!("key{number:08}")
}

fn value(number: u32) -> String {
    format!("{number:0100}")
}

/// A database with one large table.
fn filled(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.file("db");
    let db = Db::open(&dir).unwrap();
    let mut bulk = db.bulk().unwrap();
    for number in 0..KEYS {
        bulk.set(key(number), value(number)).unwrap();
    }
    bulk.commit().unwrap();
    db.compact().unwrap();
    dir
}

fn files(dir: &PathBuf, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn cut(path: &PathBuf, len: u64) {
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Gets every key: how many are right, and how many are errors that name the table.
fn get_all(db: &Db, table: &str) -> (u32, u32) {
    let (mut right, mut lost) = (0, 0);
    for number in 0..KEYS {
        match db.get(key(number)) {
            Ok(found) => {
                assert_eq!(found.unwrap(), value(number).as_bytes(), "{number}");
                right += 1;
            }
            Err(Error::Corruption { file, offset, what }) => {
                assert!(file.to_string_lossy().ends_with(table) && offset > 0, "{what}");
                assert!(what.contains("it was cut, or the device failed"), "{what}");
                lost += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    (right, lost)
}

/// The cut is tried where nothing was read before, and where everything was read and verified.
#[test]
fn a_table_that_is_cut_while_it_is_open_loses_what_is_gone_and_nothing_else() {
    for warm in [false, true] {
        let sandbox = Sandbox::new();
        let dir = filled(&sandbox);
        let db = Db::open(&dir).unwrap();
        assert_eq!(db.get(key(0)).unwrap().unwrap(), value(0).as_bytes());
        let tables = files(&dir, "sst");
        assert_eq!(tables.len(), 1);
        let name = tables[0].file_name().unwrap().to_string_lossy().into_owned();
        if warm {
            assert_eq!(get_all(&db, &name), (KEYS, 0));
            assert_eq!(db.scan(..).unwrap().count(), KEYS as usize);
        }
        // The last quarter has the hash section, so that most gets fail; the records are in the rest.
        let len = fs::metadata(&tables[0]).unwrap().len();
        cut(&tables[0], 60 * len / 100 / 4096 * 4096);
        let scanned = db.scan(..).unwrap().find_map(Result::err).unwrap();
        assert!(matches!(scanned, Error::Corruption { .. }), "{scanned}");
        let (right, lost) = get_all(&db, &name);
        assert_eq!(right + lost, KEYS);
        assert!(lost > KEYS / 4, "{lost} lost");
        db.set("key00000005x", "data").unwrap();
        assert!(db.compact().is_err(), "what is gone is not merged away");
        assert_eq!(db.get("key00000005x").unwrap().unwrap(), b"data");
        drop(db);
        let error = Db::open(&dir).unwrap().get(key(0)).unwrap_err().to_string();
        assert!(error.contains("bytes, the manifest says"), "{error}");
    }
}

#[test]
fn other_tables_and_what_is_in_memory_are_read_on() {
    let sandbox = Sandbox::new();
    let dir = filled(&sandbox);
    let db = Db::open(&dir).unwrap();
    assert_eq!(db.scan(..).unwrap().count(), KEYS as usize);
    db.set("in memory", "v").unwrap();
    let table = files(&dir, "sst").remove(0);
    let mut bulk = db.bulk().unwrap();
    (0..2 * KEYS).for_each(|number| bulk.set(format!("other{number:08}"), vec![7; 2_000]).unwrap());
    bulk.commit().unwrap();
    assert!(files(&dir, "sst").len() > 1);
    let bytes = fs::read(&table).unwrap();
    cut(&table, 8192);
    assert!(db.get(key(KEYS / 2)).is_err());
    assert_eq!(db.get("in memory").unwrap().unwrap(), b"v");
    let others = || db.scan("other".."othes").unwrap().flatten().count();
    assert_eq!(others(), 2 * KEYS as usize);
    // What was lost stays lost for who met it, even if the file is whole again.
    File::options().write(true).open(&table).unwrap().write_all(&bytes).unwrap();
    assert!(db.get(key(KEYS / 2)).is_err());
    assert_eq!(Db::open(&dir).unwrap().get(key(KEYS / 2)).unwrap().unwrap(), value(KEYS / 2).as_bytes());
}

#[test]
fn a_log_that_is_cut_while_it_is_open_is_an_error() {
    let sandbox = Sandbox::new();
    let dir = sandbox.file("db");
    let db = Db::open(&dir).unwrap();
    for number in 0..20 {
        db.set(key(number), value(number)).unwrap();
        assert!(db.get(key(number)).unwrap().is_some());
    }
    cut(&files(&dir, "wal")[0], 100);
    // What is in memory is right as long as nothing has to be read.
    assert_eq!(db.get(key(7)).unwrap().unwrap(), value(7).as_bytes());
    for _ in 0..3 {
        let error = db.set("k", "v").unwrap_err();
        assert!(matches!(error, Error::Corruption { .. }), "{error}");
        assert!(db.get(key(7)).is_err());
    }
}

/// Two handles leave notes in memory that they share. Nothing depends on what becomes of it.
#[test]
fn notes_that_are_cut_or_removed_while_they_are_in_use_are_missed_by_nobody() {
    let sandbox = Sandbox::new();
    let dir = sandbox.file("db");
    let (one, other) = (Db::open(&dir).unwrap(), Db::open(&dir).unwrap());
    let mut written = 0;
    let mut write_and_read = || {
        for db in [&one, &other].into_iter().cycle().take(40) {
            db.set(key(written), value(written)).unwrap();
            written += 1;
            for reader in [&one, &other] {
                assert_eq!(reader.get(key(written - 1)).unwrap().unwrap(), value(written - 1).as_bytes());
            }
        }
    };
    let notes = dir.join("SHM");
    write_and_read();
    assert!(fs::metadata(&notes).unwrap().len() >= 256);
    for len in [200, 100, 0] {
        cut(&notes, len);
        write_and_read();
    }
    fs::remove_file(&notes).unwrap();
    write_and_read();
    drop((one, other));
    assert_eq!(Db::open(&dir).unwrap().scan(..).unwrap().count(), written as usize);
}

/// A session of the binary, spoken to line by line.
struct Talk {
    child: Child,
    stdin: ChildStdin,
}

#[test]
fn a_session_survives_and_says_what_is_gone() {
    let sandbox = Sandbox::new();
    let dir = filled(&sandbox);
    let mut child = sandbox.spawn(&["--db", "db"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut talk = Talk { stdin: child.stdin.take().unwrap(), child };
    let mut ask = |line: &str| {
        writeln!(talk.stdin, "{line}").unwrap();
        let mut answer = String::new();
        out.read_line(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask("count"), format!("{KEYS}\n"));
    cut(&files(&dir, "sst")[0], 4096);
    writeln!(talk.stdin, "count\nget {}", key(KEYS / 2)).unwrap();
    writeln!(talk.stdin, "set after loss").unwrap();
    let mut answer = String::new();
    out.read_line(&mut answer).unwrap();
    assert_eq!(answer, "OK\n");
    drop(talk.stdin);
    let mut errors = String::new();
    talk.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(talk.child.wait().unwrap().code(), Some(4), "{errors}");
    assert_eq!(errors.matches("error: corruption in db/").count(), 2, "{errors}");
}
