//! What `.stats` counts, against what was written and what lies on the disk.

use super::*;
use crate::engine::Stats;
use crate::storage::fs::sim::{Call, Op};
use crate::types::{EngineKind, Key};

/// Few enough for the first segment of a log, so that nothing is flushed before it is asked for.
const KEYS: u64 = 50;
const VALUE_LEN: usize = 400;

/// Writes keys of 8 bytes, deletes the first of them, and returns the bytes of all those keys and values.
fn write(db: &Db, first: u64) -> u64 {
    for key in first..first + KEYS {
        db.set(key.to_be_bytes().to_vec(), vec![7; VALUE_LEN]).unwrap();
    }
    assert!(db.delete(first.to_be_bytes().to_vec()).unwrap());
    KEYS * (8 + VALUE_LEN as u64) + 8
}

/// Bytes of the files that stand for the log.
fn table_bytes(disk: &SimFs) -> u64 {
    let names = [files(disk, ".sst"), files(disk, ".base")].concat();
    names.iter().map(|name| disk.read_file(format!("{DIR}/{name}")).unwrap().len() as u64).sum()
}

fn stats(db: &Db) -> Stats {
    db.stats().unwrap()
}

#[test]
fn what_was_written_adds_up_in_all_handles_and_lives() {
    let disk = SimFs::new();
    let (db, other) = (open(&disk), open(&disk));
    let mut user_bytes = write(&db, 0);
    let before = stats(&other);
    assert_eq!((before.user_bytes, before.compactions, before.last_compaction), (user_bytes, 0, None));
    assert_eq!(before.log_bytes_written - before.log_bytes_written % user_bytes, user_bytes);
    db.compact().unwrap();
    let first = stats(&db);
    assert_eq!(first.log_bytes_written, before.log_bytes_written);
    assert_eq!(first.table_bytes_written, table_bytes(&disk));
    let kept = table_bytes(&disk);

    user_bytes += write(&other, KEYS / 2);
    other.compact().unwrap();
    let second = stats(&open(&disk));
    let (flushed, merge) =
        (second.last_flush.map_or(0, |flush| flush.written_bytes), second.last_compaction.unwrap());
    assert_eq!(second.user_bytes, user_bytes);
    assert_eq!(second.log_bytes_written, 2 * first.log_bytes_written);
    assert_eq!(second.table_bytes_written, kept + flushed + merge.written_bytes);
    assert_eq!(merge.written_bytes, table_bytes(&disk));
    assert!(merge.read_bytes > kept && merge.unix_ms > 0);
    assert_eq!(stats(&db).table_bytes_written, second.table_bytes_written, "another process's merge is seen");
}

#[test]
fn levels_and_memory_hold_every_key() {
    let disk = SimFs::new();
    let db = open(&disk);
    write(&db, 0);
    let in_memory = stats(&db);
    db.compact().unwrap();
    let on_disk = stats(&db);
    assert_eq!(in_memory.keys, KEYS - 1);
    assert_eq!(on_disk.levels.iter().map(|level| level.tables).sum::<u64>(), on_disk.tables);
    if ENGINE == EngineKind::Simple {
        assert_eq!(
            (in_memory.memtable_keys, in_memory.memtable_bytes),
            (in_memory.keys, in_memory.live_bytes)
        );
        return;
    }
    let [level] = &on_disk.levels[..] else { panic!("{on_disk:?}") };
    let [first, last] = [1, KEYS - 1].map(|key| Key::from(key.to_be_bytes().to_vec()));
    assert_eq!((&level.first_key, &level.last_key), (&first, &last), "the first of all was deleted");
    assert_eq!((level.entries, level.tombstones, level.bytes), (KEYS - 1, 0, table_bytes(&disk)));
    assert_eq!((on_disk.memtable_keys, on_disk.memtable_bytes), (0, 0));
    assert_eq!((on_disk.open_tables, on_disk.mapped_bytes), (0, 0));
    assert!(db.get(KEYS.to_be_bytes()).unwrap().is_none());
    assert!(db.get(2_u64.to_be_bytes()).unwrap().is_some());
    assert_eq!((stats(&db).open_tables, stats(&db).mapped_bytes), (1, level.bytes));
}

/// The manifest changes with each piece of a merge, but a compaction is one.
#[test]
fn a_compaction_in_pieces_counts_once() {
    let disk = SimFs::new();
    let db = open(&disk);
    for first in 0..20 {
        write(&db, first * KEYS);
    }
    db.compact().unwrap();
    let before = stats(&db);
    for key in 0..20 * KEYS / 10 {
        db.set((10 * key).to_be_bytes().to_vec(), "changed").unwrap();
    }
    let calls = disk.calls();
    db.compact().unwrap();
    let is_install = |call: &&Call| call.number >= calls && call.op == Op::Rename;
    let installed = disk.log().iter().filter(is_install).count();
    let after = stats(&db);
    let flushed = after.last_flush.map_or(0, |flush| flush.written_bytes);
    let merged = after.last_compaction.unwrap().written_bytes;
    assert_eq!(after.compactions, before.compactions + 1);
    assert_eq!(after.table_bytes_written, before.table_bytes_written + flushed + merged);
    assert_eq!(installed > 2, ENGINE == EngineKind::Kv, "a flush and pieces of a merge: {installed}");
}
