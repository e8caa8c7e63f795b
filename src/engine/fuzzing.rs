//! Fuzzing the files of a database: whatever they hold, a database opens with the right answers or says what is wrong.
//!
//! 1. No input makes a process panic, hang, or fail as if the device had.
//! 2. Both engines read the same from the same log.
//! 3. What a database that was opened is told stays there: it is found by the next process, and by one after a compaction.
//! 4. Notes between processes change no answer, whatever they say.

use std::path::Path;
use std::sync::OnceLock;

use super::open_on;
use crate::db::Db;
use crate::error::{ErrorKind, Result};
use crate::fuzzing::{Target, told};
use crate::options::{Options, Pace};
use crate::storage::codec::last_nonzero;
use crate::storage::fs::sim::SimFs;
use crate::storage::fs::{Fs, OpenMode};
use crate::storage::manifest::{self, Manifest};
use crate::storage::shm;
use crate::storage::wal::record;
use crate::storage::wal::segment::{self, SegmentHeader};
use crate::storage::{Life, Place};
use crate::types::{EngineKind, Key, Lsn, Value};

/// The input is a byte that says what to mend, the length of the first segment (two bytes), and two segments without the zeros
/// behind their records.
pub(crate) const LOG: Target = Target { name: "log", run: log, seeds: logs };

/// The input is a byte that says whether to mend, and a manifest for the files of [`with_tables`].
pub(crate) const MANIFEST: Target = Target { name: "manifest", run: manifest, seeds: manifests };

/// The input is a byte that says what to mend, and the notes between the processes of a small database.
pub(crate) const SHM: Target = Target { name: "shm", run: notes, seeds: all_notes };

const DIR: &str = "/db";

/// Bytes of the segments that are made of an input.
const CAPACITY: usize = 16 << 10;

fn path(name: &str) -> String {
    format!("{DIR}/{name}")
}

fn open(disk: &SimFs, engine: EngineKind) -> Result<Db> {
    let options = Options { pace: Pace::SMALL, ..Options::new().engine(engine) };
    Ok(Db::from_engine(open_on(disk.process(), Path::new(DIR), &options)?))
}

fn contents(db: &Db) -> Result<Vec<(Key, Value)>> {
    db.scan(..)?.collect()
}

/// A disk with a database's directory, and nothing in it but the locks.
fn empty() -> SimFs {
    let disk = SimFs::new();
    disk.process().create_dir(Path::new(DIR)).unwrap_or_else(told);
    for name in ["TURN", "LOCK", "MAINT", "MERGE"] {
        put(&disk, name, b"");
    }
    disk
}

fn put(disk: &SimFs, name: &str, bytes: &[u8]) {
    disk.write_file(path(name), bytes).unwrap_or_else(told);
}

/// The device does what it is told here, so nobody may say that it did not.
fn legible<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(|error| assert!(error.kind() != ErrorKind::Io, "{error}")).ok()
}

/// What a database says that was opened; what it is told must stay.
fn use_it(disk: &SimFs, engine: EngineKind) -> Option<Vec<(Key, Value)>> {
    let db = legible(open(disk, engine))?;
    let before = legible(contents(&db))?;
    for (key, value) in before.iter().take(3) {
        assert_eq!(legible(db.get(key)), Some(Some(value.clone())), "get and scan disagree");
    }
    if legible(db.set("fuzz", "it")).is_some() {
        let mut after = before.clone();
        after.retain(|(key, _)| **key != *b"fuzz");
        let at = after.partition_point(|(key, _)| key[..] < b"fuzz"[..]);
        after.insert(at, ("fuzz".into(), "it".into()));
        assert_eq!(legible(contents(&db)), Some(after.clone()), "a write changed something else");
        let found = open(disk, engine).and_then(|db| contents(&db));
        assert_eq!(found.unwrap_or_else(told), after, "another process finds something else");
        if legible(db.compact()).is_some() {
            let found = open(disk, engine).and_then(|db| contents(&db));
            assert_eq!(found.unwrap_or_else(told), after, "a compaction changed something");
        }
    }
    Some(before)
}

