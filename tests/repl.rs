//! The prompt on a real terminal: a pseudo-terminal of its own, with every wait bounded.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]
#![allow(clippy::format_collect, reason = "scripts are short, and read best as lines")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::Sandbox;
use rexpect::process::{Signal, WaitStatus};
use rexpect::session::{PtySession, spawn_command};
use rustix::termios::{LocalModes, tcgetattr};

/// Longest wait for something to appear, in milliseconds.
const TIMEOUT_MS: u64 = 20_000;

const CTRL_C: char = 'c';
const CTRL_D: char = 'd';

/// kvdb, cut off from everything but its directory.
fn command(sandbox: &Sandbox, args: &[&str], term: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvdb"));
    command.args(args).current_dir(sandbox.path()).env_clear().env("TERM", term).envs(sandbox.environment());
    command
}

/// Starts kvdb on a terminal and waits for its prompt.
fn open(sandbox: &Sandbox, args: &[&str], term: &str) -> PtySession {
    let mut session = spawn_command(command(sandbox, args, term), Some(TIMEOUT_MS)).unwrap();
    session.exp_string("kvdb ").unwrap();
    session.exp_string("help lists the commands, .tutorial shows them, Ctrl-D leaves").unwrap();
    session.exp_string("> ").unwrap();
    session
}

fn prompt(sandbox: &Sandbox) -> PtySession {
    open(sandbox, &[], "xterm")
}

/// Types a line and waits for the answer, then for the next prompt.
fn ask(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(answer).unwrap_or_else(|error| panic!("{line}: {error}"));
    session.exp_string("> ").unwrap();
}

/// Presses keys.
fn typed(session: &mut PtySession, keys: &str) {
    session.send(keys).unwrap();
    session.flush().unwrap();
}

/// Leaves with Ctrl-D and returns the exit code.
fn leave(session: &mut PtySession) -> i32 {
    session.send_control(CTRL_D).unwrap();
    ended(session)
}

fn ended(session: &mut PtySession) -> i32 {
    session.exp_eof().unwrap();
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("did not exit: {other:?}"),
    }
}

fn history(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.file("state/kvdb/history")).unwrap();
    text.lines().filter(|line| !line.starts_with("#V2")).map(str::to_owned).collect()
}

#[test]
fn a_session_answers_and_ends_with_0() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    ask(&mut session, "set name \"Jaya Krishna\"", "OK\r\n");
    ask(&mut session, "get name", "\"Jaya Krishna\"\r\n");
    ask(&mut session, "delete name", "1\r\n");
    ask(&mut session, "get name", "null\r\n");
    ask(&mut session, "gte name", "did you mean \"get\"?");
    ask(&mut session, "oops", "\x1b[1;31merror\x1b[0m: unknown command");
    ask(&mut session, "help", "set KEY VALUE");
    ask(&mut session, "set after \"the typo\"", "OK\r\n");
    assert_eq!(leave(&mut session), 0);
    sandbox.run(&["get", "after"]).expect("\"the typo\"\n", 0);
}

#[test]
fn exit_and_its_aliases_leave() {
    for word in ["exit", "quit", ".q"] {
        let mut session = prompt(&Sandbox::new());
        session.send_line(word).unwrap();
        assert_eq!(ended(&mut session), 0, "{word}");
    }
}

#[test]
fn the_prompt_shows_a_transaction_which_ctrl_d_rolls_back() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    session.send_line("begin").unwrap();
    session.exp_string("kvdb*> ").unwrap();
    ask(&mut session, "set a 1", "OK\r\n");
    session.send_control(CTRL_D).unwrap();
    session.exp_string("was left open and has been rolled back").unwrap();
    assert_eq!(ended(&mut session), 0);
    sandbox.run(&["get", "a"]).expect("", 3).complains("no database at");
}

#[test]
fn an_open_quote_goes_on_in_the_next_line_and_is_shown() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    session.send_line("set a \"one").unwrap();
    session.exp_string("   \"> ").unwrap();
    ask(&mut session, "two\"", "OK\r\n");
    ask(&mut session, "get a", "\"one\\ntwo\"\r\n");
    session.send_line("set b 'never").unwrap();
    session.exp_string("   '> ").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "get b", "null\r\n");
    session.send_line("set c 'half").unwrap();
    session.exp_string("   '> ").unwrap();
    assert_eq!(leave(&mut session), 0);
    sandbox.run(&["get", "c"]).expect("null\n", 1);
}

