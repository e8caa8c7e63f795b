//! Repair saves exactly what survives, lists the rest, and leaves the damaged database alone.
//!
//! Each damaged disk is repaired, and the new database held against what the old one held before: a key may differ only where
//! the list says that it was concerned, only by being absent or by having a value that it had before, and the latter only where
//! the list says that something older may be back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{ENGINE, open, report, world_with};
use crate::engine::repair::{Lost, Repair, repair};
use crate::engine::tests::oracle::Oracle;
use crate::engine::tests::world::{Step, World, set};
use crate::engine::tests::{DIR, Random, contents, fail_next, seeds};
use crate::engine::{Progress, check};
use crate::error::{Error, Result};
use crate::options::{Options, Pace};
use crate::storage::Place;
use crate::storage::codec::last_nonzero;
use crate::storage::fs::Fs as _;
use crate::storage::fs::sim::{Call, Fault, Op, SimFs};
use crate::storage::lock::Patience;
use crate::types::{Batch, Compression, EngineKind, Key, SyncMode, Timestamp, Value};

const NEW: &str = "/new";
const IS_KV: bool = matches!(ENGINE, EngineKind::Kv);

fn patience() -> Patience {
    Patience { timeout: Duration::from_secs(5), interrupt: None }
}

/// Little is held in memory.
fn options() -> Options {
    Options { pace: Pace::SMALL, ..Options::new() }
}

fn place(disk: &SimFs, dir: &str) -> Place {
    Place { fs: disk.process(), dir: dir.into() }
}

fn repaired(disk: &SimFs) -> Result<Repair> {
    repair(&place(disk, DIR), Path::new(NEW), &options(), &mut |_| true)
}

/// What a repair wrote.
fn saved(disk: &SimFs) -> BTreeMap<Key, Value> {
    let new = place(disk, NEW);
    let faults = check::check(&new, patience(), &mut |_, _| true).unwrap().faults;
    assert!(faults.is_empty(), "{faults:?}");
    let engine = crate::engine::open_on(new.fs, &new.dir, &Options::new().create(false)).unwrap();
    contents(&crate::Db::from_engine(engine)).into_iter().collect()
}

fn files_of(disk: &SimFs) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list(DIR).unwrap();
    let read = |name: &std::path::PathBuf| disk.read_file(Path::new(DIR).join(name)).unwrap();
    names.iter().map(|name| (name.display().to_string(), read(name))).collect()
}

/// Repairs, and says what is wrong with the outcome. Returns what is listed as lost.
fn judge(disk: &SimFs, oracle: &Oracle) -> std::result::Result<Vec<Lost>, String> {
    let before = files_of(disk);
    let repair = repaired(disk).map_err(|error| format!("it can't be repaired: {error}"))?;
    if files_of(disk) != before {
        return Err("the damaged database was written to".into());
    }
    let saved = saved(disk);
    let keys: BTreeSet<&Key> = saved.keys().chain(oracle.latest().keys()).collect();
    for key in keys {
        judge_key(key, saved.get(key), oracle, &repair.lost)
            .map_err(|what| format!("{key:?} {what}; lost: {:?}", repair.lost))?;
    }
    if repair.keys != saved.len() as u64 {
        return Err(format!("{} keys are told, {} there", repair.keys, saved.len()));
    }
    Ok(repair.lost)
}

fn judge_key(
    key: &Key,
    found: Option<&Value>,
    oracle: &Oracle,
    lost: &[Lost],
) -> std::result::Result<(), String> {
    if found == oracle.latest().get(key).map(|(value, _)| value) {
        return Ok(());
    }
    let concerns = |lost: &&Lost| match (&lost.fault.keys, lost.fault.lsns) {
        (Some(keys), _) => keys.contains(key),
        (None, Some((from, to))) => oracle.touched(from, to).contains(key),
        (None, None) => true,
    };
    let concerned: Vec<&Lost> = lost.iter().filter(concerns).collect();
    if concerned.is_empty() {
        return Err("differs, and nothing lost concerns it".into());
    }
    match found {
        None => Ok(()),
        Some(value) if !oracle.ever_had(key, value) => Err("has a value that it never had".into()),
        Some(_) if concerned.iter().any(|lost| lost.older_may_be_back) => Ok(()),
        Some(_) => Err("has an older value, which is not said".into()),
    }
}

/// The last batch of the sample.
pub(super) fn last_batch() -> Batch {
    set("last", 30, 4)
}

