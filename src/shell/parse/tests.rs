//! Lines and arguments that make commands, and those that are refused, with the place and the way out.

use proptest::prelude::*;

use super::*;
use crate::shell::command::{Bail, Columns, OutputMode, Selection};
use crate::shell::glob::Glob;
use crate::shell::literal::is_hidden;
use crate::types::{Direction, KeyRange, Lifetime, MAX_VALUE_LEN, SetOptions, Timestamp};

fn parsed(text: &str) -> Command {
    match line(text.as_bytes()) {
        Ok(Some(command)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of a reader")]
fn no_read(source: ValueSource) -> Result<Vec<u8>, Diagnostic> {
    panic!("{source:?} was read")
}

fn args(args: &[&str]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

fn one_shot(list: &[&str]) -> Command {
    argv(&args(list), &mut no_read).unwrap_or_else(|error| panic!("{list:?}: {error:?}"))
}

/// The line is refused at the bytes that read `wrong`, or at its end when that is empty.
#[track_caller]
fn refused(text: &str, message: &str, wrong: &str, label: &str, help: &str) {
    let error = line(text.as_bytes()).unwrap_err();
    check_error(&error, text, message, wrong, label, help);
}

#[track_caller]
fn one_shot_refused(list: &[&str], message: &str, wrong: &str, label: &str, help: &str) {
    let error = argv(&args(list), &mut no_read).unwrap_err();
    let source = String::from_utf8(command_line(&args(list))).unwrap();
    check_error(&error, &source, message, wrong, label, help);
}

#[track_caller]
fn check_error(error: &Diagnostic, source: &str, message: &str, wrong: &str, label: &str, help: &str) {
    let found = (error.message.as_str(), &source[error.span.clone()], error.label.as_str());
    assert_eq!(found, (message, wrong, label), "{source}");
    assert_eq!(error.help.as_deref().unwrap_or_default(), help, "{source}");
}

fn scan(selection: Selection, columns: Columns) -> Command {
    Command::Scan { selection, columns }
}

#[test]
fn records_commands() {
    let set = |key: &str, value: &str| Command::Set {
        key: key.into(),
        value: value.into(),
        options: SetOptions::new(),
    };
    assert_eq!(parsed(r#"set name "Jaya Krishna""#), set("name", "Jaya Krishna"));
    assert_eq!(parsed("SET a -5\n"), set("a", "-5"));
    assert_eq!(parsed("set a -"), set("a", "-"));
    assert_eq!(parsed(r#"set "" """#), set("", ""));
    assert_eq!(parsed("set a null"), set("a", "null"));
    assert_eq!(parsed("set -- --a --b=c"), set("--a", "--b=c"));
    assert_eq!(parsed(r#"set a "--b""#), set("a", "--b"));
    assert_eq!(parsed(r#"set a "--""#), set("a", "--"));
    assert_eq!(parsed("set -- a --"), set("a", "--"));
    assert_eq!(parsed("get a b"), Command::Get { keys: vec!["a".into(), "b".into()], default: None });
    assert_eq!(parsed("exists a"), Command::Exists { keys: vec!["a".into()] });
    for verb in ["delete", "del", "rm", "Rm"] {
        assert_eq!(parsed(&format!("{verb} a")), Command::Delete { keys: vec!["a".into()], dry_run: false });
    }
    assert_eq!(parsed("incr a"), Command::Incr { key: "a".into(), by: 1 });
    assert_eq!(parsed("incr a -9223372036854775808"), Command::Incr { key: "a".into(), by: i64::MIN });
    assert_eq!(parsed("append a b"), Command::Append { key: "a".into(), value: "b".into() });
}

#[test]
fn conditions_and_lifetimes() {
    let set = |options| Command::Set { key: "k".into(), value: "v".into(), options };
    let lasting = |millis| SetOptions::new().ttl(std::time::Duration::from_millis(millis));
    let moment: Timestamp = "2026-11-22T14:05:09.250Z".parse().unwrap();
    for (text, options) in [
        ("set k v --nx", SetOptions::new().if_absent()),
        ("set k --xx v", SetOptions::new().if_present()),
        ("set k v --if-value ''", SetOptions::new().if_value("")),
        ("set k v --ttl 1h30m", lasting(5_400_000)),
        ("set --ttl=1.5s --nx k v", lasting(1_500).if_absent()),
        ("set k v --expires-at 2026-11-22T14:05:09.25Z", SetOptions::new().until(moment)),
    ] {
        assert_eq!(parsed(text), set(options), "{text}");
    }
    let keys = || vec!["a".into(), "b".into()];
    assert_eq!(parsed("get a b --default ''"), Command::Get { keys: keys(), default: Some("".into()) });
    assert_eq!(parsed("ttl a b"), Command::Ttl { keys: keys() });
    assert_eq!(parsed("persist a"), Command::Expire { key: "a".into(), lifetime: Lifetime::Forever });
    let rename = |if_absent| Command::Rename { from: "a".into(), to: "b".into(), if_absent };
    assert_eq!(parsed("rename a b"), rename(false));
    assert_eq!(parsed("rename --nx a b"), rename(true));
    assert_eq!(parsed("delete a b --dry-run"), Command::Delete { keys: keys(), dry_run: true });
    let prefix = |dry_run| Command::DeletePrefix { prefix: "".into(), dry_run };
    assert_eq!(parsed("delete --prefix ''"), prefix(false));
    assert_eq!(parsed("delete --dry-run --prefix ''"), prefix(true));
}

#[test]
fn wrong_conditions_and_lifetimes() {
    for (text, message) in [
        ("set k v --nx --xx", "--nx and --xx exclude each other"),
        ("set k v --if-value a --nx", "--if-value and --nx exclude each other"),
        ("set k v --ttl 1s --expires-at 2026-11-22T14:05:09Z", "--ttl and --expires-at exclude each other"),
        ("set k v --ttl 10", "\"10\" is not a length of time"),
        ("set k v --ttl 0s", "\"0s\" is not a length of time"),
        ("set k v --ttl -5s", "\"-5s\" is not a length of time"),
        ("expire k 99999999999999999999d", "\"99999999999999999999d\" is not a length of time"),
        ("set k v --expires-at tomorrow", "\"tomorrow\" is not a moment"),
        ("delete", "missing argument KEY"),
        ("delete --dry-run", "missing argument KEY"),
        ("delete a --prefix b", "keys and --prefix exclude each other"),
        ("rename a", "missing argument NEWKEY"),
        ("persist a b", "unexpected argument"),
    ] {
        assert_eq!(line(text.as_bytes()).unwrap_err().message, message, "{text}");
    }
}

#[test]
fn range_commands() {
    assert_eq!(parsed("count"), Command::Count { selection: Selection::default() });
    assert_eq!(parsed("keys"), scan(Selection::default(), Columns::Keys));
    assert_eq!(parsed("scan --keys"), parsed("keys"));
    assert_eq!(parsed("scan --values"), scan(Selection::default(), Columns::Values));
    let all = Selection {
        range: KeyRange::prefix(b"k").intersect(KeyRange::from("ka".."kc")),
        direction: Direction::Reverse,
        limit: Some(10),
        ..Selection::default()
    };
    assert_eq!(parsed("scan k --from ka --to kc --reverse --limit 10"), scan(all.clone(), Columns::Both));
    assert_eq!(parsed(r#"scan --limit=10 --from="ka" k --reverse --to='kc'"#), scan(all, Columns::Both));
    let glob = Glob::read(b"ka*z").unwrap();
    let like = Selection { range: KeyRange::prefix(b"ka"), glob: Some(glob), ..Selection::default() };
    assert_eq!(parsed("keys --glob ka*z k"), scan(like, Columns::Keys));
    let to = Selection { range: KeyRange::from(.."b"), ..Selection::default() };
    assert_eq!(parsed("count --to b"), Command::Count { selection: to });
    let dashed = Selection { range: KeyRange::from("--a"..), ..Selection::default() };
    assert_eq!(parsed("count --from=--a"), Command::Count { selection: dashed.clone() });
    assert_eq!(parsed(r#"count --from "--a""#), Command::Count { selection: dashed });
    let max = Selection { limit: Some(u64::MAX), ..Selection::default() };
    assert_eq!(parsed("count --limit 18446744073709551615"), Command::Count { selection: max });
}

#[test]
fn the_other_commands() {
    let file = || "a b".into();
    for (text, command) in [
        ("begin", Command::Begin),
        ("commit", Command::Commit),
        ("ROLLBACK", Command::Rollback),
        (".undo", Command::Undo { count: 1 }),
        (".undo 3", Command::Undo { count: 3 }),
        (".stats", Command::Stats),
        (".compact", Command::Compact),
        (".backup 'a b'", Command::Backup { dir: file() }),
        (".dump", Command::Dump { file: None }),
        (".dump 'a b'", Command::Dump { file: Some(file()) }),
        (".load 'a b'", Command::Load { file: file() }),
        (".read 'a b'", Command::Read { file: file() }),
        (".mode", Command::Mode { mode: None }),
        (".mode jsonl", Command::Mode { mode: Some(OutputMode::Jsonl) }),
        (".timer on", Command::Timer { on: Some(true) }),
        (".timer off", Command::Timer { on: Some(false) }),
        (".bail", Command::Bail { bail: None }),
        (".bail on", Command::Bail { bail: Some(Bail::On) }),
        (".bail off", Command::Bail { bail: Some(Bail::Off) }),
        (".bail auto", Command::Bail { bail: Some(Bail::Auto) }),
        (".show", Command::Show),
        (".version", Command::Version),
        ("help", Command::Help { topic: None }),
        ("? get", Command::Help { topic: Some("get".into()) }),
        (".help RM", Command::Help { topic: Some("delete".into()) }),
        ("help stats", Command::Help { topic: Some(".stats".into()) }),
        ("exit", Command::Exit),
        ("quit", Command::Exit),
        (".q", Command::Exit),
    ] {
        assert_eq!(parsed(text), command, "{text}");
    }
    for blank in ["", "  ", "# get a", " \t# it's", "\n", "\r\n"] {
        assert_eq!(line(blank.as_bytes()), Ok(None), "{blank:?}");
    }
}

#[test]
fn every_choice_in_the_table_is_understood() {
    for spec in table::specs() {
        for arg in spec.args {
            let table::Kind::Choice(words) = arg.kind else { continue };
            assert!(words.iter().all(|word| line(format!("{} {word}", spec.name).as_bytes()).is_ok()));
        }
    }
}

#[test]
fn every_example_in_the_table_parses() {
    for example in table::specs().flat_map(|spec| spec.examples) {
        assert!(matches!(line(example.line.as_bytes()), Ok(Some(_))), "{}", example.line);
    }
}

#[test]
fn unknown_commands_get_one_suggestion() {
    refused("gte a", r#"unknown command "gte""#, "gte", "not a command", r#"did you mean "get"?"#);
    refused("  stats", r#"unknown command "stats""#, "stats", "not a command", r#"did you mean ".stats"?"#);
    refused(".rea x", r#"unknown command ".rea""#, ".rea", "not a command", r#"did you mean ".read"?"#);
    refused("select 1", r#"unknown command "select""#, "select", "not a command", "help lists the commands");
    refused("\"get\" a", "quoted command", "\"get\"", "a command is written without quotes", "get");
    one_shot_refused(
        &["stat"],
        r#"unknown command "stat""#,
        "stat",
        "not a command",
        r#"did you mean "stats"?"#,
    );
    let long = "x".repeat(1 << 20);
    let error = line(long.as_bytes()).unwrap_err();
    assert_eq!((error.message.chars().count(), error.span), (59, 0..1 << 20));
}

#[test]
fn arguments_are_counted() {
    refused("get", "missing argument KEY", "", "expected KEY", "usage: get KEY... [--default VALUE]");
    refused(
        "set a  ",
        "missing argument VALUE",
        "",
        "expected VALUE",
        "usage: set KEY VALUE [--nx | --xx | --if-value OLD] [--ttl DURATION | --expires-at TIME]",
    );
    assert_eq!(line(b"set a  ").unwrap_err().span, 5..5);
    let quotes = "a value with spaces needs quotes";
    let jaya = r#"set name "Jaya Krishna""#;
    refused("set name Jaya Krishna", "unexpected argument", "Krishna", quotes, jaya);
    refused(" set a b c \"d\"", "unexpected argument", "c \"d\"", quotes, r#"set a "b c d""#);
    one_shot_refused(
        &["set", "my key", "b", "c"],
        "unexpected argument",
        "c",
        quotes,
        r#"kvdb set "my key" "b c""#,
    );
    let long = "v".repeat(80);
    refused(
        &format!("set a b {long}"),
        "unexpected argument",
        &long,
        quotes,
        "usage: set KEY VALUE [--nx | --xx | --if-value OLD] [--ttl DURATION | --expires-at TIME]",
    );
    refused("begin now", "unexpected argument", "now", "begin takes no arguments", "usage: begin");
    refused("incr a 1 2", "unexpected argument", "2", "not expected", "usage: incr KEY [N]");
    refused("exit 1", "unexpected argument", "1", "exit takes no arguments", "usage: exit");
}

#[test]
fn options_are_checked() {
    let usage = "usage: count [PREFIX] [--from KEY] [--to KEY] [--glob PATTERN] [--reverse] [--limit N]";
    refused(
        "count --form a",
        r#"unknown option "--form""#,
        "--form",
        "not an option of count",
        r#"did you mean "--from"?"#,
    );
    refused(
        "get --all",
        r#"unknown option "--all""#,
        "--all",
        "not an option of get",
        r#"to use it as a value, put it in quotes: "--all""#,
    );
    one_shot_refused(
        &["get", "--- x"],
        r#"unknown option "--- x""#,
        r#""--- x""#,
        "not an option of get",
        "to use it as a value, write -- before it: everything after -- is a value",
    );
    refused(
        "count --Limit 1",
        r#"unknown option "--Limit""#,
        "--Limit",
        "not an option of count",
        r#"did you mean "--limit"?"#,
    );
    refused("count --limit", "missing value for --limit", "", "expected N", usage);
    refused("count --from --to b", "missing value for --from", "", "expected KEY", usage);
    refused("count --reverse=no", "--reverse takes no value", "no", "not expected", usage);
    refused("count --limit 1 --limit 2", "--limit is given twice", "--limit", "the second time", usage);
    assert_eq!(line(b"count --limit 1 --limit 2").unwrap_err().span, 16..23);
    let scan_usage = format!("usage: {}", table::find(b"scan").unwrap().signature());
    for (first, second) in [("--keys", "--values"), ("--values", "--keys")] {
        let message = format!("{first} and {second} exclude each other");
        let label = format!("not together with {first}");
        refused(&format!("scan {first} {second}"), &message, second, &label, &scan_usage);
    }
    refused(
        "set a --value-file f",
        "--value-file is for one-shot commands only",
        "--value-file",
        "not available in a line",
        "write the value after the key: set KEY VALUE [--nx | --xx | --if-value OLD] [--ttl DURATION | --expires-at TIME]",
    );
}

#[test]
fn numbers_are_checked() {
    let count = "expected a number from 0 to 18446744073709551615";
    refused("count --limit -1", r#""-1" is not a whole number"#, "-1", count, "");
    refused("count --limit=", "missing value", "", "expected a value", r#"an empty value is """#);
    refused("count --limit ''", r#""" is not a whole number"#, "''", count, "");
    refused(
        "count --limit 18446744073709551616",
        r#""18446744073709551616" is out of range"#,
        "18446744073709551616",
        count,
        "",
    );
    let integer = "expected a number from -9223372036854775808 to 9223372036854775807";
    refused("incr a 1.5", r#""1.5" is not a whole number"#, "1.5", integer, "");
    refused("incr a \"\\xff\"", r#""\xff" is not a whole number"#, r#""\xff""#, integer, "");
    refused(
        "incr a -9223372036854775809",
        r#""-9223372036854775809" is out of range"#,
        "-9223372036854775809",
        integer,
        "",
    );
}

#[test]
fn settings_topics_and_paths_are_checked() {
    refused(".timer onn", r#"unknown setting "onn""#, "onn", "expected on or off", r#"did you mean "on"?"#);
    let modes = "expected quoted, raw, null, json, jsonl, csv, tsv, table or script";
    refused(".mode JSON", r#"unknown setting "JSON""#, "JSON", modes, r#"did you mean "json"?"#);
    refused(".mode xml", r#"unknown setting "xml""#, "xml", modes, "");
    refused("help gett", r#"no help on "gett""#, "gett", "expected a command", r#"did you mean "get"?"#);
    refused(".read ''", "empty file name", "''", "expected a path", "");
}

#[test]
fn keys_and_values_have_a_longest_length() {
    let key = "k".repeat(65_535);
    assert_eq!(
        parsed(&format!("get {key}")),
        Command::Get { keys: vec![key.as_str().into()], default: None }
    );
    let label = "a key has at most 65535 bytes";
    refused(&format!("get a {key}k"), "key of 65536 bytes is too long", &format!("{key}k"), label, "");
    let mut read = |_| Ok(vec![0; MAX_VALUE_LEN + 1]);
    let error = argv(&args(&["set", "a", "-"]), &mut read).unwrap_err();
    let label = "a value has at most 536870912 bytes";
    check_error(&error, "kvdb set a -", "value of 536870913 bytes is too long", "-", label, "");
}

#[test]
fn one_shots_take_arguments_as_they_are() {
    let bytes = b"\"a\\n' \xff\n#".to_vec();
    let set = argv(&[b"set".to_vec(), b"k".to_vec(), bytes.clone()], &mut no_read);
    assert_eq!(set, Ok(Command::Set { key: "k".into(), value: bytes.into(), options: SetOptions::new() }));
    assert_eq!(
        one_shot(&["set", "", ""]),
        Command::Set { key: "".into(), value: "".into(), options: SetOptions::new() }
    );
    assert_eq!(one_shot(&["stats"]), Command::Stats);
    assert_eq!(one_shot(&[".stats"]), Command::Stats);
    assert_eq!(one_shot(&["incr", "a", "-5"]), Command::Incr { key: "a".into(), by: -5 });
    assert_eq!(one_shot(&["count", "--from=a b", "--limit", "3"]), parsed("count --from 'a b' --limit 3"));
    assert_eq!(one_shot(&["count", "--from="]), parsed("count --from ''"));
    assert_eq!(one_shot(&["get", "--", "--a=b"]), Command::Get { keys: vec!["--a=b".into()], default: None });
    assert_eq!(one_shot(&["get", "# a"]), Command::Get { keys: vec!["# a".into()], default: None });
    let path = argv(&[b"load".to_vec(), b"\xff".to_vec()], &mut no_read);
    assert!(matches!(path, Ok(Command::Load { file }) if file.as_os_str().as_encoded_bytes() == b"\xff"));
    one_shot_refused(&[], "missing command", "", "expected a command", "kvdb help lists the commands");
    one_shot_refused(
        &["count", "--reverse=1"],
        "--reverse takes no value",
        "--reverse=1",
        "not expected",
        "usage: count [PREFIX] [--from KEY] [--to KEY] [--glob PATTERN] [--reverse] [--limit N]",
    );
}

#[test]
fn one_shots_read_values_from_elsewhere() {
    let mut asked = Vec::new();
    let mut read = |source| {
        asked.push(source);
        Ok(b"\x00v".to_vec())
    };
    let expected = Command::Set { key: "k".into(), value: b"\x00v".into(), options: SetOptions::new() };
    assert_eq!(argv(&args(&["set", "k", "-"]), &mut read), Ok(expected.clone()));
    assert_eq!(argv(&args(&["set", "--value-file", "f", "k"]), &mut read), Ok(expected.clone()));
    assert_eq!(argv(&args(&["set", "k", "--value-file=f"]), &mut read), Ok(expected));
    let appended = Command::Append { key: "k".into(), value: b"\x00v".into() };
    assert_eq!(argv(&args(&["append", "k", "-"]), &mut read), Ok(appended));
    let file = || ValueSource::File("f".into());
    assert_eq!(asked, [ValueSource::Stdin, file(), file(), ValueSource::Stdin]);
    assert_eq!(
        one_shot(&["set", "--", "k", "-"]),
        Command::Set { key: "k".into(), value: "-".into(), options: SetOptions::new() }
    );
    assert_eq!(
        one_shot(&["set", "-", "v"]),
        Command::Set { key: "-".into(), value: "v".into(), options: SetOptions::new() }
    );
    one_shot_refused(
        &["set", "k", "v", "--value-file", "f"],
        "unexpected argument",
        "v",
        "--value-file gives the value",
        "usage: set KEY VALUE [--nx | --xx | --if-value OLD] [--ttl DURATION | --expires-at TIME]",
    );
}

#[test]
fn what_a_reader_reports_is_placed_at_its_argument() {
    let error = |span: Range<usize>| Diagnostic {
        message: "no such file".into(),
        span,
        label: "f".into(),
        help: None,
    };
    let list = args(&["set", "k", "--value-file", "f"]);
    let got = argv(&list, &mut |_| Err(error(0..0))).unwrap_err();
    assert_eq!(got, error(24..25));
    assert_eq!(&command_line(&list)[got.span], b"f");
}

#[test]
fn a_key_too_long_is_reported_before_a_value_is_read() {
    let list = [b"set".to_vec(), vec![b'k'; 65_536], b"-".to_vec()];
    assert!(argv(&list, &mut no_read).is_err());
}

#[test]
fn the_command_line_of_a_one_shot_is_readable() {
    let list = [b"set".to_vec(), b"it's".to_vec(), "é".into(), b"".to_vec(), b"\xff".to_vec()];
    assert_eq!(command_line(&list), "kvdb set \"it's\" \"é\" \"\" \"\\xff\"".as_bytes());
}

/// A token that is likely to be near something.
fn near_token() -> impl Strategy<Value = String> {
    let known: Vec<&str> = table::names()
        .chain(["--from", "--limit", "--limit=1", "--keys", "--", "--values=x", "-", "-1", "on", "json"])
        .collect();
    prop_oneof![proptest::sample::select(known).prop_map(String::from), "[a-z\"'\\\\= é\n.-]{0,5}"]
}

proptest! {
    #[test]
    fn any_line_gives_a_command_or_a_place_in_it(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        check_line(&bytes)?;
    }

    #[test]
    fn any_near_miss_gives_a_command_or_a_place_in_it(tokens in proptest::collection::vec(near_token(), 0..6)) {
        check_line(tokens.join(" ").as_bytes())?;
    }

    #[test]
    fn any_arguments_give_a_command_or_a_place_in_them(tokens in proptest::collection::vec(near_token(), 0..6)) {
        let list: Vec<Vec<u8>> = tokens.into_iter().map(Into::into).collect();
        if let Err(error) = argv(&list, &mut |_| Ok(Vec::new())) {
            check_place(&error, &command_line(&list))?;
        }
    }

    #[test]
    fn what_is_printed_is_what_is_parsed(key in proptest::collection::vec(any::<u8>(), 0..40), value in proptest::collection::vec(any::<u8>(), 0..40)) {
        let text = format!("set {} {}\n", literal(&key), literal(&value));
        let command = Command::Set { key: key.clone().into(), value: value.clone().into(), options: SetOptions::new() };
        prop_assert_eq!(line(text.as_bytes()), Ok(Some(command.clone())));
        prop_assert_eq!(argv(&[b"set".to_vec(), b"--".to_vec(), key, value], &mut no_read), Ok(command));
    }
}

fn check_line(bytes: &[u8]) -> Result<(), TestCaseError> {
    match line(bytes) {
        Ok(_) => Ok(()),
        Err(error) => check_place(&error, bytes),
    }
}

fn check_place(error: &Diagnostic, source: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(error.span.start <= error.span.end && error.span.end <= source.len(), "{:?}", error);
    let text = error.render(source, None, crate::shell::look::Look::PLAIN);
    prop_assert!(text.lines().all(|line| !line.chars().any(is_hidden)), "{text}");
    prop_assert!(text.len() < 1000, "{text}");
    Ok(())
}
