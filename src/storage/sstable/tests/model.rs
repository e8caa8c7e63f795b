//! Random tables and random questions, answered as a map answers them.

use std::ops::Bound;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(prop::sample::select(vec![0_u8, 1, b'a', 0xff]), 0..6),
        3 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 0..3).prop_map(|end| [vec![b'p'; 9], end].concat()),
        2 => vec(any::<u8>(), 0..3).prop_map(|end| [vec![b'q'; 300], end].concat()),
        1 => (65_000_usize..=MAX, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let bytes = prop_oneof![
        2 => Just(0..1_usize),
        4 => Just(0..300),
        2 => Just(1500..2100),
        1 => Just(2049..20_000),
    ];
    let value = bytes.prop_flat_map(|lens| (lens, any::<u8>())).prop_map(|(len, byte)| vec![byte; len]);
    prop_oneof![1 => Just(None), 5 => value.prop_map(Some)]
}

fn lsn() -> impl Strategy<Value = Lsn> {
    (0_u32..64, any::<u64>()).prop_map(|(shift, bits)| Lsn(bits >> shift))
}

fn bound() -> impl Strategy<Value = Bound<Key>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(|key| Bound::Included(key.into())),
        key().prop_map(|key| Bound::Excluded(key.into())),
    ]
}

fn range() -> impl Strategy<Value = KeyRange> {
    (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_table_answers_as_a_map_does(
        model in btree_map(key(), (value(), lsn()), 0..400),
        absent in vec(key(), 0..40),
        ranges in vec(range(), 0..20),
    ) {
        for (disk, meta) in [disk_with(&model), packed_disk_with(&model)] {
            let table = open(&disk, &meta).unwrap();
            assert_same(&table, &model);
            for key in &absent {
                prop_assert_eq!(get(&table, key).unwrap(), model.get(key).cloned());
            }
            for range in &ranges {
                for direction in [Direction::Forward, Direction::Reverse] {
                    let rows = rows(&table, range, direction).unwrap();
                    prop_assert_eq!(rows, model_rows(&model, range, direction));
                }
            }
        }
    }
}

#[test]
fn more_keys_than_a_page_and_a_block_of_buckets_hold() {
    let model = model_of((0..30_000_u32).map(|index| index.wrapping_mul(0x9e37_79b1).to_be_bytes()));
    let table = table_of(&model);
    assert_same(&table, &model);
    for index in 30_000..60_000_u32 {
        let key = index.wrapping_mul(0x9e37_79b1).to_be_bytes();
        assert_eq!(get(&table, &key).unwrap(), None);
    }
}
