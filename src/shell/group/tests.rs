//! Groups over an engine whose commits fail or are counted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::connection::Connection;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::session::{Session, Streams, Way};
use super::super::tests::captured::Captured;
use super::*;
use crate::config::Settings;
use crate::db::Db;
use crate::engine::{Backup, Bulk, Check, Compaction, Engine, Progress, Snapshot, Stats};
use crate::error::{Fault, Notice, Result};
use crate::types::{Batch, Entry, Lsn, Timestamp};

/// An engine that keeps nothing and fails the first commits.
#[derive(Default)]
struct FailingEngine {
    failures_left: AtomicUsize,
    commits: AtomicUsize,
}

struct FailingTurn<'a>(&'a FailingEngine);

impl Engine for FailingEngine {
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }

    fn entry(&self, _: &[u8]) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Err(disk_full())
    }

    fn turn(&self, _: &'static str) -> Result<Box<dyn Turn + '_>> {
        Ok(Box::new(FailingTurn(self)))
    }

    fn bulk(&self) -> Result<Box<dyn Bulk + '_>> {
        Err(disk_full())
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    fn check(&self, _: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        Ok(Check::default())
    }

    fn compact(&self, _: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        Ok(Compaction::default())
    }

    fn backup(&self, _dir: &Path, _progress: &mut dyn FnMut(Progress) -> bool) -> Result<Backup> {
        Ok(Backup::default())
    }

    fn read_only(&self) -> Option<&str> {
        None
    }

    fn take_notices(&self) -> Vec<Notice> {
        Vec::new()
    }
}

impl Turn for FailingTurn<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }

    fn entry(&self, _: &[u8]) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn write(&mut self, _: Batch) -> Result<Lsn> {
        Ok(Lsn::ZERO)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.0.commits.fetch_add(1, Ordering::Relaxed);
        let spent = |left: usize| left.checked_sub(1);
        match self.0.failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent) {
            Ok(_) => Err(disk_full()),
            Err(_) => Ok(()),
        }
    }
}

fn disk_full() -> Error {
    Error::Io { action: "write", path: "log".into(), source: io::ErrorKind::StorageFull.into() }
}

struct Outcome {
    out: String,
    err: String,
    exit: Exit,
    commits: usize,
}

fn run(script: &str, failures: usize, sync: SyncMode) -> Outcome {
    let mut settings = Settings::default();
    settings.sync = sync;
    let engine = Arc::new(FailingEngine { failures_left: failures.into(), commits: 0.into() });
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let streams = Streams { output: stdout.stream(), errors: stderr.stream() };
    let interrupt = Interrupt::for_prompt().unwrap();
    let mut session = Session::new(settings, Way::Script, streams, interrupt);
    session.connection = Connection::to(Db::from_engine(Arc::clone(&engine) as Arc<dyn Engine>));
    session.run_text("s", script.as_bytes().to_vec());
    let exit = session.finish();
    Outcome { out: stdout.text(), err: stderr.text(), exit, commits: engine.commits.load(Ordering::Relaxed) }
}

#[test]
fn no_reply_of_a_group_whose_commit_failed_is_printed() {
    let script = "get before\nset a 1\nget a\noops\nset b 2\n.version\nset c 3\n";
    let version = concat!("kvdb ", env!("CARGO_PKG_VERSION"), "\n");
    let expected = format!("null\n{version}OK\n");
    let outcome = run(script, 1, SyncMode::Group);
    assert_eq!(outcome.out, expected);
    assert!(outcome.err.contains("nothing of lines 2 to 5 was applied"), "{}", outcome.err);
    assert!(outcome.err.contains("--> s:4:1"), "{}", outcome.err);
    assert_eq!(outcome.exit, Exit::IO);
}

#[test]
fn the_failed_commit_of_one_command_is_an_error_at_its_line() {
    let outcome = run("set a 1\nset b 2\n", 1, SyncMode::Each);
    assert_eq!(outcome.out, "OK\n");
    assert!(outcome.err.starts_with("error: cannot write log: "), "{}", outcome.err);
    assert!(outcome.err.contains("--> s:1\n"), "{}", outcome.err);
}

#[test]
fn groups_end_where_they_must() {
    let sets = "set k v\n".repeat(2 * MAX_COMMANDS);
    let commits = |script: &str, sync| run(script, 0, sync).commits;
    assert!(commits(&sets, SyncMode::Group) >= 2);
    assert_eq!(commits(&sets, SyncMode::Each), 2 * MAX_COMMANDS);
    assert_eq!(commits("set a 1\n.version\nset b 2\n", SyncMode::Group), 2);
    assert_eq!(commits("get a\nexists a\n", SyncMode::Group), 0);
    let big = format!("set k {}\n", "v".repeat(MAX_BYTES));
    assert_eq!(commits(&big.repeat(2), SyncMode::Group), 2);
}
