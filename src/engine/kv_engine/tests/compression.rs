//! Packing values: in what is written, in what is compacted or repaired, and what dictionaries hold.

use super::*;
use crate::engine::repair::repair;
use crate::storage::manifest::Manifest;
use crate::storage::sstable::{Table, file_name};
use crate::types::{Op, SetOptions};

fn with(disk: &SimFs, compression: Compression) -> Arc<KvEngine> {
    open_with(disk.process(), &Options { pace: Pace::SMALL, ..Options::new().compression(compression) })
}

/// The tables of the oldest run: how many, how many bytes, and whether each of them packs.
fn oldest(engine: &KvEngine) -> (usize, u64, Vec<bool>) {
    engine.shared.log.peek(|tree| {
        let tables = tree.version.runs.last().unwrap().tables();
        let bytes = tables.iter().map(|table| table.listed().table.len).sum();
        (tables.len(), bytes, tables.iter().map(|table| table.open().unwrap().packs()).collect())
    })
}

/// A document whose fields have the same names as those of others.
fn document(number: usize) -> Vec<u8> {
    let (name, mark) = (number * 7_919 % 1_000, number.wrapping_mul(0x9e37_79b9) % 1_000_000);
    format!(r#"{{"id":{number},"name":"user {name}","mark":{mark},"active":true,"groups":["staff"]}}"#).into()
}

#[test]
fn compacting_packs_what_was_not_packed_and_unpacks_what_was() {
    let disk = SimFs::new();
    let mut model = BTreeMap::new();
    let plain = with(&disk, Compression::None);
    let mut bulk = plain.bulk().unwrap();
    for number in 0..2_000 {
        let large = document(number).repeat(if number % 100 == 7 { 60 } else { 1 });
        let (key, value) = (format!("key{number:04}"), large);
        bulk.apply(Op::Set { key: key.as_str().into(), value: value.clone().into(), expires: None }).unwrap();
        model.insert(key.into_bytes(), value);
    }
    bulk.commit().unwrap();
    let (tables, loaded, packs) = oldest(&plain);
    assert!(tables > 3 && !packs.contains(&true));

    let packing = with(&disk, Compression::Lz4);
    packing.compact(&mut |_| true).unwrap();
    let (_, packed, packs) = oldest(&packing);
    assert!(!packs.contains(&false));
    assert!(packed * 2 < loaded, "{packed} of {loaded} bytes");
    for engine in [&packing, &plain, &with(&disk, Compression::None)] {
        assert_same(engine, &model);
    }
    assert!(packing.check(&mut |_, _| true).unwrap().faults.is_empty());
    let before = oldest(&packing);
    packing.compact(&mut |_| true).unwrap();
    assert_eq!(oldest(&packing), before, "nothing to do");

    plain.compact(&mut |_| true).unwrap();
    let (_, unpacked, packs) = oldest(&plain);
    assert!(!packs.contains(&true));
    assert!(unpacked <= loaded);
    assert_same(&plain, &model);
    assert_same(&packing, &model);
}

#[test]
fn what_was_not_packed_is_not_moved_into_the_oldest_run_but_merged() {
    let disk = SimFs::new();
    let engine = with(&disk, Compression::None);
    let mut model = BTreeMap::new();
    for run in 0..4 {
        let mut bulk = engine.bulk().unwrap();
        for number in run * 500..(run + 1) * 500 {
            let (key, value) = (format!("key{number:04}"), document(number));
            bulk.apply(Op::Set { key: key.as_str().into(), value: value.clone().into(), expires: None })
                .unwrap();
            model.insert(key.into_bytes(), value);
        }
        bulk.commit().unwrap();
    }
    let loaded = engine.shared.log.peek(|tree| tree.version.runs.last().unwrap().tables().len());
    let right = engine.shared.log.merge().unwrap();
    let manner = Manner { compression: Compression::Lz4, ..MANNER };
    while compact::merge_slice(&right, Occasion::LEISURE, manner, &mut || true).unwrap() {}
    drop(right);
    assert_same(&engine, &model);
    let (_, _, packs) = oldest(&engine);
    let (oldest, merged) = packs.split_at(loaded);
    assert!(!oldest.contains(&true), "nothing was merged with it");
    assert!(merged.len() > 3 && !merged.contains(&false), "{merged:?}");
}

#[test]
fn all_that_is_written_is_packed() {
    let disk = SimFs::new();
    let engine = with(&disk, Compression::Lz4);
    let db = Db::from_engine(engine.clone());
    let mut model = BTreeMap::new();
    let mut set = |number: usize| {
        let (key, value) = (format!("key{number:04}"), document(number));
        model.insert(key.clone().into_bytes(), value.clone());
        Op::Set { key: key.into_bytes().into(), value: value.into(), expires: None }
    };
    db.write((0..2_000).map(&mut set).collect()).unwrap();
    flush(&engine).unwrap();
    let mut bulk = engine.bulk().unwrap();
    (0..500).map(&mut set).for_each(|op| bulk.apply(op).unwrap());
    bulk.commit().unwrap();
    engine.shared.log.peek(|tree| {
        assert!(tree.version.runs.len() > 1);
        assert!(tree.version.tables().all(|table| table.open().unwrap().packs()));
    });
    assert_same(&engine, &model);
}

/// Bytes that have nothing in common with others.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let words = (1..).map(|word: u64| (number + 1).wrapping_mul(word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(|word| word.rotate_left(29).to_le_bytes()).take(len).collect()
}

