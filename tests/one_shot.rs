//! `kvdb VERB ARGS`: answers, exit codes, argument bytes, settings.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Ran, Sandbox};

#[test]
fn the_four_usage_lines() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "name", "Jaya Krishna"]).expect("OK\n", 0).quiet();
    sandbox.run(&["get", "name"]).expect("\"Jaya Krishna\"\n", 0).quiet();
    sandbox.run(&["delete", "name"]).expect("1\n", 0).quiet();
    sandbox.run(&["get", "name"]).expect("null\n", 1).quiet();
}

#[test]
fn a_read_creates_nothing_and_says_where_it_looked() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["--db", "nowhere", "get", "a"]);
    ran.expect("", 3).complains("/nowhere\n").complains("a write creates it");
    assert!(!sandbox.file("nowhere").exists());
    sandbox.run(&["--readonly", "set", "a", "1"]).expect("", 3).complains("read-only");
    assert!(!sandbox.file(".kvdb").exists());
}

#[test]
fn negative_answers_are_exit_code_1() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    sandbox.run(&["exists", "a"]).expect("true\n", 0);
    sandbox.run(&["exists", "a", "b"]).expect("true\nfalse\n", 1);
    sandbox.run(&["get", "a", "b"]).expect("\"1\"\nnull\n", 1);
    sandbox.run(&["-c", "get b"]).expect("null\n", 1);
    sandbox.run(&["delete", "b"]).expect("0\n", 0);
}

#[test]
fn usage_errors_are_exit_code_2_and_point_at_the_argument() {
    let sandbox = Sandbox::new();
    sandbox.run(&["gte", "a"]).expect("", 2).complains("did you mean \"get\"?");
    sandbox.run(&["set", "a"]).expect("", 2).complains("VALUE");
    sandbox.run(&["set", "name", "Jaya", "Krishna"]).expect("", 2).complains("unexpected argument");
    sandbox.run(&["--jsn", "get", "a"]).expect("", 2).complains("--json");
    sandbox.run(&["-c", "get a", "get", "a"]).expect("", 2);
    sandbox.run(&["set", "n", "x"]).expect("OK\n", 0);
    sandbox.run(&["incr", "n"]).expect("", 2).complains("not a decimal 64-bit integer");
    sandbox.run(&["set", &"k".repeat(65_536), "v"]).expect("", 2).complains("65535");
    assert!(!sandbox.file("--jsn").exists());
}

#[test]
fn options_of_the_program_behind_the_verb_are_shown_their_place() {
    let sandbox = Sandbox::new();
    let help = "options of kvdb stand before the command: kvdb --json get …";
    sandbox.run(&["get", "a", "--json"]).expect("", 2).complains(help);
    let help = "options of kvdb stand before the command: kvdb --db DIR scan …";
    sandbox.run(&["scan", "--db=x"]).expect("", 2).complains(help);
    sandbox.run(&["scan", "--limt", "1"]).expect("", 2).complains("did you mean \"--limit\"?");
    sandbox.run(&["-c", "get a --json"]).expect("", 2).complains("put it in quotes");
    sandbox.run(&["--lock-timeout", "-1", "get", "a"]).expect("", 2).complains("seconds from 0 to 86400");
}

#[test]
fn a_file_that_cannot_be_used_is_exit_code_5_and_named_as_it_was_given() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    let no_name = "n".repeat(300);
    for args in [&["set", "f", "--value-file", "absent"][..], &[".load", "absent"], &[".read", "absent"]] {
        sandbox.run(args).expect("", 5).complains("cannot open absent: ");
    }
    sandbox.run(&[".dump", "no/dump"]).expect("", 5).complains("cannot create no/dump: ");
    sandbox.run(&[".dump", &no_name]).expect("", 5).complains(&format!("cannot create {no_name}: "));
    // Nobody may create files there, root included.
    sandbox.run(&[".dump", "/proc/dump"]).expect("", 5).complains("cannot create /proc/dump: ");
    sandbox.run(&[".load", "/proc/self/mem"]).expect("", 5);
}

