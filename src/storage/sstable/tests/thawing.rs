//! Gets of a table whose buckets nobody has read yet: whichever way they go, by buckets or fences, they give the same.

use super::super::footer::{Footer, Layout};
use super::*;

/// How often each key is asked for: blocks of buckets are passed by twice.
const VISITS: usize = 4;

/// Enough records of enough separator bytes for the fences to be asked for piece by piece.
fn model() -> Model {
    let mut model = model_of((0..20_000).map(|index| format!("{index:0200}")));
    for (index, len) in [(700, 3_000), (7_000, 16 << 10), (7_001, 16 << 10 | 1), (19_999, 100_000)] {
        model.insert(format!("{index:0200}").into_bytes(), (Some(vec![7; len]), Lsn(index)));
    }
    model
}

/// The keys in an order that mixes blocks.
fn mixed(model: &Model) -> impl Iterator<Item = (&Vec<u8>, &(Option<Vec<u8>>, Lsn))> {
    let step = 7_919;
    assert!(!model.len().is_multiple_of(step));
    let entries: Vec<_> = model.iter().collect();
    (0..entries.len()).map(move |index| entries[index * step % entries.len()])
}

fn layout(disk: &SimFs) -> Layout {
    Footer::decode(&disk.read_file(PATH).unwrap()).unwrap().0.layout
}

#[test]
fn every_visit_gives_what_is_stored() {
    let model = model();
    let (disk, meta) = disk_with(&model);
    let Layout { fences, sums, .. } = layout(&disk);
    assert!(sums - fences.start > 64 << 10, "more than the tail that opening asks for");
    let table = open(&disk, &meta).unwrap();
    for visit in 0..VISITS {
        for (key, expected) in mixed(&model) {
            assert_eq!(get(&table, key).unwrap().as_ref(), Some(expected), "visit {visit}");
            assert_eq!(get(&table, &[key, &b"!"[..]].concat()).unwrap(), None);
        }
    }
}

#[test]
fn tables_that_are_asked_for_their_buckets_first_give_the_same() {
    let model = model();
    let table = table_of(&model);
    for _ in 0..VISITS {
        for (key, expected) in mixed(&model) {
            table.prefetch_or_ask(KeyHash::new(key, SEED));
            assert_eq!(get(&table, key).unwrap().as_ref(), Some(expected));
        }
    }
}

/// How many keys are not got, each of them with an error, on each visit of a table that has a damaged byte at `at`.
fn lost(disk: &SimFs, meta: &TableMeta, model: &Model, at: usize) -> [usize; VISITS] {
    disk.flip_bit(PATH, at as u64 * 8).unwrap();
    let table = open(disk, meta).unwrap();
    disk.flip_bit(PATH, at as u64 * 8).unwrap();
    let is_lost = |key: &[u8], expected| match get(&table, key) {
        Ok(found) => {
            assert_eq!(found.as_ref(), Some(expected));
            false
        }
        Err(error) => {
            assert!(error.to_string().contains("a checksum does not match in"), "{error}");
            true
        }
    };
    [0; VISITS].map(|_| mixed(model).filter(|(key, expected)| is_lost(key, expected)).count())
}

#[test]
fn gets_do_not_need_the_fences() {
    let model = model_of((0..20_000).map(|index| format!("{index:06}")));
    let (disk, meta) = disk_with(&model);
    let Layout { fences, sums, .. } = layout(&disk);
    for at in [fences.start.next_multiple_of(4096), sums - 1] {
        // But for the few that the buckets had no room for.
        let lost = lost(&disk, &meta, &model, at);
        assert!(lost.iter().all(|&keys| keys < 20), "{lost:?}");
    }
}

#[test]
fn a_damaged_block_costs_its_own_records_and_not_those_of_its_page() {
    let model = model_of((0..20_000).map(|index| format!("{index:06}")));
    let (disk, meta) = disk_with(&model);
    let per_block = 4096 * model.len() / layout(&disk).data_end;
    let lost = lost(&disk, &meta, &model, 300_000);
    assert!(lost[0] > 0 && lost[0] < 3 * per_block / 2, "{lost:?} of {per_block}");
    assert_eq!(lost, [lost[0]; VISITS]);
}

#[test]
fn a_damaged_block_of_buckets_is_reported_once_gets_go_by_it() {
    let model = model_of((0..20_000).map(|index| format!("{index:06}")));
    let (disk, meta) = disk_with(&model);
    let lost = lost(&disk, &meta, &model, layout(&disk).hash.start + 9_000);
    assert!(lost[0] > 300 && lost[1..] == [lost[1]; VISITS - 1], "{lost:?}");
    assert!(lost[1] - lost[0] <= 2, "two gets at most passed it by: {lost:?}");
}
