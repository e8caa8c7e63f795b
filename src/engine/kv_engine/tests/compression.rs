//! Packing the values of the oldest run.

use super::*;
use crate::types::Op;

fn with(disk: &SimFs, compression: Compression) -> Arc<KvEngine> {
    open_with(disk.process(), &Options { pace: Pace::SMALL, ..Options::new().compression(compression) })
}

/// The tables of the oldest run: how many, how many bytes, and whether each of them packs.
fn oldest(engine: &KvEngine) -> (usize, u64, Vec<bool>) {
    engine.shared.log.peek(|tree| {
        let tables = &tree.version.runs.last().unwrap().0;
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
    let loaded = engine.shared.log.peek(|tree| tree.version.runs.last().unwrap().0.len());
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
