//! Several processes on one database: killed at random, waiting for each other, creating it at the same time.
//!
//! The kill test runs a few rounds; `KVDB_ROUNDS=50 cargo test --release --test processes` is the long form.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kvdb::{Db, KeyRange};

const WRITERS: usize = 4;
const DEFAULT_ROUNDS: u64 = 6;
const DEADLINE: Duration = Duration::from_mins(1);

fn kvdb(db: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvdb"));
    let home = db.parent().unwrap();
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .arg("--db")
        .arg(db);
    command
}

fn run(db: &Path, args: &[&str]) -> Output {
    kvdb(db).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn spawn_script(db: &Path) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut child =
        kvdb(db).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, BufReader::new(stdout))
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    (dir, db)
}

/// Writes numbered keys until it is killed; returns how many were acknowledged.
fn write_until_killed(db: &Path, writer: usize, from: u64, life: Duration) -> u64 {
    let (mut child, mut stdin, stdout) = spawn_script(db);
    let feeder = thread::spawn(move || {
        let mut number = from;
        while writeln!(stdin, "set w{writer}:{number:08} {number}").is_ok() {
            number += 1;
        }
    });
    let counter = thread::spawn(move || {
        stdout.lines().map_while(Result::ok).inspect(|line| assert_eq!(line, "OK")).count() as u64
    });
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    feeder.join().unwrap();
    counter.join().unwrap()
}

/// The numbers of a writer's keys must be 0, 1, 2, …: returns how many there are.
fn length_without_holes(db: &Db, writer: usize) -> u64 {
    let keys = db.scan(KeyRange::prefix(format!("w{writer}:").as_bytes())).unwrap();
    let mut count = 0;
    for entry in keys {
        let (key, value) = entry.unwrap();
        assert_eq!(text(&key), format!("w{writer}:{count:08}"), "a hole before this key");
        assert_eq!(text(&value), count.to_string());
        count += 1;
    }
    count
}

#[test]
fn writers_that_are_killed_lose_nothing_that_was_acknowledged() {
    let rounds = std::env::var("KVDB_ROUNDS").map_or(DEFAULT_ROUNDS, |rounds| rounds.parse().unwrap());
    let (_scratch, path) = scratch();
    let mut lengths = [0; WRITERS];
    let mut acknowledged_in_all = 0;
    for round in 0..rounds {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (path, from) = (path.clone(), lengths[writer]);
                let life = Duration::from_millis(30 + (round * 37 + writer as u64 * 53) % 170);
                thread::spawn(move || write_until_killed(&path, writer, from, life))
            })
            .collect();
        let acknowledged: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        let db = Db::open(&path).unwrap();
        for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
            let length = length_without_holes(&db, writer);
            assert!(
                length >= lengths[writer] + acknowledged,
                "round {round}: writer {writer} lost an acknowledged key"
            );
            lengths[writer] = length;
            acknowledged_in_all += acknowledged;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{rounds} rounds of {WRITERS} killed writers: {acknowledged_in_all} acknowledged, 0 lost, 0 holes"
    )
    .unwrap();
    assert!(acknowledged_in_all > 0, "no writer lived long enough to be acknowledged");
}

#[test]
fn an_idle_script_blocks_nobody_and_sees_what_others_wrote() {
    let (_scratch, path) = scratch();
    let (mut child, mut stdin, mut stdout) = spawn_script(&path);
    let mut ask = |line: &str| {
        writeln!(stdin, "{line}").unwrap();
        let mut reply = String::new();
        stdout.read_line(&mut reply).unwrap();
        reply
    };
    assert_eq!(ask("set k 1"), "OK\n");
    assert_eq!(text(&run(&path, &["get", "k"]).stdout), "\"1\"\n");
    assert!(run(&path, &["set", "k", "2"]).status.success());
    assert_eq!(ask("get k"), "\"2\"\n");
    assert_eq!(ask("incr k"), "3\n");
    assert_eq!(text(&run(&path, &["get", "k"]).stdout), "\"3\"\n");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn who_waits_too_long_is_told_who_holds_the_lock() {
    let (_scratch, path) = scratch();
    let db = Db::open(&path).unwrap();
    let turn = db.turn("test-verb").unwrap();
    let start = Instant::now();
    let refused = run(&path, &["--lock-timeout", "0.3", "set", "k", "v"]);
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < DEADLINE);
    assert_eq!(refused.status.code(), Some(3));
    let said = text(&refused.stderr);
    assert!(said.contains(&std::process::id().to_string()) && said.contains("test-verb"), "{said}");
    drop(turn);
    assert!(run(&path, &["set", "k", "v"]).status.success());
}

#[test]
fn an_interrupt_ends_a_wait_for_the_lock() {
    let (_scratch, path) = scratch();
    let db = Db::open(&path).unwrap();
    let turn = db.turn("test-verb").unwrap();
    let start = Instant::now();
    let mut waiting =
        kvdb(&path).args(["--lock-timeout", "50", "set", "k", "v"]).stdin(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&waiting);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(20), "it waited for the lock all the same");
    drop(turn);
    assert_eq!(text(&run(&path, &["get", "k"]).stdout), "null\n");
}

#[test]
fn of_many_creators_all_end_up_in_one_database() {
    const CREATORS: usize = 8;
    let (scratch, path) = scratch();
    let creators: Vec<_> = (0..CREATORS)
        .map(|creator| {
            kvdb(&path).args(["set", &format!("k{creator}"), "v"]).stdin(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut creator in creators {
        assert!(creator.wait().unwrap().success());
    }
    assert_eq!(Db::open(&path).unwrap().stats().unwrap().keys, CREATORS as u64);
    let left: Vec<_> =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["db"], "something was left beside the database");
}

#[test]
fn a_lock_is_free_when_its_holder_was_killed() {
    let (_scratch, path) = scratch();
    let (mut child, mut stdin, mut stdout) = spawn_script(&path);
    writeln!(stdin, "set k 1").unwrap();
    let mut reply = String::new();
    stdout.read_line(&mut reply).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run(&path, &["set", "k", "2"]).status.success());
    assert_eq!(text(&run(&path, &["get", "k"]).stdout), "\"2\"\n");
}