#[test]
fn ctrl_c_clears_the_line_and_never_leaves() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &["--color", "never"], "xterm");
    typed(&mut session, "set a wrong");
    session.exp_string("wrong").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("kvdb> ").unwrap();
    for _ in 0..3 {
        session.send_control(CTRL_C).unwrap();
        session.exp_string("(Ctrl-D or exit leaves)").unwrap();
        session.exp_string("kvdb> ").unwrap();
    }
    ask(&mut session, "get a", "no database at /");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn ctrl_c_stops_long_work_and_the_session_goes_on() {
    let sandbox = Sandbox::new();
    let lines: String = (0..20_000).map(|number| format!("set {number:08} {}\n", "v".repeat(50))).collect();
    assert_eq!(sandbox.script(lines).code, Some(0));
    sandbox.write("long.kv", "scan\n".repeat(1_000));
    let mut session = prompt(&sandbox);
    session.send_line(".read long.kv").unwrap();
    session.exp_string("\"00000001\"").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("interrupted").unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "count", "20000\r\n");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn what_ctrl_c_left_undone_is_said() {
    let sandbox = Sandbox::new();
    let lines: String = (0..20_000).map(|number| format!("set {number:08} {}\n", "v".repeat(50))).collect();
    assert_eq!(sandbox.script(lines).code, Some(0));
    sandbox.write("long.kv", "set before 1\n".to_owned() + &"scan\n".repeat(1_000));
    let mut session = prompt(&sandbox);
    // One edit of two lines.
    typed(&mut session, "\x1b[200~.read long.kv\nset after 1\x1b[201~\r");
    session.exp_string("\"00000001\"").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.send_control(CTRL_C).unwrap();
    session
        .exp_regex("interrupted: stopped (at|behind) long.kv:[0-9]+; the rest of what was typed was not run")
        .unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "count", "20001\r\n");
    assert!(Command::new("mkfifo").arg(sandbox.file("pipe")).status().unwrap().success());
    session.send_line(".load pipe").unwrap();
    session.exp_string("\x1b[?2004l\r\n").unwrap();
    sleep(Duration::from_millis(300));
    session.send_control(CTRL_C).unwrap();
    session.exp_string("interrupted: nothing was loaded").unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "count", "20001\r\n");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn ctrl_c_ends_one_shots_and_scripts_in_silence_with_130() {
    let sandbox = Sandbox::new();
    let lines: String = (0..20_000).map(|number| format!("set {number:08} {}\n", "v".repeat(50))).collect();
    assert_eq!(sandbox.script(lines).code, Some(0));
    sandbox.write("long.kv", "scan\n".repeat(10_000));
    for args in [&["-c", ".read long.kv"][..], &["read", "long.kv"]] {
        let mut session = spawn_command(command(&sandbox, args, "xterm"), Some(TIMEOUT_MS)).unwrap();
        session.exp_string("\"00000001\"").unwrap();
        session.send_control(CTRL_C).unwrap();
        let rest = session.exp_eof().unwrap();
        assert!(!rest.contains("interrupted") && !rest.contains("error"));
        assert!(matches!(session.process().wait().unwrap(), WaitStatus::Exited(_, 130)), "{args:?}");
    }
}

#[test]
fn the_tutorial_has_a_database_of_its_own_and_can_be_left() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "mine", "1"]).expect("OK\n", 0);
    let mut tmp = command(&sandbox, &["--color", "never"], "xterm");
    std::fs::create_dir(sandbox.file("tmp")).unwrap();
    tmp.env("TMPDIR", sandbox.file("tmp"));
    let mut session = spawn_command(tmp, Some(TIMEOUT_MS)).unwrap();
    session.exp_string("kvdb> ").unwrap();
    for leaves in [".tutorial", "exit"] {
        ask(&mut session, ".tutorial", "set name \"Jaya Krishna\"");
        ask(&mut session, "get mine", "The tour goes on with:");
        ask(&mut session, "oops", "unknown command");
        ask(&mut session, "set name \"J K\"", "get name\r\n");
        session.send_line(leaves).unwrap();
        session.exp_string("your database is the one that is open").unwrap();
        session.exp_string("kvdb> ").unwrap();
        assert_eq!(fs::read_dir(sandbox.file("tmp")).unwrap().count(), 0);
    }
    ask(&mut session, "keys", "\"mine\"\r\n");
    ask(&mut session, ".tutorial", "set name \"Jaya Krishna\"");
    for (line, next) in [
        ("set name 'J K'", "get name"),
        ("get name", "get nobody"),
        ("get nobody", "set user:2 Bob"),
        ("set user:1 Ann", "goes on with:  set user:2 Bob"),
        ("set user:2 Bob", "scan user:"),
        ("scan user:", "incr visits"),
        ("incr visits", "begin"),
        ("begin", "rollback"),
        ("delete user:1 user:2", "goes on with:  rollback"),
        ("rollback", "count user:"),
        ("count user:", ".dump"),
        (".dump", "help scan"),
        ("help scan", "That was all of it."),
    ] {
        ask(&mut session, line, next);
    }
    ask(&mut session, "keys", "\"mine\"\r\n");
    assert_eq!(leave(&mut session), 0);
    assert_eq!(history(&sandbox), [".tutorial", "keys", ".tutorial", "keys"].map(str::to_owned));
}