/// A database with two tables or a base, a sealed segment and one in use, values outside of pages, deletions.
fn sample() -> (SimFs, Oracle) {
    sample_of(Pace::SMALL, 64_000)
}

/// The same with segments of other lengths, and a value of this length in the last but one.
pub(super) fn sample_of(pace: Pace, large: usize) -> (SimFs, Oracle) {
    let disk = SimFs::new();
    let options = Options { pace, ..Options::new().engine(ENGINE).compression(Compression::Lz4) };
    let mut world = World::of_processes(&disk, vec![options], Oracle::new());
    let many = |from: usize, mark: u64| {
        let mut batch = Batch::new();
        for index in 0..60 {
            let len = if index % 20 == 7 { 2_500 } else { 40 };
            let value = crate::engine::tests::world::value(len, mark + index as u64);
            let key = format!("key {:03}", from + 2 * index);
            if index % 10 == 3 {
                batch.set_until(key, value, Timestamp::MAX)
            } else {
                batch.set(key, value)
            };
        }
        batch
    };
    let mut delete = Batch::new();
    delete.delete("key 004").delete("key 014").set("key 010", "newer");
    world
        .run(&[
            Step::Write(0, many(0, 100)),
            Step::Compact(0),
            Step::Write(0, many(1, 500)),
            Step::Write(0, delete),
            Step::Write(0, set("large", large, 3)),
            Step::Turn(0, vec![set("key 021", 12, 5), set("other", 9, 6)]),
            Step::Write(0, last_batch()),
        ])
        .unwrap();
    let oracle = world.oracle().clone();
    drop(world);
    disk.write_file(Path::new(DIR).join("config.toml"), b"sync = \"each\"\n").unwrap();
    (disk.clone_disk(), oracle)
}

/// The files of the sample in which bytes matter.
fn data_files(disk: &SimFs) -> Vec<String> {
    let mut names: Vec<String> = files_of(disk).into_keys().collect();
    names.retain(|name| {
        name == "MANIFEST" || name.contains(".wal") || name.contains(".sst") || name.contains(".base")
    });
    assert!(names.len() >= if IS_KV { 4 } else { 3 }, "{names:?}");
    names
}

/// Where the last byte ends that is not zero.
pub(super) fn used(bytes: &[u8]) -> usize {
    last_nonzero(bytes).map_or(0, |last| last + 1)
}

#[test]
fn an_undamaged_database_is_copied_and_nothing_is_lost() {
    let (disk, oracle) = sample();
    assert_eq!(judge(&disk, &oracle), Ok(Vec::new()));
    assert_eq!(disk.read_file("/new/config.toml").unwrap(), b"sync = \"each\"\n");
    let again = repaired(&disk).unwrap_err();
    assert!(again.to_string().contains("/new"), "{again}");
    assert!(matches!(again, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists));
}

#[test]
fn histories_are_copied_and_nothing_is_lost() {
    let histories = 60 * seeds(1);
    for seed in 0..histories {
        let disk = SimFs::new();
        let mut random = Random(seed);
        let mut world = world_with(&disk, &[SyncMode::Group, SyncMode::Each], Oracle::new());
        for step in 0..30 {
            let who = usize::try_from(random.below(2)).unwrap();
            let step = match random.below(12) {
                0 => Step::Compact(who),
                1 => Step::Reopen(who),
                2 => Step::Kill(who),
                3 => Step::Bulk(who, changes(&mut random, 40)),
                _ => Step::Write(who, changes(&mut random, 1 + step % 5)),
            };
            world.step(&step).unwrap();
        }
        let oracle = world.oracle().clone();
        drop(world);
        assert_eq!(judge(&disk, &oracle), Ok(Vec::new()), "seed {seed}");
        let disk = disk.clone_disk();
        assert_eq!(check::check(&place(&disk, DIR), patience(), &mut |_, _| true).unwrap().faults, []);
    }
    report("repair", &format!("{histories} histories"));
}

fn changes(random: &mut Random, count: u64) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..count {
        let key = format!("{:02}", random.below(50));
        match random.below(8) {
            0 | 1 => batch.delete(key),
            2 => batch.set(key, crate::engine::tests::world::value(3_000, random.next())),
            3 if count < 3 => batch.set(key, crate::engine::tests::world::value(30_000, random.next())),
            _ => batch.set(key, crate::engine::tests::world::value(20, random.next())),
        };
    }
    batch
}

