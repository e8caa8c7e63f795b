//! What shows only from inside: what is left in the log, and which tables are merged when.

mod compression;
mod space;

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;
use crate::db::Db;
use crate::error::Error;
use crate::storage::fs::sim::{self, Call, SimFs, SimProcess};
use crate::types::{Direction, KeyRange};

fn open(disk: &SimFs) -> Arc<KvEngine> {
    open_as(disk, false)
}

fn open_as(disk: &SimFs, background: bool) -> Arc<KvEngine> {
    open_with(disk.process(), &Options::new().background(background))
}

/// Slices of several tables.
const MANNER: Manner = Manner { slice: 40_000, table: 15_000, compression: Compression::None };

/// One that flushes, merges and loads little at a time.
fn open_small(process: Arc<SimProcess>) -> Arc<KvEngine> {
    let options = Options::new().lock_timeout(Duration::from_millis(1));
    open_with(process, &Options { pace: Pace::SMALL, ..options })
}

fn open_with(fs: Arc<SimProcess>, options: &Options) -> Arc<KvEngine> {
    let dir = Path::new("/db");
    let options = options.clone().engine(EngineKind::Kv);
    let manifest = crate::engine::wal_engine::find_or_create(&*fs, dir, &options).unwrap();
    let place = Place { fs, dir: dir.to_owned() };
    Arc::new(KvEngine::open(place, manifest, &options).unwrap())
}

/// Merges all runs without touching the log, as a background merge does.
fn merge_all(engine: &KvEngine) {
    let right = engine.shared.log.merge().unwrap();
    assert!(!right.manifest().unwrap().runs.is_empty());
    compact::merge_all(&right, engine.shared.manner(), &mut |_| true).unwrap();
}

#[test]
fn a_handle_that_is_closed_after_much_writing_leaves_a_short_log() {
    let disk = SimFs::new();
    let engine = open(&disk);
    let db = Db::from_engine(engine.clone());
    for number in 0..400_u32 {
        db.set(number.to_be_bytes().to_vec(), vec![7; 20_000]).unwrap();
    }
    engine.close();
    assert!(engine.shared.log.log_bytes() < MAX_LEFT_BYTES);
    assert!(engine.stats().unwrap().runs > 0);
    assert_eq!(open(&disk).stats().unwrap().keys, 400);
}

/// Sealed memtables are flushed in the background when they are as large as that, and nobody looks for itself.
const FLUSH: u64 = 100_000;

fn open_with_background(disk: &SimFs) -> Arc<KvEngine> {
    let lengths = Pace { first_segment: 8 << 10, full_segment: 32 << 10, ..Pace::USUAL };
    let pace = Pace { flush: FLUSH, most_sealed: u64::MAX, pause: Duration::from_hours(1), ..lengths };
    open_with(disk.process(), &Options { pace, ..Options::new() })
}

fn is_flush_due(engine: &KvEngine) -> bool {
    engine.shared.log.peek(|tree| tree.sealed_bytes() >= FLUSH)
}

fn write_until_a_flush_is_due(engine: &KvEngine, db: &Db) {
    while !is_flush_due(engine) {
        db.set("k", vec![7; 5_000]).unwrap();
    }
}

/// Whoever makes a flush due wakes the background, however long it meant to wait.
#[test]
fn the_background_flushes_whatever_is_due_while_others_write() {
    let engine = open_with_background(&SimFs::new());
    let db = Db::from_engine(engine.clone());
    for round in 0..10 {
        write_until_a_flush_is_due(&engine, &db);
        let begun = Instant::now();
        while is_flush_due(&engine) {
            assert!(begun.elapsed() < Duration::from_mins(2), "round {round} is not flushed");
            std::thread::sleep(Duration::from_millis(1));
            db.set("k", "").unwrap();
        }
    }
    engine.close();
}

