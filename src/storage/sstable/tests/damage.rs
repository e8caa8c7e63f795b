//! Damaged tables: every flipped bit, every cut, and bytes that verify but make no sense.

use super::super::footer::{FOOTER_LEN, Footer, Layout};
use super::super::fuzzing::sealed;
use super::*;
use crate::error::ErrorKind;

/// A table of several blocks that has everything a table can have, and little else, because it is opened for every bit.
fn sample() -> Model {
    let mut model = model_of((0..25).map(|index| format!("key {:02}", index * 2)));
    model.insert(b"key 10".to_vec(), (Some(vec![b'd'; 2100]), Lsn(1 << 50)));
    model.insert(b"".to_vec(), (Some(Vec::new()), Lsn(0)));
    model
}

/// The right answer, or a report of corruption.
fn allowed<T: PartialEq + std::fmt::Debug>(answer: Result<T>, right: &T, what: &str) -> bool {
    match answer {
        Ok(answer) => {
            assert_eq!(answer, *right, "{what}");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
            assert!(error.to_string().contains("000007.sst at offset "), "{error}");
            false
        }
    }
}

/// Asks everything of a table that may be damaged. Whether all answers were right, verification's included.
fn ask_everything(disk: &SimFs, meta: &TableMeta, model: &Model, what: &str) -> bool {
    let table = match open(disk, meta) {
        Ok(table) => table,
        Err(error) => return allowed(Err(error), &(), what),
    };
    let mut right = true;
    for (key, expected) in model {
        right &= allowed(get(&table, key), &Some(expected.clone()), what);
    }
    for absent in [b"key".as_slice(), b"key 33", b"zzz"] {
        right &= allowed(get(&table, absent), &None, what);
    }
    let middle = KeyRange::from("key 2".."key 4");
    for (range, direction) in [
        (KeyRange::all(), Direction::Forward),
        (KeyRange::all(), Direction::Reverse),
        (middle.clone(), Direction::Forward),
        (middle, Direction::Reverse),
    ] {
        right &= allowed(rows(&table, &range, direction), &model_rows(model, &range, direction), what);
    }
    allowed(table.verify(), &(), what) && right
}

#[test]
fn no_flipped_bit_is_an_answer() {
    let model = sample();
    no_flipped_bit_of(&disk_with(&model), &model);
    let mut model = model_of((0..150).map(|index| format!("key {index:03}")));
    for (value, lsn) in model.values_mut() {
        *value = value.as_ref().map(|value| [&value[..], &lsn.0.to_string().repeat(9).into_bytes()].concat());
    }
    model.insert(b"key 010".to_vec(), (Some(b"distant".repeat(900)), Lsn(7)));
    no_flipped_bit_of(&packed_disk_with(&model), &model);
}

fn no_flipped_bit_of((disk, meta): &(SimFs, TableMeta), model: &Model) {
    assert!(ask_everything(disk, meta, model, "intact"));
    assert!(meta.len > 4096 + 500, "several blocks: {} bytes", meta.len);
    for bit in 0..meta.len * 8 {
        disk.flip_bit(PATH, bit).unwrap();
        let what = format!("bit {bit}");
        assert!(!ask_everything(disk, meta, model, &what), "{what} was not noticed");
        disk.flip_bit(PATH, bit).unwrap();
    }
    assert!(ask_everything(disk, meta, model, "intact again"));
}

