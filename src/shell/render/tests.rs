//! Every kind of reply in every output mode, against the table in the header of the module.

use super::*;

const MODES: [OutputMode; 6] = [
    OutputMode::Quoted,
    OutputMode::Raw,
    OutputMode::Json,
    OutputMode::Jsonl,
    OutputMode::Table,
    OutputMode::Script,
];

fn rendered(mode: OutputMode, write: impl Fn(&mut Renderer, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut Renderer::new(mode, None, false), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn in_every_mode(write: impl Fn(&mut Renderer, &mut Vec<u8>)) -> [String; 6] {
    MODES.map(|mode| rendered(mode, &write))
}

#[test]
fn words_and_numbers() {
    let ok = "{\"ok\":true}\n";
    assert_eq!(in_every_mode(Renderer::done), ["OK\n", "OK\n", ok, ok, "OK\n", "# OK\n"]);
    let number = "{\"deleted\":3}\n";
    let written = in_every_mode(|r, out| r.number(out, Quantity::Deleted, 3));
    assert_eq!(written, ["3\n", "3\n", number, number, "3\n", "# 3\n"]);
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
    assert_eq!(there, ["\"v\"\n", "v", object, object, table, "set \"k\" \"v\"\n"]);
    let absent = get(None);
    let object = "{\"key\":\"k\",\"value\":null}\n";
    let table = "key  value\n---  -----\n\"k\"  null\n";
    assert_eq!(absent, ["null\n", "", object, object, table, "# \"k\" is not there\n"]);
}

#[test]
fn records_of_a_scan() {
    let written = in_every_mode(|r, out| {
        let mut records = r.records(Columns::Both, true);
        records.record(out, b"a", Some(b"1"));
        records.record(out, b"\xff", Some(b""));
        records.end(out);
    });
    let [a, b] = ["{\"key\":\"a\",\"value\":\"1\"}", "{\"key_b64\":\"/w==\",\"value\":\"\"}"];
    assert_eq!(written[0], "\"a\" \"1\"\n\"\\xff\" \"\"\n");
    assert_eq!(written[2], format!("[{a},\n{b}]\n"));
    assert_eq!(written[3], format!("{a}\n{b}\n"));
    assert_eq!(written[5], "set \"a\" \"1\"\nset \"\\xff\" \"\"\n");
    let empty = in_every_mode(|r, out| r.records(Columns::Both, true).end(out));
    assert_eq!(empty, ["", "", "[]\n", "", "key  value\n---  -----\n", ""]);
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
    assert_eq!(written[2], format!("[{a},\n{b}]\n"));
    assert_eq!(written[3], format!("{a}\n{b}\n"));
    assert_eq!(written[5], "# true\n# false\n");
}

#[test]
fn figures_and_text() {
    let figures = in_every_mode(|r, out| r.figures(out, &[("keys", 3.into()), ("engine", "simple".into())]));
    let object = "{\"keys\":3,\"engine\":\"simple\"}\n";
    let lines = "keys    3\nengine  simple\n";
    assert_eq!(figures, [lines, lines, object, object, lines, "# keys    3\n# engine  simple\n"]);
    let text = in_every_mode(|r, out| r.text(out, "a\n\nb\n"));
    assert_eq!(text[0], "a\n\nb\n");
    assert_eq!(text[2], "\"a\\n\\nb\"\n");
    assert_eq!(text[5], "# a\n#\n# b\n");
}
