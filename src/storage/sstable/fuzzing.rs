//! Fuzzing tables: what a writer was given comes back, and a file that verifies but makes no sense does no harm.

use std::collections::BTreeMap;
use std::path::Path;

use super::blocks::append_sums;
use super::footer::{FOOTER_LEN, Footer};
use super::{Change, StoredValue, Table, TableMeta, TableWriter, copied, file_name};
use crate::error::{ErrorKind, Result};
use crate::fuzzing::{Target, told};
use crate::storage::Expiries;
use crate::storage::fs::sim::SimFs;
use crate::types::{Direction, FileId, Key, KeyRange, Lsn, Timestamp};

/// The input is a byte that says how to go on, and the records of a table, or its file.
pub(crate) const TABLE: Target = Target { name: "table", run: table, seeds };

/// A value, or none if the key was deleted; its LSN; when it expires.
type Stored = (Option<Vec<u8>>, Lsn, Option<Timestamp>);

type Records = BTreeMap<Vec<u8>, Stored>;

/// One record as a cursor shows it.
type Row = (Vec<u8>, Stored);

fn table(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    match how % 4 {
        0 => gives_back(&records(rest), None),
        3 => gives_back(&records(rest), Some(&rest[..rest.len() / 2])),
        1 => survives(&SimFs::new(), rest, &file_as_it_is(rest)),
        _ => {
            if let Some((file, meta)) = mended(rest) {
                survives(&SimFs::new(), &file, &meta);
            }
        }
    }
}

/// Records out of: length of the key, what and how long the value is, LSN, key; one after the other.
fn records(mut bytes: &[u8]) -> Records {
    let mut records = Records::new();
    while let [key_len, kind, lsn, rest @ ..] = bytes {
        let (key, behind) = rest.split_at(rest.len().min(usize::from(*key_len)));
        let value = match kind % 4 {
            0 => None,
            1 => Some(vec![*kind; usize::from(*kind) * 40]),
            _ => Some(key.repeat(usize::from(*kind) / 16)),
        };
        let expires = Timestamp::from_unix_millis(u64::from(*lsn) << (*lsn % 40));
        let expires = expires.filter(|_| value.is_some() && lsn % 4 == 0);
        records.insert(key.to_vec(), (value, Lsn(u64::from(*lsn)), expires));
        bytes = behind;
    }
    records
}

/// Writes a table that packs behind a dictionary, if there is one.
fn write(disk: &SimFs, records: &Records, dictionary: Option<&[u8]>) -> Result<TableMeta> {
    let mut writer = TableWriter::create(&*disk.process(), Path::new("/"), FileId(7), 42)?;
    if let Some(dictionary) = dictionary {
        writer = writer.packing(dictionary)?;
    }
    for (key, (value, lsn, expires)) in records {
        writer.add_change(&Change {
            key,
            value: value.as_deref().map(StoredValue::from),
            lsn: *lsn,
            expires: *expires,
        })?;
    }
    writer.finish()
}

fn gives_back(records: &Records, dictionary: Option<&[u8]>) {
    let disk = SimFs::new();
    let meta = write(&disk, records, dictionary).unwrap_or_else(told);
    let table = Table::open(&*disk.process(), Path::new("/"), &meta).unwrap_or_else(told);
    table.verify().unwrap_or_else(told);
    for (key, (value, lsn, expires)) in records {
        let found = table.get(key).unwrap_or_else(told).unwrap_or_else(|| panic!("a key is gone"));
        let stored = copied(found.value).unwrap_or_else(told);
        assert_eq!((&stored, found.lsn, found.expires), (value, *lsn, *expires));
        let longer = [key, &b"\0"[..]].concat();
        assert_eq!(table.get(&longer).unwrap_or_else(told).is_some(), records.contains_key(&longer));
    }
    let middle = records.keys().nth(records.len() / 2).map_or(Key::from(b""), |key| Key::from(&key[..]));
    for range in [KeyRange::all(), KeyRange::from(middle.clone()..), KeyRange::prefix(&middle)] {
        let expected: Vec<Row> = records
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect();
        assert_eq!(rows(&table, &range, Direction::Forward).unwrap_or_else(told), expected);
        let mut reverse = rows(&table, &range, Direction::Reverse).unwrap_or_else(told);
        reverse.reverse();
        assert_eq!(reverse, expected);
    }
}

fn rows(table: &Table, range: &KeyRange, direction: Direction) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut cursor = table.cursor(range, direction)?;
    while cursor.advance()? {
        let value = copied(cursor.value()?)?;
        rows.push((cursor.key().to_vec(), (value, cursor.lsn(), cursor.expires())));
    }
    Ok(rows)
}

/// Whatever a table says, it says it without panicking, without reading elsewhere and within bounds. If all its parts agree, so
/// do its answers.
fn survives(disk: &SimFs, file: &[u8], meta: &TableMeta) {
    let name = Path::new("/").join(file_name(meta.id));
    disk.write_file(name, file).unwrap_or_else(told);
    let opened = Table::open(&*disk.process(), Path::new("/"), meta);
    let Ok(table) = opened.inspect_err(|error| assert_ne!(error.kind(), ErrorKind::Io)) else { return };
    let ask = |direction| rows(&table, &KeyRange::all(), direction);
    let (forward, reverse) = (ask(Direction::Forward), ask(Direction::Reverse));
    for key in file.chunks(61).take(20).chain([&b""[..], b"key 10", &[0xff; 300]]) {
        if let Ok(Some(found)) = table.get(key) {
            assert!(found.value.is_none_or(|value| value.value_len() <= 256 * file.len() as u64));
        }
    }
    drop((table.sample(10), table.count_below(b"key 2")));
    for rows in [&forward, &reverse].into_iter().flatten() {
        assert!(rows.len() <= file.len());
    }
    let Ok(forward) = forward else { return };
    let counted = counted(meta, &forward);
    let listed = Table::open(&*disk.process(), Path::new("/"), &counted);
    if listed.is_ok_and(|table| table.verify().is_ok()) {
        let Ok(mut reverse) = reverse else { panic!("it verifies and can't be read") };
        reverse.reverse();
        assert_eq!(forward, reverse);
        for (key, (value, lsn, expires)) in &forward {
            let found = table.get(key).ok().flatten();
            let found =
                found.map(|found| (copied(found.value).unwrap_or_else(told), found.lsn, found.expires));
            assert_eq!(found, Some((value.clone(), *lsn, *expires)), "get and scan disagree");
        }
    }
}