#[test]
fn ctrl_c_ends_the_wait_for_a_pipe_that_nobody_opens() {
    let sandbox = Sandbox::new();
    let made = Command::new("mkfifo").arg(sandbox.file("pipe")).status().unwrap();
    assert!(made.success());
    let mut session = prompt(&sandbox);
    session.send_line(".read pipe").unwrap();
    session.exp_string("\x1b[?2004l\r\n").unwrap();
    sleep(Duration::from_millis(300));
    session.send_control(CTRL_C).unwrap();
    assert!(!session.exp_string("interrupted").unwrap().contains("error"));
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn ctrl_c_ends_a_one_shot_that_waits_for_its_value() {
    for args in [&["set", "k", "-"][..], &["set", "k", "--value-file", "/dev/tty"], &[".load", "-"]] {
        let sandbox = Sandbox::new();
        let mut session = spawn_command(command(&sandbox, args, "xterm"), Some(TIMEOUT_MS)).unwrap();
        sleep(Duration::from_millis(300));
        session.send_control(CTRL_C).unwrap();
        assert_eq!(ended(&mut session), 130, "{args:?}");
        assert!(!sandbox.file(".kvdb").exists());
    }
}

#[test]
fn a_signal_that_ends_the_session_leaves_the_terminal_as_it_was_found() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let sandbox = Sandbox::new();
        let mut session = open(&sandbox, &["--color", "never"], "xterm");
        typed(&mut session, "set a 1");
        session.exp_string("set a 1").unwrap();
        let terminal = session.process().get_file_handle().unwrap();
        let modes = || tcgetattr(&terminal).unwrap().local_modes;
        assert!(!modes().contains(LocalModes::ICANON));
        session.process_mut().signal(signal).unwrap();
        let end = session.process().wait().unwrap();
        assert!(matches!(end, WaitStatus::Signaled(_, by, _) if by == signal), "{end:?}");
        assert!(modes().contains(LocalModes::ICANON | LocalModes::ISIG), "{signal}");
        session.exp_string("\x1b[?2004l").unwrap();
    }
}

#[test]
fn history_is_private_kept_at_once_and_shared() {
    let sandbox = Sandbox::new();
    let mut one = prompt(&sandbox);
    let mut two = prompt(&sandbox);
    ask(&mut one, "set from one", "OK\r\n");
    ask(&mut two, "set from two", "OK\r\n");
    ask(&mut two, "set from two", "OK\r\n");
    ask(&mut one, " set secret 1", "OK\r\n");
    ask(&mut one, "get from", "\"two\"\r\n");
    assert_eq!(history(&sandbox), ["set from one", "set from two", "get from"]);
    let mode = fs::metadata(sandbox.file("state/kvdb/history")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!((leave(&mut one), leave(&mut two)), (0, 0));
    assert_eq!(history(&sandbox), ["set from one", "set from two", "get from"]);

    let mut three = open(&sandbox, &["--color", "never"], "xterm");
    typed(&mut three, "\x1b[A");
    three.exp_string("get from").unwrap();
    three.send_line("").unwrap();
    three.exp_string("\"two\"").unwrap();
    assert_eq!(leave(&mut three), 0);
}

/// What `look` finds, as soon as it does.
#[cfg(target_os = "linux")]
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..4_000 {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("it never came to this: {what}");
}

/// The line is kept before it is run, and here that has to wait.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_between_enter_and_the_command_is_about_the_command() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    ask(&mut session, "set a 1", "OK");
    let history = fs::File::open(sandbox.file("state/kvdb/history")).unwrap();
    history.lock().unwrap();
    session.send_line("set a 2").unwrap();
    let inode = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&history.metadata().unwrap()));
    let waiter = until("the line is kept", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let line = locks.lines().find(|line| line.contains("-> FLOCK") && line.contains(&inode))?;
        line.split_whitespace().nth(5)?.parse::<u32>().ok()
    });
    // A thread that waits is woken by nothing but the signal.
    let waits = || {
        let status = fs::read_to_string(format!("/proc/{waiter}/status")).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).map(str::to_owned)
    };
    let before = waits();
    session.send_control(CTRL_C).unwrap();
    until("the signal has come", || (waits() != before).then_some(()));
    history.unlock().unwrap();
    session.exp_string("interrupted: what was typed was not run").unwrap();
    session.exp_string("> ").unwrap();
    ask(&mut session, "get a", "\"1\"");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn history_can_be_turned_off() {
    let sandbox = Sandbox::new();
    sandbox.write("config/kvdb/config.toml", "history = false\n");
    let mut session = prompt(&sandbox);
    ask(&mut session, "set a 1", "OK\r\n");
    assert_eq!(leave(&mut session), 0);
    assert!(!sandbox.file("state/kvdb/history").exists());
}