/// One run, whose last tables have values that expire after a time.
fn with_expiring(disk: &SimFs, time: Duration) -> Arc<KvEngine> {
    let engine = with(disk, Compression::None);
    let db = Db::from_engine(engine.clone());
    let mut transaction = db.begin().unwrap();
    for number in 0..8_000 {
        let time = if number < 5_000 { 3_600 * time } else { time };
        let options = SetOptions::new().ttl(time);
        transaction.set_with(format!("{number:08}"), noise(number, 40), &options).unwrap();
    }
    transaction.commit().unwrap();
    engine.compact(&mut |_| true).unwrap();
    engine
}

#[test]
fn handles_of_different_settings_do_not_undo_what_the_other_did() {
    let disk = SimFs::new();
    let engine = with_expiring(&disk, Duration::from_secs(10));
    let mut bulk = engine.bulk().unwrap();
    for number in 7_900..8_100 {
        let key = format!("{number:08}").into_bytes();
        bulk.apply(Op::Set { key: key.into(), value: noise(number, 40).into(), expires: None }).unwrap();
    }
    bulk.commit().unwrap();
    engine.compact(&mut |_| true).unwrap();
    disk.pass(Duration::from_secs(20));
    let right = engine.shared.log.merge().unwrap();
    let before = right.manifest().unwrap();
    assert_eq!(before.runs.len(), 1);
    let mut slices = 0;
    for compression in [Compression::Lz4, Compression::None].into_iter().cycle() {
        let manner = Manner { compression, ..MANNER };
        if slices > 30 || !compact::merge_slice(&right, Occasion::NONE, manner, &mut || true).unwrap() {
            break;
        }
        slices += 1;
    }
    let after = right.manifest().unwrap();
    assert!((1..10).contains(&slices), "{slices}");
    assert_eq!(before.runs[0][..5], after.runs[0][..5], "nothing in them has expired");
}

#[test]
fn deleted_values_are_gone_once_the_database_is_compacted() {
    let disk = SimFs::new();
    let engine = with(&disk, Compression::Lz4);
    let db = Db::from_engine(engine.clone());
    for number in 0..400 {
        db.set(format!("key{number:04}"), format!("a secret {number:04} that nobody may find").into_bytes())
            .unwrap();
    }
    flush(&engine).unwrap();
    let traces = || {
        let tables =
            disk.list("/db").unwrap().into_iter().filter(|name| name.to_string_lossy().ends_with(".sst"));
        let bytes =
            tables.flat_map(|name| disk.read_file(Path::new("/db").join(name)).unwrap()).collect::<Vec<u8>>();
        bytes.windows(6).filter(|bytes| bytes == b"secret").count()
    };
    assert!(traces() > 0);
    for number in 0..400 {
        db.delete(format!("key{number:04}")).unwrap();
        db.set(format!("new{number:04}"), vec![b'x'; 40]).unwrap();
    }
    engine.compact(&mut |_| true).unwrap();
    assert_eq!(traces(), 0);
}

