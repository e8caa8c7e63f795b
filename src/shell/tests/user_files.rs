//! A system call that fails on a file that the user names, in every command that takes one: the command says so and the exit
//! code is 5, nothing half written looks complete, and the database holds all of what was to be brought in, or nothing.
//!
//! Each script runs once to see what it replies and what is in the files then; and once for every call of the shell on such
//! files, with that call made to fail. What is left of each file is one of these:
//!
//! | file | what is in it |
//! |---|---|
//! | of `.dump`, `.export` | what was there before, or all of the new |
//! | of `.output`, `.once` | the first so many bytes of it; of a dump not all, or `.load` takes it |
//! | any other | there is none: no temporary file is left |

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::calls::faulty::{self, FAULTS, Fault};
use super::super::exit::Exit;
use super::faults::{Bench, Expected, Script, on_nothing, one_shot, script};
use crate::engine::tests::report;
use crate::types::EngineKind;

/// What `.dump` and `.export` replace.
const OLD: &[u8] = b"what was there before\n";
const REPLACED: [&str; 3] = ["out.kv", "out.csv", "out.jsonl"];

/// What `.output` and `.once` write to.
const STREAMED: [&str; 2] = ["out.txt", "streamed.kv"];

const SCRIPTS: &[Script] = &[
    on_nothing(&[".load @/dump.kv", "get k00"]),
    script(&[".load @/dump.kv", "get k00"]),
    script(&[".import @/rows.csv", "get imported"]),
    script(&[".import @/rows.csv --dry-run"]),
    script(&[".read @/script.kv", "get k00"]),
    script(&[".dump @/out.kv", "get k00"]),
    script(&[".export @/out.csv"]),
    script(&[".export @/out.jsonl"]),
    script(&[".output @/out.txt", "scan k0", "get k00", ".output", "get k01"]),
    script(&[".once @/out.txt", "scan", "get k01"]),
    script(&[".output @/out.txt", "set k00 new", "get k00"]),
    script(&[".once @/streamed.kv", ".dump"]),
    one_shot(&["set k00 --value-file @/value"]),
    one_shot(&["append k00 --value-file @/value"]),
];

/// What scripts read.
const READ: [&str; 4] = ["dump.kv", "rows.csv", "script.kv", "value"];

/// The files beside those that scripts read, by name.
fn written(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(bench.files.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let written = names.filter(|name| !READ.contains(&&**name));
    written.map(|name| (name.clone(), std::fs::read(path(bench, &name)).unwrap())).collect()
}

fn path(bench: &Bench, name: &str) -> PathBuf {
    bench.files.path().join(name)
}

/// Removes what was written.
fn clean_up(bench: &Bench) {
    for name in written(bench).keys() {
        std::fs::remove_file(path(bench, name)).unwrap();
    }
    for name in REPLACED {
        std::fs::write(path(bench, name), OLD).unwrap();
    }
}

/// The ways in which a call fails, and whether those behind it do too.
fn ways() -> impl Iterator<Item = (bool, Fault)> {
    let once = FAULTS.into_iter().map(|fault| (false, fault));
    once.chain([(true, Fault::Enospc), (true, Fault::Full)])
}

/// Whether what is left of a file is as it may be.
fn judge(bench: &Bench, name: &str, found: &[u8], whole: Option<&Vec<u8>>, place: &str) {
    let (empty, text) = (Vec::new(), String::from_utf8_lossy(found));
    if REPLACED.contains(&name) {
        assert!(found == OLD || Some(found) == whole.map(|whole| &whole[..]), "{place}: {name} has {text}");
    } else if STREAMED.contains(&name) {
        let whole = whole.unwrap_or(&empty);
        assert!(whole.starts_with(found), "{place}: {name} has {text}");
        if name == "streamed.kv" && found != whole {
            let load = script(&[".load @/streamed.kv"]);
            let refused = bench.run(&bench.disk(&load), &load);
            assert!(refused.exit > Exit::NEGATIVE, "{place}: half a dump is loaded: {}", refused.out);
        }
    } else {
        panic!("{place}: {name} is left");
    }
}

fn campaign(engine: EngineKind) {
    let bench = Bench::new(engine);
    let (mut failed, mut told) = (0, 0);
    for script in SCRIPTS {
        clean_up(&bench);
        let expected = Expected::of(&bench, script);
        assert_eq!(expected.run.exit, Exit::DONE, "{:?}: {}", script.lines, expected.run.err);
        clean_up(&bench);
        faulty::begin(None);
        bench.run(&bench.disk(script), script);
        let calls = faulty::end();
        assert!(calls > 0, "{:?} uses no file", script.lines);
        let whole = written(&bench);
        for number in 1..=calls {
            for (for_good, fault) in ways() {
                clean_up(&bench);
                let disk = bench.disk(script);
                faulty::begin(Some((number, for_good, fault)));
                let run = bench.run(&disk, script);
                faulty::end();
                let place = format!("{engine:?}: {:?}: {fault:?} at call {number}", script.lines);
                let left = written(&bench);
                if run.exit == expected.run.exit {
                    assert_eq!(left, whole, "{place}");
                }
                for (name, found) in &left {
                    judge(&bench, name, found, whole.get(name), &place);
                }
                expected.judge(&bench, script, &disk, &run, &place);
                // Half of the last call may be all of it.
                let is_last = fault == Fault::Full && number == calls && run.exit == Exit::DONE;
                let is_hidden = matches!(fault, Fault::Eintr | Fault::Short) || is_last;
                assert_eq!(run.exit, if is_hidden { Exit::DONE } else { Exit::IO }, "{place}: {}", run.err);
                failed += 1;
                told += u64::from(run.exit == Exit::IO);
            }
        }
    }
    assert!(told > failed / 3, "{told} of {failed}");
    let scripts = SCRIPTS.len();
    report(
        "user files",
        &format!("{failed} calls failed in {scripts} scripts on {engine:?}, {told} with exit 5"),
    );
}

#[test]
fn every_call_on_a_file_of_the_user_can_fail_on_the_lsm_engine() {
    campaign(EngineKind::Kv);
}

#[test]
fn every_call_on_a_file_of_the_user_can_fail_on_the_simple_engine() {
    campaign(EngineKind::Simple);
}
