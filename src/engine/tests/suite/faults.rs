//! A system call that fails costs an error at most: no panic, no acknowledged batch, no wrong answer, no lock left held.
//!
//! Scripts run once to count their calls, and then once for every call and every way in which it can fail. After an error the
//! handle either goes on, having applied nothing of what failed, or says that it stopped; a fresh process sees every
//! acknowledged batch either way, and so does what a power loss leaves. Releasing a lock is not made to fail: the kernel
//! does not refuse it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{ENGINE, new_world, open, report, segments, try_open, world_with};
use crate::db::Db;
use crate::engine::tests::sightings::Sightings;
use crate::engine::tests::world::{Step, set, value};
use crate::engine::tests::{contents, fail_next, seeds};
use crate::error::Error;
use crate::options::Options;
use crate::storage::fs::sim::{Call, Fault, Op, SimFs};
use crate::types::{Batch, EngineKind, SyncMode};

use SyncMode::{Each, Group};

fn batch(mark: u64) -> Batch {
    let mut batch = Batch::new();
    batch.set("x", value(30, mark)).delete("a").set(format!("k{}", mark % 5), value(600, mark + 1));
    batch
}

fn turn(who: usize, mark: u64) -> Step {
    Step::Turn(who, (0..3).map(|n| batch(mark + n)).collect())
}

fn fill(who: usize, mark: u64) -> Step {
    Step::Write(who, set(&format!("f{}", mark % 3), 22_000, mark))
}

fn bulk(mark: u64) -> Batch {
    (0..9).flat_map(|number| set(&format!("b{}", number * 5 % 9), 700, mark + number).into_ops()).collect()
}

/// More than one slice of a merge takes.
fn slices(mark: u64) -> Step {
    Step::Turn(0, (0..8).map(|number| set(&format!("s{number}"), 25_000, mark + number)).collect())
}

