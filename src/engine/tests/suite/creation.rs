//! Databases come into being whole, once, where nothing else is; and what a crash leaves of one that did not is cleared away.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use super::{open, open_as, report, try_open};
use crate::engine::tests::DIR;
use crate::error::Error;
use crate::options::Options;
use crate::storage::fs::Fs;
use crate::storage::fs::sim::{Fault, SimFs};

/// Makes the directory of the database, with settings in it.
pub(super) fn put_settings(disk: &SimFs) {
    disk.process().create_dir(Path::new(DIR)).unwrap();
    disk.process().sync_dir(Path::new("/")).unwrap();
    disk.write_file(Path::new(DIR).join("config.toml"), b"mode = \"json\"\n").unwrap();
}

/// How many calls it takes to create a database.
fn calls(prepare: impl Fn(&SimFs)) -> u64 {
    let disk = SimFs::new();
    prepare(&disk);
    let before = disk.calls();
    open(&disk).set("k", "v").unwrap();
    disk.calls() - before
}

/// Creates a database with every call made to fail once, in each way.
fn campaign(prepare: impl Fn(&SimFs) + Copy, mut look: impl FnMut(&SimFs, &str)) {
    let (mut failed, mut refused) = (0, 0);
    for number in 1..=calls(prepare) {
        for fault in [Fault::Eio, Fault::Enospc, Fault::Eintr, Fault::Short, Fault::Kill, Fault::KillInside] {
            let disk = SimFs::new();
            prepare(&disk);
            disk.fail_at(disk.calls() + number, fault);
            let set = try_open(&disk, &Options::new()).and_then(|db| db.set("k", "v"));
            refused += u64::from(set.is_err());
            disk.clear_faults();
            let place = format!("{fault:?} at call {number}");
            let db = open(&disk);
            assert!(set.is_err() || db.get("k").unwrap().is_some(), "{place}");
            db.set("k", "w").unwrap();
            look(&disk, &place);
            let [nothing_kept, _] = disk.power_loss_extremes();
            assert_eq!(open(&nothing_kept).get("k").unwrap().unwrap(), b"w", "{place}");
            failed += 1;
        }
    }
    assert!(refused > 10, "{refused}");
    report("creation", &format!("{failed} calls failed, {refused} of them with an error"));
}

#[test]
fn a_creation_that_failed_anywhere_leaves_nothing_behind_when_the_next_one_is_done() {
    let mut empty = 0;
    campaign(
        |_| (),
        |disk, place| {
            for name in disk.list("/").unwrap().iter().filter(|name| *name != Path::new("db")) {
                // Nobody can tell whether it is abandoned: who made it may be about to lock it.
                assert_eq!(disk.list(Path::new("/").join(name)).unwrap(), [] as [PathBuf; 0], "{place}");
                empty += 1;
            }
        },
    );
    assert!((1..4).contains(&empty), "{empty}");
}

#[test]
fn a_creation_beside_settings_that_failed_anywhere_can_be_done_again() {
    campaign(put_settings, |disk, place| {
        let names = disk.list(DIR).unwrap();
        assert!(names.contains(&"config.toml".into()), "{place}");
        assert_eq!(disk.list("/").unwrap().len(), 1, "{place}");
    });
}

#[test]
fn a_directory_that_is_there_becomes_the_database_however_it_is_named() {
    for dir in [DIR, "/db/", "/db/."] {
        let disk = SimFs::new();
        disk.process().create_dir(Path::new(DIR)).unwrap();
        disk.process().create_dir(&Path::new(DIR).join("lost+found")).unwrap();
        let options = Options::new().engine(super::ENGINE);
        crate::engine::tests::open_in(&disk.process(), dir, &options).unwrap().set("k", "v").unwrap();
        assert_eq!(open(&disk).get("k").unwrap().unwrap(), b"v", "{dir}");
    }
    let disk = SimFs::new();
    crate::engine::tests::open_in(&disk.process(), "/db/", &Options::new()).unwrap();
    assert_eq!(disk.list("/").unwrap(), [PathBuf::from("db")]);
}

#[test]
fn settings_alone_are_no_database() {
    let disk = SimFs::new();
    put_settings(&disk);
    let opened = try_open(&disk, &Options::new().create(false));
    assert!(matches!(opened, Err(Error::NoDatabase { .. })));
    assert_eq!(disk.list(DIR).unwrap().len(), 1);
}

