//! Values that expire: until when they are there, for whom, and that nothing brings them or what they hid back.

use std::time::Duration;

use super::*;
use crate::engine::tests::contents;
use crate::engine::tests::world::value;
use crate::error::Error;
use crate::storage::FORMAT;
use crate::storage::fs::Fs as _;
use crate::storage::fs::sim::{self, Call, Fault};
use crate::storage::manifest::Manifest;
use crate::types::{Batch, Direction, KeyRange, Op, SetOptions, Timestamp};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn lasting(time: Duration) -> SetOptions {
    SetOptions::new().ttl(time)
}

fn set(db: &Db, key: &str, value: &str, time: Duration) {
    assert!(db.set_with(key, value, &lasting(time)).unwrap());
}

fn set_back(disk: &SimFs, time: Duration) {
    disk.set_wall_clock(disk.now().wall.saturating_sub(time));
}

/// Whether `key` is there: everything that can tell must say the same.
fn is_there(db: &Db, key: &str) -> bool {
    let there = db.get(key).unwrap().is_some();
    let snapshot = db.snapshot().unwrap();
    assert_eq!(db.entry(key).unwrap().is_some(), there);
    assert_eq!(snapshot.get(key).unwrap().is_some(), there);
    assert_eq!(db.begin().unwrap().get(key.as_bytes()).unwrap().is_some(), there);
    assert_eq!(db.turn("test").unwrap().entry(key.as_bytes()).unwrap().is_some(), there);
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut entries = db.snapshot().unwrap().into_scan(KeyRange::all(), direction);
        assert_eq!(entries.any(|entry| entry.unwrap().0 == *key.as_bytes()), there);
    }
    assert_eq!(db.stats().unwrap().keys, contents(db).len() as u64);
    assert_eq!(db.delete(key).unwrap(), there);
    if let Some(entry) = snapshot.entry(key).unwrap() {
        let mut batch = Batch::new();
        batch.push(Op::Set { key: key.into(), value: entry.value, expires: entry.expires });
        db.write(batch).unwrap();
    }
    there
}

#[test]
fn a_key_is_there_until_its_last_millisecond() {
    let disk = SimFs::new();
    let (db, other) = (open(&disk), open(&disk));
    set(&db, "k", "v", 10 * SECOND);
    db.set("stays", "v").unwrap();
    let (before, transaction) = (other.snapshot().unwrap(), db.begin().unwrap());
    for compacted in [false, true] {
        disk.pass(Duration::from_millis(if compacted { 1 } else { 9_998 }));
        for db in [&db, &other, &open(&disk)] {
            assert!(is_there(db, "k"));
            assert_eq!(db.stats().unwrap().keys, 2);
        }
        db.compact().unwrap();
    }
    disk.pass(Duration::from_millis(1));
    for db in [&db, &other, &open(&disk)] {
        assert!(!is_there(db, "k"));
        assert_eq!(db.stats().unwrap().keys, 1);
    }
    assert!(before.get("k").unwrap().is_some() && transaction.get(b"k").unwrap().is_some());
}

#[test]
fn a_clock_that_is_set_back_brings_nothing_back_and_prolongs_nothing() {
    let disk = SimFs::new();
    let db = open(&disk);
    set(&db, "short", "v", SECOND);
    set(&db, "long", "v", 20 * SECOND);
    disk.pass(5 * SECOND);
    assert!(!is_there(&open(&disk), "short"));
    set_back(&disk, HOUR);
    for db in [&db, &open(&disk)] {
        assert!(!is_there(db, "short") && is_there(db, "long"));
    }
    set(&db, "new", "v", 10 * SECOND);
    disk.pass(10 * SECOND);
    assert!(!is_there(&open(&disk), "new") && is_there(&open(&disk), "long"));
    disk.pass(5 * SECOND);
    assert!(!is_there(&open(&disk), "long"));
}

#[test]
fn what_files_leave_out_stays_expired_after_any_loss_of_notes() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("stays", "v").unwrap();
    set(&db, "k", "v", SECOND);
    disk.pass(5 * SECOND);
    set(&db, "later", "v", SECOND);
    db.compact().unwrap();
    set_back(&disk, HOUR);
    let [lost, _] = disk.power_loss_extremes();
    lost.write_file(format!("{DIR}/SHM"), b"").unwrap();
    let db = open(&lost);
    assert!(!is_there(&db, "k") && is_there(&db, "later") && is_there(&db, "stays"));
    lost.pass(SECOND);
    assert!(!is_there(&db, "later"));
}

