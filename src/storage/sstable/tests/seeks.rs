//! Seeks at, between, before and after all keys, in both directions and with every kind of bound.

use std::ops::Bound;

use super::*;

/// The keys themselves and what lies just below and just above each.
fn questions(model: &Model) -> Vec<Key> {
    let around = |key: &Vec<u8>| {
        let mut below = key.clone();
        if let Some(last) = below.pop().filter(|&last| last > 0) {
            below.extend([last - 1, 0xff]);
        }
        [key.clone(), [key.as_slice(), b"\0"].concat(), below]
    };
    model.keys().flat_map(around).chain([vec![], vec![0xff; 20]]).map(Key::from).collect()
}

fn bounds(key: &Key) -> [Bound<Key>; 2] {
    [Bound::Included(key.clone()), Bound::Excluded(key.clone())]
}

/// The first few rows, which is what a seek is about.
fn first_rows(table: &Table, range: &KeyRange, direction: Direction) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut cursor = table.cursor(range, direction).unwrap();
    while rows.len() < 3 && cursor.advance().unwrap() {
        rows.push((cursor.key().to_vec(), copied(cursor.value().unwrap()).unwrap(), cursor.lsn()));
    }
    rows
}

fn assert_seeks(model: &Model) {
    let table = table_of(model);
    for key in questions(model) {
        assert_eq!(get(&table, &key).unwrap().as_ref(), model.get(&*key));
        for bound in bounds(&key) {
            let from = KeyRange { start: bound.clone(), end: Bound::Unbounded };
            let to = KeyRange { start: Bound::Unbounded, end: bound };
            for (range, direction) in [(from, Direction::Forward), (to, Direction::Reverse)] {
                let mut expected = model_rows(model, &range, direction);
                expected.truncate(3);
                assert_eq!(first_rows(&table, &range, direction), expected, "{range:?} {direction:?}");
            }
        }
    }
}

#[test]
fn seeks_find_their_place_among_short_keys() {
    assert_seeks(&model_of((0..400_u16).map(|index| (index * 100).to_be_bytes())));
}

#[test]
fn seeks_find_their_place_behind_a_shared_prefix() {
    assert_seeks(&model_of((0..300).map(|index| format!("user:profile:{:05}", index * 7))));
}

#[test]
fn seeks_find_their_place_where_families_share_prefixes_longer_than_a_head() {
    let families = ["log:2026-11-22T10", "log:2026-11-22T11", "user:profile:first:"];
    let keys = families.iter().flat_map(|family| (0..150).map(move |index| format!("{family}:{index:04}")));
    assert_seeks(&model_of(keys));
}

#[test]
fn seeks_find_their_place_where_separators_had_to_be_cut() {
    let keys = (0..200_u16).map(|index| [vec![b'a'; 400], index.to_be_bytes().to_vec()].concat());
    assert_seeks(&model_of(keys));
}

#[test]
fn ranges_end_where_they_should_wherever_pages_do() {
    let model = model_of((0..300_u16).map(|index| (index * 100).to_be_bytes()));
    let table = table_of(&model);
    let questions: Vec<Key> = questions(&model).into_iter().step_by(11).collect();
    for start in questions.iter().flat_map(bounds) {
        for end in questions.iter().step_by(5).flat_map(bounds) {
            let range = KeyRange { start: start.clone(), end };
            for direction in [Direction::Forward, Direction::Reverse] {
                let expected = model_rows(&model, &range, direction);
                assert_eq!(rows(&table, &range, direction).unwrap(), expected, "{range:?} {direction:?}");
            }
        }
    }
}
