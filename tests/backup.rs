//! `.backup` as a user meets it: in a session, as a one-shot, on another file system, while others write, and killed half-way.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::Sandbox;
use kvdb::Db;

fn tables(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect()
}

fn count(sandbox: &Sandbox, dir: &str) -> u64 {
    sandbox.run(&["--db", dir, "count"]).text().trim().parse().unwrap()
}

#[test]
fn a_backup_opens_as_a_database_and_both_go_on() {
    for engine in ["kv", "simple"] {
        let sandbox = Sandbox::new();
        let script = "set a 1\nset b 2\n.backup copy\nset c 3\n.backup copy\nset d 4\n";
        let ran = sandbox.feed(&["--engine", engine, "--db", "db"], script);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        sandbox.run(&["--db", "copy", "scan"]).expect("\"a\" \"1\"\n\"b\" \"2\"\n\"c\" \"3\"\n", 0).quiet();
        sandbox.run(&["--db", "copy", "set", "own", "5"]).expect("OK\n", 0);
        sandbox.run(&["--db", "copy", "compact"]);
        sandbox.run(&["--db", "db", "compact"]);
        sandbox.run(&["--db", "db", "keys"]).expect("\"a\"\n\"b\"\n\"c\"\n\"d\"\n", 0);
        sandbox.run(&["--db", "copy", "keys"]).expect("\"a\"\n\"b\"\n\"c\"\n\"own\"\n", 0);
        let refused = sandbox.run(&["--db", "db", "backup", "copy"]);
        refused.expect("", 3).complains("cannot back up to copy: it has been written to since it was made");
        refused.complains("= help: nothing was changed there");
    }
}

#[test]
fn tables_are_linked_and_nothing_that_is_written_to_is() {
    let sandbox = Sandbox::new();
    sandbox.script("set a 1\n.compact\nset b 2\n");
    let db = sandbox.file(".kvdb");
    let json = sandbox.run(&["--json", "backup", "copy"]);
    let object: serde_json::Value = serde_json::from_slice(&json.out).unwrap();
    assert_eq!((&object["lsn"], &object["linked_files"]), (&2.into(), &2.into()), "{object}");
    let copy = sandbox.file("copy");
    assert_eq!(tables(&copy).len(), 2);
    for entry in fs::read_dir(&copy).unwrap() {
        let path = entry.unwrap().path();
        let is_table = path.extension().is_some_and(|extension| extension == "sst");
        let about = path.metadata().unwrap();
        assert_eq!(about.nlink(), if is_table { 2 } else { 1 }, "{}", path.display());
        assert_eq!(about.mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o700);
    let again = sandbox.run(&[".backup", "copy"]);
    assert!(again.text().contains("kept_files      2\nkept_bytes"), "{again:?}");
    assert_eq!(tables(&db).len(), 2);
}

#[test]
fn on_another_file_system_tables_are_copied() {
    let elsewhere = Path::new("/dev/shm");
    let sandbox = Sandbox::new();
    let device = |path: &Path| fs::metadata(path).map_or(0, |about| about.dev());
    if [0, device(sandbox.path())].contains(&device(elsewhere)) {
        return;
    }
    let dir = tempfile::tempdir_in(elsewhere).unwrap();
    let copy = dir.path().join("copy").display().to_string();
    sandbox.script("set a 1\n.compact\nset b 2\n");
    let object: serde_json::Value =
        serde_json::from_slice(&sandbox.run(&["--json", "backup", &copy]).out).unwrap();
    assert_eq!((&object["copied_files"], &object["linked_files"]), (&2.into(), &0.into()));
    assert_eq!(object["verified_bytes"], object["copied_bytes"]);
    assert_eq!(count(&sandbox, &copy), 2);
}

#[test]
fn what_is_in_the_way_is_named_and_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]);
    sandbox.write("notes/a.txt", "mine");
    sandbox.run(&["backup", "notes"]).expect("", 3).complains("it is no backup, but holds a.txt");
    sandbox.run(&["backup", ".kvdb"]).expect("", 3).complains("it is the database itself");
    sandbox.run(&["backup", "./.kvdb/"]).expect("", 3).complains("it is the database itself");
    std::os::unix::fs::symlink(sandbox.file(".kvdb"), sandbox.file("link")).unwrap();
    sandbox.run(&["backup", "link"]).expect("", 3).complains("it is a database, and no backup of this one");
    sandbox.run(&["--db", "other", "set", "a", "1"]);
    sandbox.run(&["backup", "other"]).expect("", 3).complains("it is another database");
    sandbox.run(&["--db", "absent", "backup", "copy"]).expect("", 3).complains("no database at");
    sandbox.feed(&[], "begin\n.backup copy\nrollback\n").complains(".backup can't run inside a transaction");
    assert!(!sandbox.file("copy").exists() && !sandbox.file("absent").exists());
    sandbox.run(&["backup"]).expect("", 2);
}