/// What can't be told from a torn write is dropped, and said so; of records over 11 KiB no bit can be set right for sure.
#[test]
fn a_single_flipped_bit_costs_nothing() {
    let (disk, oracle) = sample();
    let (mut flipped, mut mended) = (0, 0);
    for file in data_files(&disk) {
        let path = Path::new(DIR).join(&file);
        let bytes = disk.read_file(&path).unwrap();
        let is_large = |place: &usize| used(&bytes) > 60_000 && (72..72 + 64_056).contains(place);
        for place in (0..used(&bytes)).filter(|place| !is_large(place)).step_by(bits_step()) {
            let bit = (place % 8) as u64;
            let damaged = disk.clone_disk();
            damaged.flip_bit(&path, place as u64 * 8 + bit).unwrap();
            let lost = judge(&damaged, &oracle);
            assert_eq!(lost, Ok(Vec::new()), "{file}: bit {bit} of byte {place}");
            flipped += 1;
            mended += u64::from(damaged.read_file(&path).unwrap() != bytes);
        }
    }
    assert_eq!(flipped, mended);
    report("repair", &format!("{flipped} bits set right"));
}

/// How many bytes lie between two places that are damaged.
fn bits_step() -> usize {
    if std::env::var_os("KVDB_EVERY_BIT").is_some() { 1 } else { 37 }
}

