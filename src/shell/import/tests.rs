//! Every byte string comes back through every format; what is wrong is found where it is.

use proptest::prelude::*;

use super::*;
use crate::db::Db;
use crate::shell::command::Export;
use crate::shell::export;
use crate::types::Op;

type Record = (Vec<u8>, Vec<u8>);

const FORMATS: [Format; 3] = [Format::Csv, Format::Tsv, Format::Jsonl];

fn interrupt() -> Interrupt {
    Interrupt::for_prompt().unwrap()
}

fn import_as(format: Format, bytes: &[u8], import: &Import) -> Result<(Vec<Record>, Option<String>), String> {
    let mut records = Vec::new();
    let mut sink = |key: Key, value: crate::types::Value, _: Option<Timestamp>| {
        records.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    let imported = read_from("f", bytes, (format, import), &interrupt(), &mut sink);
    match imported {
        Ok(Imported { records: count, notice }) => {
            assert_eq!(count, records.len() as u64);
            Ok((records, notice))
        }
        Err(failure) => Err(failure.message()),
    }
}

fn imported(format: Format, text: &str, import: &Import) -> Vec<(String, String)> {
    let records = import_as(format, text.as_bytes(), import).unwrap().0;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    records.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn wrong(format: Format, text: &str, import: &Import) -> String {
    import_as(format, text.as_bytes(), import).unwrap_err()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn columns(key: &str, value: &str) -> Import {
    let given = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
    Import { key: given(key), value: given(value), ..Import::default() }
}

#[test]
fn columns_are_found_by_name_by_number_or_by_their_place() {
    let people = "id,name,age\n1,Ann,30\n2,\"Bob, \"\"B\"\"\",31\n";
    let csv = |import: &Import| imported(Format::Csv, people, import);
    assert_eq!(csv(&columns("name", "age")), pairs(&[("Ann", "30"), ("Bob, \"B\"", "31")]));
    assert_eq!(csv(&columns("3", "1")), pairs(&[("30", "1"), ("31", "2")]));
    assert_eq!(csv(&columns("name", "")), pairs(&[("Ann", "1"), ("Bob, \"B\"", "2")]));
    assert_eq!(csv(&columns("", "id")), pairs(&[("Ann", "1"), ("Bob, \"B\"", "2")]));
    assert_eq!(csv(&columns("id", "id")), pairs(&[("1", "1"), ("2", "2")]));
    let usual = "value,key\nv,k\n";
    assert_eq!(imported(Format::Csv, usual, &Import::default()), pairs(&[("k", "v")]));
    assert_eq!(wrong(Format::Csv, people, &columns("nam", "")), "f:1: no column \"nam\"");
    assert_eq!(wrong(Format::Csv, people, &columns("4", "")), "f:1: no column \"4\"");
    assert_eq!(wrong(Format::Csv, "a;b\n1;2\n", &Import::default()), "f:1: only one column: \"a;b\"");
}

#[test]
fn names_of_columns_that_are_a_guess_are_told() {
    let guess = import_as(Format::Tsv, b"a\t1\nb\t2\n", &Import::default()).unwrap();
    assert_eq!(guess.0.len(), 1);
    assert!(guess.1.unwrap().contains("names of the columns: \"a\", \"1\"; if it is a record"));
    let no_header = Import { no_header: true, ..Import::default() };
    let all = import_as(Format::Tsv, b"a\t1\nb\t2\n", &no_header).unwrap();
    assert_eq!((all.0.len(), all.1), (2, None));
    assert_eq!(
        wrong(Format::Tsv, "key\tvalue\n", &Import { key: Some("key".into()), ..no_header }),
        "f:1: no column \"key\""
    );
}

#[test]
fn what_spreadsheets_write_is_taken() {
    let csv = "\u{feff}key,value\r\na,\"two\r\nlines\"\r\n\r\nb,last";
    assert_eq!(
        imported(Format::Csv, csv, &Import::default()),
        pairs(&[("a", "two\r\nlines"), ("b", "last")])
    );
    let tsv = "\u{feff}key\tvalue\r\na\tx\\ty\r\n";
    assert_eq!(imported(Format::Tsv, tsv, &Import::default()), pairs(&[("a", "x\ty")]));
    assert!(imported(Format::Csv, "", &Import::default()).is_empty());
    assert!(imported(Format::Csv, "key,value\n", &Import::default()).is_empty());
}

#[test]
fn fields_of_objects_are_text_or_json() {
    let lines = "{\"key\":\"a\",\"value\":1.50}\n\n {\"value\":{\"x\":[1, null]},\"key\":\"b\",\"more\":1}\n{\"key\":7,\"value_b64\":\"aGk\"}";
    let expected = pairs(&[("a", "1.50"), ("b", "{\"x\":[1, null]}"), ("7", "hi")]);
    assert_eq!(imported(Format::Jsonl, lines, &Import::default()), expected);
    let users = "{\"id\":\"1\",\"name\":\"\\u00e9\"}";
    let import = Import { prefix: b"user:".to_vec(), ..columns("id", "name") };
    assert_eq!(imported(Format::Jsonl, users, &import), pairs(&[("user:1", "é")]));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let csv = |text: &str| wrong(Format::Csv, &format!("key,value\n{text}"), &Import::default());
    assert_eq!(csv("a,\"1\n2\"\nb,2,3\n"), "f:4: 3 cells, but the first line has 2");
    assert_eq!(csv("a\n"), "f:2: 1 cell, but the first line has 2");
    assert_eq!(csv("a,\"1\nb,2\nc,3\n"), "f:2: a quote that is never closed");
    assert_eq!(csv("a,\"1\"2\n"), "f:2: text behind a closing quote");
    assert_eq!(csv("a,it\"s \"\n"), "f:2: a quote inside a cell that is not quoted");
    let base64 = |text: &str| wrong(Format::Csv, &format!("key,value,value_b64\n{text}"), &Import::default());
    assert_eq!(base64("a,,?\n"), "f:2: what \"value_b64\" holds is not base64");
    assert!(base64("a,b,aGk=\n").starts_with("f:2: the value stands in two columns"));
    let tsv = |text: &str| wrong(Format::Tsv, &format!("key\tvalue\n{text}"), &Import::default());
    assert_eq!(tsv("a\tC:\\dir\n"), "f:2: unknown escape \"\\\\d\" in a cell");
    assert_eq!(tsv("a\t\\N\n"), "f:2: the value is \\N: nothing is there");
    let json = |text: &str| wrong(Format::Jsonl, text, &Import::default());
    assert_eq!(json("{\"key\":\"a\"}\n"), "f:1: no field \"value\"");
    assert_eq!(json("\n{\"key\":null,\"value\":1}"), "f:2: nothing in the field \"key\"");
    assert_eq!(json("{\"key\":\"a\",\"value\":1}\n[1]\n"), "f:2: not a JSON object, but an array");
    assert_eq!(json("7"), "f:1: not a JSON object, but a number");
    assert!(json("{\"key\":\"a\",").contains("f:1: not JSON: EOF"));
    let long = format!("{},v\n", "k".repeat(MAX_KEY_LEN + 1));
    assert_eq!(csv(&long), "f:2: a key of 65536 bytes is too long: at most 65535");
}

fn exported(records: &[Record], format: Format, export: &Export) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).unwrap();
    let mut batch = crate::types::Batch::new();
    for (key, value) in records {
        batch.set(&key[..], &value[..]);
    }
    db.write(batch).unwrap();
    let mut bytes = Vec::new();
    let count = export::write(
        &db.snapshot().unwrap(),
        (format, export),
        &interrupt(),
        &mut |_, _, _| {},
        &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        },
    );
    assert!(count.unwrap() <= records.len() as u64);
    bytes
}