/// What a manifest would say if these were the records.
fn counted(meta: &TableMeta, rows: &[Row]) -> TableMeta {
    let key = |row: Option<&Row>| row.map_or(Key::from(b""), |(key, _)| Key::from(&key[..]));
    let lsns = || rows.iter().map(|(_, (_, lsn, _))| *lsn);
    let payload = |(key, (value, ..)): &Row| key.len() + value.as_ref().map_or(0, Vec::len);
    let mut expiries = None;
    for (_, (_, _, expires)) in rows {
        Expiries::count(&mut expiries, *expires);
    }
    TableMeta {
        expiries,
        entries: rows.len() as u64,
        tombstones: rows.iter().filter(|(_, (value, ..))| value.is_none()).count() as u64,
        payload_bytes: rows.iter().map(payload).sum::<usize>() as u64,
        smallest: key(rows.first()),
        largest: key(rows.last()),
        smallest_lsn: lsns().min().unwrap_or_default(),
        largest_lsn: lsns().max().unwrap_or_default(),
        ..meta.clone()
    }
}

/// What a manifest would say of a file that it believes.
fn file_as_it_is(file: &[u8]) -> TableMeta {
    let footer = file.len().checked_sub(FOOTER_LEN).and_then(|start| file.get(start..));
    let checksum = Footer::decode(file).map_or(0, |(_, checksum)| checksum);
    meta(file, footer.and_then(Footer::read_fields).as_ref(), checksum)
}

fn meta(file: &[u8], footer: Option<&Footer>, checksum: u32) -> TableMeta {
    TableMeta {
        id: footer.map_or(FileId(7), |footer| footer.id),
        len: file.len() as u64,
        entries: footer.map_or(0, |footer| footer.entries),
        tombstones: footer.map_or(0, |footer| footer.tombstones),
        payload_bytes: footer.map_or(0, |footer| footer.payload_bytes),
        smallest: Key::from(b""),
        largest: Key::from(b""),
        smallest_lsn: footer.map_or(Lsn::ZERO, |footer| footer.smallest_lsn),
        largest_lsn: footer.map_or(Lsn::ZERO, |footer| footer.largest_lsn),
        checksum,
        expiries: None,
    }
}

/// A file whose footer is believed, with the checksums that a writer would have given it.
fn mended(file: &[u8]) -> Option<(Vec<u8>, TableMeta)> {
    let footer = Footer::read_fields(file.get(file.len().checked_sub(FOOTER_LEN)?..)?)?;
    let (file, checksum) = sealed(file.to_vec(), &footer);
    let meta = meta(&file, Some(&footer), checksum);
    Some((file, meta))
}

/// Gives changed bytes the checksums that a writer would have given them.
pub(super) fn sealed(mut bytes: Vec<u8>, footer: &Footer) -> (Vec<u8>, u32) {
    bytes.truncate(footer.layout.sums.min(bytes.len()));
    let (mut leaves, mut roots) = (Vec::new(), Vec::new());
    append_sums(&mut leaves, &bytes);
    append_sums(&mut roots, &leaves);
    bytes.extend(leaves);
    bytes.extend(&roots);
    let (footer, checksum) = footer.encode(&roots);
    bytes.extend(footer);
    (bytes, checksum)
}

fn seeds() -> Vec<Vec<u8>> {
    let lists: [&[u8]; 3] =
        [b"\x00\x00\x01\x03\x21\x05abc\x02\x00\x07ab", b"", &[0xff, 0xf1, 9, 1, 2, 3, 4, 5]];
    let with_both = |list: &[u8]| [0, 3].map(|how| [&[how], list].concat());
    let mut seeds: Vec<Vec<u8>> = lists.iter().flat_map(|list| with_both(list)).collect();
    let mut few = Records::new();
    for index in 0..25_u8 {
        let value = (index % 5 != 4).then(|| vec![b'v'; usize::from(index) * 7 % 300]);
        let expires = Timestamp::from_unix_millis(1 << index).filter(|_| value.is_some() && index % 3 == 0);
        let lsn = Lsn(1 + u64::from(index) * 1000);
        few.insert(format!("key {:02}", index * 2).into_bytes(), (value, lsn, expires));
    }
    few.insert(Vec::new(), (Some(Vec::new()), Lsn(0), None));
    let mut many = few.clone();
    many.insert(b"key 10".to_vec(), (Some(vec![b'd'; 2100]), Lsn(1 << 50), None));
    let none = Records::new();
    let packed: Option<&[u8]> = Some(b"vvvvvvvv");
    for (records, dictionary) in [(&none, None), (&few, None), (&many, None), (&many, packed)] {
        let disk = SimFs::new();
        let written = write(&disk, records, dictionary).ok().and_then(|_| disk.read_file("/000007.sst").ok());
        seeds.extend(written.into_iter().flat_map(|file| [1, 2].map(|how| [&[how], &file[..]].concat())));
    }
    seeds
}
