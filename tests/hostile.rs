//! A database directory that somebody prepared: links, pipes, devices, huge files and names can't make kvdb write elsewhere,
//! hang, take all memory, or drive the terminal.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::Sandbox;

/// A database with a table, a log and everything else, in `db`.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["--db", "db", "set", "a", "1"]).expect("OK\n", 0);
    sandbox.run(&["--db", "db", "compact"]);
    sandbox.run(&["--db", "db", "set", "b", "2"]).expect("OK\n", 0);
    sandbox
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.file("db")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn is_table(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

/// Commands that read and write everything; none of them may hang, panic or touch what is outside.
fn use_it(sandbox: &Sandbox, what: &str) {
    for command in [&["get", "a"][..], &["scan"], &["set", "c", "3"], &["stats"], &["compact"], &["dump"]] {
        let ran = sandbox.run(&[&["--db", "db", "--lock-timeout", "0.1"], command].concat());
        assert!(ran.code.is_some_and(|code| code <= 5), "{what}, {command:?}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{what}, {command:?}: {}", ran.err);
    }
}

#[test]
fn links_in_place_of_files_are_refused_by_name_and_not_followed() {
    let all = names(&filled());
    assert!(all.iter().any(|name| is_table(name)) && all.contains(&"SHM".into()), "{all:?}");
    for name in all {
        let sandbox = filled();
        let (file, outside) = (sandbox.file("db").join(&name), sandbox.file("outside"));
        fs::rename(&file, &outside).unwrap();
        symlink(&outside, &file).unwrap();
        let before = fs::read(&outside).unwrap();
        use_it(&sandbox, &name);
        assert_eq!(fs::read(&outside).unwrap(), before, "{name} was written to through a link");
        let ran = sandbox.run(&["--db", "db", "set", "c", "3"]);
        // The notes are advisory, and a merge needs MERGE and MAINT only.
        if !["SHM", "MERGE", "MAINT"].contains(&&*name) && !is_table(&name) {
            assert_eq!(ran.code, Some(5), "{name}: {ran:?}");
            ran.complains(&format!(
                "cannot open db/{name}: it is a symbolic link, and none is followed here"
            ));
        }
    }
}

#[test]
fn pipes_devices_and_directories_in_place_of_files_are_not_waited_for() {
    for name in names(&filled()) {
        for kind in ["pipe", "device", "directory"] {
            let sandbox = filled();
            let file = sandbox.file("db").join(&name);
            fs::remove_file(&file).unwrap();
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            match kind {
                "pipe" => rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap(),
                "device" => symlink("/dev/zero", &file).unwrap(),
                _ => fs::create_dir(&file).unwrap(),
            }
            use_it(&sandbox, &format!("{name} as a {kind}"));
        }
    }
}

/// Runs a command that may take no more than 300 MB of memory beside files that it maps, and 20 seconds of the processor.
fn bounded(sandbox: &Sandbox, args: &str) -> common::Ran {
    let script = format!("ulimit -d 300000; ulimit -t 20; exec \"$0\" --db db {args}");
    let mut command = sandbox.command(&[]);
    let program = command.get_program().to_owned();
    command = std::process::Command::new("sh");
    command.arg("-c").arg(script).arg(program).current_dir(sandbox.path());
    command.envs(sandbox.environment()).output().unwrap().into()
}

/// Longer than any device.
const HUGE: u64 = 1 << 42;

fn grow(file: &Path) {
    File::options().write(true).open(file).unwrap().set_len(HUGE).unwrap();
}

/// Whatever is asked of it, it takes no more than a database of its size.
fn is_bounded(sandbox: &Sandbox, what: &str) {
    for args in ["get a", "scan", "set c 3", "stats", "check", "repair saved", "backup copy"] {
        let ran = bounded(sandbox, args);
        assert!(ran.code.is_some_and(|code| code <= 5), "{what}, {args}: {ran:?}");
    }
}

#[test]
fn huge_sparse_files_take_neither_memory_nor_time() {
    for name in names(&filled()) {
        let sandbox = filled();
        grow(&sandbox.file("db").join(&name));
        is_bounded(&sandbox, &name);
    }
    let sandbox = filled();
    let config = sandbox.file("db").join("config.toml");
    File::create(&config).unwrap().set_len(HUGE).unwrap();
    bounded(&sandbox, "get a").complains("config.toml: it has more than 1048576 bytes");
    is_bounded(&sandbox, "config.toml");
}

fn only(sandbox: &Sandbox, extension: &str) -> std::path::PathBuf {
    let all = names(sandbox);
    let name = all.iter().find(|name| Path::new(name).extension().is_some_and(|found| found == extension));
    sandbox.file("db").join(name.unwrap())
}

/// Overwrites a part of a file.
fn put(file: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    File::options().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
}

/// Nothing says how long the table should be.
#[test]
fn a_huge_table_that_nobody_lists_takes_neither_memory_nor_time() {
    let sandbox = filled();
    grow(&only(&sandbox, "sst"));
    put(&sandbox.file("db/MANIFEST"), 20, b"\x5a\x5a\x5a\x5a");
    is_bounded(&sandbox, "a table without a manifest");
}

/// Nothing but the file says how long the segment should be.
#[test]
fn a_huge_segment_without_a_header_takes_neither_memory_nor_time() {
    let sandbox = filled();
    let segment = only(&sandbox, "wal");
    grow(&segment);
    put(&segment, 8, &[0x5a; 24]);
    is_bounded(&sandbox, "a segment without a header");
}

/// The segment says so itself, and something may follow its records.
#[test]
fn a_segment_that_claims_to_be_huge_takes_neither_memory_nor_time() {
    is_bounded(&with_huge_segment(&[]), "a segment that claims to be huge");
    is_bounded(&with_huge_segment(&[0x5a; 100]), "a segment that claims to be huge, and what follows in it");
    // The length of a record comes behind its checksum.
    let endless = [&[0x5a; 4], &u32::MAX.to_le_bytes()[..], &[0; 32]].concat();
    is_bounded(&with_huge_segment(&endless), "a record that claims to be huge");
}

/// A database with a segment that claims to be huge, and has these bytes behind its records.
fn with_huge_segment(behind: &[u8]) -> Sandbox {
    let sandbox = filled();
    let segment = only(&sandbox, "wal");
    let bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
    let mut header = fs::read(&segment).unwrap()[..72].to_vec();
    grow(&segment);
    header[32..40].copy_from_slice(&HUGE.to_le_bytes());
    let crc = crc32fast::hash(&[&header[..12], &header[16..]].concat());
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    put(&segment, 0, &header);
    put(&segment, end.next_multiple_of(8), behind);
    sandbox
}

#[test]
fn names_can_not_drive_the_terminal() {
    let sandbox = Sandbox::new();
    let evil = "db\u{1b}]0;owned\u{7}\u{202e}\nerror: forged";
    fs::create_dir(sandbox.file("other")).unwrap();
    fs::write(sandbox.file("other").join(evil), "").unwrap();
    let script = sandbox.write(&format!("{evil}.kv"), "get\nget a b\n");
    let script = script.to_string_lossy().into_owned();
    let runs = [
        sandbox.run(&["--db", evil, "get", "a"]),
        sandbox.run(&["--db", "other", "set", "a", "1"]),
        sandbox.run(&[".read", &script]),
        sandbox.run(&[".load", &script]),
        sandbox.run(&["--db", &format!("{evil}/x"), "set", "a", "1"]),
        sandbox.run(&["--db", evil, ".show"]),
    ];
    for ran in runs {
        let shown = format!("{}{}", ran.text(), ran.err);
        assert!(shown.contains("\\x1b]0;owned\\x07\\u{202e}\\x0aerror: forged"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown}");
        assert!(!shown.lines().any(|line| line.starts_with("error: forged")), "{shown}");
    }
}

#[test]
fn what_is_created_belongs_to_its_owner_whatever_the_umask() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[]);
    let program = command.get_program().to_owned();
    command = std::process::Command::new("sh");
    let script = "umask 0; printf 'set a 1\\n.compact\\nset b 2\\n.dump d.kv\\n' | \"$0\" --db db";
    command.arg("-c").arg(script).arg(program).current_dir(sandbox.path());
    assert!(command.envs(sandbox.environment()).output().unwrap().status.success());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&sandbox.file("db")), 0o700);
    for name in names(&sandbox) {
        assert_eq!(mode(&sandbox.file("db").join(&name)), 0o600, "{name}");
    }
    assert_eq!(mode(&sandbox.file("d.kv")), 0o666, "a dump is a file as any tool makes it");
}
