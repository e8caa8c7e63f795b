//! Databases as earlier versions left them: they are read, verified and written to, and what is in them stays.
//!
//! `tests/formats/ENGINE-FORMAT/` has the files of one, and what is in it as a dump. The zeros at the end of a log segment are left
//! out. A format that changes gets new directories; these are never made anew.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fs;
use std::path::Path;

use common::Sandbox;

/// How long their segments are.
const SEGMENT_LEN: usize = 64 << 10;

/// Puts the database where the sandbox has its own; returns what is in it.
fn take_up(sandbox: &Sandbox, name: &str) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name);
    let dir = sandbox.file(".kvdb");
    fs::create_dir(&dir).unwrap();
    for file in fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&file).unwrap();
        if file.extension().is_some_and(|extension| extension == "wal") {
            bytes.resize(SEGMENT_LEN, 0);
        }
        fs::write(dir.join(file.file_name().unwrap()), bytes).unwrap();
    }
    let contents = dir.join("contents.kv");
    let expected = fs::read_to_string(&contents).unwrap();
    fs::remove_file(contents).unwrap();
    expected
}

#[test]
fn databases_of_earlier_versions_are_read_and_written() {
    for name in ["kv-1", "kv-2", "kv-3", "simple-1", "simple-2", "simple-3"] {
        let sandbox = Sandbox::new();
        let expected = take_up(&sandbox, name);
        let read = sandbox.run(&["dump"]);
        assert_eq!(read.quiet().text(), expected, "{name}");
        assert_eq!(sandbox.run(&["check"]).code, Some(0), "{name}");
        sandbox.run(&["set", "lock", "mine", "--ttl", "1h"]).quiet().expect("OK\n", 0);
        sandbox.run(&["compact"]).quiet();
        sandbox.run(&["delete", "lock"]).quiet().expect("1\n", 0);
        assert_eq!(sandbox.run(&["dump"]).text(), expected, "{name}");
    }
}