/// An expired value hides an older one below it, in memory and in files, whatever is flushed and merged when.
#[test]
fn an_expired_value_does_not_bring_back_the_one_below() {
    for steps in 0..32_u32 {
        let disk = SimFs::new();
        let db = open(&disk);
        let mut step = 0;
        let mut perhaps = |db: &Db| {
            if steps & (1 << step) != 0 {
                // A full segment, which is flushed, or the log compacted.
                match step % 2 {
                    0 => db.compact().map(drop).unwrap(),
                    _ => (0..4).for_each(|n| db.set(format!("z{n}"), value(25_000, n)).unwrap()),
                }
            }
            step += 1;
        };
        db.set("k", "old").unwrap();
        db.set("a", "stays").unwrap();
        perhaps(&db);
        perhaps(&db);
        set(&db, "k", "new", SECOND);
        perhaps(&db);
        disk.pass(2 * SECOND);
        perhaps(&db);
        assert!(!is_there(&db, "k"), "{steps:b}");
        perhaps(&db);
        for db in [&db, &open(&disk)] {
            assert!(!is_there(db, "k") && is_there(db, "a"), "{steps:b}");
        }
        db.compact().unwrap();
        set_back(&disk, HOUR);
        assert!(!is_there(&open(&disk), "k"), "{steps:b}");
    }
}

/// What expired takes no room any more once everything was rewritten.
#[test]
fn a_compaction_gives_the_room_of_expired_values_back() {
    let disk = SimFs::new();
    let db = open(&disk);
    for number in 0..40 {
        set(&db, &format!("k{number}"), "v", Duration::from_secs(number % 2 * 10 + 10));
    }
    db.compact().unwrap();
    let entries = |disk: &SimFs| {
        let manifest = Manifest::read(&*disk.process(), DIR.as_ref()).unwrap().unwrap();
        let bases =
            files(disk, ".base").into_iter().map(|name| disk.read_file(format!("{DIR}/{name}")).unwrap());
        let in_tables: u64 = manifest.runs.iter().flatten().map(|listed| listed.table.entries).sum();
        in_tables
            + bases
                .map(|base| {
                    base.windows(3).filter(|bytes| bytes.starts_with(b"k") && bytes[2] == b'v').count() as u64
                })
                .sum::<u64>()
    };
    let before = entries(&disk);
    disk.pass(10 * SECOND);
    db.compact().unwrap();
    let after = entries(&disk);
    assert!(before > 0 && after < before, "{before} {after}");
    disk.pass(10 * SECOND);
    db.compact().unwrap();
    assert_eq!((entries(&disk), db.stats().unwrap().keys), (0, 0));
}

#[test]
fn a_loaded_value_expires_as_a_written_one() {
    let disk = SimFs::new();
    let db = open(&disk);
    let at = db.now().checked_add(10 * SECOND).unwrap();
    let mut bulk = db.bulk().unwrap();
    for number in 0..200 {
        let expires = (number % 2 == 0).then_some(at);
        bulk.apply(Op::Set { key: format!("k{number}").into(), value: value(200, number).into(), expires })
            .unwrap();
    }
    bulk.commit().unwrap();
    disk.pass(Duration::from_millis(9_999));
    for db in [&db, &open(&disk)] {
        assert_eq!(db.stats().unwrap().keys, 200);
        assert_eq!(db.entry("k4").unwrap().unwrap().expires, Some(at));
    }
    disk.pass(Duration::from_millis(1));
    for db in [&db, &open(&disk)] {
        assert_eq!(db.stats().unwrap().keys, 100);
        assert!(!is_there(db, "k4") && is_there(db, "k5"));
    }
}

#[test]
fn a_transaction_that_writes_what_expired_meanwhile_loses_to_nobody() {
    let disk = SimFs::new();
    let db = open(&disk);
    set(&db, "k", "1", SECOND);
    let mut transaction = db.begin().unwrap();
    transaction.set("k", "2");
    disk.pass(2 * SECOND);
    transaction.commit().unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"2");
    set(&db, "k", "3", SECOND);
    let mut transaction = db.begin().unwrap();
    transaction.set("k", "4");
    disk.pass(2 * SECOND);
    set(&db, "k", "5", SECOND);
    assert!(matches!(transaction.commit(), Err(Error::Conflict { .. })));
}

