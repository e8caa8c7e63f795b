//! Scripts on standard input, with `-c`, `.read` and `.load`: answers in order, errors with their place, exit codes, bad input.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]
#![allow(clippy::format_collect, reason = "scripts are short, and read best as lines")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Ran, Sandbox};
use serde_json::json;

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn answers_come_in_order() {
    let script = "\
# a comment
set name \"Jaya Krishna\"
get name

append name !
get name absent
exists name absent
incr n 41
incr n
set empty \"\"
count
keys
scan --reverse --limit 2
scan n --values
delete name absent empty
count
";
    let expected = "\
OK
\"Jaya Krishna\"
13
\"Jaya Krishna!\"
null
true
false
41
42
OK
3
\"empty\"
\"n\"
\"name\"
\"name\" \"Jaya Krishna!\"
\"n\" \"42\"
\"42\"
\"Jaya Krishna!\"
2
1
";
    Sandbox::new().script(script).expect(expected, 0).quiet();
    let sandbox = Sandbox::new();
    sandbox.feed(&["--sync", "each"], script).expect(expected, 0).quiet();
    sandbox.feed(&["--db", "other", "-"], script).expect(expected, 0).quiet();
    sandbox.feed(&["--db", "third", "--sync", "none", "--timer"], script).expect(expected, 0);
}

#[test]
fn a_bad_line_is_reported_with_its_place_and_the_rest_runs() {
    let ran =
        Sandbox::new().script("set a 1\nset name Jaya Krishna\nincr a\ngte a\nset t x\nincr t\nget a\n");
    ran.expect("OK\n2\nOK\n\"2\"\n", 2);
    ran.complains("error: unexpected argument")
        .complains("--> stdin:2:15\n")
        .complains("2 | set name Jaya Krishna");
    ran.complains("--> stdin:4:1\n").complains("did you mean \"get\"?").complains("--> stdin:6\n");
    assert!(ran.err.ends_with("kvdb: 3 errors, the first at stdin:2\n"), "{}", ran.err);
}

#[test]
fn errors_stand_between_the_answers_they_came_between() {
    let sandbox = Sandbox::new();
    let both = fs::File::create(sandbox.file("both")).unwrap();
    sandbox.write("script", "set a 1\nget a\nnonsense\nset a 2\nincr\nget a\n");
    let status = sandbox
        .command(&["--json"])
        .stdin(fs::File::open(sandbox.file("script")).unwrap())
        .stdout(both.try_clone().unwrap())
        .stderr(both)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    let text = fs::read_to_string(sandbox.file("both")).unwrap();
    let kinds: Vec<_> = text.lines().map(|line| line.get(2..7).unwrap_or(line)).collect();
    let (done, error, record) = ("ok\":t", "colum", "key\":");
    assert_eq!(kinds, [done, record, error, done, error, record, "notic"]);
}

#[test]
fn bail_stops_at_the_first_error() {
    let sandbox = Sandbox::new();
    sandbox.feed(&["--bail", "on"], "set a 1\noops\nset a 2\n").expect("OK\n", 2);
    sandbox.script("get a\n").expect("\"1\"\n", 0);
    sandbox.run(&["--bail", "on", "-c", "oops", "-c", "set a 3"]).expect("", 2);
    sandbox.run(&["-c", "oops", "-c", "get a"]).expect("\"1\"\n", 2).complains("--> -c #1:1:1");
    sandbox.write("s.kv", "set a 4\noops\nset a 5\n");
    let ran = sandbox.script(".read s.kv\nget a\n.bail off\n.read s.kv\nget a\n");
    ran.expect("OK\n\"4\"\nOK\nOK\nOK\n\"5\"\n", 2).complains("--> s.kv:2:1");
}

#[test]
fn scripts_that_read_themselves_end() {
    let sandbox = Sandbox::new();
    sandbox.write("self.kv", ".read self.kv\n");
    sandbox.script(".read self.kv\nset a 1\n").expect("OK\n", 2).complains("nested 16 deep");
    sandbox.script(".read absent.kv\n").expect("", 5).complains("cannot open absent.kv");
}