#[test]
fn whatever_else_is_there_is_left_alone() {
    for name in ["notes.txt", "LOCK", "000001.wal", "CREATING.txt"] {
        let disk = SimFs::new();
        put_settings(&disk);
        disk.write_file(Path::new(DIR).join(name), b"mine").unwrap();
        let error = try_open(&disk, &Options::new()).err().unwrap();
        let looks_like_one = matches!(error, Error::Corruption { .. });
        assert_eq!(looks_like_one, name == "000001.wal", "{error}");
        assert!(looks_like_one || matches!(error, Error::NotADatabase { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(disk.list(DIR).unwrap().len(), 2);
    }
}

#[test]
fn a_directory_that_is_being_built_is_not_taken_for_abandoned() {
    let disk = SimFs::new();
    let aside = |name: &str| {
        let (process, dir) = (disk.process(), Path::new("/").join(name));
        process.create_dir(&dir).unwrap();
        disk.write_file(dir.join("LOCK"), b"").unwrap();
        dir
    };
    let abandoned = aside("db.new-17-0123abcd");
    let others =
        ["db.new-17-0123abcde", "db.new-17-", "db.new-x-0123abcd", "other.new-17-0123abcd"].map(aside);
    let used = aside("db.new-18-0123abcd");
    disk.write_file(used.join("SHM"), b"").unwrap();
    let repair = |name: &str| {
        let dir = aside(name);
        for name in ["SHM", "UNFINISHED"] {
            disk.write_file(dir.join(name), b"").unwrap();
        }
        dir
    };
    let (broken_off, repairing) = (repair("db.new-19-0123abcd"), repair("db.new-20-0123abcd"));
    let building = aside("db.new-21-0123abcd");
    let process = disk.process();
    let locks = [building.join("LOCK"), repairing.join("UNFINISHED")].map(|path| {
        let lock = process.open(&path, crate::storage::fs::OpenMode::Read).unwrap();
        assert!(lock.try_lock(crate::storage::fs::LockKind::Exclusive).unwrap());
        lock
    });
    open_as(&disk.process(), &Options::new()).unwrap();
    drop(locks);
    let there = |dir: &Path| disk.list(dir).is_ok();
    assert!(!there(&abandoned) && !there(&broken_off));
    assert!(others.iter().all(|dir| there(dir)) && there(&used) && there(&repairing) && there(&building));
}

/// One creator stops before its call `first` until the other one came to its call `second`; that goes on when the first is done.
/// Returns whether both came so far.
fn race(first: u64, second: u64) -> bool {
    let disk = SimFs::new();
    let (process, other) = (disk.process(), disk.process());
    let (ids, counts) = ([process.id(), other.id()], [AtomicU64::new(0), AtomicU64::new(0)]);
    let (go, gone) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let (resume, resumed) = mpsc::channel();
    let done = stop.clone();
    let [stopped, resumed] = [stopped, resumed].map(Mutex::new);
    disk.set_observer_of_all(Arc::new(move |call, _| {
        let Some(creator) = ids.iter().position(|id| *id == call.process) else { return };
        let count = counts[creator].fetch_add(1, Ordering::Relaxed) + 1;
        if creator == 0 && count == first {
            go.send(()).unwrap();
            stopped.lock().unwrap().recv().unwrap();
        } else if creator == 1 && count == second {
            stop.send(()).unwrap();
            resumed.lock().unwrap().recv().unwrap();
        }
    }));
    let place = format!("call {first} of one and {second} of the other");
    std::thread::scope(|scope| {
        let racing = scope.spawn(move || {
            gone.recv().ok()?;
            let db = open_as(&other, &Options::new());
            done.send(()).ok();
            Some(db)
        });
        let db = open_as(&process, &Options::new());
        disk.set_observer_of_all(Arc::new(|_, _| ()));
        let raced = resume.send(()).is_ok();
        let other = racing.join().unwrap();
        for (db, key) in [(Some(db), "own"), (other, "other")] {
            let Some(db) = db else { return false };
            db.and_then(|db| db.set(key, "v")).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        assert_eq!(open(&disk).stats().unwrap().keys, 2, "{place}");
        raced
    })
}

#[test]
fn one_who_clears_up_leaves_alone_what_another_just_begins() {
    let raced = (1..=12).flat_map(|first| (1..=20).map(move |second| race(first, second)));
    let raced = raced.filter(|raced| *raced).count();
    report("creation", &format!("{raced} races between a creator and one that clears up"));
    assert!(raced > 100, "{raced}");
}