#[test]
fn output_that_cannot_be_written_is_exit_code_5() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    for args in [&["get", "a"][..], &["set", "b", "2"], &[".dump"], &["help"], &["--help"], &["scan"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran: Ran = sandbox.command(args).stdout(full).output().unwrap().into();
        ran.expect("", 5).complains("cannot write to standard output");
    }
}

#[test]
fn a_closed_pipe_ends_quietly_with_141() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    for args in [&["get", "a"][..], &["--help"], &["scan"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran: Ran = sandbox.command(args).stdout(writer).output().unwrap().into();
        ran.expect("", 141).quiet();
    }
}

#[test]
fn arguments_are_bytes_and_never_parsed_again() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "--", "--k", "-- \"quoted\" 'twice' \\n"]).expect("OK\n", 0);
    sandbox.run(&["get", "--", "--k"]).expect("\"-- \\\"quoted\\\" 'twice' \\\\n\"\n", 0);
    sandbox.run(&["set", "number", "-5"]).expect("OK\n", 0);
    sandbox.run(&["incr", "number", "-3"]).expect("-8\n", 0);
    let bytes = OsStr::from_bytes(b"\xff\xfe \n");
    let set: Ran = sandbox.command(&["set", "bytes"]).arg(bytes).output().unwrap().into();
    set.expect("OK\n", 0);
    sandbox.run(&["get", "bytes"]).expect("\"\\xff\\xfe \\n\"\n", 0);
    assert_eq!(sandbox.run(&["--raw", "get", "bytes"]).out, b"\xff\xfe \n");
}

#[test]
fn a_value_can_come_from_standard_input_or_a_file() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..=255).collect();
    sandbox.feed(&["set", "k", "-"], bytes.clone()).expect("OK\n", 0);
    assert_eq!(sandbox.run(&["--raw", "get", "k"]).out, bytes);
    sandbox.write("value", b"from a file\n");
    sandbox.run(&["set", "f", "--value-file", "value"]).expect("OK\n", 0);
    assert_eq!(sandbox.run(&["--raw", "get", "f"]).out, b"from a file\n");
    sandbox.run(&["set", "f", "--value-file", "absent"]).expect("", 5).complains("cannot open absent");
    sandbox.run(&["set", "--", "k", "-"]).expect("OK\n", 0);
    sandbox.run(&["get", "k"]).expect("\"-\"\n", 0);
}

#[test]
fn a_value_of_70_mib_goes_in_and_out() {
    let sandbox = Sandbox::new();
    let value = vec![b'v'; 70 << 20];
    sandbox.feed(&["set", "k", "-"], value.clone()).expect("OK\n", 0);
    assert!(sandbox.run(&["--raw", "get", "k"]).out == value);
}

#[test]
fn every_mode_prints_what_it_says() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "k", "a \"b\""]).expect("OK\n", 0);
    let get = |mode| sandbox.run(&["--mode", mode, "get", "k"]);
    get("quoted").expect("\"a \\\"b\\\"\"\n", 0);
    get("raw").expect("a \"b\"", 0);
    get("json").expect("{\"key\":\"k\",\"value\":\"a \\\"b\\\"\"}\n", 0);
    get("script").expect("set \"k\" \"a \\\"b\\\"\"\n", 0);
    get("table").expect("key  value\n---  ---------\n\"k\"  \"a \\\"b\\\"\"\n", 0);
    sandbox.run(&["--raw", "get", "k", "absent", "k"]).expect("a \"b\"\na \"b\"", 1);
    sandbox.run(&["--raw", "scan"]).expect("k\ta \"b\"", 0);
    sandbox.run(&["--json", "scan"]).expect("[{\"key\":\"k\",\"value\":\"a \\\"b\\\"\"}]\n", 0);
    sandbox.run(&["--mode", "jsonl", "keys"]).expect("{\"key\":\"k\"}\n", 0);
    let ran = sandbox.run(&["--json", "gte"]);
    let error: serde_json::Value = serde_json::from_str(ran.expect("", 2).err.trim_end()).unwrap();
    assert_eq!(error["help"], "did you mean \"get\"?");
}