/// Asks one line at a time and waits for each answer.
#[test]
fn a_writer_that_waits_for_each_answer_gets_it() {
    for args in [&[][..], &["--sync", "each"], &["--sync", "none"], &["--raw"]] {
        let sandbox = Sandbox::new();
        let mut child = sandbox.spawn(args);
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let begun = Instant::now();
        for number in 1..=50 {
            writeln!(stdin, "incr n").unwrap();
            let mut reply = String::new();
            stdout.read_line(&mut reply).unwrap();
            assert_eq!(reply, format!("{number}\n"));
        }
        write!(stdin, "set half ").unwrap();
        stdin.flush().unwrap();
        writeln!(stdin, "a\nget half").unwrap();
        let mut replies = String::new();
        stdout.read_line(&mut replies).unwrap();
        stdout.read_line(&mut replies).unwrap();
        assert_eq!(replies, if args == ["--raw"] { "OK\na\n" } else { "OK\n\"a\"\n" });
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(begun.elapsed() < DEADLINE);
    }
}

#[test]
fn an_answer_is_durable_when_it_is_read() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.spawn(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "set a 1\nset b 2").unwrap();
    let mut replies = String::new();
    stdout.read_line(&mut replies).unwrap();
    stdout.read_line(&mut replies).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.run(&["scan"]).expect("\"a\" \"1\"\n\"b\" \"2\"\n", 0);
}

#[test]
fn reads_in_a_script_see_the_writes_before_them() {
    let script: String = (0..3_000).map(|number| format!("set k {number}\nget k\nincr n\n")).collect();
    let expected: String = (0..3_000).map(|number| format!("OK\n\"{number}\"\n{}\n", number + 1)).collect();
    Sandbox::new().script(script).expect(&expected, 0).quiet();
}

#[test]
fn what_waits_together_shares_commits_unless_told_otherwise() {
    let sets: String = (0..500).map(|number| format!("set k{number} v\n")).collect();
    let sandbox = Sandbox::new();
    sandbox.write("script.kv", format!("{sets}.stats\n"));
    let syncs = |sync: &str| {
        let input = fs::File::open(sandbox.file("script.kv")).unwrap();
        let args = ["--json", "--sync", sync, "--db", sync];
        let ran: Ran = sandbox.command(&args).stdin(input).output().unwrap().into();
        let stats: serde_json::Value = serde_json::from_str(ran.text().lines().last().unwrap()).unwrap();
        assert_eq!(
            (ran.code, stats["keys"].as_u64(), stats["commits"].as_u64()),
            (Some(0), Some(500), Some(500))
        );
        stats["syncs"].as_u64().unwrap()
    };
    assert!(syncs("each") >= 500);
    assert!(syncs("group") < 250);
}