/// Raises a flag when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A writer keeps two keys equal in every batch; each backup is of one moment, and killed ones leave a whole one.
#[test]
fn backups_while_others_write_and_die_are_whole() {
    let sandbox = Sandbox::new();
    let db = Db::open(sandbox.file("db")).unwrap();
    let stop = AtomicBool::new(false);
    let write = |number: u32| {
        let mut batch = kvdb::Batch::new();
        batch.set("left", number.to_string()).set("right", number.to_string());
        batch.set(format!("f{}", number % 50), vec![7; 20_000]);
        db.write(batch).unwrap();
    };
    // However busy the machine is, there is something to back up.
    write(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 1;
            while !stop.load(Ordering::Relaxed) {
                write(number);
                number += 1;
            }
        });
        // A failure is to end the writer too.
        let _stop = Stop(&stop);
        let mut whole = 0;
        for round in 0..30 {
            let mut child = sandbox.spawn(&["--db", "db", "backup", "copy"]);
            if round % 3 > 0 {
                std::thread::sleep(Duration::from_millis(round));
                child.kill().unwrap();
            }
            whole += u32::from(child.wait().unwrap().success());
            if sandbox.file("copy").exists() {
                let ran = sandbox.run(&["--db", "copy", "get", "left", "right"]);
                let lines: Vec<&str> = ran.text().lines().collect();
                assert!(ran.code == Some(0) && lines.len() == 2 && lines[0] == lines[1], "{ran:?}");
            }
        }
        assert!(whole >= 10, "{whole}");
    });
    let last = db.get("left").unwrap().unwrap();
    db.backup(sandbox.file("copy")).unwrap();
    assert_eq!(Db::open(sandbox.file("copy")).unwrap().get("left").unwrap().unwrap(), last);
    let names: Vec<_> =
        fs::read_dir(sandbox.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() <= 4, "what was left half-way is cleared away: {names:?}");
}

#[test]
fn a_bad_dump_of_any_size_leaves_no_database_behind() {
    let sandbox = Sandbox::new();
    let line = |number| [format!("set key{number:06} "), "v".repeat(60), "\n".into()];
    let lines: String = (0..40_000).flat_map(line).collect();
    sandbox.script(lines);
    sandbox.run(&[".dump", "whole.kv"]).expect("40000\n", 0);
    let whole = fs::read(sandbox.file("whole.kv")).unwrap();
    sandbox.write("cut.kv", &whole[..whole.len() - 100]);
    let refused = sandbox.run(&["--db", "new", ".load", "cut.kv"]);
    refused.expect("", 4).complains("the dump was cut or altered").complains("nothing was loaded");
    assert!(!sandbox.file("new").exists());
    sandbox.run(&["--db", "new", ".load", "whole.kv"]).expect("40000\n", 0);
    assert_eq!(count(&sandbox, "new"), 40_000);
}
