//! A backup holds what the database held, whatever others do meanwhile; what was in its place before is lost only when the new one
//! is complete; and both go on independently.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{ENGINE, open, open_as, report, try_open};
use crate::db::Db;
use crate::engine::tests::world::value;
use crate::engine::tests::{self, DIR, contents, fail_next, seeds};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::storage::fs::sim::{Fault, Op, SimFs};
use crate::storage::fs::{Fs, OpenMode};
use crate::types::{Batch, EngineKind, Key, Value};

const COPY: &str = "/copy";

type Held = Vec<(Key, Value)>;

fn try_open_in(disk: &SimFs, dir: &str, options: &Options) -> Result<Db> {
    tests::open_in(&disk.process(), dir, &options.clone().engine(ENGINE))
}

fn open_in(disk: &SimFs, dir: &str) -> Db {
    try_open_in(disk, dir, &Options::new().create(false)).unwrap()
}

fn held(disk: &SimFs, dir: &str) -> Held {
    contents(&open_in(disk, dir))
}

/// Writes a few batches: some in tables, merged or not, some in the log only.
fn write(db: &Db, mark: u64) {
    for number in 0..4 {
        let mut batch = Batch::new();
        batch.set(format!("a{}", (mark + number) % 7), value(900, mark + number));
        batch.set(format!("b{number}"), value(20, mark)).delete(format!("a{}", (mark + number + 3) % 7));
        db.write(batch).unwrap();
    }
    let mut bulk = db.bulk().unwrap();
    (0..9_u64).for_each(|number| bulk.set(format!("c{number}"), value(700, mark + number)).unwrap());
    bulk.commit().unwrap();
    db.set(format!("d{mark}"), value(30, mark)).unwrap();
}

/// A database, and an older backup of it if one is wanted.
fn prepared(with_backup: bool) -> SimFs {
    let disk = SimFs::new();
    let db = open(&disk);
    write(&db, 1);
    if with_backup {
        db.backup(COPY).unwrap();
        write(&db, 20);
    }
    db.close();
    drop(db);
    disk
}

