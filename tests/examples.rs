//! Every example runs and prints what it should.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example(name: &str) -> PathBuf {
    let bin = Path::new(env!("CARGO_BIN_EXE_kvdb"));
    let path = bin.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is built by `cargo test` without --test, or `cargo build --examples`",
        path.display()
    );
    path
}

fn run_program(name: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(example(name)).arg(dir.path().join("db")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (dir, String::from_utf8(output.stdout).unwrap())
}

fn run_script(dir: &Path, name: &str, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let mut command = Command::new(script);
    command.args(args).current_dir(dir).env("KVDB", env!("CARGO_BIN_EXE_kvdb"));
    command.env("HOME", dir).env_remove("XDG_CONFIG_HOME").env_remove("KVDB_DIR");
    command.output().unwrap()
}

fn printed(dir: &Path, name: &str, args: &[&str]) -> String {
    let output = run_script(dir, name, args);
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn embed_shows_the_library() {
    let expected = "rome has 2.8 million\n\
                    city:lima 10.1\n\
                    city:oslo 0.7\n\
                    city:rome 2.8\n\
                    last city: Some(\"city:rome\")\n\
                    oslo in the snapshot: true, now: false\n\
                    3 keys\n";
    assert_eq!(run_program("embed").1, expected);
}

#[test]
fn transfer_loses_no_cent() {
    assert_eq!(run_program("transfer").1, "500 of 500 are still there\n");
}

#[test]
fn todo_keeps_a_list() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(printed(dir.path(), "todo.sh", &["add", "water the plants"]), "OK\n");
    assert_eq!(printed(dir.path(), "todo.sh", &["add", "say \"hello\""]), "OK\n");
    assert_eq!(printed(dir.path(), "todo.sh", &["done", "1"]), "1\n");
    assert_eq!(printed(dir.path(), "todo.sh", &["list"]), "\"todo:0002\" \"say \\\"hello\\\"\"\n");
    assert_eq!(run_script(dir.path(), "todo.sh", &["nonsense"]).status.code(), Some(2));
}

#[test]
fn once_a_day_runs_once() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(printed(dir.path(), "once_a_day.sh", &["report", "echo", "working"]), "working\n");
    assert_eq!(
        printed(dir.path(), "once_a_day.sh", &["report", "echo", "working"]),
        "report has run today\n"
    );
}

#[test]
fn copy_copies_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let source = kvdb::Db::open(dir.path().join("from")).unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    source.set(every_byte.clone(), every_byte.repeat(3)).unwrap();
    source.set("", "").unwrap();
    printed(dir.path(), "copy.sh", &["from", "to"]);
    let entries = |db: &kvdb::Db| db.scan(..).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let copy = kvdb::Db::open(dir.path().join("to")).unwrap();
    assert_eq!(entries(&copy), entries(&source));
    assert_eq!(entries(&copy).len(), 2);
}
