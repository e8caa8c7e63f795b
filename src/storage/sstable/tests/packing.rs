//! Tables that pack their values: what they have in common takes no room, and none depends on a single block of the file.

use super::super::footer::{Footer, Layout};
use super::*;

/// Documents that have much in common, and a large one.
fn documents() -> Model {
    let document = |index: u64| {
        let mark = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{{\"id\": {index}, \"mark\": \"{mark:x}\", \"state\": \"waiting\", \"tries\": 0}}")
            .into_bytes()
    };
    let mut model: Model = (0..2_000)
        .map(|index| (format!("{index:06}").into_bytes(), (Some(document(index)), Lsn(1 + index))))
        .collect();
    model.insert(b"000700".to_vec(), (Some(document(700).repeat(200)), Lsn(5)));
    model.insert(b"000800".to_vec(), (None, Lsn(6)));
    model
}

fn layout(disk: &SimFs) -> Layout {
    Footer::decode(&disk.read_file(PATH).unwrap()).unwrap().0.layout
}

#[test]
fn packed_tables_hold_the_same_in_less_room() {
    let model = documents();
    let ((_, plain), (disk, packed)) = (disk_with(&model), packed_disk_with(&model));
    let table = open(&disk, &packed).unwrap();
    assert!(table.packs());
    assert_same(&table, &model);
    let described = TableMeta { len: plain.len, checksum: plain.checksum, ..packed.clone() };
    assert_eq!(described, plain, "all but its bytes are described as if nothing was packed");
    assert!(packed.len * 10 < plain.len * 7, "{} of {} bytes", packed.len, plain.len);
    let mut cursor = table.cursor(&KeyRange::all(), Direction::Forward).unwrap();
    while cursor.advance().unwrap() {
        let len = copied(cursor.value().unwrap()).unwrap().map(|value| value.len() as u64);
        assert_eq!(cursor.value_len(), len);
    }
}

#[test]
fn values_are_read_by_either_dictionary_and_not_without() {
    let model = documents();
    let (disk, meta) = packed_disk_with(&model);
    let [first, second] = layout(&disk).dictionaries();
    assert!(first.len() > 300 && first.len() == second.len());
    let flip = |range: &std::ops::Range<usize>| disk.flip_bit(PATH, range.start as u64 * 8).unwrap();
    let is_read = |key: &[u8]| get(&open(&disk, &meta).unwrap(), key).is_ok_and(|found| found.is_some());
    for range in [&first, &second] {
        flip(range);
        // The records of a block are lost with it.
        assert!(is_read(b"001000"));
        let error = open(&disk, &meta).unwrap().verify().unwrap_err().to_string();
        assert!(error.contains("a checksum does not match in "), "{error}");
        flip(range);
    }
    flip(&first);
    flip(&second);
    let error = get(&open(&disk, &meta).unwrap(), b"001000").unwrap_err();
    assert!(error.to_string().contains("one of the two dictionaries of its values"), "{error}");
    assert!(is_read(b"000800"), "a tombstone");
}

#[test]
fn that_no_dictionary_can_be_read_is_told_once() {
    let model = documents();
    let (disk, meta) = packed_disk_with(&model);
    for range in layout(&disk).dictionaries() {
        disk.flip_bit(PATH, range.start as u64 * 8).unwrap();
    }
    let table = open(&disk, &meta).unwrap();
    let found = table.inspect(&mut |_| true).unwrap();
    let of_dictionary = found.flaws.iter().filter(|flaw| flaw.what.contains("dictionaries")).count();
    assert!(of_dictionary >= 1 && found.flaws.len() < 5, "{:?}", found.flaws);
    let lost: Vec<_> = table.salvage().filter(|salvaged| matches!(salvaged, Salvaged::Lost(_))).collect();
    assert!(lost.len() < 5, "{lost:?}");
    let Some(Salvaged::Lost(Lost { keys, .. })) = lost.get(1) else { panic!("{lost:?}") };
    assert!(keys.contains(b"001000") && keys.contains(b"001999"), "{keys:?}");
}

#[test]
fn where_nothing_is_in_common_no_value_needs_another_block() {
    let disk = SimFs::new();
    let writer = TableWriter::create(&*disk.process(), dir(), ID, SEED).unwrap().packing(b"").unwrap();
    let model: Model = (0..2_000)
        .map(|index| (format!("{index:06}").into_bytes(), (Some(b"again and ".repeat(10)), Lsn(1 + index))))
        .collect();
    let meta = fill(writer, &model).unwrap();
    let Layout { data_end, .. } = layout(&disk);
    for at in [20, data_end - 1] {
        disk.flip_bit(PATH, at as u64 * 8).unwrap();
    }
    let table = open(&disk, &meta).unwrap();
    let read = model.keys().filter(|key| get(&table, key).is_ok_and(|found| found.is_some())).count();
    assert!(read > 1_500 && read < 2_000, "{read}");
}

#[test]
fn a_table_without_a_dictionary_packs_what_repeats_itself() {
    let disk = SimFs::new();
    let writer = TableWriter::create(&*disk.process(), dir(), ID, SEED).unwrap().packing(b"").unwrap();
    let model = Model::from([(b"k".to_vec(), (Some(b"again and ".repeat(100)), Lsn(1)))]);
    let meta = fill(writer, &model).unwrap();
    assert_same(&open(&disk, &meta).unwrap(), &model);
    assert!(layout(&disk).data_end < 100);
}