#[test]
fn stats_are_numbers_with_nested_levels_in_json_and_lines_elsewhere() {
    let sandbox = Sandbox::new();
    let stats = |sandbox: &Sandbox| {
        let ran = sandbox.run(&["--json", ".stats"]);
        serde_json::from_slice::<serde_json::Value>(&ran.out).unwrap()
    };
    assert_eq!(sandbox.script("set a 1\nset b 22\ndelete a\n").code, Some(0));
    let fresh = stats(&sandbox);
    assert_eq!((&fresh["levels"], &fresh["last_flush_unix_ms"]), (&json!([]), &json!(null)));
    assert_eq!((&fresh["memtable_keys"], &fresh["user_bytes"]), (&json!(2), &json!(6)));
    let compacted = sandbox.run(&["--json", ".compact"]);
    let compacted: serde_json::Value = serde_json::from_slice(&compacted.out).unwrap();
    assert!(compacted["bytes_before"].is_u64() && compacted["bytes_after"].is_u64());

    let flushed = stats(&sandbox);
    let level = &flushed["levels"][0];
    assert_eq!(
        (&level["tables"], &level["entries"], &level["tombstones"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(level["bytes"], flushed["table_bytes_written"]);
    let amplified = (flushed["log_bytes_written"].as_f64().unwrap() + level["bytes"].as_f64().unwrap()) / 6.0;
    assert!((flushed["write_amplification"].as_f64().unwrap() - amplified).abs() < 0.001);
    assert_eq!((&flushed["keys"], &flushed["keys_counted"]), (&json!(1), &json!(true)));
    assert_eq!((&flushed["flushes"], &flushed["memtable_keys"]), (&json!(1), &json!(0)));
    assert!(flushed["last_flush_unix_ms"].as_u64().unwrap() > 1_700_000_000_000);

    let lines = sandbox.run(&[".stats"]);
    let find = |name: &str| {
        let mut lines = lines.text().lines().filter_map(|line| line.split_once(' '));
        lines.find(|line| line.0 == name).map(|line| line.1.trim().to_owned())
    };
    assert_eq!(find("keys").as_deref(), Some("1"));
    assert_eq!(find("level_0").unwrap(), format!("tables=1 entries=1 tombstones=0 bytes={}", level["bytes"]));
    assert_eq!(find("last_compaction_unix_ms").as_deref(), Some("null"));
}

#[test]
fn a_transaction_is_applied_whole() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .script("set a 1\nbegin\nset a 2\nset b 3\ndelete nothing\nget a\ncount\nscan\ncommit\nget a b\n");
    ran.expect("OK\nOK\nOK\nOK\n0\n\"2\"\n2\n\"a\" \"2\"\n\"b\" \"3\"\nOK\n\"2\"\n\"3\"\n", 0).quiet();
    sandbox.script("begin\nset a 9\nrollback\nget a\n").expect("OK\nOK\nOK\n\"2\"\n", 0).quiet();
}

#[test]
fn a_failed_command_poisons_its_transaction() {
    for bad in ["oops", "incr text", "set only", "begin"] {
        let sandbox = Sandbox::new();
        let ran = sandbox.script(format!("set text x\nbegin\nset a 1\n{bad}\nset b 2\ncommit\nget a b\n"));
        ran.expect("OK\nOK\nOK\nOK\nnull\nnull\n", 2).complains("nothing was committed");
        ran.complains("failed at stdin:4");
    }
    Sandbox::new().script("commit\n").expect("", 2).complains("commit without a transaction");
    Sandbox::new().script("rollback\n").expect("", 2).complains("rollback without a transaction");
}

#[test]
fn a_transaction_left_open_is_rolled_back_and_said() {
    let sandbox = Sandbox::new();
    let ran = sandbox.script("set a 1\nbegin\nset a 2\n");
    ran.expect("OK\nOK\nOK\n", 2)
        .complains("begun at stdin:2 was left open and has been rolled back")
        .complains("kvdb: 1 error\n");
    sandbox.run(&["get", "a"]).expect("\"1\"\n", 0);
    sandbox.run(&["-c", "begin", "-c", "set a 3"]).expect("OK\nOK\n", 2).complains("left open");
    sandbox.run(&["-c", "begin", "-c", "set a 3", "-c", "commit"]).expect("OK\nOK\nOK\n", 0).quiet();
    sandbox.run(&["get", "a"]).expect("\"3\"\n", 0);
}

#[test]
fn of_two_transactions_the_first_to_commit_wins_and_the_other_is_told_the_key() {
    let sandbox = Sandbox::new();
    sandbox.script("set contested 0\nset watched before\n").expect("OK\nOK\n", 0);
    let mut child = sandbox.spawn(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "begin\nget contested\nset contested mine\nset other mine").unwrap();
    let mut replies = String::new();
    for _ in 0..4 {
        stdout.read_line(&mut replies).unwrap();
    }
    assert_eq!(replies, "OK\n\"0\"\nOK\nOK\n");
    sandbox.script("set contested theirs\nset watched after\n").expect("OK\nOK\n", 0);
    writeln!(stdin, "get watched\ncommit\nget contested other").unwrap();
    drop(stdin);
    replies.clear();
    stdout.read_to_string(&mut replies).unwrap();
    assert_eq!(replies, "\"before\"\n\"theirs\"\nnull\n");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("changed key \"contested\" first") && said.contains("stdin:6"), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn quotes_hold_lines_together_and_one_left_open_is_an_error_where_it_began() {
    let sandbox = Sandbox::new();
    let ran = sandbox.script("set a \"line 1\nline 2\"\nget a\noops\nset b \"never\nclosed\nget a\n");
    ran.expect("OK\n\"line 1\\nline 2\"\n", 2).complains("--> stdin:4:1").complains("--> stdin:5:7");
    sandbox.run(&["exists", "b"]).expect("false\n", 1);
}

#[test]
fn a_line_of_70_mib_is_taken() {
    let sandbox = Sandbox::new();
    let script =
        [&b"set long \""[..], &vec![b'v'; 70 << 20], b"\"\nset after 1\nappend long \"\"\n"].concat();
    sandbox.script(script).expect(&format!("OK\nOK\n{}\n", 70 << 20), 0).quiet();
}

#[test]
fn random_bytes_as_a_script_are_errors_and_nothing_else() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let mut noise: Vec<u8> = (0..200_000).map(|_| byte()).collect();
    noise.retain(|byte| !matches!(byte, b'"' | b'\''));
    noise.extend_from_slice(b"\nset after \"the noise\"\nget after\n");
    let sandbox = Sandbox::new();
    let ran = sandbox.script(noise);
    ran.expect("OK\n\"the noise\"\n", 2).complains("errors, the first at stdin:1");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!ran.err.contains(control), "control bytes of the script reached the terminal");
}

#[test]
fn odd_line_ends_and_marks_are_fine() {
    let sandbox = Sandbox::new();
    sandbox.script("\u{feff}# it's \"odd\r\nset a 1\r\n\r\n   # x\nget a").expect("OK\n\"1\"\n", 0).quiet();
    sandbox.script("").expect("", 0).quiet();
    sandbox.script("exit\nset a 2\n").expect("", 0).quiet();
    sandbox.script("get a\n").expect("\"1\"\n", 0);
    sandbox.script("get \0\n").expect("", 2);
}

#[test]
fn output_that_fails_ends_the_script_but_keeps_what_was_committed() {
    let sandbox = Sandbox::new();
    sandbox.write("script.kv", "set a 1\nset b 2\n");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let input = fs::File::open(sandbox.file("script.kv")).unwrap();
    let ran: Ran = sandbox.command(&[]).stdin(input).stdout(full).output().unwrap().into();
    ran.expect("", 5).complains("cannot write to standard output: No space left");
    sandbox.run(&["count"]).expect("2\n", 0);
}

#[test]
fn a_reader_that_leaves_ends_the_script_with_141() {
    let sandbox = Sandbox::new();
    let sets: String = (0..20_000).map(|number| format!("set {number:08} {}\n", "v".repeat(20))).collect();
    assert_eq!(sandbox.script(sets).code, Some(0));
    let mut child = sandbox.command(&["scan"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "\"00000000\" \"vvvvvvvvvvvvvvvvvvvv\"\n");
    let ran: Ran = child.wait_with_output().unwrap().into();
    ran.expect("", 141).quiet();
}

#[test]
fn a_signal_ends_a_waiting_script_with_its_code_and_keeps_what_was_acknowledged() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let sandbox = Sandbox::new();
        let mut child = sandbox.spawn(&[]);
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        writeln!(stdin, "set a 1").unwrap();
        let mut reply = String::new();
        stdout.read_line(&mut reply).unwrap();
        let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{signal}");
        drop(stdin);
        sandbox.run(&["get", "a"]).expect("\"1\"\n", 0);
    }
}