#[test]
fn a_flush_that_can_not_be_made_is_not_tried_at_every_commit() {
    let disk = SimFs::new();
    let (engine, other) = (open_with_background(&disk), open(&disk));
    let db = Db::from_engine(engine.clone());
    let right = other.shared.log.maintain().unwrap();
    write_until_a_flush_is_due(&engine, &db);
    disk.reset_calls();
    for _ in 0..100 {
        db.set("k", "").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_try = |call: &Call| matches!(call.op, sim::Op::TryLock(_)) && call.path.ends_with("MAINT");
    let tries = disk.log().iter().filter(|call| is_try(call)).count();
    assert!(tries <= 10, "{tries}");
    assert!(is_flush_due(&engine));
    drop(right);
}

#[test]
fn tables_that_others_merged_away_are_found_again_by_reads_turns_and_snapshots() {
    let disk = SimFs::new();
    let merging = open(&disk);
    let db = Db::from_engine(merging.clone());
    db.set("k", "v").unwrap();
    db.set("other", "v").unwrap();
    db.compact().unwrap();
    let checks: [fn(&KvEngine); 4] = [
        |engine| assert_eq!(engine.get(b"k").unwrap().unwrap(), b"v"),
        |engine| {
            let turn = engine.turn("test").unwrap();
            assert_eq!(turn.entry(b"k").unwrap().unwrap().value, b"v");
        },
        |engine| {
            let _turn = engine.turn("test").unwrap();
            assert_eq!(engine.get(b"k").unwrap().unwrap(), b"v", "read by who has a turn");
        },
        |engine| assert!(engine.snapshot().unwrap().entry(b"k").unwrap().is_some()),
    ];
    for check in checks {
        // It has looked at the log, and opened no table.
        let behind = open(&disk);
        assert!(behind.get(b"a key below all tables").unwrap().is_none());
        merge_all(&merging);
        check(&behind);
    }
}

/// Writes a run of its own that changes some of `KEYS` keys.
fn write_run(engine: &KvEngine, db: &Db, model: &mut BTreeMap<Vec<u8>, Vec<u8>>, seed: u64) {
    let mut batch = Batch::new();
    for number in 0..KEYS {
        let key = format!("key{number:04}").into_bytes();
        let mixed = (number + 1).wrapping_mul(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) >> 7;
        match mixed % 5 {
            0 => {
                model.remove(&key);
                batch.delete(key);
            }
            1 | 2 => {
                let value =
                    vec![u8::try_from(mixed % 251).unwrap(); 50 + usize::try_from(seed % 100).unwrap()];
                model.insert(key.clone(), value.clone());
                batch.set(key, value);
            }
            _ => {}
        }
    }
    db.write(batch).unwrap();
    flush(engine).unwrap();
}

/// Flushes all that was written.
fn flush(engine: &KvEngine) -> Result<()> {
    let maintenance = engine.shared.log.maintain()?;
    let sealed = maintenance.seal(sealed_memtables)?;
    engine.shared.flush(&maintenance, &sealed, &mut |_| true)
}

const KEYS: u64 = 2_000;

fn assert_same(engine: &Arc<KvEngine>, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let db = Db::from_engine(engine.clone());
    for number in 0..KEYS {
        let key = format!("key{number:04}").into_bytes();
        assert_eq!(db.get(&key).unwrap().as_deref(), model.get(&key).map(|value| &value[..]));
    }
    for direction in [Direction::Forward, Direction::Reverse] {
        let scan = db.snapshot().unwrap().into_scan(KeyRange::all(), direction);
        let mut found: Vec<_> =
            scan.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect();
        if direction == Direction::Reverse {
            found.reverse();
        }
        assert!(found.iter().map(|(key, value)| (key, value)).eq(model), "{direction:?}");
    }
}

#[test]
fn a_handle_that_finds_something_to_merge_does_so_while_it_is_open() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    for run in 0..4 {
        write_run(&first, &Db::from_engine(first.clone()), &mut model, run);
    }
    let waiting = open(&disk);
    let runs = |engine: &KvEngine| engine.shared.log.merge().unwrap().manifest().unwrap().runs.len();
    assert!(plan(&waiting.shared.log.peek(|tree| tree.version.shapes(None)), None, Occasion::NONE).is_some());
    let (before, tidy) = (runs(&waiting), open_as(&disk, true));
    let start = std::time::Instant::now();
    while runs(&tidy) == before && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(runs(&tidy) < before);
    assert_same(&tidy, &model);
}

