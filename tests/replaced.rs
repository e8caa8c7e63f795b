//! What becomes of a handle whose directory is removed, renamed or replaced while it is open: it says so, loses nothing that it
//! acknowledged later, and leaves alone what is there now.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::Sandbox;
use kvdb::{Db, ErrorKind, Options, Result, SyncMode};

const WHAT: &str = "was removed, renamed or replaced";

/// How somebody puts another database where one is open, or none.
type Replace = (&'static str, fn(&Path));

const WAYS: [Replace; 4] = [
    ("removed and made anew", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fill(dir);
    }),
    ("emptied and filled anew", |dir| {
        for entry in fs::read_dir(dir).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fill(dir);
    }),
    ("renamed, and another in its place", |dir| {
        fs::rename(dir, dir.with_file_name("elsewhere")).unwrap();
        fill(dir);
    }),
    ("renamed", |dir| fs::rename(dir, dir.with_file_name("elsewhere")).unwrap()),
];

/// What a handle may be asked for that writes, or reaches for files.
type Command = (&'static str, fn(&Db) -> Result<()>);

const COMMANDS: [Command; 8] = [
    ("set", |db| db.set("new", "1")),
    ("set what needs another segment", |db| db.set("new", vec![b'v'; 300_000])),
    ("delete", |db| db.delete("old").map(drop)),
    ("compact", |db| db.compact().map(drop)),
    ("stats", |db| db.stats().map(drop)),
    ("check", |db| db.check().map(drop)),
    ("backup", |db| db.backup(std::env::temp_dir().join("kvdb-never-made")).map(drop)),
    ("bulk", |db| {
        let mut bulk = db.bulk()?;
        bulk.set("new", "1")?;
        bulk.commit()
    }),
];

/// Makes a database with tables and several segments.
fn fill(dir: &Path) {
    let db = Db::open(dir).unwrap();
    db.set("other", "kept").unwrap();
    db.compact().unwrap();
    for number in 0..4 {
        db.set(format!("other {number}"), vec![b'o'; 100_000]).unwrap();
    }
}

/// For longer than a handle believes its last look.
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// All files below a directory, with what is in them.
fn contents(dir: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    let files = entries.map(|entry| entry.unwrap());
    files.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect()
}

#[test]
fn a_handle_whose_directory_was_replaced_says_so_and_writes_to_no_other() {
    for sync in [SyncMode::Group, SyncMode::None] {
        for (way, replace) in WAYS {
            let scratch = tempfile::tempdir().unwrap();
            let dir = scratch.path().join("db");
            let handles = COMMANDS.map(|_| Options::new().sync(sync).open(&dir).unwrap());
            handles[0].set("old", "1").unwrap();
            assert!(handles.iter().all(|db| db.get("old").unwrap().is_some()));
            replace(&dir);
            pause();
            let before = contents(&dir);
            for ((name, command), db) in COMMANDS.iter().zip(&handles) {
                let what = format!("{way}, {name}, {sync:?}");
                for _ in 0..2 {
                    let error = command(db).expect_err(&what);
                    assert!(error.to_string().contains(WHAT), "{what}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Io, "{what}");
                }
                assert_eq!(db.get("old").unwrap().unwrap(), b"1", "{what}: it needs no file to know");
            }
            drop(handles);
            assert!(contents(&dir) == before, "{way}: another database was written to");
        }
    }
}

#[test]
fn a_directory_that_comes_back_is_written_to_again() {
    let scratch = tempfile::tempdir().unwrap();
    let [dir, aside] = ["db", "aside"].map(|name| scratch.path().join(name));
    let db = Db::open(&dir).unwrap();
    db.set("a", "1").unwrap();
    fs::rename(&dir, &aside).unwrap();
    pause();
    db.set("b", "2").unwrap_err();
    fs::rename(&aside, &dir).unwrap();
    db.set("c", vec![b'v'; 300_000]).unwrap();
    db.compact().unwrap();
    drop(db);
    let db = Db::open(&dir).unwrap();
    assert_eq!(["a", "b", "c"].map(|key| db.get(key).unwrap().is_some()), [true, false, true]);
}

#[test]
fn a_program_that_changes_its_directory_stays_with_its_database() {
    const NAME: &str = "a_program_that_changes_its_directory_stays_with_its_database";
    const INSIDE: &str = "KVDB_TEST_CHDIR";
    // The working directory belongs to the process, so another one plays with it.
    if std::env::var_os(INSIDE).is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", NAME]).env(INSIDE, "1").current_dir(scratch.path());
        let ran = again.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        return;
    }
    fs::create_dir("b").unwrap();
    fill(Path::new("b/db"));
    let before = contents(Path::new("b/db"));
    let db = Db::open("db").unwrap();
    std::env::set_current_dir("b").unwrap();
    db.set("a", vec![b'v'; 300_000]).unwrap();
    db.compact().unwrap();
    drop(db);
    assert!(contents(Path::new("db")) == before, "another database was written to");
    assert!(Db::open("../db").unwrap().get("a").unwrap().is_some());
}

#[test]
fn a_script_whose_database_was_replaced_is_told_what_to_do() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["--db", "db"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "set a 1").unwrap();
    let mut reply = String::new();
    stdout.read_line(&mut reply).unwrap();
    assert_eq!(reply, "OK\n");
    fs::remove_dir_all(sandbox.file("db")).unwrap();
    sandbox.run(&["--db", "db", "set", "a", "2"]).expect("OK\n", 0);
    writeln!(stdin, "set b 2").unwrap();
    drop(stdin);
    let ran = common::Ran::from(child.wait_with_output().unwrap());
    ran.complains(&format!("the database at db {WHAT} while it was open"));
    ran.complains("help: nothing was written; start kvdb again");
    assert_eq!(ran.code, Some(5));
    sandbox.run(&["--db", "db", "scan"]).expect("\"a\" \"2\"\n", 0);
}