#[test]
fn history_leaves_out_what_is_long() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    ask(&mut session, "set a 1", "OK\r\n");
    ask(&mut session, &format!("set long {}", "v".repeat(4_096)), "OK\r\n");
    ask(&mut session, "get a", "\"1\"\r\n");
    assert_eq!(leave(&mut session), 0);
    assert_eq!(history(&sandbox), ["set a 1", "get a"]);
}

#[test]
fn what_is_pasted_is_one_edit_and_runs_line_by_line() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    typed(&mut session, "\x1b[200~set a 1\nset b \"two\nlines\"\nget a b\x1b[201~\r");
    session.exp_string("OK\r\nOK\r\n\"1\"\r\n\"two\\nlines\"\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn a_file_is_read_and_its_errors_do_not_end_the_session() {
    let sandbox = Sandbox::new();
    sandbox.write("s.kv", "set a 1\noops\nset a 2\n");
    let mut session = prompt(&sandbox);
    session.send_line(".read s.kv").unwrap();
    session.exp_string("s.kv:2:1").unwrap();
    session.exp_string("kvdb: 1 error, the first at s.kv:2").unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "get a", "\"1\"\r\n");
    ask(&mut session, ".read absent.kv", "cannot open absent.kv");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn a_database_that_is_damaged_is_said_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("stuff/letter.txt", "dear");
    let mut session = open(&sandbox, &["--db", "stuff"], "xterm");
    ask(&mut session, "get a", "is not a kvdb database");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn stats_draw_the_levels_and_compact_says_what_it_saved() {
    let sandbox = Sandbox::new();
    // Too little to be flushed when the script ends.
    let lines: String =
        (0..400).map(|number| format!("set {} {}\n", number % 100, "v".repeat(400))).collect();
    assert_eq!(sandbox.script(lines).code, Some(0));
    let mut utf8 = command(&sandbox, &[], "xterm");
    utf8.env("LANG", "C.UTF-8");
    let mut session = spawn_command(utf8, Some(TIMEOUT_MS)).unwrap();
    session.exp_string("kvdb> ").unwrap();
    session.send_line(".compact").unwrap();
    let saved = session.exp_regex(r"compacted [0-9.]+ KiB to [0-9.]+ KiB, saved [^\r]* m?s\r\n").unwrap();
    assert!(!saved.0.contains("entries"), "{saved:?}");
    ask(&mut session, "set new 1", "OK\r\n");
    session.send_line(".stats").unwrap();
    session.exp_regex("keys +101 +").unwrap();
    let blocks: String = "████".bytes().map(char::from).collect();
    session.exp_regex(&format!("level 0 +1 +100 +0 +[0-9.]+ KiB  \x1b\\[36m{blocks}")).unwrap();
    session.exp_regex("last flush +(just now|[0-9]+ seconds? ago)").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);

    let mut plain = open(&sandbox, &["--color", "never"], "xterm");
    plain.send_line(".stats").unwrap();
    plain.exp_regex("level 0 +1 +100 +0 +[0-9.]+ KiB  ####").unwrap();
    plain.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut plain), 0);
}