#[test]
fn runs_that_need_not_be_merged_are_while_nobody_writes() {
    let disk = SimFs::new();
    let (first, mut model) = (open(&disk), BTreeMap::new());
    write_run(&first, &Db::from_engine(first.clone()), &mut model, 1);
    // Other keys: nothing of the first run is outdated.
    let mut more = Batch::new();
    for number in 0..KEYS {
        more.set(number.to_be_bytes().to_vec(), "v");
    }
    let runs = |engine: &KvEngine| engine.shared.log.merge().unwrap().manifest().unwrap().runs.len();
    let db = Db::from_engine(first.clone());
    db.write(more).unwrap();
    let maintenance = first.shared.log.maintain().unwrap();
    let sealed = maintenance.seal(sealed_memtables).unwrap();
    first.shared.flush(&maintenance, &sealed, &mut |_| true).unwrap();
    drop(maintenance);
    let due = first.shared.log.peek(|tree| plan(&tree.version.shapes(None), None, Occasion::NONE));
    assert_eq!((runs(&first), due), (2, None));
    let session = open_as(&disk, true);
    let start = std::time::Instant::now();
    while runs(&session) > 1 && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(runs(&session), 1);
    assert_eq!(session.stats().unwrap().keys, KEYS + model.len() as u64);
}

/// A large run, and a small one above it: too small to be merged only because nobody writes.
#[test]
fn runs_are_merged_once_they_were_walked_over_often_enough() {
    let disk = SimFs::new();
    let first = open(&disk);
    let db = Db::from_engine(first.clone());
    for keys in [KEYS, KEYS / 5] {
        let mut batch = Batch::new();
        for number in 0..keys {
            batch.set(format!("{keys} {number}"), "v");
        }
        db.write(batch).unwrap();
        let maintenance = first.shared.log.maintain().unwrap();
        let sealed = maintenance.seal(sealed_memtables).unwrap();
        first.shared.flush(&maintenance, &sealed, &mut |_| true).unwrap();
    }
    let session = open_as(&disk, true);
    let runs = || session.shared.log.peek(|tree| tree.version.runs.len());
    assert_eq!(runs(), 2);
    assert!(session.background.lock().unwrap().is_none(), "nothing is due");
    let start = std::time::Instant::now();
    while runs() > 1 && start.elapsed() < Duration::from_secs(20) {
        let view = session.snapshot().unwrap();
        let (mut walk, mut walked) = (view.scan(&KeyRange::all(), Direction::Forward).unwrap(), 0);
        while walk.next().unwrap().is_some() {
            walked += 1;
        }
        assert_eq!(walked, KEYS + KEYS / 5);
    }
    assert_eq!(runs(), 1);
    session.stop_background();
    let walked = session.shared.walked.records();
    let view = session.snapshot().unwrap();
    let mut walk = view.scan(&KeyRange::all(), Direction::Forward).unwrap();
    while walk.next().unwrap().is_some() {}
    drop(walk);
    assert_eq!(session.shared.walked.records(), walked, "a walk over one run needs no merge");
}

#[test]
fn runs_that_follow_one_another_become_one_without_being_written_again() {
    let disk = SimFs::new();
    let (engine, mut model) = (open(&disk), BTreeMap::new());
    for run in 0..9_u64 {
        let mut batch = Batch::new();
        for number in run * KEYS / 9..(run + 1) * KEYS / 9 {
            let key = format!("key{number:04}").into_bytes();
            model.insert(key.clone(), vec![7; 100]);
            batch.set(key, vec![7; 100]);
        }
        Db::from_engine(engine.clone()).write(batch).unwrap();
        let maintenance = engine.shared.log.maintain().unwrap();
        let sealed = maintenance.seal(sealed_memtables).unwrap();
        engine.shared.flush(&maintenance, &sealed, &mut |_| true).unwrap();
    }
    let right = engine.shared.log.merge().unwrap();
    while compact::merge_slice(&right, Occasion::NONE, MANNER, &mut || true).unwrap() {}
    let manifest = right.manifest().unwrap();
    drop(right);
    assert_eq!((manifest.runs.len(), manifest.next_merged), (1, FileId(2)));
    assert_same(&engine, &model);
    assert_same(&open(&disk), &model);
}