#[test]
fn a_dump_comes_back_byte_for_byte() {
    let sandbox = Sandbox::new();
    for (number, value) in
        [&b""[..], b"\x00\xff\xfe", b"two\nlines \"quoted\" \\ '", "é\u{202e}漢".as_bytes()]
            .iter()
            .enumerate()
    {
        sandbox.feed(&["set", &format!("k{number}"), "-"], value.to_vec()).expect("OK\n", 0);
    }
    sandbox.script("set x\"00ff\" 1\nset \"\" empty\n").expect("OK\nOK\n", 0);
    let dump = sandbox.run(&[".dump"]);
    sandbox.write("dump.kv", &dump.out);
    sandbox.run(&["--db", "loaded", ".load", "dump.kv"]).expect("6\n", 0);
    assert_eq!(sandbox.run(&["--db", "loaded", "dump"]).out, dump.out);
    let replayed = sandbox.feed(&["--db", "replayed"], dump.out.clone());
    replayed.expect(&"OK\n".repeat(6), 0).quiet();
    assert_eq!(sandbox.run(&["--db", "replayed", "dump"]).out, dump.out);
    let script = sandbox.run(&["--mode", "script", "scan"]);
    let records: Vec<_> = dump.text().lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(script.text().lines().collect::<Vec<_>>(), records);
}