#[test]
fn a_meta_command_needs_no_dot() {
    let sandbox = Sandbox::new();
    sandbox.run(&["version"]).expect(&format!("kvdb {}\n", env!("CARGO_PKG_VERSION")), 0);
    assert_eq!(sandbox.run(&[".version"]), sandbox.run(&["version"]));
    sandbox.run(&["-V"]).expect(&format!("kvdb {}\n", env!("CARGO_PKG_VERSION")), 0);
    let help = sandbox.run(&["--help"]);
    assert!(help.text().starts_with("Examples:\n  kvdb set name \"Jaya Krishna\""), "{}", help.text());
    assert!(sandbox.run(&["help"]).text().contains("set KEY VALUE"));
}

#[test]
fn settings_come_from_files_environment_and_flags_in_this_order() {
    let sandbox = Sandbox::new();
    let origin_of_mode = |args: &[&str], mode: Option<&str>| {
        let mut command = sandbox.command(args);
        mode.map(|mode| command.env("KVDB_MODE", mode));
        let ran: Ran = command.arg(".show").output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let line = ran.text().lines().find(|line| line.contains("mode ")).unwrap().to_owned();
        line.split_whitespace().filter(|word| *word != "#").skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(origin_of_mode(&[], None), "quoted (default)");
    let user = sandbox.write("config/kvdb/config.toml", "mode = \"table\"\n");
    assert_eq!(origin_of_mode(&[], None), format!("table ({}:1)", user.display()));
    sandbox.write(".kvdb/config.toml", "\nmode = \"raw\"\n");
    assert_eq!(origin_of_mode(&[], None), "raw (.kvdb/config.toml:2)");
    assert_eq!(origin_of_mode(&[], Some("script")), "script (KVDB_MODE)");
    assert_eq!(origin_of_mode(&["--mode", "quoted"], Some("script")), "quoted (--mode)");
    assert_eq!(origin_of_mode(&["--no-config"], None), "quoted (default)");
}

#[test]
fn a_setting_with_a_typo_is_an_error_with_its_place() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("config/kvdb/config.toml", "# mine\nsnyc = \"each\"\n");
    let ran = sandbox.run(&["show"]);
    ran.expect("", 2).complains(&format!("{}:2: unknown setting \"snyc\"", path.display()));
    ran.complains("did you mean \"sync\"?");
    sandbox.write("config/kvdb/config.toml", "sync = \"weekly\"\n");
    sandbox.run(&["show"]).expect("", 2).complains("allowed: each, group, none");
    // What only tells about kvdb is told all the same.
    for verb in ["version", "help", "man"] {
        assert_eq!(sandbox.run(&[verb]).code, Some(0), "{verb}");
    }
    sandbox
        .run(&["--no-config", "--sync", "x", "version"])
        .expect("", 2)
        .complains("invalid value \"x\" for --sync");
    let ran: Ran =
        sandbox.command(&["--no-config", "version"]).env("KVDB_TIMER", "maybe").output().unwrap().into();
    ran.expect("", 2).complains("KVDB_TIMER");
}

#[test]
fn kvdb_dir_names_the_database_and_db_beats_it() {
    let sandbox = Sandbox::new();
    let set: Ran = sandbox.command(&["set", "a", "env"]).env("KVDB_DIR", "one").output().unwrap().into();
    set.expect("OK\n", 0);
    let args = ["--db", "two", "set", "a", "flag"];
    let set: Ran = sandbox.command(&args).env("KVDB_DIR", "one").output().unwrap().into();
    set.expect("OK\n", 0);
    sandbox.run(&["--db", "one", "get", "a"]).expect("\"env\"\n", 0);
    sandbox.run(&["--db", "two", "get", "a"]).expect("\"flag\"\n", 0);
}