#[test]
fn a_repaired_database_is_packed_as_it_is_asked_for() {
    let disk = SimFs::new();
    let engine = with(&disk, Compression::Lz4);
    let mut bulk = engine.bulk().unwrap();
    for number in 0..2_000 {
        let key = format!("key{number:04}").into_bytes();
        bulk.apply(Op::Set { key: key.into(), value: document(number).into(), expires: None }).unwrap();
    }
    bulk.commit().unwrap();
    drop(engine);
    let options = Options { pace: Pace::SMALL, ..Options::new().compression(Compression::Lz4) };
    let place = Place { fs: disk.process(), dir: "/db".into() };
    repair(&place, Path::new("/new"), &options, &mut |_| true).unwrap();
    let (fs, new) = (disk.process(), Path::new("/new"));
    let manifest = Manifest::read(&*fs, new).unwrap().unwrap();
    let packs = |listed: &RunTable| Table::open(&*fs, new, &listed.table).unwrap().packs();
    assert!(manifest.runs.iter().flatten().count() > 3);
    assert!(manifest.runs.iter().flatten().all(packs));
}

#[test]
fn damage_to_what_was_merged_does_not_stop_the_rest_of_a_merge() {
    for compression in [Compression::None, Compression::Lz4] {
        let disk = SimFs::new();
        let options = Options::new().background(false).compression(compression);
        let engine = open_with(disk.process(), &options);
        for round in 0..2 {
            let mut bulk = engine.bulk().unwrap();
            for number in 0..2_000 {
                let key = format!("key{number:04}{round}").into_bytes();
                bulk.apply(Op::Set { key: key.into(), value: noise(number, 60).into(), expires: None })
                    .unwrap();
            }
            bulk.commit().unwrap();
            flush(&engine).unwrap();
        }
        let right = engine.shared.log.merge().unwrap();
        let manner = Manner { compression, ..MANNER };
        let merge = || compact::merge_slice(&right, Occasion::LEISURE, manner, &mut || true);
        assert!(merge().unwrap());
        let manifest = right.manifest().unwrap();
        let begun: Vec<_> = manifest.runs.iter().flatten().filter(|listed| listed.hidden > 0).collect();
        assert!(!begun.is_empty());
        for listed in begun {
            disk.flip_bit(format!("/db/{}", file_name(listed.table.id)), 5_000 * 8).unwrap();
        }
        while merge().unwrap() {}
    }
}

#[test]
fn a_dictionary_has_nothing_but_what_its_table_has() {
    for len in [150, 240, 256, 600, 1_000, 1_500, 1_900, 2_048, 3_000] {
        let disk = SimFs::new();
        let engine = with(&disk, Compression::Lz4);
        let mut batch = Batch::new();
        for number in 0..200_000 / len {
            batch.set(format!("key{number:04}"), noise(number, usize::try_from(len).unwrap()));
        }
        Db::from_engine(engine.clone()).write(batch).unwrap();
        flush(&engine).unwrap();
        let tables = engine.shared.log.manifest().unwrap().runs.concat();
        assert!(tables.len() > 3, "{} tables", tables.len());
        for RunTable { table, .. } in tables {
            let file = disk.read_file(Path::new("/db").join(file_name(table.id))).unwrap();
            let opened = Table::open(&*disk.process(), Path::new("/db"), &table).unwrap();
            let mut cursor = opened.cursor(&KeyRange::all(), Direction::Forward).unwrap();
            let mut parts = Vec::new();
            while let Some(change) = cursor.next_change().unwrap() {
                let value = change.value.unwrap().bytes().unwrap().into_owned();
                parts.extend(value.chunks(256).map(<[u8]>::to_vec));
            }
            // The field of the footer, and what lies behind the header.
            let field = file[file.len() - 6..file.len() - 4].try_into().unwrap();
            let mut dictionary = &file[12..][..usize::from(u16::from_le_bytes(field)) - 1];
            while !dictionary.is_empty() {
                let begins =
                    |part: &&Vec<u8>| part.starts_with(&dictionary[..dictionary.len().min(part.len())]);
                let part = parts.iter().find(begins).unwrap_or_else(|| panic!("{len}: from elsewhere"));
                dictionary = &dictionary[part.len().min(dictionary.len())..];
            }
        }
    }
}