#[test]
fn tab_completes_commands() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &["--color", "never"], "xterm");
    typed(&mut session, "cou\t");
    session.exp_string("count ").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("kvdb> ").unwrap();
    typed(&mut session, "\t");
    session.exp_string("rollback").unwrap();
    session.exp_string("kvdb> ").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("(Ctrl-D or exit leaves)").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

/// Presses Tab until this is on the line: keys that do not come in time are not waited for.
fn press_tab_until(session: &mut PtySession, whole: &str) {
    let mut seen = String::new();
    for _ in 0..500 {
        typed(session, "\t");
        sleep(Duration::from_millis(20));
        seen.extend(std::iter::from_fn(|| session.try_read()));
        if seen.contains(whole) {
            return;
        }
    }
    panic!("{whole:?} did not come: {seen:?}");
}

#[test]
fn tab_completes_live_keys_and_values() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "two words", "it's"]).expect("OK\n", 0);
    let mut session = open(&sandbox, &["--color", "never"], "xterm");
    typed(&mut session, "get tw");
    press_tab_until(&mut session, "get \"two words\" ");
    session.send_line("").unwrap();
    session.exp_string("\"it's\"\r\n").unwrap();
    typed(&mut session, "set 'two words' ");
    press_tab_until(&mut session, "set 'two words' \"it's\" ");
    session.send_control(CTRL_C).unwrap();
    session.exp_string("kvdb> ").unwrap();

    ask(&mut session, "begin", "OK\r\n");
    ask(&mut session, "set other:1 1", "OK\r\n");
    typed(&mut session, "get o");
    press_tab_until(&mut session, "get other:1 ");
    session.send_line("").unwrap();
    session.exp_string("\"1\"\r\n").unwrap();
    ask(&mut session, "commit", "OK\r\n");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn what_is_typed_is_coloured_and_hinted() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    typed(&mut session, "set");
    session.exp_string("\x1b[1mset\x1b[0m\x1b[2m KEY VALUE [--nx]").unwrap();
    typed(&mut session, " a \"\\q");
    session.exp_string("\x1b[32m\"\x1b[0m\x1b[4;31m\\q\x1b[0m").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "set name \"J K\"", "OK\r\n");
    typed(&mut session, "set n");
    session.exp_string("\x1b[2mame \"J K\"\x1b[0m").unwrap();
    typed(&mut session, "\x1b[C\r");
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
    assert_eq!(history(&sandbox), ["set name \"J K\""]);
}

#[test]
fn without_colour_there_is_nothing_but_what_is_typed() {
    let sandbox = Sandbox::new();
    let mut no_colour = command(&sandbox, &[], "xterm");
    no_colour.env("NO_COLOR", "1");
    let mut session = spawn_command(no_colour, Some(TIMEOUT_MS)).unwrap();
    session.exp_string("kvdb> ").unwrap();
    typed(&mut session, "set name \"J K\"\r");
    let shown = session.exp_string("OK\r\n").unwrap();
    assert!(
        shown.contains("set name \"J K\"") && !shown.contains("KEY") && !shown.contains("\x1b[1m"),
        "{shown:?}"
    );
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn lines_before_an_open_quote_are_taken_back_with_the_up_arrow() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &["--color", "never"], "xterm");
    typed(&mut session, "set a \"ome\r");
    session.exp_string("   \"> ").unwrap();
    typed(&mut session, "two");
    session.exp_string("two").unwrap();
    // Up to the end of the first line, to its quote, a letter; down to the end.
    typed(&mut session, "\x1b[A");
    session.exp_string("set a \"ome").unwrap();
    typed(&mut session, "\x7f\x7fne\x1b[B\x1b[F\"\r");
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "get a", "\"one\\ntwo\"\r\n");

    typed(&mut session, "set b 'x\r");
    session.exp_string("   '> ").unwrap();
    typed(&mut session, "\x7fy'\r");
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    ask(&mut session, "get b", "\"xy\"\r\n");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn history_is_shared_live_shown_and_kept_free_of_secrets() {
    let sandbox = Sandbox::new();
    sandbox.write("config/kvdb/config.toml", "history_ignore = \"password token\"\n");
    let mut one = open(&sandbox, &["--color", "never"], "xterm");
    let mut two = open(&sandbox, &["--color", "never"], "xterm");
    ask(&mut one, "set a 1", "OK\r\n");
    ask(&mut two, "count", "1\r\n");
    // Each sees at its next prompt what the other typed.
    typed(&mut two, "\x1b[A\x1b[A");
    two.exp_string("set a 1").unwrap();
    two.send_control(CTRL_C).unwrap();
    two.exp_string("kvdb> ").unwrap();
    ask(&mut one, "set my_password 1", "OK\r\n");
    ask(&mut one, ".history off", "OK\r\n");
    ask(&mut one, "set b 2", "OK\r\n");
    ask(&mut one, ".history on", "OK\r\n");
    ask(&mut one, ".history 9", "set a 1\r\ncount\r\n.history off\r\n.history 9\r\n");
    assert_eq!((leave(&mut one), leave(&mut two)), (0, 0));
    sandbox.run(&["history", "1"]).expect(".history 9\n", 0).quiet();
}

