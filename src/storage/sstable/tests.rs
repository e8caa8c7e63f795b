//! Tables against a plain map, on a simulated disk: what they answer, and that damage is never an answer.

mod damage;
mod model;
mod packing;
mod seeks;
mod thawing;

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::error::{Error, Result};
use crate::storage::Expiries;
use crate::storage::fs::Fs;
use crate::storage::fs::sim::{Fault, SimFs};
use crate::types::{Direction, Key, KeyRange, Lsn, Timestamp};

const SEED: u64 = 42;
const ID: FileId = FileId(7);
const PATH: &str = "/000007.sst";

/// What a table holds: for every key its value, or none if it was deleted, and its LSN.
type Model = BTreeMap<Vec<u8>, (Option<Vec<u8>>, Lsn)>;

/// One record as a cursor shows it.
type Row = (Vec<u8>, Option<Vec<u8>>, Lsn);

fn dir() -> &'static Path {
    Path::new("/")
}

fn write(fs: &dyn Fs, model: &Model) -> Result<TableMeta> {
    fill(TableWriter::create(fs, dir(), ID, SEED)?, model)
}

fn fill(mut writer: TableWriter, model: &Model) -> Result<TableMeta> {
    for (key, (value, lsn)) in model {
        let expires = expiry(value.as_deref(), *lsn);
        let value = value.as_deref().map(StoredValue::from);
        writer.add_change(&Change { key, value, lsn: *lsn, expires })?;
    }
    writer.finish()
}

/// When a record of the model expires: about half of the values do.
fn expiry(value: Option<&[u8]>, lsn: Lsn) -> Option<Timestamp> {
    value.and_then(|_| Timestamp::from_unix_millis((lsn.0 >> 3).wrapping_mul(lsn.0.count_ones().into())))
}

/// A disk with the table of these records, which is what the manifest would know.
fn disk_with(model: &Model) -> (SimFs, TableMeta) {
    let disk = SimFs::new();
    let meta = write(&*disk.process(), model).unwrap();
    (disk, meta)
}

/// The same of a table that packs behind the first values.
fn packed_disk_with(model: &Model) -> (SimFs, TableMeta) {
    let dictionary: Vec<u8> =
        model.values().filter_map(|(value, _)| value.clone()).take(5).flatten().collect();
    let disk = SimFs::new();
    let writer = TableWriter::create(&*disk.process(), dir(), ID, SEED).unwrap();
    let meta = fill(writer.packing(&dictionary).unwrap(), model).unwrap();
    (disk, meta)
}

fn open(disk: &SimFs, meta: &TableMeta) -> Result<Table> {
    Table::open(&*disk.process(), dir(), meta)
}

fn table_of(model: &Model) -> Table {
    let (disk, meta) = disk_with(model);
    open(&disk, &meta).unwrap()
}

fn get(table: &Table, key: &[u8]) -> Result<Option<(Option<Vec<u8>>, Lsn)>> {
    table.get(key)?.map(|found| Ok((copied(found.value)?, found.lsn))).transpose()
}

fn rows(table: &Table, range: &KeyRange, direction: Direction) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut cursor = table.cursor(range, direction)?;
    while cursor.advance()? {
        assert_eq!(cursor.is_tombstone(), cursor.value()?.is_none());
        rows.push((cursor.key().to_vec(), copied(cursor.value()?)?, cursor.lsn()));
    }
    assert!(!cursor.advance()?, "the end stays the end");
    Ok(rows)
}

fn model_rows(model: &Model, range: &KeyRange, direction: Direction) -> Vec<Row> {
    let inside = model.iter().filter(|(key, _)| range.contains(key));
    let mut rows: Vec<Row> = inside.map(|(key, (value, lsn))| (key.clone(), value.clone(), *lsn)).collect();
    if direction == Direction::Reverse {
        rows.reverse();
    }
    rows
}

/// Records of these keys; values of different lengths, every fifth a tombstone.
fn model_of<K: Into<Vec<u8>>>(keys: impl IntoIterator<Item = K>) -> Model {
    let with_index = keys.into_iter().enumerate();
    with_index
        .map(|(index, key)| {
            let value = (index % 5 != 4).then(|| vec![b'v'; index * 7 % 300]);
            (key.into(), (value, Lsn(1 + index as u64 * 1000)))
        })
        .collect()
}

fn assert_same(table: &Table, model: &Model) {
    for (key, expected) in model {
        assert_eq!(get(table, key).unwrap().as_ref(), Some(expected));
        let expires = table.get(key).unwrap().unwrap().expires;
        assert_eq!(expires, expiry(expected.0.as_deref(), expected.1));
    }
    let mut cursor = table.cursor(&KeyRange::all(), Direction::Forward).unwrap();
    while cursor.advance().unwrap() {
        assert_eq!(
            cursor.expires(),
            expiry(copied(cursor.value().unwrap()).unwrap().as_deref(), cursor.lsn())
        );
    }
    for direction in [Direction::Forward, Direction::Reverse] {
        let all = KeyRange::all();
        assert_eq!(rows(table, &all, direction).unwrap(), model_rows(model, &all, direction));
    }
    table.verify().unwrap();
}

#[test]
fn an_empty_table_holds_nothing() {
    let (disk, meta) = disk_with(&Model::new());
    let table = open(&disk, &meta).unwrap();
    assert_same(&table, &Model::new());
    assert_eq!(get(&table, b"").unwrap(), None);
    assert_eq!((meta.entries, &*meta.smallest, &*meta.largest), (0, &b""[..], &b""[..]));
}