#[test]
fn lifetimes_go_out_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).unwrap();
    let moment: Timestamp = "2999-01-02T03:04:05.006Z".parse().unwrap();
    let set = |key: &str, expires| Op::Set { key: key.into(), value: "v".into(), expires };
    db.write(crate::types::Batch::from_iter([set("a", None), set("b", Some(moment))])).unwrap();
    for (format, expected) in [
        (Format::Csv, "key,value,expires\na,v,\nb,v,2999-01-02T03:04:05.006Z\n"),
        (Format::Tsv, "key\tvalue\texpires\na\tv\t\nb\tv\t2999-01-02T03:04:05.006Z\n"),
        (
            Format::Jsonl,
            "{\"key\":\"a\",\"value\":\"v\"}\n{\"key\":\"b\",\"value\":\"v\",\"expires\":\"2999-01-02T03:04:05.006Z\"}\n",
        ),
    ] {
        let mut file = Vec::new();
        let (export, view) = (Export::default(), db.snapshot().unwrap());
        let mut sink = |piece: &[u8]| {
            file.extend_from_slice(piece);
            Ok(())
        };
        export::write(&view, (format, &export), &interrupt(), &mut |_, _, _| {}, &mut sink).unwrap();
        assert_eq!(String::from_utf8_lossy(&file), expected);
        let mut found = Vec::new();
        let mut sink = |_, _, expires| {
            found.push(expires);
            Ok(())
        };
        read_from("f", &file[..], (format, &Import::default()), &interrupt(), &mut sink).unwrap();
        assert_eq!(found, [None, Some(moment)]);
    }
    let soon = "key,value,expires\na,v,soon\n";
    assert_eq!(
        wrong(Format::Csv, soon, &Import::default()),
        "f:2: \"soon\" in \"expires\" is not a valid time"
    );
    assert_eq!(imported(Format::Csv, soon, &columns("key", "")), pairs(&[("a", "v")]));
}