#[test]
fn what_survives_overwritten_bytes_is_saved_and_the_rest_is_listed() {
    let (disk, oracle) = sample();
    let (mut places, mut losses) = (0, 0);
    for file in data_files(&disk) {
        let path = Path::new(DIR).join(&file);
        let bytes = disk.read_file(&path).unwrap();
        for place in (0..used(&bytes)).step_by(bits_step() * 6) {
            let mut damaged_bytes = bytes.clone();
            let end = (place + 24).min(bytes.len());
            damaged_bytes[place..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
            let damaged = disk.clone_disk();
            damaged.write_file(&path, &damaged_bytes).unwrap();
            let lost =
                judge(&damaged, &oracle).unwrap_or_else(|what| panic!("{file} from {place} on: {what}"));
            places += 1;
            losses += u64::from(!lost.is_empty());
        }
    }
    assert!(losses * 2 > places, "{losses} of {places}");
    report("repair", &format!("{places} places overwritten, {losses} of them with losses"));
}

#[test]
fn what_survives_a_cut_or_a_missing_file_is_saved_and_the_rest_is_listed() {
    let (disk, oracle) = sample();
    let mut cuts = 0;
    for file in data_files(&disk) {
        let path = Path::new(DIR).join(&file);
        let bytes = disk.read_file(&path).unwrap();
        for len in (0..used(&bytes)).step_by(bits_step() * 10) {
            let damaged = disk.clone_disk();
            damaged.write_file(&path, &bytes[..len]).unwrap();
            judge(&damaged, &oracle).unwrap_or_else(|what| panic!("{file} cut at {len}: {what}"));
            cuts += 1;
        }
        let damaged = disk.clone_disk();
        damaged.process().remove_file(&path).unwrap();
        let lost = judge(&damaged, &oracle).unwrap_or_else(|what| panic!("{file} missing: {what}"));
        assert_eq!(lost.is_empty(), file == "MANIFEST" && !IS_KV, "{file}: {lost:?}");
    }
    report("repair", &format!("{cuts} cuts"));
}

/// A page of a newer run is lost: what the older run has comes back, and that is said.
#[test]
fn what_comes_back_from_an_older_table_is_said() {
    if !IS_KV {
        return;
    }
    let disk = SimFs::new();
    let db = open(&disk);
    for index in 0..200 {
        db.set(format!("key {index:03}"), vec![b'o'; 40]).unwrap();
    }
    db.compact().unwrap();
    let mut batch = Batch::new();
    for index in 0..10 {
        batch.delete(format!("key {index:03}"));
    }
    db.write(batch).unwrap();
    // The segment has no room for this: it is full, and flushed.
    db.set("large", vec![7; 66_000]).unwrap();
    drop(db);
    let tables = super::files(&disk, ".sst");
    assert!(tables.len() >= 2, "{tables:?}");
    let newest = Path::new(DIR).join(Path::new(tables.last().unwrap()).file_name().unwrap());
    let mut bytes = disk.read_file(&newest).unwrap();
    bytes[100..140].fill(0xee);
    disk.write_file(&newest, &bytes).unwrap();
    let disk = disk.clone_disk();
    let repair = repaired(&disk).unwrap();
    let saved = saved(&disk);
    assert_eq!(saved.get(&b"key 005"[..]).map(|value| value.len()), Some(40), "it was deleted");
    let said = repair.lost.iter().filter(|lost| lost.older_may_be_back);
    assert!(said.clone().any(|lost| lost.fault.keys.as_ref().unwrap().contains(b"key 005")), "{repair:?}");
    assert!(saved.contains_key(&b"large"[..]) && saved.contains_key(&b"key 150"[..]));
}

#[test]
fn a_repair_that_is_stopped_leaves_nothing() {
    let (disk, _) = sample();
    let before = disk.list("/").unwrap();
    for stop in [1, 2, 5] {
        let mut steps = 0;
        let stopped = repair(&place(&disk, DIR), Path::new(NEW), &options(), &mut |_: Progress| {
            steps += 1;
            steps < stop
        });
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert_eq!(disk.list("/").unwrap(), before);
    }
}

/// Once, midway: what comes later would succeed.
#[test]
fn a_table_that_cannot_be_written_ends_a_repair() {
    if !IS_KV {
        return;
    }
    let (disk, oracle) = sample();
    let before = disk.list("/").unwrap();
    let chunks = |disk: &SimFs| {
        let log = disk.log();
        let is_table = |call: &&Call| call.op == Op::Write && call.path.to_string_lossy().ends_with(".sst");
        log.iter().filter(is_table).map(|call| call.path.clone()).collect::<BTreeSet<_>>().len()
    };
    let whole = disk.clone_disk();
    assert_eq!(judge(&whole, &oracle), Ok(Vec::new()));
    assert!(chunks(&whole) > 3, "it is written a part at a time: {}", chunks(&whole));
    fail_next(&disk, Op::Write, ".sst");
    let stopped = repaired(&disk);
    assert!(matches!(stopped, Err(Error::Io { .. })), "{stopped:?}");
    assert_eq!(disk.list("/").unwrap(), before);
}

#[test]
fn a_repair_or_a_check_writes_to_nothing_of_the_database() {
    let (disk, _) = sample();
    let process = disk.process();
    let at = Place { fs: Arc::clone(&process) as _, dir: DIR.into() };
    disk.reset_calls();
    check::check(&at, patience(), &mut |_, _| true).unwrap();
    repair(&at, Path::new(NEW), &options(), &mut |_| true).unwrap();
    let log = disk.log();
    let touched = log.iter().filter(|call| call.path.starts_with(DIR) && call.op.is_mutating());
    assert_eq!(touched.map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert!(log.len() > 50);
}

/// Whenever it dies: what is under the new name is complete, and the next repair removes what it finds unfinished.
#[test]
fn a_repair_that_dies_leaves_nothing_that_the_next_one_does_not_remove() {
    let (start, _) = sample();
    let all = {
        let disk = start.clone_disk();
        repaired(&disk).unwrap();
        saved(&disk)
    };
    let (mut unfinished, mut done) = (0, false);
    for number in (1..).step_by(if seeds(0) > 0 { 1 } else { 3 }) {
        let disk = start.clone_disk();
        disk.fail_at(number, Fault::KillInside);
        done = repaired(&disk).is_ok();
        disk.clear_faults();
        if done {
            break;
        }
        let left =
            || disk.list("/").unwrap().into_iter().filter(|name| name.to_string_lossy().contains(".new-"));
        let is_unfinished = |dir: &Path| {
            disk.list(dir).is_ok_and(|names| names.iter().any(|name| name.ends_with("UNFINISHED")))
        };
        for dir in left().map(|name| Path::new("/").join(name)).filter(|dir| is_unfinished(dir)) {
            let opened = crate::engine::open_on(disk.process(), &dir, &Options::new());
            assert!(matches!(opened, Err(Error::NotADatabase { .. })), "call {number}");
            unfinished += 1;
        }
        if disk.list(NEW).is_err() {
            repaired(&disk).unwrap();
        }
        assert_eq!(saved(&disk), all, "call {number}");
        assert!(!left().any(|name| is_unfinished(&Path::new("/").join(name))), "call {number}");
    }
    assert!(done && unfinished > 20, "{unfinished}");
}