#[test]
fn no_cut_and_no_growth_is_an_answer() {
    let model = sample();
    let (disk, meta) = disk_with(&model);
    let whole = disk.read_file(PATH).unwrap();
    for len in 0..whole.len() {
        disk.write_file(PATH, &whole[..len]).unwrap();
        let refused = open(&disk, &meta).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corruption);
        let cut = TableMeta { len: len as u64, ..meta.clone() };
        assert_eq!(open(&disk, &cut).unwrap_err().kind(), ErrorKind::Corruption, "cut at {len}");
    }
    disk.write_file(PATH, &[whole.as_slice(), b"x"].concat()).unwrap();
    assert_eq!(open(&disk, &meta).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn another_table_of_the_same_name_is_refused() {
    let (disk, meta) = disk_with(&sample());
    let mut other = sample();
    other.insert(b"key 06".to_vec(), (Some(vec![b'w'; 21]), Lsn(3001)));
    let (_, listed) = disk_with(&other);
    assert_eq!(listed.len, meta.len);
    let refused = open(&disk, &listed).unwrap_err().to_string();
    assert!(refused.contains("this is not the table of 26 entries"), "{refused}");
}

#[test]
fn damage_is_reported_with_what_it_concerns() {
    let model = model_of((0..4000).map(|index| format!("key {index:04}")));
    let (disk, meta) = disk_with(&model);
    let bytes = disk.read_file(PATH).unwrap();
    let layout = Footer::decode(&bytes).unwrap().0.layout;
    let damaged = |at: usize| {
        disk.flip_bit(PATH, at as u64 * 8).unwrap();
        let table = open(&disk, &meta).unwrap();
        disk.flip_bit(PATH, at as u64 * 8).unwrap();
        table
    };
    let text = |table: &Table| table.verify().unwrap_err().to_string();

    let records = damaged(layout.data_end / 2);
    assert!(text(&records).contains("in records or values; keys behind \"key "), "{}", text(&records));
    assert!(get(&records, b"key 0000").is_ok() && get(&records, b"key 3999").is_ok(), "far from the damage");

    let buckets = damaged(layout.hash.start + 9000);
    assert!(text(&buckets).contains("in the hash section"), "{}", text(&buckets));
    assert_eq!(rows(&buckets, &KeyRange::all(), Direction::Forward).unwrap().len(), model.len());

    let fences = damaged(layout.sums - 1);
    assert!(text(&fences).contains("in the fences"), "{}", text(&fences));

    let leaves = damaged(layout.sums);
    assert!(text(&leaves).contains("in the checksums of bytes 0 and following"), "{}", text(&leaves));
}

#[test]
fn a_cursor_ends_at_damage() {
    let model = model_of((0..4000).map(|index| format!("key {index:04}")));
    let (disk, meta) = disk_with(&model);
    disk.flip_bit(PATH, 8 * 200_000).unwrap();
    let table = open(&disk, &meta).unwrap();
    let mut cursor = table.cursor(&KeyRange::all(), Direction::Forward).unwrap();
    let mut count = 0;
    while matches!(cursor.advance(), Ok(true)) {
        count += 1;
    }
    assert!(count > 100 && count < 4000, "{count}");
    assert!(!cursor.advance().unwrap());
}

/// Draws numbers below a bound, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Whatever a table says, it says it without panicking, without reading elsewhere and within a bounded time.
fn ask_nonsense(disk: &SimFs, meta: &TableMeta, bytes: Vec<u8>, footer: &Footer, model: &Model) {
    let (bytes, checksum) = sealed(bytes, footer);
    let meta = TableMeta { len: bytes.len() as u64, checksum, ..meta.clone() };
    disk.write_file(PATH, &bytes).unwrap();
    let Ok(table) = open(disk, &meta) else { return };
    for key in model.keys().map(Vec::as_slice).chain([b"".as_slice(), b"zzz", &[0xff; 300]]) {
        if let Ok(Some(found)) = get(&table, key) {
            assert!(found.0.is_none_or(|value| value.len() <= 256 * bytes.len()));
        }
    }
    for direction in [Direction::Forward, Direction::Reverse] {
        for range in [KeyRange::all(), KeyRange::from("key 2".."key 4")] {
            if let Ok(rows) = rows(&table, &range, direction) {
                assert!(rows.len() <= bytes.len());
            }
        }
    }
    drop(table.verify());
}

#[test]
fn bytes_that_verify_but_make_no_sense_do_no_harm() {
    let model = sample();
    for (disk, meta) in [disk_with(&model), packed_disk_with(&model)] {
        ask_much_nonsense(&disk, &meta, &model);
    }
}

fn ask_much_nonsense(disk: &SimFs, meta: &TableMeta, model: &Model) {
    let whole = disk.read_file(PATH).unwrap();
    let footer = Footer::decode(&whole).unwrap().0;
    let mut dice = Dice(1);
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(footer.layout.sums);
            let run = 1 + dice.below(8);
            let value = [0, 1, 0x7f, 0xff, u8::try_from(dice.below(256)).unwrap()][dice.below(5)];
            let end = (at + run).min(footer.layout.sums);
            bytes[at..end].fill(value);
        }
        ask_nonsense(disk, meta, bytes, &footer, model);
    }
}

#[test]
fn footers_that_verify_but_make_no_sense_do_no_harm() {
    let model = sample();
    let (disk, meta) = disk_with(&model);
    let whole = disk.read_file(PATH).unwrap();
    let intact = Footer::decode(&whole).unwrap().0;
    let mut dice = Dice(2);
    for _ in 0..2000 {
        let mut footer = intact;
        let Layout { data_end, hash, fences, sums, .. } = &mut footer.layout;
        let choices = [data_end, &mut hash.start, &mut hash.homes, &mut fences.start, &mut fences.count];
        let others = [&mut fences.separators_len, &mut fences.shared, sums];
        let mut fields: Vec<&mut usize> = choices.into_iter().chain(others).collect();
        let which = dice.below(fields.len());
        let by = dice.below(200);
        let value = [
            0,
            u32::MAX as usize,
            dice.below(whole.len()),
            *fields[which] + by,
            fields[which].saturating_sub(by),
        ];
        *fields[which] = value[dice.below(5)];
        // A page more, and its 16 bytes fewer for separators, is a layout that is possible.
        if dice.below(2) == 0 {
            let delta = 1 + dice.below(2);
            footer.layout.fences.count = intact.layout.fences.count + delta;
            footer.layout.fences.separators_len =
                intact.layout.fences.separators_len.saturating_sub(16 * delta);
        }
        if dice.below(8) == 0 {
            footer.layout.dictionary_len = Some(dice.below(5_000));
        }
        ask_nonsense(&disk, &meta, whole.clone(), &footer, &model);
    }
    assert_eq!(FOOTER_LEN, 104);
}