fn refusal(outcome: Result<impl std::fmt::Debug>) -> String {
    match outcome.unwrap_err() {
        Error::BackupTarget { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_backup_holds_everything_and_both_go_on_independently() {
    for links in [true, false] {
        let disk = prepared(false);
        if !links {
            disk.refuse_links();
        }
        let db = open(&disk);
        let before = contents(&db);
        let backup = db.backup(COPY).unwrap();
        assert_eq!(backup.lsn, db.stats().unwrap().lsn);
        let is_linked = links && ENGINE == EngineKind::Kv;
        assert_eq!((backup.linked_files > 0, backup.copied_files > 0), (is_linked, !is_linked));
        assert_eq!(backup.verified_bytes, backup.copied_bytes);
        assert_eq!(held(&disk, COPY), before);
        let copy = open_in(&disk, COPY);
        write(&copy, 100);
        copy.compact().unwrap();
        write(&copy, 120);
        assert_eq!(contents(&open(&disk)), before, "the copy's changes are its own");
        let changed = contents(&copy);
        write(&db, 200);
        db.compact().unwrap();
        write(&db, 220);
        db.compact().unwrap();
        for disk in [disk.clone_disk(), disk.power_loss(1)] {
            assert_eq!(held(&disk, COPY), changed, "the original's changes are its own");
            assert_eq!(contents(&open(&disk)), contents(&db));
        }
    }
}

#[test]
fn an_older_backup_gets_what_is_missing() {
    let disk = prepared(true);
    let db = open(&disk);
    db.compact().unwrap();
    assert_ne!(held(&disk, COPY), contents(&db));
    db.backup(COPY).unwrap();
    assert_eq!(held(&disk, COPY), contents(&db));
    let nothing_new = db.backup(COPY).unwrap();
    db.set("new", "value").unwrap();
    let little = db.backup(COPY).unwrap();
    if ENGINE == EngineKind::Kv {
        assert_eq!((nothing_new.linked_files, nothing_new.copied_files), (0, 0));
        assert!(nothing_new.kept_files > 0);
        assert_eq!((little.linked_files, little.kept_files), (1, nothing_new.kept_files));
    }
    assert_eq!(held(&disk, COPY), contents(&db));
    let named = |dir: &str| disk.list(dir).unwrap();
    let tables =
        |dir: &str| named(dir).into_iter().filter(|name| name.extension().is_some_and(|e| e == "sst"));
    assert!(tables(COPY).eq(tables(DIR)), "what is obsolete is gone");
    let [nothing_kept, _] = disk.power_loss_extremes();
    assert_eq!(held(&nothing_kept, COPY), contents(&db));
}

#[test]
fn who_has_a_backup_open_sees_it_change_as_a_whole_and_can_write_to_it() {
    let disk = prepared(true);
    let db = open(&disk);
    let (reader, writer) = (open_in(&disk, COPY), open_in(&disk, COPY));
    let (old, view) = (contents(&reader), reader.snapshot().unwrap());
    assert_eq!(contents(&writer), old);
    db.backup(COPY).unwrap();
    for copy in [&reader, &writer] {
        assert_eq!(copy.get("d20").unwrap().unwrap(), &value(30, 20)[..]);
        assert_eq!(contents(copy), contents(&db));
    }
    assert!(view.get("d20").unwrap().is_none(), "a snapshot stays what it was");
    writer.set("own", "change").unwrap();
    assert_eq!(contents(&reader).len(), contents(&db).len() + 1);
    assert_eq!(held(&disk, COPY), contents(&reader));
    assert_eq!(refusal(db.backup(COPY)), "it has been written to since it was made");
    writer.compact().unwrap();
    assert_eq!(refusal(db.backup(COPY)), "it has been written to since it was made");
    assert_eq!(held(&disk, COPY), contents(&reader));
}

#[test]
fn a_backup_that_was_only_read_and_compacted_is_still_one() {
    let disk = prepared(true);
    let db = open(&disk);
    let copy = open_in(&disk, COPY);
    copy.compact().unwrap();
    assert_eq!(contents(&copy).len(), contents(&db).len() - 1);
    db.compact().unwrap();
    write(&db, 300);
    db.backup(COPY).unwrap();
    assert_eq!(contents(&copy), contents(&db));
    assert_eq!(held(&disk, COPY), contents(&db));
}

#[test]
fn whatever_else_is_there_is_refused_and_left_alone() {
    let disk = prepared(true);
    let db = open(&disk);
    let refused = |dir: &str| refusal(db.backup(dir));
    assert_eq!(refused(DIR), "it is the database itself");
    disk.process().create_dir(Path::new("/notes")).unwrap();
    disk.write_file("/notes/a.txt", b"mine").unwrap();
    assert_eq!(refused("/notes"), "it is no backup, but holds a.txt");
    disk.write_file("/file", b"mine").unwrap();
    assert_eq!(refused("/file"), "it is a file");
    try_open_in(&disk, "/other", &Options::new()).unwrap().set("k", "v").unwrap();
    assert_eq!(refused("/other"), "it is another database");
    let other = open_in(&disk, "/other");
    other.backup("/other copy").unwrap();
    assert_eq!(refused("/other copy"), "it is another database");
    assert!(matches!(db.backup("/absent/copy"), Err(Error::NoParent { .. })));
    let left = [("/other", 1), ("/other copy", 1)];
    assert!(left.iter().all(|(dir, count)| held(&disk, dir).len() == *count));
    assert_eq!(disk.list("/notes").unwrap().len(), 1);
    let new: Vec<_> = disk.list("/").unwrap();
    assert!(!new.iter().any(|name| name.display().to_string().contains(".new-")), "{new:?}");
}

/// Also where it was written up to the very batch that a renewal would have brought it to.
#[test]
fn a_backup_that_was_written_to_after_a_renewal_broke_off_is_not_replaced() {
    let disk = SimFs::new();
    let db = open(&disk);
    db.set("k", "v").unwrap();
    db.backup(COPY).unwrap();
    (0..5).for_each(|number| db.set(format!("new {number}"), "v").unwrap());
    let lsn = db.stats().unwrap().lsn;
    drop(db);
    let mut written_to = 0;
    for number in 1.. {
        let disk = disk.clone_disk();
        disk.fail_from(number, Fault::Kill);
        drop(try_open(&disk, &Options::new()).and_then(|db| db.backup(COPY)));
        let is_over = disk.calls() < number;
        disk.clear_faults();
        let (db, copy) = (open(&disk), open_in(&disk, COPY));
        if copy.stats().unwrap().lsn < lsn {
            while copy.stats().unwrap().lsn < lsn {
                copy.set("own", "change").unwrap();
            }
            copy.compact().unwrap();
            assert_eq!(refusal(db.backup(COPY)), "it has been written to since it was made", "{number}");
            written_to += 1;
        } else {
            db.set("more", "v").unwrap();
            db.backup(COPY).unwrap();
            assert_eq!(held(&disk, COPY), contents(&db), "{number}");
        }
        if is_over {
            break;
        }
    }
    assert!(written_to > 20, "{written_to}");
}

/// Databases that went different ways from one beginning do not overwrite each other's backups.
#[test]
fn backups_of_one_way_are_not_replaced_by_those_of_another() {
    let disk = prepared(true);
    let db = open(&disk);
    let branch = open_in(&disk, COPY);
    db.backup("/later").unwrap();
    branch.set("own", "way").unwrap();
    branch.backup("/of branch").unwrap();
    write(&db, 400);
    assert_eq!(refusal(db.backup("/of branch")), "it is a backup of another database");
    assert_eq!(refusal(branch.backup("/later")), "it is a backup of another database");
    assert_eq!(refusal(branch.backup(DIR)), "it is a database, and no backup of this one");
    // A branch goes on with the backups that its source had made before.
    let disk = prepared(false);
    let db = open(&disk);
    db.backup("/early").unwrap();
    write(&db, 500);
    db.backup(COPY).unwrap();
    let branch = open_in(&disk, COPY);
    branch.set("own", "way").unwrap();
    branch.backup("/early").unwrap();
    assert_eq!(held(&disk, "/early"), contents(&branch));
}

#[test]
fn a_source_that_was_set_back_does_not_replace_a_later_backup() {
    let disk = prepared(false);
    let early = disk.clone_disk();
    let db = open(&disk);
    write(&db, 600);
    db.backup(COPY).unwrap();
    drop(db);
    for name in disk.list(DIR).unwrap() {
        disk.process().remove_file(&Path::new(DIR).join(name)).unwrap();
    }
    for name in early.list(DIR).unwrap() {
        let path = Path::new(DIR).join(name);
        disk.write_file(&path, &early.read_file(&path).unwrap()).unwrap();
    }
    let before = held(&disk, COPY);
    let refused = refusal(open(&disk).backup(COPY));
    assert_eq!(refused, "it is a backup of a later state of this database");
    assert_eq!(held(&disk, COPY), before);
}

#[test]
fn a_database_that_can_only_be_read_is_backed_up_if_its_log_is_empty() {
    let disk = prepared(false);
    let read_only = || try_open(&disk, &Options::new().read_only(true)).unwrap();
    assert_eq!(read_only().backup(COPY).is_err(), ENGINE == EngineKind::Kv);
    open(&disk).compact().unwrap();
    read_only().backup(COPY).unwrap();
    assert_eq!(held(&disk, COPY), contents(&open(&disk)));
}

#[test]
fn a_backup_that_is_stopped_leaves_what_was_there() {
    for with_backup in [false, true] {
        let mut stops = 0;
        for after in 0.. {
            let disk = prepared(with_backup);
            let before = with_backup.then(|| held(&disk, COPY));
            let db = open(&disk);
            let mut left = after;
            let done = db.backup_with(COPY, &mut |_| {
                left -= 1;
                left >= 0
            });
            if done.is_ok() {
                break;
            }
            assert!(matches!(done, Err(Error::Interrupted)));
            // It is stopped while it is read back: then it is there.
            if let Ok(copy) = try_open_in(&disk, COPY, &Options::new().create(false)) {
                let found = contents(&copy);
                assert!(Some(&found) == before.as_ref() || found == contents(&db));
            } else {
                assert_eq!(before, None);
                assert_eq!(disk.list("/").unwrap().len(), 1, "nothing is left behind");
            }
            db.backup(COPY).unwrap();
            assert_eq!(held(&disk, COPY), contents(&db));
            stops += 1;
        }
        assert!(stops > 0);
    }
}

/// Before every call of a backup another process writes, and now and then merges everything.
#[test]
fn a_backup_is_of_one_moment_while_others_write_and_merge() {
    for (with_backup, links) in [(false, true), (true, true), (false, false), (true, false)] {
        let disk = prepared(with_backup);
        if !links {
            disk.refuse_links();
        }
        let (db, other) = (open(&disk), Arc::new(open(&disk)));
        let (rounds, busy) = (AtomicU64::new(0), AtomicBool::new(false));
        let meanwhile = Arc::clone(&other);
        disk.set_observer_of_all(Arc::new(move |call, _| {
            let is_of_source = call.path.starts_with(DIR) || call.op == Op::Link;
            let is_free = !matches!(call.op, Op::Write | Op::SyncData | Op::TryLock(_) | Op::Unlock);
            if call.process < 3 && is_of_source && is_free && !busy.swap(true, Ordering::SeqCst) {
                let round = rounds.fetch_add(1, Ordering::SeqCst);
                // Both or none are in a backup.
                let mut batch = Batch::new();
                let mark = round.to_le_bytes().to_vec();
                batch.set("left", mark.clone()).set("right", mark);
                let wrote = meanwhile.write(batch);
                if wrote.is_ok() && round.is_multiple_of(3) {
                    drop(meanwhile.compact());
                }
                busy.store(false, Ordering::SeqCst);
            }
        }));
        let patient = Options::new().lock_timeout(std::time::Duration::from_millis(1));
        drop(db);
        let db = try_open(&disk, &patient).unwrap();
        let mut done = 0;
        for _ in 0..20 {
            match db.backup(COPY) {
                Ok(_) => {
                    let copy = open_in(&disk, COPY);
                    assert_eq!(copy.get("left").unwrap(), copy.get("right").unwrap());
                    done += 1;
                }
                Err(Error::Busy { .. }) => {}
                Err(error) => panic!("{with_backup} {links}: {error}"),
            }
        }
        assert!(done > 0);
        disk.set_observer(Arc::new(|_, _| ()));
        open(&disk).backup(COPY).unwrap();
        assert_eq!(held(&disk, COPY), contents(&other));
    }
}

/// What may be found in place of the backup: nothing, what was there, what was to be there.
fn judge(disk: &SimFs, place: &str, allowed: &[Option<&Held>]) {
    let found = match try_open_in(disk, COPY, &Options::new().create(false)) {
        Err(Error::NoDatabase { .. }) => None,
        opened => Some(contents(&opened.unwrap_or_else(|error| panic!("{place}: {error}")))),
    };
    assert!(allowed.contains(&found.as_ref()), "{place}: {} keys", found.map_or(0, |found| found.len()));
}

/// How a call is made to fail: in one way, or in the long form in each.
fn faults(number: u64) -> Vec<Fault> {
    let mut all = vec![Fault::Eio, Fault::Enospc, Fault::Kill, Fault::KillInside, Fault::Eintr, Fault::Short];
    if seeds(0) > 0 {
        return all;
    }
    all.rotate_left(usize::try_from(number % 6).unwrap());
    all.truncate(1);
    all
}

#[test]
fn a_backup_that_fails_or_dies_anywhere_leaves_the_old_one_or_the_new_one() {
    let (mut failed, mut refused, mut states) = (0, 0, 0);
    for (with_backup, links) in [(false, true), (true, true), (false, false), (true, false)] {
        let start = prepared(with_backup);
        if !links {
            start.refuse_links();
        }
        let old = with_backup.then(|| held(&start, COPY));
        let new = contents(&open(&start));
        let prepare = || {
            let disk = start.clone_disk();
            if !links {
                disk.refuse_links();
            }
            disk
        };
        let calls = {
            let disk = prepare();
            open(&disk).backup(COPY).unwrap();
            disk.calls()
        };
        for number in 1..=calls {
            for fault in faults(number) {
                let disk = prepare();
                disk.fail_at(number, fault);
                let outcome = open_as(&disk.process(), &Options::new().create(false))
                    .and_then(|db| db.backup(COPY).map(drop));
                disk.clear_faults();
                let place = format!("{fault:?} at call {number}, {with_backup}, {links}: {outcome:?}");
                let allowed = [old.as_ref(), Some(&new)];
                let allowed = if outcome.is_ok() { &allowed[1..] } else { &allowed[..] };
                judge(&disk.clone_disk(), &place, allowed);
                for seed in 0..seeds(1) {
                    judge(&disk.power_loss(number * 100 + seed), &place, allowed);
                    judge(&disk.power_loss_unordered(number * 100 + seed), &place, allowed);
                    states += 2;
                }
                for disk in disk.power_loss_extremes() {
                    judge(&disk, &place, allowed);
                    assert_eq!(contents(&open(&disk)), new, "{place}: the original");
                    open(&disk).backup(COPY).unwrap_or_else(|error| panic!("{place}: again: {error}"));
                    judge(&disk, &place, &[Some(&new)]);
                    states += 2;
                }
                open(&disk).backup(COPY).unwrap_or_else(|error| panic!("{place}: again: {error}"));
                judge(&disk, &place, &[Some(&new)]);
                failed += 1;
                refused += u64::from(outcome.is_err());
            }
        }
    }
    assert!(refused > failed / 4);
    report(
        "backup",
        &format!("{failed} calls failed, {refused} of them with an error; {states} crash states"),
    );
}

#[test]
fn the_judge_notices_when_a_backup_is_not_synced() {
    for skipped in ["copy", "MANIFEST", "000002", "ORIGIN"] {
        if skipped == "000002" && ENGINE == EngineKind::Simple {
            continue;
        }
        let disk = prepared(false);
        disk.refuse_links();
        disk.skip_syncs(move |path| path.to_string_lossy().contains(skipped) && !path.starts_with(DIR));
        let db = open(&disk);
        db.backup(COPY).unwrap();
        let [nothing_kept, _] = disk.power_loss_extremes();
        let opened = try_open_in(&nothing_kept, COPY, &Options::new().create(false));
        let intact = opened.is_ok_and(|copy| contents(&copy) == contents(&db));
        let again = open(&nothing_kept).backup(COPY).is_ok();
        assert!(!intact || !again, "{skipped}");
    }
}

/// A copy that can't be read back as it was written is no backup.
#[test]
fn what_was_copied_is_read_back() {
    if ENGINE == EngineKind::Simple {
        return;
    }
    let disk = prepared(false);
    disk.refuse_links();
    let db = open(&disk);
    db.compact().unwrap();
    // After the sync of the copy a bit of it turns over.
    let flipped = AtomicBool::new(false);
    disk.set_observer(Arc::new(move |call, disk| {
        let is_copy = call.path.extension().is_some_and(|extension| extension == "sst");
        if is_copy && call.op == Op::DropCache && !flipped.swap(true, Ordering::SeqCst) {
            disk.flip_bit(&call.path, 5_000).unwrap();
        }
    }));
    assert!(matches!(db.backup(COPY), Err(Error::Corruption { .. })));
    fail_next(&disk, Op::SyncDir, "/");
    assert!(db.backup("/second").is_err());
}

/// Somebody removes what is being made: that is no damage of the database.
#[test]
fn a_target_that_vanishes_is_not_blamed_on_the_database() {
    for links in [true, false] {
        let disk = prepared(false);
        if !links {
            disk.refuse_links();
        }
        let db = open(&disk);
        let gone = AtomicBool::new(false);
        disk.set_observer(Arc::new(move |call, disk| {
            let is_file = call.path.extension().is_some_and(|name| name == "sst" || name == "base");
            let is_new = call.op == Op::Link || call.op == Op::Open(OpenMode::CreateNew);
            if is_file
                && is_new
                && (call.op == Op::Link || !call.path.starts_with(DIR))
                && !gone.swap(true, Ordering::SeqCst)
            {
                let process = disk.process();
                let aside = disk.list("/").unwrap().into_iter().find(|name| !name.ends_with("db")).unwrap();
                let aside = Path::new("/").join(aside);
                for name in disk.list(&aside).unwrap() {
                    process.remove_file(&aside.join(name)).unwrap();
                }
                process.remove_dir(&aside).unwrap();
            }
        }));
        match db.backup(COPY) {
            Err(Error::Io { path, .. }) => assert!(!path.starts_with(DIR), "{path:?}"),
            outcome => panic!("{links}: {outcome:?}"),
        }
        disk.set_observer(Arc::new(|_, _| ()));
        db.backup(COPY).unwrap();
        assert_eq!(held(&disk, COPY), contents(&db));
    }
}