#[test]
fn a_lifetime_in_a_transaction_begins_with_its_commit() {
    let disk = SimFs::new();
    let db = open(&disk);
    let mut transaction = db.begin().unwrap();
    assert!(transaction.set_with("k", "v", &lasting(SECOND)).unwrap());
    assert!(!transaction.set_with("k", "w", &lasting(SECOND).if_absent()).unwrap());
    disk.pass(5 * SECOND);
    assert!(transaction.get(b"k").unwrap().is_some());
    transaction.commit().unwrap();
    disk.pass(Duration::from_millis(999));
    assert!(is_there(&db, "k"));
    disk.pass(Duration::from_millis(1));
    assert!(!is_there(&db, "k"));
}

fn format(disk: &SimFs) -> u32 {
    let bytes = disk.read_file(format!("{DIR}/MANIFEST")).unwrap();
    u32::from_le_bytes(bytes[8..12].try_into().unwrap())
}

/// A database as a kvdb wrote it that did not know expiries.
fn of_the_first_format(disk: &SimFs) {
    let path = format!("{DIR}/MANIFEST");
    let mut bytes = disk.read_file(&path).unwrap();
    // Without the clock: there is no table yet.
    bytes.truncate(bytes.len() - 8);
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..]].concat());
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&path, &bytes).unwrap();
}

#[test]
fn the_first_value_that_expires_changes_the_format_before_it_is_there() {
    let disk = SimFs::new();
    open(&disk).set("a", "1").unwrap();
    of_the_first_format(&disk);
    let (db, other) = (open(&disk), open(&disk));
    db.set("b", "2").unwrap();
    assert_eq!(format(&disk), 1);
    assert_eq!(contents(&other).len(), 2);
    // At every call of the write: an operation that expires is only there with the format.
    for call in 1.. {
        let disk = disk.clone_disk();
        let db = open(&disk);
        assert!(db.get("a").unwrap().is_some());
        disk.reset_calls();
        disk.fail_at(call, Fault::KillInside);
        let done = db.set_with("c", "3", &lasting(SECOND));
        disk.clear_faults();
        for disk in disk.power_loss_extremes().into_iter().chain([disk.clone_disk(), disk.power_loss(call)]) {
            let db = open(&disk);
            let there = db.get("c").unwrap().is_some();
            assert!(there || done.is_err());
            assert!(!there || format(&disk) == FORMAT, "call {call}");
        }
        if done.is_ok() {
            assert!(call > 3);
            break;
        }
    }
    set(&db, "c", "3", SECOND);
    assert_eq!(format(&disk), FORMAT);
    assert!(is_there(&other, "c"));
    disk.pass(SECOND);
    assert!(!is_there(&other, "c"));
}

#[test]
fn moments_behind_the_calendar_are_refused() {
    let db = open(&SimFs::new());
    let refused = db.set_with("k", "v", &lasting(Duration::MAX));
    assert!(matches!(refused, Err(Error::ExpiresTooLate)));
    assert!(!is_there(&db, "k"));
    assert!(db.set_with("k", "v", &SetOptions::new().until(Timestamp::MIN)).unwrap());
    assert!(!is_there(&db, "k"));
    assert!(db.set_with("k", "v", &SetOptions::new().until(Timestamp::MAX)).unwrap());
    assert!(is_there(&db, "k"));
}

/// Without it the clock would be as far as the manifest says.
#[test]
fn a_clock_that_cannot_be_read_is_not_done_without() {
    let disk = SimFs::new();
    set(&open(&disk), "k", "v", HOUR);
    disk.set_observer(Arc::new(|call, disk| {
        if matches!(call.op, sim::Op::Open(_)) && call.path.ends_with("SHM") {
            disk.fail_at(call.number, Fault::Eio);
        }
    }));
    let opened = try_open(&disk, &Options::new());
    assert!(matches!(opened, Err(Error::Io { action: "open", .. })));
    disk.set_observer(Arc::new(|_, _| ()));
    assert!(is_there(&open(&disk), "k"));
}

/// Makes calls on the file of notes fail, until [`mend`].
fn fail_notes(disk: &SimFs, is_failing: fn(&Call) -> bool, fault: Fault) {
    disk.set_observer_of_all(Arc::new(move |call, disk| {
        if call.path.ends_with("SHM") && is_failing(call) {
            disk.fail_at(call.number, fault);
        }
    }));
}

fn mend(disk: &SimFs) {
    disk.set_observer(Arc::new(|_, _| ()));
}

fn is_write(call: &Call) -> bool {
    call.op == sim::Op::Write
}

fn is_read(call: &Call) -> bool {
    call.op == sim::Op::Read
}

/// Fails because the time in `SHM` could not be read or written.
#[track_caller]
fn is_about_the_time<T>(answer: crate::error::Result<T>) {
    match answer {
        Err(Error::Io { action: "keep the time in" | "open", path, .. }) => assert!(path.ends_with("SHM")),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("an answer by a time that others do not know"),
    }
}