#[test]
fn runs_read_the_same_after_every_slice_of_a_merge_whoever_does_it() {
    for seed in 1..4 {
        let disk = SimFs::new();
        let (first, mut model) = (open(&disk), BTreeMap::new());
        let db = Db::from_engine(first.clone());
        for run in 0..4 {
            write_run(&first, &db, &mut model, seed * 10 + run);
        }
        let (mut slices, mut floors) = (0, 0);
        loop {
            // Each slice is another process's; the one that wrote the runs goes on with what it has.
            let other = open(&disk);
            let right = other.shared.log.merge().unwrap();
            if !compact::merge_slice(&right, Occasion::NONE, MANNER, &mut || true).unwrap() {
                break;
            }
            slices += 1;
            let manifest = right.manifest().unwrap();
            floors += manifest.runs.iter().flatten().filter(|listed| !listed.floor.is_empty()).count();
            drop(right);
            assert_same(&other, &model);
            if slices == 2 {
                assert!(manifest.merging.is_some());
                write_run(&other, &Db::from_engine(other.clone()), &mut model, seed * 10 + 7);
            }
            assert_same(&open(&disk), &model);
            assert_same(&first, &model);
        }
        assert!(slices > 4 && floors > 4, "{slices} slices, {floors} floors");
        first.compact(&mut |_| true).unwrap();
        assert_same(&first, &model);
        let manifest = first.shared.log.merge().unwrap().manifest().unwrap();
        assert_eq!((manifest.runs.len(), manifest.merging), (1, None));
        let tombstones: u64 = manifest.runs[0].iter().map(|listed| listed.table.tombstones).sum();
        let entries: u64 = manifest.runs[0].iter().map(|listed| listed.table.entries).sum();
        assert_eq!((tombstones, entries), (0, model.len() as u64));
    }
}

#[test]
fn what_another_process_flushed_is_kept_in_memory_no_longer() {
    let disk = SimFs::new();
    let [first, second] = [(); 2].map(|()| open(&disk));
    let mut segments = 0;
    while segments < 2 {
        Db::from_engine(first.clone()).set("k", vec![7; 50_000]).unwrap();
        segments = first.shared.log.peek(|tree| tree.sealed.len());
    }
    second.view().unwrap();
    second.shared.flush_sealed(&second.shared.log.maintain().unwrap()).unwrap();
    assert_eq!(second.shared.log.peek(Tree::sealed_bytes), 0);
    first.shared.flush_sealed(&first.shared.log.maintain().unwrap()).unwrap();
    assert_eq!(first.shared.log.peek(|tree| (tree.sealed_bytes(), tree.version.runs.len())), (0, 1));
}

/// Else one would wait for it for as long as it takes, and could not be interrupted.
#[test]
fn who_waits_for_another_thread_waits_no_longer_than_for_another_process() {
    let disk = SimFs::new();
    let impatient = Options::new().lock_timeout(Duration::from_millis(30)).background(false);
    let engine = open_with(disk.process(), &impatient);
    let merging = engine.shared.log.merge().unwrap();
    let refused = engine.compact(&mut |_| true);
    assert!(matches!(refused, Err(Error::Busy { lock: "MERGE", .. })), "{refused:?}");
    drop(merging);
    let maintaining = engine.shared.log.maintain().unwrap();
    let refused = engine.compact(&mut |_| true);
    assert!(matches!(refused, Err(Error::Busy { lock: "MAINT", .. })), "{refused:?}");
    drop(maintaining);
    engine.compact(&mut |_| true).unwrap();
}

#[test]
fn a_snapshot_that_opens_tables_keeps_nobody_waiting() {
    let disk = SimFs::new();
    let db = Db::from_engine(open(&disk));
    db.set("k", "v").unwrap();
    db.compact().unwrap();
    let db = Db::from_engine(open(&disk));
    let (writer, opened) = (db.clone(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&opened);
    disk.set_observer_of_all(Arc::new(move |call, _| {
        if call.path.extension().is_some_and(|extension| extension == "sst")
            && counted.fetch_add(1, Ordering::Relaxed) == 0
        {
            let (writer, (done, is_done)) = (writer.clone(), std::sync::mpsc::channel());
            std::thread::spawn(move || done.send(writer.set("other", "v")));
            is_done.recv_timeout(Duration::from_secs(20)).expect("a commit waits for the snapshot").unwrap();
        }
    }));
    let before = db.snapshot().unwrap();
    assert!(opened.load(Ordering::Relaxed) > 0);
    assert!(before.get("other").unwrap().is_none() && db.get("other").unwrap().is_some());
    disk.set_observer(Arc::new(|_, _| ()));
}