#[test]
fn what_is_typed_ahead_is_not_lost() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    typed(&mut session, "set a 1\rset b 2\rcount\r");
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("\r\n2\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn ctrl_r_finds_what_was_typed() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &["--color", "never"], "xterm");
    ask(&mut session, "set name Ann", "OK\r\n");
    ask(&mut session, "count", "1\r\n");
    typed(&mut session, "\x12ame");
    session.exp_string("`ame': set name Ann").unwrap();
    typed(&mut session, "\r");
    session.exp_string("OK\r\n").unwrap();
    session.exp_string("kvdb> ").unwrap();
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn read_only_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.run(&["set", "a", "1"]).expect("OK\n", 0);
    let mut session = open(&sandbox, &["--readonly"], "xterm");
    session.send_line("get a").unwrap();
    session.exp_string("\"1\"\r\n").unwrap();
    session.exp_string("kvdb(ro)> ").unwrap();
    ask(&mut session, "set a 2", "read-only");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn a_dumb_terminal_works() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &[], "dumb");
    ask(&mut session, "set a 1", "OK");
    ask(&mut session, "get a", "\"1\"");
    ask(&mut session, "gte a", "error: unknown command \"gte\"");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn ctrl_c_drops_an_open_quote_on_a_dumb_terminal() {
    let sandbox = Sandbox::new();
    let mut session = open(&sandbox, &[], "dumb");
    session.send_line("set a \"secret").unwrap();
    session.exp_string("   \"> ").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("\nkvdb> ").unwrap();
    ask(&mut session, "set b 'get b\"'", "OK\r\n");
    ask(&mut session, "get a b", "null\r\n\"get b\\\"\"\r\n");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn what_was_typed_is_taken_back_in_its_own_database_only() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--db", "a", "set", "u", "old"]).expect("OK\n", 0);
    let mut session = open(&sandbox, &["--db", "a"], "xterm");
    ask(&mut session, "set u new", "OK");
    ask(&mut session, ".backup b", "backed up");
    ask(&mut session, ".open b", "OK");
    ask(&mut session, ".undo", "there is nothing to take back");
    ask(&mut session, ".open none", "none is not there yet");
    ask(&mut session, ".open b", "OK");
    ask(&mut session, "set v 1", "OK");
    ask(&mut session, ".undo 2", "there is only one change to take back");
    ask(&mut session, ".tutorial", "tutorial");
    ask(&mut session, ".undo", "there is nothing to take back");
    ask(&mut session, ".tutorial", "The tour is over");
    ask(&mut session, ".undo", "delete \"v\"");
    assert_eq!(leave(&mut session), 0);
    for db in ["a", "b"] {
        sandbox.run(&["--db", db, "get", "u"]).expect("\"new\"\n", 0);
    }
}

