//! `.import` and `.export` as whole runs: both ways, as one unit, by every way in.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fmt::Write as _;
use std::fs;

use common::Sandbox;

/// Records of every length of value, with bytes of every kind, in no order.
fn script(count: u32) -> String {
    let mut script = String::new();
    for number in 0..count {
        let scattered = number.wrapping_mul(2_654_435_761);
        let value = "v,\\\"\\t\\n\\\\é\\xff".repeat((number % 5) as usize);
        writeln!(script, "set \"k{scattered:08x}\\x{:02x}\" \"{value}\"", number % 256).unwrap();
    }
    script
}

#[test]
fn a_file_of_many_rows_comes_back_exactly_in_every_format() {
    let sandbox = Sandbox::new();
    let count = 20_000;
    sandbox.feed(&["--sync", "none"], format!("begin\n{}commit\n", script(count)));
    let dump = sandbox.run(&[".dump"]).out;
    for file in ["all.csv", "all.tsv", "all.jsonl"] {
        sandbox.run(&[".export", file]).expect(&format!("{count}\n"), 0).quiet();
        let db = format!("{file}.db");
        sandbox.run(&["--db", &db, "import", "--dry-run", file]).expect(&format!("{count}\n"), 0).quiet();
        assert!(!sandbox.file(&db).exists());
        sandbox.run(&["--db", &db, "import", file]).expect(&format!("{count}\n"), 0).quiet();
        assert!(sandbox.run(&["--db", &db, ".dump"]).out == dump, "{file}");
    }
}

#[test]
fn records_go_through_pipes_and_between_prefixes() {
    let sandbox = Sandbox::new();
    sandbox.script("set a:1 x\nset a:2 y\nset b:1 z").expect("OK\nOK\nOK\n", 0);
    let ran = sandbox.run(&["export", "-", "--format", "csv", "--prefix", "a:", "--strip"]);
    ran.expect("key,value\n1,x\n2,y\n", 0);
    let args = ["import", "-", "--format=csv", "--prefix", "copy:"];
    sandbox.feed(&args, ran.out.clone()).expect("2\n", 0).quiet();
    sandbox.run(&["scan", "copy:"]).expect("\"copy:1\" \"x\"\n\"copy:2\" \"y\"\n", 0);
    let script = ".export - --format jsonl --prefix b\n.once b.tsv\n.export - --format tsv --prefix b\ncount";
    sandbox.script(script).expect("{\"key\":\"b:1\",\"value\":\"z\"}\nOK\n5\n", 0);
    assert_eq!(fs::read(sandbox.file("b.tsv")).unwrap(), b"key\tvalue\nb:1\tz\n");
    sandbox.run(&["--json", "import", "b.tsv", "--dry-run"]).expect("{\"would_import\":1}\n", 0);
    sandbox.run(&["--json", "import", "b.tsv"]).expect("{\"imported\":1}\n", 0);
}

#[test]
fn a_line_that_is_not_right_is_named_and_nothing_is_applied() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "old"]).expect("OK\n", 0);
    let mut rows = "key,value\n".to_owned();
    for number in 0..60_000 {
        writeln!(rows, "k{number:06},{number:060}").unwrap();
    }
    sandbox.write("bad.csv", rows + "a,\"new\n");
    sandbox
        .run(&["import", "bad.csv"])
        .expect("", 2)
        .complains("bad.csv:60002: a quote that is never closed");
    sandbox.run(&["scan"]).expect("\"a\" \"old\"\n", 0);
    sandbox.write("twice.csv", "key,value\na,1\nb,2\na,3\n");
    sandbox.run(&["import", "twice.csv"]).expect("3\n", 0);
    sandbox.run(&["scan"]).expect("\"a\" \"3\"\n\"b\" \"2\"\n", 0);
}

#[test]
fn what_can_not_be_imported_is_refused_before_anything_is_done() {
    let sandbox = Sandbox::new();
    sandbox.write("f.csv", "id,name\n1,Ann\n");
    sandbox
        .run(&["import", "f.csv", "--key", "idd"])
        .expect("", 2)
        .complains("the columns are \"id\", \"name\"");
    assert!(!sandbox.file(".kvdb").exists());
    sandbox.run(&["import", "f.csv"]).expect("1\n", 0).complains("--no-header");
    sandbox.run(&["import", "people"]).expect("", 2).complains("--format csv, tsv or jsonl");
    sandbox.run(&["import", "f.csv", "--format", "tvs"]).expect("", 2).complains("did you mean \"tsv\"?");
    sandbox.run(&["import", "absent.csv"]).expect("", 5).complains("cannot open absent.csv: ");
    sandbox.run(&["export", "no/f.csv"]).expect("", 5).complains("cannot create no/f.csv: ");
    sandbox.run(&["--readonly", "import", "f.csv"]).expect("", 3);
    let ran = sandbox.script("begin\n.import f.csv\nrollback\n.import - --format csv\n");
    ran.expect("OK\nOK\n", 5).complains("can't run inside a transaction").complains("cannot open -");
}
