//! Packing the values of the oldest run.

use super::*;
use crate::types::Op;

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
    let with = |compression| {
        let options = Options { pace: Pace::SMALL, ..Options::new().compression(compression) };
        open_with(disk.process(), &options)
    };
    let mut model = BTreeMap::new();
    let plain = with(Compression::None);
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

    let packing = with(Compression::Lz4);
    packing.compact(&mut |_| true).unwrap();
    let (_, packed, packs) = oldest(&packing);
    assert!(!packs.contains(&false));
    assert!(packed * 2 < loaded, "{packed} of {loaded} bytes");
    for engine in [&packing, &plain, &with(Compression::None)] {
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
fn what_is_merged_into_the_oldest_run_is_packed_and_not_moved() {
    let disk = SimFs::new();
    let options = Options { pace: Pace::SMALL, ..Options::new().compression(Compression::Lz4) };
    let engine = open_with(disk.process(), &options);
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