#[test]
fn what_was_refused_leaves_what_can_be_taken_back() {
    let sandbox = Sandbox::new();
    sandbox.write("b.kv", "# kvdb dump 1\nset \"u\" \"x\"\n");
    sandbox.write("b.csv", "key,value\na\n");
    let mut session = prompt(&sandbox);
    ask(&mut session, ".undo", "there is nothing to take back");
    assert!(!sandbox.file(".kvdb").exists());
    ask(&mut session, "set u new", "OK");
    ask(&mut session, ".load b.kv", "cut or altered");
    ask(&mut session, ".import b.csv", "b.csv:");
    ask(&mut session, ".undo", "delete \"u\"");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn two_sessions_see_each_other_and_block_nobody() {
    let sandbox = Sandbox::new();
    let mut one = prompt(&sandbox);
    let mut two = prompt(&sandbox);
    ask(&mut one, "set k 1", "OK\r\n");
    ask(&mut two, "get k", "\"1\"\r\n");
    ask(&mut two, "incr k", "2\r\n");
    sandbox.run(&["incr", "k"]).expect("3\n", 0);
    ask(&mut one, "get k", "\"3\"\r\n");
    assert_eq!((leave(&mut one), leave(&mut two)), (0, 0));
}

#[test]
fn what_was_typed_is_taken_back() {
    let sandbox = Sandbox::new();
    let mut session = prompt(&sandbox);
    ask(&mut session, "set a 1", "OK");
    ask(&mut session, "set a 2 --ttl 1h", "OK");
    ask(&mut session, "rename a b", "OK");
    ask(&mut session, ".undo", "delete \"b\"");
    ask(&mut session, "ttl a", "59m59.");
    ask(&mut session, "begin", "OK");
    ask(&mut session, "set a 3", "OK");
    ask(&mut session, "set c 4", "OK");
    ask(&mut session, ".undo", "delete \"c\"");
    ask(&mut session, ".undo 2", "this transaction has only 1 to take back");
    ask(&mut session, "rollback", "OK");
    ask(&mut session, ".undo", "set \"a\" \"1\"");
    ask(&mut session, "ttl a", "none");
    assert!(command(&sandbox, &["set", "a", "other"], "xterm").status().unwrap().success());
    ask(&mut session, ".undo", "another session changed \"a\" since");
    ask(&mut session, "get a", "\"other\"");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn many_keys_are_removed_after_a_question() {
    let sandbox = Sandbox::new();
    let script: String = (0..1_001).map(|number| format!("set k{number} v\n")).collect();
    fs::write(sandbox.file("keys.kv"), script).unwrap();
    let mut session = prompt(&sandbox);
    session.send_line(".read keys.kv").unwrap();
    ask(&mut session, "count", "1001");
    let remove = |session: &mut PtySession, answer: &str, removed: &str| {
        session.send_line("delete --prefix k").unwrap();
        session.exp_string("remove 1,001 keys? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        session.exp_string(removed).unwrap();
        session.exp_string("> ").unwrap();
    };
    remove(&mut session, "", "0");
    remove(&mut session, "n", "0");
    session.send_line("delete --prefix k").unwrap();
    session.exp_string("[y/N] ").unwrap();
    session.send_control(CTRL_C).unwrap();
    session.exp_string("> ").unwrap();
    ask(&mut session, "count", "1001");
    remove(&mut session, "y", "1001");
    ask(&mut session, "count", "0");
    ask(&mut session, ".undo", "and 991 more");
    ask(&mut session, "count", "1001");
    assert_eq!(leave(&mut session), 0);
}

#[test]
fn results_taller_than_the_screen_go_through_a_pager_that_may_leave() {
    let sandbox = Sandbox::new();
    let keys: String = (0..20_000).map(|number| format!("set k{number:05} v\n")).collect();
    sandbox.feed(&["--sync", "none"], format!("begin\n{keys}commit\n"));
    sandbox.write("config/kvdb/config.toml", "pager = \"sed s/^/paged:/\"\n");
    let mut session = prompt(&sandbox);
    ask(&mut session, "keys --limit 100", "paged:\"k00099\"\r\n");
    ask(&mut session, "keys --limit 3", "\n\"k00000\"\r\n\"k00001\"\r\n\"k00002\"\r\n");
    ask(&mut session, ".pager off", "OK\r\n");
    ask(&mut session, "keys --limit 100", "\n\"k00099\"\r\n");
    assert_eq!(leave(&mut session), 0);
    sandbox.write("config/kvdb/config.toml", "pager = \"head -n 2\"\n");
    let mut session = prompt(&sandbox);
    ask(&mut session, "begin", "OK\r\n");
    ask(&mut session, "keys", "\"k00001\"\r\n");
    ask(&mut session, "count", "20000\r\n");
    ask(&mut session, "commit", "OK\r\n");
    assert_eq!(leave(&mut session), 0);
    sandbox.write("config/kvdb/config.toml", "pager = \"no-such-pager\"\n");
    let mut session = prompt(&sandbox);
    ask(&mut session, "keys", "cannot run the pager \"no-such-pager\"");
    ask(&mut session, "get k00001", "\"v\"\r\n");
    assert_eq!(leave(&mut session), 0);
}