#[test]
fn a_directory_that_is_no_database_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("stuff/letter.txt", "dear");
    sandbox.run(&["--db", "stuff", "get", "a"]).expect("", 3);
    sandbox.run(&["--db", "stuff", "set", "a", "1"]).expect("", 3);
    assert_eq!(fs::read_dir(sandbox.file("stuff")).unwrap().count(), 1);
    sandbox.write("plain", "file");
    assert_ne!(sandbox.run(&["--db", "plain", "set", "a", "1"]).code, Some(0));
}

#[test]
fn colour_follows_the_setting() {
    let sandbox = Sandbox::new();
    assert!(!sandbox.run(&["gte"]).err.contains('\x1b'));
    assert!(sandbox.run(&["--color", "always", "gte"]).err.contains('\x1b'));
    let coloured = |color: &str, variables: &[(&str, &str)]| {
        let mut command = sandbox.command(&["--color", color, "gte"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        output.stderr.contains(&b'\x1b')
    };
    assert!(coloured("auto", &[("CLICOLOR_FORCE", "1")]));
    assert!(coloured("auto", &[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")]));
    assert!(!coloured("auto", &[("CLICOLOR_FORCE", "0")]));
    assert!(!coloured("auto", &[("CLICOLOR_FORCE", "")]));
    assert!(!coloured("auto", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(coloured("auto", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")]));
    assert!(!coloured("never", &[("CLICOLOR_FORCE", "1")]));
    assert!(coloured("always", &[("NO_COLOR", "1"), ("CLICOLOR", "0")]));
}

#[test]
fn a_dump_in_a_file_is_whole_or_not_there() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    sandbox.run(&[".dump", "out.kv"]).expect("1\n", 0);
    let dump = fs::read_to_string(sandbox.file("out.kv")).unwrap();
    assert!(dump.starts_with("# kvdb dump 1\nset \"a\" \"1\"\n# end of dump: 1 records, crc32 "), "{dump}");
    sandbox.run(&[".dump", "no/such/dir/out.kv"]).expect("", 5).complains("no/such/dir");
    sandbox.run(&["--db", "copy", ".load", "out.kv"]).expect("1\n", 0);
    sandbox.run(&["--db", "copy", "get", "a"]).expect("\"1\"\n", 0);
    let input = File::open(sandbox.file("out.kv")).unwrap();
    let ran: Ran = sandbox.command(&["--db", "third", ".load", "-"]).stdin(input).output().unwrap().into();
    ran.expect("1\n", 0);
}

#[test]
fn a_database_without_write_permission_can_be_read() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    let runs_as_root =
        fs::metadata("/proc/self").map(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0);
    if runs_as_root.unwrap_or(true) {
        sandbox.run(&["--readonly", "get", "a"]).expect("\"1\"\n", 0);
        sandbox.run(&["--readonly", "set", "a", "2"]).expect("", 3).complains("read-only");
        return;
    }
    let dir = sandbox.file(".kvdb");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).unwrap();
    for file in fs::read_dir(&dir).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o400)).unwrap();
    }
    sandbox.run(&["get", "a"]).expect("\"1\"\n", 0);
    sandbox.run(&["set", "a", "2"]).expect("", 3).complains("read-only");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn standard_input_is_not_touched_by_a_command_that_does_not_want_it() {
    let sandbox = Sandbox::new();
    let ran: Ran = sandbox.command(&["set", "a", "1"]).stdin(Stdio::piped()).output().unwrap().into();
    ran.expect("OK\n", 0);
}

#[test]
fn a_database_that_may_not_be_entered_is_told_and_not_its_settings() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    if rustix::process::geteuid().is_root() {
        return;
    }
    let dir = sandbox.file(".kvdb");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = sandbox.run(&["get", "a"]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    ran.expect("", 3).complains("cannot open .kvdb/MANIFEST: Permission denied");
}

#[test]
fn a_received_database_runs_nothing_and_leaves_the_history_alone() {
    for line in ["pager = \"id > PWNED\"", "history_size = 1", "history_ignore = \"\"", "history = true"] {
        let sandbox = Sandbox::new();
        sandbox.write(".kvdb/config.toml", line);
        sandbox
            .run(&["get", "a"])
            .expect("", 2)
            .complains(".kvdb/config.toml:1: a database's own file can't ");
        sandbox.write("config/kvdb/config.toml", line);
        sandbox.write(".kvdb/config.toml", "pager = \"off\"\nhistory = \"off\"\n");
        sandbox.run(&["-c", ".pager"]).expect("off\n", 0);
    }
}

#[test]
fn what_was_meant_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.run(&["get a"]).expect("", 2).complains("kvdb get a\n");
    sandbox.run(&["set", "a", "1", "EX", "10"]).expect("", 2).complains("kvdb set a 1 --ttl 10s\n");
    sandbox.run(&["-c", "set a 1 px 500"]).expect("", 2).complains("= help: set a 1 --ttl 500ms\n");
    sandbox.run(&["-c", "set a 1 NX"]).expect("", 2).complains("= help: set a 1 --nx\n");
    sandbox.run(&["-c", "set a one two ex 10"]).expect("", 2).complains("set a \"one two ex 10\"");
    sandbox.run(&["-c", "get\u{a0}a"]).expect("", 2).complains("not a part of any command's name");
    sandbox.run(&["-c", ".history -1"]).expect("", 2).complains("\"-1\" is not a whole number");
    sandbox.run(&["prefixes", "--separator", ""]).expect("", 2).complains("empty separator");
    sandbox.write("o.csv", "key,value\n");
    sandbox.run(&["load", "o.csv"]).expect("", 2).complains(".import o.csv");
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    sandbox.run(&["expire", "a", "9999999d"]).expect("", 2).complains("persist KEY");
    std::fs::create_dir(sandbox.file("home")).unwrap();
    sandbox.run(&["--db", "home/.kvdb", "set", "a", "1"]).expect("OK\n", 0);
    sandbox.run(&["--db", "home", "get", "a"]).expect("", 3).complains("--db home/.kvdb");
}

#[test]
fn a_missing_parent_directory_is_said() {
    let sandbox = Sandbox::new();
    for args in [["--db", "de/ep/x", "set"].as_slice(), &["backup"]] {
        sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
        let last: &[&str] = if args.len() == 1 { &["de/ep/x"] } else { &["a", "1"] };
        let ran = sandbox.run(&[args, last].concat());
        ran.expect("", 3).complains("cannot create de/ep/x: its parent directory does not exist");
        ran.complains("mkdir -p de/ep\n");
    }
}

#[test]
fn settings_have_their_sources_in_every_mode() {
    let sandbox = Sandbox::new();
    let first = |mode: &str| {
        let ran = sandbox.run(&["--db", "a b", "--mode", mode, "show"]);
        ran.text().lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(first("csv"), ["name,value,source", "db,a b,--db"]);
    assert_eq!(first("tsv"), ["name\tvalue\tsource", "db\ta b\t--db"]);
    let json: serde_json::Value = serde_json::from_str(&first("json")[0]).unwrap();
    assert_eq!((&json["db"], &json["sources"]["db"]), (&"a b".into(), &"--db".into()));
    assert_eq!(json["history_size"], 10_000);
    assert!(first("quoted")[0].ends_with("(--db)"));
    sandbox.run(&["--json", "history"]).expect("[]\n", 0);
}

#[test]
fn a_dash_is_a_stream() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    let dump = sandbox.run(&["dump", "-"]);
    assert!(dump.text().contains("set \"a\" \"1\"\n"), "{}", dump.text());
    sandbox.feed(&["--db", "other", "load", "-"], dump.out).expect("1\n", 0);
    sandbox
        .feed(&["read", "-"], "get a\nset b 2\noops\nget b\n")
        .expect("\"1\"\nOK\n", 2)
        .complains("stdin:3:1");
    sandbox.script(".output -\ncount\n.once -\ncount\n").expect("OK\n2\nOK\n2\n", 0);
    assert!(!sandbox.file("-").exists());
}

#[test]
fn a_single_command_does_not_empty_a_file_for_results_that_never_come() {
    let sandbox = Sandbox::new();
    sandbox.write("report", "kept");
    for verb in ["output", "once"] {
        sandbox.run(&[verb, "report"]).expect("", 2).complains("kvdb COMMAND > FILE");
    }
    assert_eq!(fs::read(sandbox.file("report")).unwrap(), b"kept");
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_no_signal() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", &"v".repeat(20_000)]).expect("OK\n", 0);
    let kvdb = env!("CARGO_BIN_EXE_kvdb");
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -f 1; exec {kvdb} dump copy.kv")]);
    limited.current_dir(sandbox.path()).env_clear().envs(sandbox.environment());
    let ran: Ran = limited.output().unwrap().into();
    ran.expect("", 5).complains("cannot write copy.kv: File too large");
    assert!(!sandbox.file("copy.kv").exists());
}

#[test]
fn a_file_is_no_database() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.file("notes.txt"), "x").unwrap();
    sandbox
        .run(&["--db", "notes.txt", "get", "a"])
        .expect("", 3)
        .complains("is not a kvdb database: it is a file");
    sandbox.run(&["--db", "no/where", "set", "a", "1"]).expect("", 3).complains("does not exist");
}

#[test]
fn records_for_programs_in_every_mode() {
    let sandbox = Sandbox::new();
    sandbox.script("set a 'x, y'\nset b x\"ff\"\nset c ''").expect("OK\nOK\nOK\n", 0);
    let csv = "key,value,value_b64\na,\"x, y\",\nb,,/w==\nc,\"\",\n";
    sandbox.run(&["--mode", "csv", "scan"]).expect(csv, 0);
    sandbox.run(&["--mode", "csv", "keys", "a"]).expect("key\na\n", 0);
    sandbox.run(&["--mode", "csv", "get", "a", "z"]).expect("key,value\na,\"x, y\"\nz,\n", 1);
    sandbox.run(&["--mode", "tsv", "scan"]).expect("key\tvalue\na\tx, y\nb\t\\xff\nc\t\n", 0);
    for flag in ["-0", "--null"] {
        sandbox.run(&[flag, "keys"]).expect("a\0b\0c\0", 0);
        assert_eq!(sandbox.run(&[flag, "get", "b", "z"]).out, b"\xff\0");
    }
}

/// The errors of a run, each as a JSON object.
fn json_errors(ran: &Ran) -> Vec<serde_json::Value> {
    ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn with_json_every_error_is_an_object_a_line() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "x"]).expect("OK\n", 0);
    let cases: [(&[&str], &str, i32); 8] = [
        (&["--json", "gte", "a"], "invalid", 2),
        (&["--json", "incr", "a"], "invalid", 2),
        (&["--json", "--nosuch", "get", "a"], "invalid", 2),
        (&["--mode", "jsonl", "--sync", "weekly", "get", "a"], "invalid", 2),
        (&["--json", "--db", "absent", "get", "a"], "unavailable", 3),
        (&["--json", "--readonly", "set", "a", "1"], "unavailable", 3),
        (&["--json", ".load", "absent"], "io", 5),
        (&["--json", "-c", "get"], "invalid", 2),
    ];
    for (args, kind, exit) in cases {
        let ran = sandbox.run(args);
        let errors = json_errors(&ran);
        assert_eq!((errors.len(), ran.code), (1, Some(exit)), "{args:?}: {}", ran.err);
        assert_eq!((errors[0]["kind"].as_str(), errors[0]["exit"].as_i64()), (Some(kind), Some(exit.into())));
        assert!(errors[0]["error"].is_string());
    }
    let script = json_errors(&sandbox.feed(&["--json"], "get a\nnope\n.read absent\n"));
    assert_eq!((&script[0]["line"], &script[0]["file"]), (&2.into(), &"stdin".into()));
    assert_eq!((&script[1]["line"], &script[1]["path"]), (&3.into(), &"absent".into()));
    assert!(script[2]["notice"].is_string());
}