#[test]
fn a_prefix_chooses_what_is_exported_and_may_be_left_out() {
    let records = ["a:1", "b:1", "b:2"].map(|key| (key.into(), b"v".to_vec()));
    let export = |strip| Export { prefix: b"b:".to_vec(), strip };
    assert_eq!(exported(&records, Format::Csv, &export(false)), b"key,value\nb:1,v\nb:2,v\n");
    assert_eq!(exported(&records, Format::Tsv, &export(true)), b"key\tvalue\n1\tv\n2\tv\n");
}

/// Bytes of every kind, those that mean something to a format more often.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let marks = proptest::sample::select(b",\"'\t\n\r\\ Nx0\0\x7f\xc2\x9b\xff\xef\xbb\xbf".to_vec());
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(marks, 0..12),
        "\\PC{0,12}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn everything_that_is_exported_comes_back(records in proptest::collection::btree_map(bytes(), bytes(), 1..12)) {
        let records: Vec<Record> = records.into_iter().collect();
        for format in FORMATS {
            let file = exported(&records, format, &Export::default());
            let back = import_as(format, &file, &Import::default());
            prop_assert_eq!(back, Ok((records.clone(), None)), "{:?}", String::from_utf8_lossy(&file));
        }
    }

    #[test]
    fn what_the_csv_crate_writes_is_read(rows in proptest::collection::vec((bytes(), bytes()), 1..8)) {
        let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
        for row in &rows {
            writer.write_record([&row.0, &row.1]).unwrap();
        }
        let import = Import { no_header: true, ..Import::default() };
        let file = writer.into_inner().unwrap();
        // A mark at the start of a file is none of its data.
        prop_assume!(!file.starts_with(b"\xef\xbb\xbf"));
        prop_assert_eq!(import_as(Format::Csv, &file, &import), Ok((rows, None)));
    }

    #[test]
    fn no_bytes_make_it_panic(file in proptest::collection::vec(bytes(), 0..6)) {
        for format in FORMATS {
            drop(import_as(format, &file.concat(), &Import::default()));
        }
    }
}

#[test]
fn a_quote_that_should_not_have_been_opened_is_told_in_its_line() {
    let text = "key,value\na,5\" disk\nb,2\nc,3\n";
    assert_eq!(wrong(Format::Csv, text, &Import::default()), "f:2: a quote inside a cell that is not quoted");
    let text = "key,value\na,\"x\" y \"z\nb,2\n";
    assert_eq!(wrong(Format::Csv, text, &Import::default()), "f:2: text behind a closing quote");
    let text = "key,value\na,\"x\ny\nz\nb,2\n";
    assert!(wrong(Format::Csv, text, &Import::default()).ends_with("a quote that is never closed"));
}