/// Nobody is told anything by the time of `db`.
fn nothing_is_told(db: &Db) {
    is_about_the_time(db.get("k"));
    is_about_the_time(db.entry("k"));
    is_about_the_time(db.snapshot());
    is_about_the_time(db.begin());
    is_about_the_time(db.stats());
    is_about_the_time(db.turn("test").unwrap().entry(b"k"));
    is_about_the_time(db.set_with("k", "w", &SetOptions::new().if_absent()));
    is_about_the_time(db.set_with("new", "v", &lasting(SECOND)));
    let turn = db.turn("test").unwrap();
    for _ in 0..2 {
        is_about_the_time(turn.entry(b"k"));
    }
    is_about_the_time(turn.commit());
}

/// A database with a key that expires in a minute and one that stays; and then the clock is set forward.
fn expired_by_a_clock_that_was_set_forward(disk: &SimFs) -> Db {
    let db = open(disk);
    set(&db, "k", "v", 60 * SECOND);
    db.set("stays", "v").unwrap();
    disk.set_wall_clock(disk.now().wall + HOUR);
    db
}

/// Set back, the clock contradicts nobody. Who saw it when it was set forward takes the others along as soon as that is possible.
fn nothing_was_told(disk: &SimFs, db: &Db) {
    set_back(disk, HOUR);
    let other = open(disk);
    assert!(is_there(&other, "k") && other.get("new").unwrap().is_none());
    for db in [db, &other, &open(disk)] {
        assert!(!is_there(db, "k") && is_there(db, "stays"));
    }
}

#[test]
fn nothing_is_told_by_a_time_that_can_not_be_noted_for_others() {
    let disk = SimFs::new();
    let db = expired_by_a_clock_that_was_set_forward(&disk);
    for fault in [Fault::Eio, Fault::Enospc] {
        fail_notes(&disk, is_write, fault);
        for db in [&db, &open(&disk)] {
            nothing_is_told(db);
            db.set("stays", "still").unwrap();
            assert_eq!(db.get("stays").unwrap().unwrap(), b"still");
        }
    }
    mend(&disk);
    nothing_was_told(&disk, &db);
}

/// Nor is a note that can't be read replaced by an earlier one.
#[test]
fn nothing_is_told_by_a_time_that_may_be_behind_that_of_others() {
    let disk = SimFs::new();
    let db = expired_by_a_clock_that_was_set_forward(&disk);
    let other = open(&disk);
    assert!(db.get("k").unwrap().is_none());
    set_back(&disk, HOUR);
    fail_notes(&disk, is_read, Fault::Eio);
    nothing_is_told(&other);
    mend(&disk);
    assert!(!is_there(&other, "k") && !is_there(&open(&disk), "k"));
}

/// A full disk has no room for a file of notes. Once it has, the handle goes on.
#[test]
fn nothing_is_told_without_a_file_of_notes() {
    let disk = SimFs::new();
    drop(expired_by_a_clock_that_was_set_forward(&disk));
    disk.process().remove_file(format!("{DIR}/SHM").as_ref()).unwrap();
    fail_notes(&disk, |call| matches!(call.op, sim::Op::Open(_)), Fault::Enospc);
    let db = open(&disk);
    nothing_is_told(&db);
    db.set("stays", "still").unwrap();
    mend(&disk);
    nothing_was_told(&disk, &db);
}

/// Who may not write leaves no notes, and has to answer all the same.
#[test]
fn who_can_only_read_tells_what_is_there_by_its_own_time() {
    let disk = SimFs::new();
    let db = expired_by_a_clock_that_was_set_forward(&disk);
    let reader = try_open(&disk, &Options::new().read_only(true)).unwrap();
    assert!(reader.get("k").unwrap().is_none() && reader.get("stays").unwrap().is_some());
    set_back(&disk, HOUR);
    assert!(reader.get("k").unwrap().is_none() && db.get("k").unwrap().is_some());
}

/// A clock that nothing depends on need not be kept.
#[test]
fn where_nothing_expires_notes_of_the_time_may_fail() {
    let disk = SimFs::new();
    let db = open(&disk);
    fail_notes(&disk, is_write, Fault::Eio);
    let mut transaction = db.begin().unwrap();
    transaction.set("a", "1");
    transaction.commit().unwrap();
    assert!(db.set_with("b", "2", &SetOptions::new().if_absent()).unwrap());
    assert_eq!(contents(&db).len(), 2);
}