#[test]
fn a_dump_that_was_cut_or_altered_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.script("set a 1\nset b 2\nset c 3\n").expect("OK\nOK\nOK\n", 0);
    let dump = sandbox.run(&[".dump"]).text().to_owned();
    let without_trailer = &dump[..dump.rfind('#').unwrap()];
    for (altered, line) in [
        (without_trailer.to_owned(), 5),
        (dump[..dump.len() / 2].to_owned(), 4),
        (dump.replace("\"2\"", "\"4\""), 5),
        (dump.replace("set \"b\" \"2\"\n", ""), 4),
        (format!("{dump}set d 4\n"), 6),
    ] {
        sandbox.write("bad.kv", altered);
        let ran = sandbox.run(&["--db", "target", ".load", "bad.kv"]);
        ran.expect("", 4).complains(&format!("bad.kv:{line}: the dump was cut or altered"));
        assert!(!sandbox.file("target").exists());
    }
    sandbox.write("bad.kv", "set a 1\n");
    sandbox.run(&[".load", "bad.kv"]).expect("", 2).complains("is not a dump").complains(".read bad.kv");
    sandbox.script("begin\n.load bad.kv\nrollback\n").expect("OK\nOK\n", 2).complains("inside a transaction");
}

#[test]
fn a_value_with_a_kvdb_mode_changes_in_the_script() {
    let script =
        "set k \"v w\"\n.mode json\nget k\n.mode raw\nget k\n.mode\n.mode script\nget k missing\n.mode xml\n";
    let ran = Sandbox::new().script(script);
    let expected = "OK\n{\"ok\":true}\n{\"key\":\"k\",\"value\":\"v w\"}\nOK\nv w\nraw\n# OK\nset \"k\" \"v w\"\n# \"missing\" is not there\n";
    ran.expect(expected, 2).complains("xml");
}

#[test]
fn results_go_to_a_file_and_back() {
    let sandbox = Sandbox::new();
    sandbox.write("all", "old");
    let ran = sandbox.script(
        "set a 1\n.output all\nset b 2\nscan\nnope\n.output\ncount\n.once keys\nkeys\n.once set\nset c 3\nget c\n",
    );
    ran.expect("OK\nOK\nOK\n2\nOK\nOK\n\"3\"\n", 2).complains("stdin:5:1");
    let text = |name: &str| std::fs::read_to_string(sandbox.file(name)).unwrap();
    assert_eq!(text("all"), "OK\n\"a\" \"1\"\n\"b\" \"2\"\n");
    assert_eq!([text("keys"), text("set")], ["\"a\"\n\"b\"\n", "OK\n"]);
}

#[test]
fn a_file_for_results_that_can_not_be_written_is_named() {
    let sandbox = Sandbox::new();
    let ran = sandbox.script(".output no/such\nset a 1\n.output /dev/full\nscan\ncount\n.output -\nget a\n");
    ran.expect("OK\nOK\n1\nOK\n\"1\"\n", 5);
    ran.complains("cannot create no/such: ").complains("cannot write /dev/full: ").complains("stdin:4");
    let ran = sandbox.script(".once /dev/full\nscan\nget a\n");
    ran.expect("OK\n\"1\"\n", 5).complains("cannot write /dev/full: ").complains("stdin:2");
    let ran = sandbox.script(".output /dev/full\nset a 2\nget a\n");
    // Commands that share a commit share its answers.
    ran.expect("OK\n", 5).complains("cannot write /dev/full: ").complains("stdin:2");
}