/// What it is called, and what happens in it.
type Script = (&'static str, Vec<Step>);

/// Process 0 does what is made to fail; process 1 gives it something to catch up with.
fn scripts() -> Vec<Script> {
    let mut scripts = scripts_of_logs();
    scripts.extend(scripts_of_tables());
    scripts
}

fn scripts_of_logs() -> Vec<Script> {
    vec![
        (
            "create, write, read",
            vec![
                Step::Write(0, set("a", 5, 1)),
                turn(0, 10),
                Step::Look(0),
                Step::Stats(0),
                Step::Abandon(0, batch(20)),
                Step::Transaction(0, batch(30)),
                Step::Write(0, set("b", 1_000, 40)),
                Step::Look(0),
            ],
        ),
        (
            "rotate",
            vec![
                fill(0, 100),
                fill(0, 101),
                fill(0, 102),
                turn(0, 110),
                Step::Write(0, set("large", 300_000, 120)),
                Step::Look(0),
                Step::Write(0, batch(130)),
            ],
        ),
        (
            "compact",
            vec![
                fill(0, 200),
                Step::Compact(0),
                Step::Write(0, batch(210)),
                Step::Compact(0),
                Step::Stats(0),
                turn(0, 220),
                Step::Look(0),
            ],
        ),
        (
            "follow a rotation",
            vec![
                Step::Write(1, set("a", 5, 300)),
                Step::Look(0),
                fill(1, 310),
                fill(1, 311),
                fill(1, 312),
                Step::Look(0),
                fill(1, 313),
                fill(1, 314),
                fill(1, 315),
                turn(0, 320),
                Step::Look(1),
                Step::Look(0),
            ],
        ),
        (
            "follow a compaction",
            vec![
                Step::Write(1, set("a", 5, 400)),
                Step::Look(0),
                Step::Compact(1),
                turn(0, 410),
                Step::Look(0),
                Step::Compact(1),
                Step::Compact(1),
                Step::Look(0),
                Step::Write(1, batch(420)),
                Step::Compact(1),
                Step::Compact(1),
                Step::Write(0, batch(430)),
                Step::Look(1),
                Step::Look(0),
            ],
        ),
    ]
}

fn scripts_of_tables() -> Vec<Script> {
    vec![
        (
            "bulk and merge",
            vec![
                Step::Write(1, set("a", 5, 500)),
                Step::Bulk(0, bulk(510)),
                Step::Write(0, set("f", 70_000, 520)),
                Step::Write(0, set("f", 70_000, 530)),
                Step::Bulk(0, bulk(540)),
                Step::Write(1, batch(550)),
                Step::AbandonBulk(0, bulk(560)),
                Step::Write(0, set("f", 70_000, 570)),
                Step::Bulk(0, bulk(580)),
                Step::Look(1),
                Step::Look(0),
            ],
        ),
        (
            "merge in slices",
            vec![
                slices(600),
                Step::Write(1, batch(610)),
                Step::Compact(0),
                Step::Bulk(0, bulk(620)),
                slices(630),
                Step::Bulk(1, bulk(640)),
                Step::Compact(0),
                Step::Look(1),
                slices(650),
                Step::Compact(0),
                Step::Look(0),
            ],
        ),
    ]
}

/// Processes are counted from 1 in the order of their first steps, and two there are.
fn number_of_first(steps: &[Step]) -> u64 {
    if steps[0].who() == 0 { 1 } else { 2 }
}

fn calls_of_first(modes: &[SyncMode], steps: &[Step]) -> Vec<Call> {
    let disk = SimFs::new();
    let mut world = new_world(&disk, modes);
    world.run(steps).unwrap();
    let first = number_of_first(steps);
    disk.log().into_iter().filter(|call| call.process == first && call.op != Op::Unlock).collect()
}

#[test]
fn the_process_whose_calls_fail_flushes_merges_in_slices_and_loads() {
    let sightings = Arc::<Sightings>::default();
    for (_, steps) in scripts() {
        let disk = SimFs::new();
        let mut world = new_world(&disk, &[Group, Each]);
        sightings.watch(&disk, Some(number_of_first(&steps)));
        world.run(&steps).unwrap();
    }
    let seen = sightings.seen();
    report("faults", &format!("the process whose calls fail: {seen:?}"));
    if ENGINE == EngineKind::Kv {
        assert!(seen.flushes > 4 && seen.unfinished > 4 && seen.floors > 4 && seen.bulks > 2, "{seen:?}");
    }
}

#[test]
fn every_call_can_fail_in_every_way() {
    let mut failed = 0;
    let mut violations = Vec::new();
    for (name, steps) in scripts() {
        let modes = [Group, Each];
        for call in calls_of_first(&modes, &steps) {
            for fault in [Fault::Eio, Fault::Enospc, Fault::Eintr, Fault::Short] {
                let disk = SimFs::new();
                disk.fail_at(call.number, fault);
                let mut world = new_world(&disk, &modes);
                world.faulty = true;
                let mut verdict = world.run(&steps).and_then(|()| world.look_afresh());
                for seed in 0..seeds(2) {
                    verdict = verdict.and_then(|()| {
                        let mut oracle = world.oracle().clone();
                        oracle.lose_power();
                        world_with(&disk.power_loss(seed), &modes, oracle).look_afresh()
                    });
                }
                if let Err(what) = verdict {
                    violations.push(format!("{name}, {fault:?} at {call}: {what}"));
                }
                failed += 1;
            }
        }
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    report("faults", &format!("{failed} calls failed"));
}

#[test]
fn a_disk_that_fails_for_good_from_any_call_on_loses_nothing() {
    let mut failed = 0;
    for (name, steps) in scripts() {
        let modes = [Group, Each];
        for call in calls_of_first(&modes, &steps) {
            let disk = SimFs::new();
            let mut world = new_world(&disk, &modes);
            disk.fail_from(call.number, Fault::Eio);
            for step in &steps {
                if world.try_step(step).is_err() {
                    break;
                }
            }
            disk.clear_faults();
            world.kill_all();
            let verdict = world.look_afresh();
            verdict.unwrap_or_else(|what| panic!("{name}, from {call} on: {what}"));
            failed += 1;
        }
    }
    report("faults", &format!("{failed} disks broken for good"));
}

fn is_poisoned(db: &Db) -> bool {
    matches!(db.set("k", "probe"), Err(Error::Poisoned { .. }))
}

#[test]
fn a_failed_write_or_sync_stops_the_handle_and_leaves_no_ghost() {
    for op in [Op::Write, Op::SyncData] {
        let disk = SimFs::new();
        let (db, other) = (open(&disk), open(&disk));
        db.set("k", "old").unwrap();
        assert_eq!(other.get("k").unwrap().unwrap(), b"old");
        fail_next(&disk, op, ".wal");
        let error = db.set("k", "ghost").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(is_poisoned(&db), "{op:?}");
        for reader in [other, open(&disk)] {
            assert_eq!(reader.get("k").unwrap().unwrap(), b"old", "{op:?}");
            assert_eq!(reader.stats().unwrap().lsn.0, 1);
        }
        open(&disk).set("k", "new").unwrap();
        let [nothing_kept, _] = disk.power_loss_extremes();
        assert_eq!(open(&nothing_kept).get("k").unwrap().unwrap(), b"new");
        assert!(is_poisoned(&db));
    }
}

#[test]
fn threads_whose_shared_sync_fails_all_hear_of_it() {
    const THREADS: usize = 6;
    for failing in 1..12 {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k", "v").unwrap();
        let syncs = AtomicUsize::new(0);
        disk.set_observer(Arc::new(move |call, disk| {
            if call.op == Op::SyncData && syncs.fetch_add(1, Ordering::Relaxed) == failing {
                disk.fail_at(call.number, Fault::Eio);
            }
        }));
        let acknowledged: Vec<Vec<String>> = std::thread::scope(|scope| {
            let write = |thread: usize| {
                let db = &db;
                move || {
                    let keys = (0..40).map(move |write| format!("{thread}/{write}"));
                    keys.take_while(|key| db.set(key.as_str(), "v").is_ok()).collect()
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(write(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(is_poisoned(&db));
        let [nothing_kept, _] = disk.power_loss_extremes();
        let count = acknowledged.iter().map(Vec::len).sum::<usize>() as u64 + 1;
        for disk in [&disk, &nothing_kept] {
            let fresh = open(disk);
            assert_eq!(
                fresh.stats().unwrap().keys,
                count,
                "what failed is not there, what was acknowledged is"
            );
            for key in acknowledged.iter().flatten() {
                assert!(fresh.get(key).unwrap().is_some(), "{key}");
            }
        }
    }
}

/// What a bulk could not write is not lost: it goes on with all of its changes.
#[test]
fn a_bulk_that_could_not_write_a_table_is_committed_whole_or_not_at_all() {
    let disk = SimFs::new();
    let db = open(&disk);
    fail_next(&disk, Op::Write, ".sst");
    let mut bulk = db.bulk().unwrap();
    let failed =
        (0..50).filter(|number| bulk.set(format!("b{number}"), value(100, *number)).is_err()).count();
    assert_eq!(failed, usize::from(ENGINE == EngineKind::Kv));
    assert_eq!(contents(&db).len(), 0);
    bulk.commit().unwrap();
    assert_eq!(contents(&open(&disk)).len(), 50);
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = SimFs::new();
    let (db, other) = (open(&disk), open(&disk));
    let mut written = 0;
    while segments(&disk) < 3 {
        db.set(format!("{written:03}"), value(9_000, written)).unwrap();
        written += 1;
    }
    disk.set_capacity(0);
    let refusal = loop {
        match db.set(format!("{written:03}"), value(9_000, written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&refusal, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
        "{refusal}"
    );
    assert!(refusal.help().is_some());
    for db in [&db, &other, &open(&disk)] {
        assert_eq!(db.stats().unwrap().keys, written);
        assert_eq!(db.get(format!("{:03}", written - 1)).unwrap().unwrap(), &value(9_000, written - 1)[..]);
        assert!(db.set("large", value(100_000, 1)).is_err());
        assert!(db.compact().is_err());
    }
    disk.set_capacity(u64::MAX);
    for db in [&db, &other] {
        db.set(format!("{written:03}"), value(9_000, written)).unwrap();
        written += 1;
    }
    db.compact().unwrap();
    assert_eq!(open(&disk).stats().unwrap().keys, written);
}

#[test]
fn a_disk_that_fills_up_anywhere_loses_nothing() {
    let mut tried = 0;
    for blocks in 0..120 {
        for (name, steps) in scripts() {
            let disk = SimFs::new();
            let mut world = new_world(&disk, &[Group, Each]);
            world.faulty = true;
            disk.set_capacity(blocks * 4096);
            for step in &steps {
                // A database that there is no room to create can't be looked at either.
                if world.try_step(step).is_err() {
                    world.oracle().withdraw();
                    disk.set_capacity(u64::MAX);
                    world.look_afresh().unwrap_or_else(|what| panic!("{name} on {blocks} blocks: {what}"));
                }
            }
            let verdict = world.run(&steps).and_then(|()| world.look_afresh());
            verdict.unwrap_or_else(|what| panic!("{name} on {blocks} blocks: {what}"));
            tried += 1;
        }
    }
    report("faults", &format!("{tried} full disks"));
}

/// A process reads a record whose writer is about to fail, and waits for the lock in vain. Then the record is found missing,
/// and perhaps another one takes its place.
#[test]
fn what_was_read_ahead_of_a_failed_sync_is_forgotten() {
    for replaced in [false, true] {
        let disk = SimFs::new();
        let writer = open(&disk);
        writer.set("k", "first").unwrap();
        let waiting = try_open(&disk, &Options::new().lock_timeout(Duration::from_millis(5))).unwrap();
        assert!(waiting.get("k").unwrap().is_some());
        let meanwhile = waiting.clone();
        let syncs = AtomicUsize::new(0);
        disk.set_observer(Arc::new(move |call, disk| {
            if call.op == Op::SyncData && syncs.fetch_add(1, Ordering::Relaxed) == 0 {
                assert!(matches!(meanwhile.set("k", "other"), Err(Error::Busy { .. })));
                disk.fail_at(call.number, Fault::Eio);
            }
        }));
        writer.set("k", "ghost").unwrap_err();
        let healer = open(&disk);
        assert_eq!(healer.get("k").unwrap().unwrap(), b"first");
        if replaced {
            healer.set("k", "truth").unwrap();
        }
        let expected: &[u8] = if replaced { b"truth" } else { b"first" };
        assert_eq!(waiting.get("k").unwrap().unwrap(), expected);
    }
}

/// Where some process looks at the log, the cache can't be made to forget it: what is read there need not be on the device.
#[test]
fn what_a_failed_sync_left_in_a_mapped_page_is_shown_only_once_it_is_durable() {
    let disk = SimFs::new();
    let writer = open(&disk);
    writer.set("k", "first").unwrap();
    disk.keep_cache();
    fail_next(&disk, Op::SyncData, ".wal");
    writer.set("k", "second").unwrap_err();
    let shown = open(&disk).get("k").unwrap();
    let [nothing_kept, _] = disk.power_loss_extremes();
    assert_eq!(open(&nothing_kept).get("k").unwrap(), shown);
}

#[test]
fn a_nearly_full_disk_takes_small_writes_in_small_segments() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("first", vec![1; 60_000]).unwrap();
    // Room for the files that there are and a segment of the smallest size, not for one four times as large.
    disk.set_capacity(64 * 1024 + 4 * 4096 + 100 * 1024);
    for round in 0..3_u8 {
        db.set("small", vec![round; 10_000]).unwrap();
    }
    assert_eq!(db.stats().unwrap().log_files, 2, "the log was meant to go on in a second segment");
    assert!(db.set("large", vec![1; 200_000]).is_err());
    assert_eq!(open(&disk).get("small").unwrap().unwrap(), &vec![2; 10_000][..]);
}