/// The same where the manifest verifies and lies about its tables: that is no damage, so nobody notices, but a batch in the log is
/// found all the same.
fn survive(disk: &SimFs, engine: EngineKind) {
    let Some(db) = legible(open(disk, engine)) else { return };
    drop((legible(contents(&db)), legible(db.stats()), legible(db.get("key3"))));
    if legible(db.set("fuzz", "it")).is_some() {
        let found = legible(open(disk, engine)).and_then(|db| legible(db.get("fuzz"))).flatten();
        assert_eq!(found.as_deref(), Some(&b"it"[..]));
        if legible(db.compact()).is_some() {
            drop(legible(open(disk, engine)).map(|db| legible(contents(&db))));
        }
    }
}

fn log(bytes: &[u8]) {
    let [how, low, high, rest @ ..] = bytes else { return };
    let (first, second) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
    let (first, header) = segment_of(*how, first);
    let (second, successor) = segment_of(*how, second);
    let life = header.map_or(Life::default(), |header| header.life);
    let seen = [EngineKind::Simple, EngineKind::Kv].map(|engine| {
        let disk = empty();
        let flushed = header.map_or(Lsn::ZERO, |header| Lsn(header.first_lsn.0.saturating_sub(1)));
        let manifest = Manifest { flushed, ..Manifest::new(engine, life, 1) };
        legible(manifest.install(&*disk.process(), Path::new(DIR)))?;
        put(&disk, &format!("{}.wal", life.id), &first);
        if let Some(successor) = successor.filter(|successor| successor.life.id != life.id) {
            put(&disk, &format!("{}.wal", successor.life.id), &second);
        }
        use_it(&disk, engine)
    });
    assert_eq!(seen[0], seen[1], "the engines disagree");
}

/// A segment file and its header. Bit 0 of `how` mends the header, bit 1 the records, bit 2 what they link to.
fn segment_of(how: u8, bytes: &[u8]) -> (Vec<u8>, Option<SegmentHeader>) {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(CAPACITY), 0);
    let header = if how & 1 != 0 { segment::reseal(&mut file) } else { segment::reseal(&mut file.clone()) };
    let Some(header) = header.filter(|_| how & 2 != 0) else { return (file, header) };
    let (mut offset, mut link, mut last) =
        (segment::HEADER_LEN, header.link(), Lsn(header.first_lsn.0.saturating_sub(1)));
    while let Some(found) = file.get(offset..).filter(|rest| rest.iter().any(|&byte| byte != 0)) {
        let lsn = record::announced_lsn(found).unwrap_or(last);
        let after = (how & 4 != 0).then_some((link, last));
        let Some((crc, len)) = record::reseal(&mut file[offset..], header.life, offset as u64, after) else {
            break;
        };
        last = record::announced_lsn(&file[offset..]).unwrap_or(lsn);
        (offset, link) = (offset + len, crc);
    }
    (file, Some(header))
}

/// A database of some tables, written as bulks, and a little log.
fn with_tables() -> &'static SimFs {
    static DISK: OnceLock<SimFs> = OnceLock::new();
    DISK.get_or_init(|| {
        let disk = SimFs::new();
        let db = open(&disk, EngineKind::Kv).unwrap_or_else(told);
        for round in 0..3_u8 {
            let mut bulk = db.bulk().unwrap_or_else(told);
            for key in 0..6_u8 {
                let key = format!("key{}", key * (round + 1));
                let outcome = if round == 1 { bulk.delete(key) } else { bulk.set(key, vec![round; 300]) };
                outcome.unwrap_or_else(told);
            }
            bulk.commit().unwrap_or_else(told);
        }
        db.set("key3", "in the log").unwrap_or_else(told);
        drop(db);
        disk
    })
}

fn manifest(bytes: &[u8]) {
    let Some((how, manifest)) = bytes.split_first() else { return };
    let mut manifest = manifest.to_vec();
    if how % 2 == 1 {
        manifest::reseal(&mut manifest);
    }
    let disk = with_tables().clone_disk();
    put(&disk, manifest::NAME, &manifest);
    let process = disk.process();
    let read = legible(Manifest::read(&*process, Path::new(DIR))).flatten();
    let Some(read) = read else { return };
    let other = empty();
    read.install(&*other.process(), Path::new(DIR)).unwrap_or_else(told);
    let again = Manifest::read(&*other.process(), Path::new(DIR));
    assert_eq!(again.unwrap_or_else(told), Some(read.clone()), "it is not written as it was read");
    if how % 2 == 1 {
        survive(&disk, read.engine);
    } else {
        use_it(&disk, read.engine);
    }
}