#[test]
fn damage_and_a_lock_are_json_with_their_place() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "x"]).expect("OK\n", 0);
    let dir = sandbox.file(".kvdb");
    let manifest = dir.join("MANIFEST");
    let whole = fs::read(&manifest).unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    fs::write(&manifest, damaged).unwrap();
    let ran = sandbox.run(&["--json", "get", "a"]);
    let error = &json_errors(&ran)[0];
    assert_eq!((error["kind"].as_str(), ran.code), (Some("corruption"), Some(4)), "{}", ran.err);
    assert!(error["path"].as_str().unwrap().ends_with("MANIFEST") && error["offset"].is_u64());
    fs::write(&manifest, whole).unwrap();
    let lock = File::open(dir.join("LOCK")).unwrap();
    lock.lock().unwrap();
    let ran = sandbox.run(&["--json", "--lock-timeout", "0.05", "set", "a", "y"]);
    assert_eq!((json_errors(&ran)[0]["kind"].as_str(), ran.code), (Some("busy"), Some(3)), "{}", ran.err);
}

#[test]
fn completion_scripts_know_commands_options_words_and_files() {
    let sandbox = Sandbox::new();
    let script = sandbox.run(&["completions", "bash"]);
    script.quiet();
    sandbox.write("kvdb.bash", &script.out);
    sandbox.write("backup.kv", "");
    let complete = |words: &str| {
        let count = words.split(' ').count();
        let text = format!(
            ". ./kvdb.bash; COMP_WORDS=({words}); [[ '{words}' == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD={}; _kvdb; \
             echo \"${{COMPREPLY[@]}}\"",
            count - 1
        );
        let ran = Command::new("bash").args(["-c", &text]).current_dir(sandbox.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{words}");
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(complete("kvdb sc"), "scan");
    assert_eq!(complete("kvdb --db d sca"), "scan");
    assert_eq!(complete("kvdb --mode js"), "json jsonl");
    assert_eq!(complete("kvdb scan --re"), "--reverse");
    assert_eq!(complete("kvdb load ba"), "backup.kv");
    assert_eq!(complete("kvdb set k --value-file ba"), "backup.kv");
    assert_eq!(complete("kvdb timer "), "on off");
    assert_eq!(complete("kvdb help rollb"), "rollback");
    assert_eq!(complete("kvdb get k"), "");
    for (shell, parts) in [
        ("zsh", ["#compdef kvdb", "'scan:list keys and values'", "--reverse["]),
        ("fish", ["-a scan -d 'list keys and values'", "-l reverse", "__fish_complete_directories"]),
    ] {
        let ran = sandbox.run(&["completions", shell]);
        for part in parts {
            assert!(ran.text().contains(part), "{shell}: {part}");
        }
    }
    sandbox.run(&["completions", "tcsh"]).expect("", 2).complains("expected bash, zsh or fish");
}

#[test]
fn the_manual_page_is_plain_roff_about_every_command() {
    let page = Sandbox::new().run(&["man"]);
    page.quiet();
    for spec in kvdb::shell::table::specs() {
        let name = spec.name.replace('-', "\\-");
        assert!(
            page.text().contains(&format!("\\fB{name}")) || page.text().contains(&format!("\\fB\\&{name}")),
            "{name}"
        );
    }
    let requests = [".TH", ".SH", ".SS", ".TP", ".IP", ".RS", ".RE", ".br", ".nf", ".fi", ".I"];
    for line in page.text().lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(requests.contains(&line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn a_config_file_is_written_once_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let before = sandbox.run(&[".show"]).out;
    let path = sandbox.file("config/kvdb/config.toml");
    sandbox.run(&["config", "init"]).expect(&format!("{}\n", path.display()), 0).quiet();
    assert_eq!(sandbox.run(&[".show"]).out, before);
    std::fs::write(&path, "mode = \"json\"\n").unwrap();
    sandbox.run(&["--mode", "quoted", "config", "init"]).expect("", 5).complains("File exists");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mode = \"json\"\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn help_on_a_command_is_there_where_it_is_looked_for() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(&["help", "get"]);
    assert!(page.text().contains("Exit codes:\n  1  one-shot: a key is missing"));
    assert_eq!(sandbox.run(&["get", "--help"]), page);
    assert_eq!(sandbox.run(&["-c", "get --help"]), page);
    sandbox.run(&["get", "--", "--help"]).complains("no database");
    sandbox.run(&["tutorial"]).expect("", 2).complains("needs a prompt");
}

#[test]
fn another_database_is_opened_from_a_script() {
    let sandbox = Sandbox::new();
    sandbox.script("set a 1\n.open two\nset a 2\n.open .kvdb\nget a\n").expect("OK\nOK\nOK\nOK\n\"1\"\n", 0);
    sandbox.run(&["--db", "two", "get", "a"]).expect("\"2\"\n", 0);
    sandbox.write("stuff/letter.txt", "dear");
    let ran = sandbox.script("set a 1\n.open stuff\nget a\nbegin\n.open two\nrollback\n");
    ran.expect("OK\n\"1\"\nOK\nOK\n", 3).complains("is not a kvdb database");
    ran.complains(".open can't run inside a transaction");
}

/// Values that lie apart from their keys: to damage them does no harm to who does not ask for them.
#[test]
fn keys_are_listed_and_counted_without_reading_values() {
    let sandbox = Sandbox::new();
    for key in ["a", "b"] {
        let value = key.repeat(100_000);
        sandbox.feed(&["set", key, "-"], value).expect("OK\n", 0);
    }
    sandbox.run(&[".compact"]);
    let mut files = fs::read_dir(sandbox.file(".kvdb")).unwrap().map(|entry| entry.unwrap().path());
    let table = files.find(|path| path.extension() == Some(OsStr::new("sst"))).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let at = bytes.windows(5_000).position(|window| window.iter().all(|&byte| byte == b'b')).unwrap();
    bytes[at + 50_000] ^= 1;
    fs::write(&table, bytes).unwrap();
    sandbox.run(&["get", "b"]).expect("", 4);
    sandbox.run(&["count"]).expect("2\n", 0);
    sandbox.run(&["keys"]).expect("\"a\"\n\"b\"\n", 0);
    sandbox.run(&["--mode", "csv", "scan", "--keys", "--reverse"]).expect("key\nb\na\n", 0);
    sandbox.run(&["--mode", "script", "keys"]).complains("corruption");
    let inside = "begin\nset aa 1\ndelete a\ncount\nkeys --reverse\n.prefixes\nrollback\n";
    let replies = "OK\nOK\n1\n2\n\"b\"\n\"aa\"\nnull 2 100004\nOK\n";
    sandbox.script(inside.to_owned()).expect(replies, 0).quiet();
}

#[test]
fn each_level_is_told_with_its_keys() {
    let sandbox = Sandbox::new();
    sandbox.run(&["levels"]).expect("", 3);
    sandbox.run(&["set", "a b", "1"]).expect("OK\n", 0);
    sandbox.run(&["set", "z", "2"]).expect("OK\n", 0);
    let in_memory = "memtable_keys   2\nmemtable_bytes  6\nruns            0\ntables          0\n";
    sandbox.run(&["levels"]).expect(in_memory, 0).quiet();
    assert_eq!(sandbox.run(&["compact"]).code, Some(0));
    let levels = sandbox.run(&["levels"]);
    assert!(levels.text().ends_with(" first=\"a b\" last=\"z\"\n"), "{}", levels.text());
    let levels = sandbox.run(&["--json", "levels"]).out;
    let levels: serde_json::Value = serde_json::from_slice(&levels).unwrap();
    assert_eq!(
        (&levels["levels"][0]["first_key"], &levels["levels"][0]["entries"]),
        (&serde_json::json!("a b"), &serde_json::json!(2))
    );
}
