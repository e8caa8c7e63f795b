//! What threads that share a handle may rely on: turns do not get in the way of reads, and nothing is shown or decided upon
//! before it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::{open, open_as};
use crate::engine::tests::{contents, fail_next};
use crate::error::Error;
use crate::options::Options;
use crate::storage::fs::sim::{Fault, Op, SimFs};
use crate::types::Batch;

/// Long enough for another thread to arrive where it must wait.
const A_MOMENT: Duration = Duration::from_millis(60);

/// Runs `body`, and fails instead of hanging.
fn within_seconds(body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        body();
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(10)).expect("it hangs or panicked");
}

#[test]
fn whoever_has_a_turn_can_read() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        open(&disk).set("k", "w").unwrap();
        let mut turn = db.turn("test").unwrap();
        let mut batch = Batch::new();
        batch.set("k", "own");
        turn.write(batch).unwrap();
        assert_eq!(db.get("k").unwrap().unwrap(), b"w");
        assert_eq!(contents(&db).len(), 1);
        assert_eq!(db.stats().unwrap().keys, 1);
        let mut transaction = db.begin().unwrap();
        transaction.set("other", "1");
        turn.commit().unwrap();
        transaction.commit().unwrap();
        assert_eq!(contents(&db), [("k".into(), "own".into()), ("other".into(), "1".into())]);
    });
}

#[test]
fn a_turn_of_another_thread_does_not_hold_up_reads() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        let turn = db.turn("test").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(db.get("k").unwrap().is_some());
                assert_eq!(db.stats().unwrap().keys, 1);
            });
        });
        turn.commit().unwrap();
    });
}

/// One thread deletes a key and leaves the sync to the next in line, which finds the key gone. When the sync fails, that
/// was no answer.
#[test]
fn what_a_turn_was_told_of_its_group_fails_with_the_group() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        fail_next(&disk, Op::SyncData, ".wal");
        let mut turn = db.turn("first").unwrap();
        let mut batch = Batch::new();
        batch.delete("k");
        turn.write(batch).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| db.delete("k"));
            std::thread::sleep(A_MOMENT);
            assert!(turn.commit().is_err());
            let second = second.join().unwrap();
            assert!(matches!(second, Err(Error::Io { .. } | Error::Poisoned { .. })), "{second:?}");
        });
        assert!(open(&disk).get("k").unwrap().is_some());
    });
}

/// Holds up the next sync of the log until the flag is raised.
fn hold_up_a_sync(disk: &SimFs) -> Arc<AtomicBool> {
    let (raised, begun) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let waits_for = Arc::clone(&raised);
    disk.set_observer(Arc::new(move |call, _| {
        if call.op == Op::SyncData && !begun.swap(true, Ordering::SeqCst) {
            while !waits_for.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    }));
    raised
}

#[test]
fn a_sync_holds_up_neither_reads_nor_the_next_turn() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "old").unwrap();
        let goes_on = hold_up_a_sync(&disk);
        std::thread::scope(|scope| {
            scope.spawn(|| db.set("k", "new").unwrap());
            std::thread::sleep(A_MOMENT);
            assert_eq!(db.get("k").unwrap().unwrap(), b"old", "it is not acknowledged");
            let turn = db.turn("test").unwrap();
            assert_eq!(turn.entry(b"k").unwrap().unwrap().value, b"new", "but decided upon");
            assert_eq!(db.get("k").unwrap().unwrap(), b"old");
            assert_eq!(contents(&db), [("k".into(), "old".into())]);
            goes_on.store(true, Ordering::SeqCst);
            turn.commit().unwrap();
            assert_eq!(db.get("k").unwrap().unwrap(), b"new", "what the turn was told of is durable");
        });
    });
}

#[test]
fn turns_that_end_during_a_sync_share_the_next_one() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        let syncs = || db.stats().unwrap().syncs;
        let before = syncs();
        let goes_on = hold_up_a_sync(&disk);
        std::thread::scope(|scope| {
            let db = &db;
            let set = |key: &'static str| scope.spawn(move || db.set(key, "v").unwrap());
            set("first");
            std::thread::sleep(A_MOMENT);
            for key in ["a", "b", "c"] {
                set(key);
            }
            std::thread::sleep(A_MOMENT);
            goes_on.store(true, Ordering::SeqCst);
        });
        assert_eq!(syncs() - before, 2);
        assert_eq!(contents(&open(&disk)).len(), 5);
    });
}

/// What was decided upon batches that never reached the device is gone with them.
#[test]
fn a_group_fails_with_the_one_before_it() {
    within_seconds(|| {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        let (goes_on, begun) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        let waits_for = Arc::clone(&goes_on);
        disk.set_observer(Arc::new(move |call, disk| {
            if call.op == Op::SyncData && !begun.swap(true, Ordering::SeqCst) {
                while !waits_for.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                disk.fail_at(call.number, Fault::Eio);
            }
        }));
        std::thread::scope(|scope| {
            let db = &db;
            let first = scope.spawn(|| db.set("first", "v"));
            std::thread::sleep(A_MOMENT);
            let others = ["a", "b"].map(|key| scope.spawn(move || db.set(key, "v")));
            let reader = scope.spawn(|| db.delete("no such key"));
            std::thread::sleep(A_MOMENT);
            goes_on.store(true, Ordering::SeqCst);
            assert!(matches!(first.join().unwrap(), Err(Error::Io { .. })));
            for other in others {
                assert!(matches!(other.join().unwrap(), Err(Error::Poisoned { .. })));
            }
            assert!(reader.join().unwrap().is_err());
        });
        assert_eq!(contents(&open(&disk)), [("k".into(), "v".into())]);
    });
}

#[test]
fn threads_that_never_stop_writing_let_other_processes_in() {
    within_seconds(|| {
        let disk = SimFs::new();
        let (db, other) = (open(&disk), open(&disk));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        db.set(format!("{thread}"), "v").unwrap();
                    }
                });
            }
            for number in 0..50 {
                other.set("other", format!("{number}")).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(db.get("other").unwrap().unwrap(), b"49");
    });
}

/// While one thread reads ahead for its turn, another must not see what it read: the sync of the process that wrote it fails.
#[test]
fn what_is_read_ahead_for_a_turn_is_not_shown() {
    const ROUNDS: usize = 300;
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("k", "real").unwrap();
    let failing = Arc::new(AtomicU64::new(0));
    let fails = Arc::clone(&failing);
    disk.set_observer(Arc::new(move |call, disk| {
        if call.op == Op::SyncData && call.process == fails.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(300));
            disk.fail_at(call.number, Fault::Eio);
        }
    }));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(db.get("k").unwrap().unwrap(), b"real");
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(db.turn("test").unwrap());
            }
        });
        for _ in 0..ROUNDS {
            let process = disk.process();
            let other = open_as(&process, &Options::new()).unwrap();
            other.set("k", "real").unwrap();
            failing.store(process.id(), Ordering::SeqCst);
            assert!(other.set("k", "ghost").is_err());
        }
        done.store(true, Ordering::Relaxed);
    });
}