#[test]
fn a_table_of_one_record_holds_it() {
    for key in [b"".as_slice(), b"k", &vec![0xff; MAX]] {
        for value in [None, Some(Vec::new()), Some(vec![1; 100_000])] {
            let model = Model::from([(key.to_vec(), (value, Lsn(u64::MAX)))]);
            assert_same(&table_of(&model), &model);
        }
    }
}

const MAX: usize = crate::types::MAX_KEY_LEN;

#[test]
fn the_meta_describes_the_table() {
    let mut model = model_of((0..100).map(|index| format!("key {index:03}")));
    model.insert(b"key 050".to_vec(), (Some(vec![0; 5000]), Lsn(1)));
    let (disk, meta) = disk_with(&model);
    let payload = model.iter().map(|(key, (value, _))| key.len() + value.as_ref().map_or(0, Vec::len));
    let expected = TableMeta {
        id: ID,
        len: disk.read_file(PATH).unwrap().len() as u64,
        entries: 100,
        tombstones: 20,
        payload_bytes: payload.sum::<usize>() as u64,
        smallest: b"key 000".into(),
        largest: b"key 099".into(),
        smallest_lsn: Lsn(1),
        largest_lsn: Lsn(99_001),
        checksum: meta.checksum,
        expiries: meta.expiries,
    };
    let expiring = model.values().filter_map(|(value, lsn)| expiry(value.as_deref(), *lsn));
    let mut expiries = None;
    expiring.for_each(|at| Expiries::count(&mut expiries, Some(at)));
    assert!(meta.expiries == expiries && expiries.is_some_and(|all| all.count > 40 && all.first < all.last));
    assert_eq!(meta, expected);
}

#[test]
fn long_values_lie_outside_of_their_records() {
    let lens = [2047, 2048, 2049, 4096, 300_000, 700_000];
    let values = lens.iter().map(|&len| (0..=u8::MAX).cycle().take(len).collect::<Vec<_>>());
    let records = (0..).zip(values).map(|(index, value)| (vec![b'k', index], (Some(value), Lsn(5))));
    let model: Model = records.collect();
    let table = table_of(&model);
    assert_same(&table, &model);
    let mut cursor = table.cursor(&KeyRange::all(), Direction::Forward).unwrap();
    while cursor.advance().unwrap() {}
    assert_eq!(cursor.key(), b"k\x05");
}

#[test]
fn keys_may_be_huge() {
    let keys = (0..20_u8).map(|index| [vec![b'a'; MAX - 1 - usize::from(index % 3)], vec![index]].concat());
    let model = model_of(keys);
    assert_same(&table_of(&model), &model);
}

#[test]
fn the_writer_refuses_what_is_out_of_order_or_too_long() {
    let disk = SimFs::new();
    let mut writer = TableWriter::create(&*disk.process(), dir(), ID, SEED).unwrap();
    assert!(writer.is_empty());
    writer.add(b"k", Some(b"v"), Lsn(1)).unwrap();
    for key in [b"k".as_slice(), b"j", b""] {
        let refused = writer.add(key, None, Lsn(2)).unwrap_err();
        assert!(refused.to_string().contains("ascending order"), "{refused}");
    }
    let long = vec![b'x'; MAX + 1];
    assert!(matches!(writer.add(&long, None, Lsn(2)), Err(Error::KeyTooLong { .. })));
    writer.add(b"l", None, Lsn(2)).unwrap();
    assert_eq!(writer.finish().unwrap().entries, 2);
}

#[test]
fn the_length_is_known_before_the_table_is_finished() {
    let disk = SimFs::new();
    let mut writer = TableWriter::create(&*disk.process(), dir(), ID, SEED).unwrap();
    for index in 0..20_000 {
        writer.add(format!("{index:06}").as_bytes(), Some(&[0; 40]), Lsn(index)).unwrap();
    }
    let announced = writer.len();
    let len = writer.finish().unwrap().len;
    assert!(len <= announced && announced < len + 200, "{announced} announced, {len} written");
}

#[test]
fn every_failing_call_fails_the_table_and_harms_nothing() {
    let model = model_of((0..3000).map(|index| format!("{index:06}")));
    for number in 1.. {
        let disk = SimFs::new();
        disk.fail_at(number, Fault::Eio);
        let Ok(meta) = write(&*disk.process(), &model) else { continue };
        assert!(number > 4, "create, two writes and a sync at least");
        let opened = (disk.calls() + 1..).map(|number| {
            disk.clear_faults();
            disk.fail_at(number, Fault::Eio);
            open(&disk, &meta)
        });
        assert!(opened.take(3).all(|opened| matches!(opened, Err(Error::Io { .. }) | Ok(_))));
        break;
    }
}

#[test]
fn a_finished_table_survives_losing_power() {
    let model = model_of((0..1000).map(|index| format!("{index:06}")));
    let disk = SimFs::new();
    let process = disk.process();
    let meta = write(&*process, &model).unwrap();
    process.sync_dir(dir()).unwrap();
    for disk in disk.power_loss_extremes() {
        assert_same(&open(&disk, &meta).unwrap(), &model);
    }
}

#[test]
fn tables_of_one_seed_share_a_key_s_hash_and_others_do_without() {
    let model = model_of(["a", "b"]);
    let table = table_of(&model);
    for seed in [SEED, SEED + 1] {
        let hash = KeyHash::new(b"b", seed);
        table.prefetch(hash);
        assert!(table.get_hashed(hash, b"b").unwrap().is_some());
    }
}

#[test]
fn threads_share_a_table() {
    let model = model_of((0..5000).map(|index| format!("{index:06}")));
    let table = table_of(&model);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_same(&table, &model));
        }
    });
}