#[test]
fn errors_of_nested_scripts_are_summed_up_once() {
    let sandbox = Sandbox::new();
    sandbox.write("inner.kv", "set a 1\noops\n");
    sandbox.write("outer.kv", ".bail off\n.read inner.kv\n.read inner.kv\n");
    let summaries = |ran: &Ran| ran.err.lines().filter(|line| line.starts_with("kvdb: ")).count();
    let ran = sandbox.script("set z 0\n.read inner.kv\n");
    ran.expect("OK\nOK\n", 2).complains("kvdb: 1 error, the first at inner.kv:2\n");
    assert_eq!(summaries(&ran), 1);
    let ran = sandbox.run(&["read", "outer.kv"]);
    ran.expect("OK\nOK\nOK\n", 2).complains("kvdb: 2 errors, the first at inner.kv:2\n");
    assert_eq!(summaries(&ran), 1);
}

#[test]
fn only_what_stores_something_new_creates_a_database() {
    for line in [
        "delete x",
        "delete --prefix x",
        "set a b --xx",
        "set a b --if-value q",
        "rename a b",
        "expire a 1s",
        "persist a",
        "ttl a",
        ".compact",
    ] {
        let sandbox = Sandbox::new();
        sandbox.run(&["-c", line]).expect("", 3).complains("no database at");
        sandbox.script(line).expect("", 3).complains("no database at");
        assert!(!sandbox.file(".kvdb").exists(), "{line}");
    }
    for line in ["set a b", "set a b --nx", "incr a", "append a b"] {
        let sandbox = Sandbox::new();
        assert_eq!(sandbox.run(&["-c", line]).code, Some(0), "{line}");
    }
}

#[test]
fn a_transaction_creates_a_database_when_it_commits_something() {
    let sandbox = Sandbox::new();
    sandbox.script("begin\nget a\ncount\nscan\ncommit\n").expect("OK\nnull\n0\nOK\n", 0).quiet();
    sandbox.script("begin\nset a 1\nrollback\n").expect("OK\nOK\nOK\n", 0).quiet();
    assert!(!sandbox.file(".kvdb").exists());
    let script = "begin\nset a 1 --ttl 1h\nincr a\nscan\ndelete a\nset b 2\ncommit\nkeys\n";
    sandbox.script(script).expect("OK\nOK\n2\n\"a\" \"2\"\n1\nOK\nOK\n\"b\"\n", 0).quiet();
    // Somebody else was first.
    let sandbox = Sandbox::new();
    let mut child = sandbox.spawn(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut replies = String::new();
    writeln!(stdin, "begin\nset a mine").unwrap();
    stdout.read_line(&mut replies).unwrap();
    stdout.read_line(&mut replies).unwrap();
    sandbox.run(&["set", "a", "theirs"]).expect("OK\n", 0);
    writeln!(stdin, "commit").unwrap();
    drop(stdin);
    let ran: Ran = child.wait_with_output().unwrap().into();
    ran.expect("", 1).complains("conflict");
    sandbox.run(&["get", "a"]).expect("\"theirs\"\n", 0);
}

#[test]
fn keys_like_a_pattern_are_found_in_order_and_up_to_a_limit() {
    let sandbox = Sandbox::new();
    let records: String = (0..2_000).map(|number| format!("set user:{number:04}:x {number}\n")).collect();
    assert_eq!(sandbox.script(records + "set other 1\nset user:é:x 2\n").code, Some(0));
    let script = "\
count --glob user:*:x
count --glob *
keys --glob user:?:x
keys user:00 --glob *9:x --limit 2
scan --glob user:19?[02468]:x --from user:1996 --reverse
count --glob user:[
begin
delete user:0009:x
set user:zz9:x 1
keys --glob user:*9:x --reverse --limit 1
count user:000 --glob *9*
rollback
";
    let expected = "2001\n2002\n\"user:é:x\"\n\"user:0009:x\"\n\"user:0019:x\"\n\
                    \"user:1998:x\" \"1998\"\n\"user:1996:x\" \"1996\"\n\
                    OK\n1\nOK\n\"user:zz9:x\"\n0\nOK\n";
    sandbox.script(script).expect(expected, 2).complains("a [ that is never closed");
}