/// A database that has nothing but a little log, and the log's segment.
fn small() -> &'static (SimFs, Life) {
    static DISK: OnceLock<(SimFs, Life)> = OnceLock::new();
    DISK.get_or_init(|| {
        let disk = SimFs::new();
        let db = open(&disk, EngineKind::Kv).unwrap_or_else(told);
        for key in ["a", "b", "c"] {
            db.set(key, "v").unwrap_or_else(told);
        }
        drop(db);
        let place = Place { fs: disk.process(), dir: DIR.into() };
        let manifest = Manifest::read(&*place.fs, &place.dir).unwrap_or_else(told);
        let life = manifest.map_or_else(Life::default, |manifest| manifest.first);
        (disk, life)
    })
}

/// Bit 0 of the first byte mends the notes, bit 1 has them be about the log's segment, bit 2 leaves an incomplete write.
fn notes(bytes: &[u8]) {
    let Some((how, notes)) = bytes.split_first() else { return };
    let (disk, life) = small();
    let mut notes = notes.to_vec();
    if how & 1 != 0 {
        let boot_id = disk.process().boot_id().unwrap_or_else(told);
        shm::reseal(&mut notes, boot_id, Some(*life).filter(|_| how & 2 != 0));
    }
    let disk = disk.clone_disk();
    let db = open(&disk, EngineKind::Kv).unwrap_or_else(told);
    let right = contents(&db).unwrap_or_else(told);
    put(&disk, "SHM", &notes);
    if how & 4 != 0 {
        leave_an_incomplete_write(&disk, *life);
    }
    for db in [Some(db), legible(open(&disk, EngineKind::Kv))].iter().flatten() {
        match contents(db) {
            Ok(found) => assert_eq!(found, right),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error}"),
        }
    }
    if use_it(&disk, EngineKind::Kv).is_none() {
        disk.process().remove_file(path("SHM").as_ref()).unwrap_or_else(told);
        assert_eq!(use_it(&disk, EngineKind::Kv), Some(right), "the notes did something to the log");
    }
}

fn leave_an_incomplete_write(disk: &SimFs, life: Life) {
    let name = path(&format!("{}.wal", life.id));
    let bytes = disk.read_file(&name).unwrap_or_else(told);
    let end = last_nonzero(&bytes).unwrap_or(0).next_multiple_of(8);
    let file = disk.process().open(name.as_ref(), OpenMode::Write).unwrap_or_else(told);
    file.write_at(&[0xaa; 48], end as u64).unwrap_or_else(told);
}

/// The segments of a log, without the zeros behind their records.
fn trimmed(disk: &SimFs, name: &str) -> Vec<u8> {
    let mut bytes = disk.read_file(path(name)).unwrap_or_default();
    bytes.truncate(last_nonzero(&bytes).map_or(0, |last| last + 1));
    bytes
}

fn logs() -> Vec<Vec<u8>> {
    let (small, _) = small();
    let seed = |how: u8, first: Vec<u8>, second: Vec<u8>| {
        let len = u16::try_from(first.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&[how][..], &len, &first, &second].concat()
    };
    let mut seeds: Vec<_> =
        [0, 1, 3, 7].map(|how| seed(how, trimmed(small, "000001.wal"), Vec::new())).into();
    // Each bulk begins a segment: the second and the third have neighbours, and the last has a record.
    let tables = with_tables();
    for how in [3, 7] {
        seeds.push(seed(how, trimmed(tables, "000003.wal"), trimmed(tables, "000004.wal")));
    }
    let disk = SimFs::new();
    let db = open(&disk, EngineKind::Simple).unwrap_or_else(told);
    for round in 0..12_u8 {
        db.set(&[round % 3], vec![round; 6_000]).unwrap_or_else(told);
    }
    db.delete(&[1]).unwrap_or_else(told);
    seeds.push(seed(7, trimmed(&disk, "000001.wal"), trimmed(&disk, "000002.wal")));
    seeds
}

fn manifests() -> Vec<Vec<u8>> {
    let of = |disk: &SimFs| disk.read_file(path(manifest::NAME)).unwrap_or_else(told);
    [(0, of(with_tables())), (1, of(with_tables())), (1, of(&small().0))]
        .iter()
        .map(|(how, manifest)| [&[*how], &manifest[..]].concat())
        .collect()
}

fn all_notes() -> Vec<Vec<u8>> {
    let notes = small().0.read_file(path("SHM")).unwrap_or_else(told);
    (0..8).map(|how| [&[how], &notes[..]].concat()).collect()
}
