//! `.check` and `.repair` of the built binary on damaged files: what they print, what they exit with, and what is left.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::Sandbox;

/// A database with a table of 500 records and a log of three.
fn database(sandbox: &Sandbox) -> PathBuf {
    let sets = (0..500).map(|index| format!("set key{index:03} \"value {index} of some length\""));
    let mut script = sets.collect::<Vec<_>>().join("\n") + "\n";
    script += ".compact\nset key000 new\ndelete key001\nset last x\n";
    assert_eq!(sandbox.script(script).code, Some(0));
    sandbox.file(".kvdb")
}

fn only(dir: &Path, extension: &str) -> PathBuf {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

fn overwrite(file: &Path, at: usize, len: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at..at + len].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(file, bytes).unwrap();
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn an_undamaged_database_has_no_faults_and_is_repaired_without_a_loss() {
    let sandbox = Sandbox::new();
    database(&sandbox);
    let check = sandbox.run(&["check"]);
    let figures = "faults         0\ntables         1\ntable_records  500\n";
    assert!(check.text().starts_with(figures), "{}", check.text());
    assert_eq!((check.code, &*check.err), (Some(0), ""));
    let repair = sandbox.run(&["repair", "saved"]);
    repair.expect("directory  saved\nkeys       500\nbytes      14848\nlost       0\n", 0).quiet();
    let dumps = [".kvdb", "saved"].map(|dir| sandbox.run(&["--db", dir, "scan"]).out);
    assert_eq!(dumps[0], dumps[1]);
    sandbox.run(&["repair", "saved"]).expect("", 5).complains("cannot create saved");
    sandbox.run(&["--db", "nowhere", "check"]).expect("", 3).complains("no database at");
    sandbox.run(&["--db", "nowhere", "repair"]).expect("", 3).complains("no database at");
}

#[test]
fn a_damaged_page_is_told_and_costs_itself() {
    let sandbox = Sandbox::new();
    let dir = database(&sandbox);
    overwrite(&only(&dir, "sst"), 9_000, 20);
    let check = sandbox.run(&["check"]);
    let fault = "fault          .kvdb/000001.sst at offset 8192, 4096 bytes: \
                 a checksum does not match in records or values; keys behind \"key";
    assert!(check.text().contains(fault), "{}", check.text());
    assert_eq!(check.code, Some(4));
    check.complains(".kvdb has 1 fault").complains("= help: kvdb --db .kvdb repair writes");

    let json: serde_json::Value = serde_json::from_slice(&sandbox.run(&["--json", "check"]).out).unwrap();
    let fault = &json["faults"][0];
    assert_eq!((&fault["offset"], &fault["bytes"]), (&8192.into(), &4096.into()));
    let [after, before] = ["after_key", "before_key"].map(|name| fault[name].as_str().unwrap().to_owned());
    let is_lost = |key: &str| *key > *after && *key < *before;

    let lost = (0..500).map(|index| format!("key{index:03}")).find(|key| is_lost(key)).unwrap();
    let get = sandbox.run(&["get", &lost]);
    assert_eq!(get.code, Some(4));
    get.complains(
        "help: kvdb --db .kvdb check tells all that is wrong, kvdb --db .kvdb repair saves the rest",
    );

    let before = contents(&dir);
    let repair = sandbox.run(&["repair"]);
    assert_eq!(repair.code, Some(4));
    assert!(repair.text().starts_with("directory  .kvdb.repaired\n"), "{}", repair.text());
    repair.complains("1 part of .kvdb could not be read; what could be read is in .kvdb.repaired");
    assert_eq!(contents(&dir), before);
    let keys = sandbox.run(&["--db", ".kvdb.repaired", "--mode", "raw", "keys"]);
    let expected = (0..500).map(|index| format!("key{index:03}"));
    let mut expected: Vec<_> = expected.filter(|key| key != "key001" && !is_lost(key)).collect();
    expected.push("last".into());
    assert_eq!(keys.text().lines().collect::<Vec<_>>(), expected);
    sandbox.run(&["--db", ".kvdb.repaired", "check"]).quiet();
}

#[test]
fn a_flipped_bit_costs_nothing() {
    let sandbox = Sandbox::new();
    let dir = database(&sandbox);
    for file in [only(&dir, "sst"), dir.join("MANIFEST"), only(&dir, "wal")] {
        let right = std::fs::read(&file).unwrap();
        let mut flipped = right.clone();
        flipped[90] ^= 4;
        std::fs::write(&file, flipped).unwrap();
        assert_eq!(sandbox.run(&["check"]).code, Some(4));
        let repair = sandbox.run(&["repair", "saved"]);
        assert_eq!(repair.code, Some(0), "{repair:?}");
        assert!(repair.text().contains("at offset 90: a flipped bit was set right"), "{repair:?}");
        sandbox.run(&["--db", "saved", "count"]).expect("500\n", 0);
        std::fs::remove_dir_all(sandbox.file("saved")).unwrap();
        std::fs::write(&file, right).unwrap();
    }
}

#[test]
fn without_a_manifest_tables_and_log_are_enough() {
    let sandbox = Sandbox::new();
    let dir = database(&sandbox);
    std::fs::remove_file(dir.join("MANIFEST")).unwrap();
    sandbox.run(&["get", "key000"]).expect("", 4).complains("the manifest is missing");
    let check = sandbox.run(&["check"]);
    assert!(check.text().contains(".kvdb/MANIFEST at offset 0: the manifest is missing"), "{}", check.text());
    assert_eq!(check.code, Some(4));
    let repair = sandbox.run(&["repair", "saved"]);
    assert_eq!(repair.code, Some(4));
    assert!(repair.text().contains("older values, or deleted keys, may have come back"), "{}", repair.text());
    sandbox
        .run(&["--db", "saved", "get", "key000", "key001", "key002", "last"])
        .expect("\"new\"\nnull\n\"value 2 of some length\"\n\"x\"\n", 1);
}

#[test]
fn a_check_goes_on_while_others_write_and_finds_nothing() {
    let sandbox = Sandbox::new();
    database(&sandbox);
    let mut writer = sandbox.command(&["--sync", "none"]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = writer.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        for index in 0..20_000 {
            let line = format!("set key{:03} {}\n", index % 700, "x".repeat(200));
            stdin.write_all(line.as_bytes()).unwrap();
        }
    });
    for _ in 0..10 {
        let check = sandbox.run(&["check"]);
        assert_eq!(check.code, Some(0), "{check:?}");
    }
    feeder.join().unwrap();
    assert_eq!(writer.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.run(&["check"]).code, Some(0));
}
