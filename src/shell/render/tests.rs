//! Every kind of reply in every output mode, against the table in the header of the module.

use super::*;

use proptest::prelude::*;

use crate::config::MODES;
use crate::shell::command::Command;
use crate::shell::parse;

fn rendered(mode: OutputMode, write: impl Fn(&mut Renderer, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut Renderer::new(mode, None, false), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// In the order of quoted, raw, null, json, jsonl, csv, tsv, table, script.
fn in_every_mode(write: impl Fn(&mut Renderer, &mut Vec<u8>)) -> [String; MODES.len()] {
    MODES.map(|(_, mode)| rendered(mode, &write))
}

#[test]
fn words_and_numbers() {
    let (ok, json) = ("OK\n", "{\"ok\":true}\n");
    assert_eq!(in_every_mode(Renderer::done), [ok, ok, "OK\0", json, json, ok, ok, ok, "# OK\n"]);
    let (three, json) = ("3\n", "{\"deleted\":3}\n");
    let written = in_every_mode(|r, out| r.number(out, Quantity::Deleted, 3));
    assert_eq!(written, [three, three, "3\0", json, json, three, three, three, "# 3\n"]);
}

#[test]
fn conditions_and_lifetimes() {
    let not = "null\n";
    let written = in_every_mode(|r, out| assert_eq!(r.done_or_not(out, false), Answer::No));
    assert_eq!(written, [not, not, "null\0", not, not, not, not, not, "# null\n"]);
    let left = |left| in_every_mode(move |r, out| r.lifetimes(out, &[("k", left)]));
    let object = |rest: &str| format!("{{\"key\":\"k\",{rest}}}\n");
    let written = left(Left::For(Duration::from_millis(599_500)));
    assert_eq!((&*written[0], &*written[8]), ("9m59.5s\n", "# 9m59.5s\n"));
    assert_eq!(written[3], object("\"exists\":true,\"ttl_ms\":599500"));
    let written = left(Left::Forever);
    assert_eq!((&*written[0], &*written[4]), ("none\n", &*object("\"exists\":true,\"ttl_ms\":null")));
    let written = left(Left::Gone);
    assert_eq!((&*written[0], &*written[3]), ("null\n", &*object("\"exists\":false,\"ttl_ms\":null")));
    let several =
        rendered(OutputMode::Json, |r, out| r.lifetimes(out, &[("a", Left::Gone), ("b", Left::Forever)]));
    assert_eq!(serde_json::from_str::<Value>(&several).unwrap().as_array().map(Vec::len), Some(2));
}

#[test]
fn one_value_and_its_absence() {
    let get = |value: Option<&'static [u8]>| {
        in_every_mode(move |r, out| {
            let mut records = r.answers(false);
            records.record(out, b"k", value);
            records.end(out);
        })
    };
    let there = get(Some(b"v"));
    let object = "{\"key\":\"k\",\"value\":\"v\"}\n";
    let table = "key  value\n---  -----\n\"k\"  \"v\"\n";
    let (csv, tsv) = ("key,value\nk,v\n", "key\tvalue\nk\tv\n");
    assert_eq!(there, ["\"v\"\n", "v", "v\0", object, object, csv, tsv, table, "set \"k\" \"v\"\n"]);
    let absent = get(None);
    let object = "{\"key\":\"k\",\"value\":null}\n";
    let table = "key  value\n---  -----\n\"k\"  null\n";
    let (csv, tsv) = ("key,value\nk,\n", "key\tvalue\nk\t\\N\n");
    assert_eq!(absent, ["null\n", "", "", object, object, csv, tsv, table, "# \"k\" is not there\n"]);
}

#[test]
fn records_of_a_scan() {
    let written = in_every_mode(|r, out| {
        let mut records = r.records(Columns::Both, true);
        records.foresee(Binary { keys: true, values: false });
        records.record(out, b"a", Some(b"1"));
        records.record(out, b"\xff", Some(b""));
        records.end(out);
    });
    let [a, b] = ["{\"key\":\"a\",\"value\":\"1\"}", "{\"key_b64\":\"/w==\",\"value\":\"\"}"];
    assert_eq!(written[0], "\"a\" \"1\"\n\"\\xff\" \"\"\n");
    assert_eq!(written[2], "a\x001\0\u{fffd}\0\0");
    assert_eq!(written[3], format!("[{a},\n{b}]\n"));
    assert_eq!(written[4], format!("{a}\n{b}\n"));
    assert_eq!(written[5], "key,value,key_b64\na,1,\n,\"\",/w==\n");
    assert_eq!(written[6], "key\tvalue\na\t1\n\\xff\t\n");
    assert_eq!(written[8], "set \"a\" \"1\"\nset \"\\xff\" \"\"\n");
    let empty = in_every_mode(|r, out| r.records(Columns::Both, true).end(out));
    let (csv, tsv, table) = ("key,value\n", "key\tvalue\n", "key  value\n---  -----\n");
    assert_eq!(empty, ["", "", "", "[]\n", "", csv, tsv, table, ""]);
}

#[test]
fn raw_records_have_a_newline_between_them_or_behind_each() {
    let write = |raw_lines| {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(OutputMode::Raw, None, raw_lines);
        for value in [&b"\x00v\n"[..], b"w"] {
            let mut records = renderer.answers(false);
            records.record(&mut out, b"k", Some(value));
            records.end(&mut out);
        }
        out
    };
    assert_eq!(write(false), b"\x00v\n\nw");
    assert_eq!(write(true), b"\x00v\n\nw\n");
}

#[test]
fn several_answers_are_one_json_document() {
    let written = in_every_mode(|r, out| r.presence(out, &[(b"a", true), (b"b", false)]));
    let [a, b] = ["{\"key\":\"a\",\"exists\":true}", "{\"key\":\"b\",\"exists\":false}"];
    assert_eq!(written[0], "true\nfalse\n");
    assert_eq!(written[3], format!("[{a},\n{b}]\n"));
    assert_eq!(written[4], format!("{a}\n{b}\n"));
    assert_eq!(written[8], "# true\n# false\n");
}

#[test]
fn figures_and_text() {
    let figures = in_every_mode(|r, out| r.figures(out, &[("keys", 3.into()), ("engine", "simple".into())]));
    let object = "{\"keys\":3,\"engine\":\"simple\"}\n";
    let lines = "keys    3\nengine  simple\n";
    let (csv, tsv) = ("name,value\nkeys,3\nengine,simple\n", "name\tvalue\nkeys\t3\nengine\tsimple\n");
    let script = "# keys    3\n# engine  simple\n";
    assert_eq!(figures, [lines, lines, lines, object, object, csv, tsv, lines, script]);
    let text = in_every_mode(|r, out| r.text(out, "a\n\nb\n"));
    assert_eq!(text[0], "a\n\nb\n");
    assert_eq!(text[3], "\"a\\n\\nb\"\n");
    assert_eq!(text[8], "# a\n#\n# b\n");
}

type Record = (Vec<u8>, Vec<u8>);

/// What a scan of these records prints.
fn scanned(mode: OutputMode, records: &[Record]) -> Vec<u8> {
    let (mut out, mut binary) = (Vec::new(), Binary::default());
    for (key, value) in records {
        binary.look(key, value);
    }
    let mut renderer = Renderer::new(mode, None, true);
    let mut reply = renderer.records(Columns::Both, true);
    reply.foresee(binary);
    for (key, value) in records {
        reply.record(&mut out, key, Some(value));
    }
    reply.end(&mut out);
    out
}

/// The bytes of a field that stands under its name, or in base64 under the other.
fn field(text: Option<&str>, base64: Option<&str>) -> Vec<u8> {
    match base64.filter(|base64| !base64.is_empty()) {
        None => text.unwrap().as_bytes().to_vec(),
        Some(base64) => {
            let Ok(Some(Command::Get { keys, .. })) = parse::line(format!("get b64\"{base64}\"").as_bytes())
            else {
                panic!("{base64}");
            };
            keys[0].to_vec()
        }
    }
}

fn from_object(object: &Value) -> Record {
    let bytes = |name: &str| field(object[name].as_str(), object[format!("{name}_b64")].as_str());
    (bytes("key"), bytes("value"))
}

fn from_csv(out: &[u8]) -> Vec<Record> {
    let mut reader = ::csv::Reader::from_reader(out);
    let headings = reader.headers().unwrap().clone();
    let column = |name: &str| headings.iter().position(|heading| heading == name);
    let columns = ["key", "key_b64", "value", "value_b64"].map(column);
    let read = |row: Result<::csv::StringRecord, ::csv::Error>| {
        let row = row.unwrap();
        let [key, key_b64, value, value_b64] = columns.map(|column| row.get(column?));
        (field(key, key_b64), field(value, value_b64))
    };
    reader.records().map(read).collect()
}

fn from_tsv(out: &[u8]) -> Vec<Record> {
    let text = std::str::from_utf8(out).unwrap();
    let row = |line: &str| {
        let (key, value) = line.split_once('\t').unwrap();
        [key, value].map(|cell| tsv::read_cell(cell.as_bytes()).unwrap()).into()
    };
    assert!(text.ends_with('\n') && !text.contains(|c: char| c.is_control() && !"\t\n".contains(c)));
    text.strip_suffix('\n').unwrap().split('\n').skip(1).map(row).collect()
}

fn from_script(out: &[u8]) -> Vec<Record> {
    let set = |line: &[u8]| match parse::line(line) {
        Ok(Some(Command::Set { key, value, .. })) => (key.to_vec(), value.to_vec()),
        other => panic!("{other:?}"),
    };
    out.split_inclusive(|&byte| byte == b'\n').map(set).collect()
}

fn from_null(out: &[u8]) -> Vec<Record> {
    let pieces: Vec<&[u8]> = out.split(|&byte| byte == 0).collect();
    let (end, pieces) = pieces.split_last().unwrap();
    assert!(end.is_empty());
    pieces.chunks(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect()
}

/// Bytes of every kind, those that mean something to a format more often.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let marks = proptest::sample::select(b",\"'\t\n\r\\ N\0\x7f\xc2\x9b\xff\xe2\x80\xae=".to_vec());
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(marks, 0..12),
        "\\PC{0,12}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn programs_read_back_every_byte_string(records in proptest::collection::vec((bytes(), bytes()), 1..6)) {
        let json: Value = serde_json::from_slice(&scanned(OutputMode::Json, &records)).unwrap();
        prop_assert_eq!(&json.as_array().unwrap().iter().map(from_object).collect::<Vec<_>>(), &records);
        let jsonl = scanned(OutputMode::Jsonl, &records);
        let objects = jsonl.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n');
        let objects = objects.map(|line| from_object(&serde_json::from_slice(line).unwrap()));
        prop_assert_eq!(&objects.collect::<Vec<_>>(), &records);
        prop_assert_eq!(&from_csv(&scanned(OutputMode::Csv, &records)), &records);
        prop_assert_eq!(&from_tsv(&scanned(OutputMode::Tsv, &records)), &records);
        prop_assert_eq!(&from_script(&scanned(OutputMode::Script, &records)), &records);
        let quoted = String::from_utf8(scanned(OutputMode::Quoted, &records)).unwrap();
        let quoted: String = quoted.lines().flat_map(|line| ["set ", line, "\n"]).collect();
        prop_assert_eq!(&from_script(quoted.as_bytes()), &records);
        if !records.iter().any(|(key, value)| key.contains(&0) || value.contains(&0)) {
            prop_assert_eq!(&from_null(&scanned(OutputMode::Null, &records)), &records);
        }
    }

    #[test]
    fn text_output_can_not_drive_a_terminal(records in proptest::collection::vec((bytes(), bytes()), 1..4)) {
        for (name, mode) in MODES.iter().filter(|(name, _)| !["raw", "null"].contains(name)) {
            let out = String::from_utf8(scanned(*mode, &records)).unwrap();
            let allowed = if *name == "csv" { "\t\n\r" } else { "\t\n" };
            prop_assert!(!out.contains(|c: char| c.is_control() && !allowed.contains(c)), "{name}: {out:?}");
        }
    }
}
