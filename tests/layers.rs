//! The architecture as a test: which module may use which, who may touch the file system, who may print.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every top-level module with the modules of the crate that it may name. The crate root re-exports, so it is free.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("error", &["types"]),
    ("options", &["types"]),
    ("storage", &["types", "error"]),
    ("engine", &["storage", "types", "error", "options"]),
    ("transaction", &["engine", "types", "error"]),
    ("db", &["engine", "transaction", "options", "types", "error"]),
    ("fuzzing", &["shell", "config", "engine", "storage"]),
    ("config", &["shell", "types", "error", "options"]),
    ("shell", &["db", "transaction", "engine", "options", "config", "types", "error"]),
];

/// Structures on disk that must not know of each other.
const SEPARATE: &[&str] = &["wal", "sstable", "manifest", "origin", "shm", "lock"];

/// The sources below a directory, without what a build puts between them.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn source(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// The code of a file without its tests and its comments.
fn code(file: &Path) -> String {
    let text = source(file);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_code(file: &Path) -> bool {
    let path = file.to_string_lossy();
    ["/tests", "/sim", "/model.rs", "/fuzzing"].iter().any(|part| path.contains(part))
}

/// The modules that `crate::…` paths of a text name.
fn used_modules(code: &str) -> Vec<String> {
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .filter(|name: &String| name.chars().next().is_some_and(char::is_lowercase))
        .collect()
}

#[test]
fn dependencies_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for (module, allowed) in MAY_USE {
        let files = [vec![src.join(format!("{module}.rs"))], rust_files_if_any(&src.join(module))].concat();
        for file in files.iter().filter(|file| file.exists() && !is_test_code(file)) {
            for used in used_modules(&code(file)) {
                assert!(
                    used == *module || allowed.contains(&&*used),
                    "{} uses crate::{used}",
                    file.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "the test has lost sight of the code: {checked} uses found");
}

fn rust_files_if_any(dir: &Path) -> Vec<PathBuf> {
    if dir.is_dir() { rust_files(dir) } else { Vec::new() }
}

#[test]
fn every_module_has_its_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(&src).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        let known = MAY_USE.iter().any(|(module, _)| *module == name);
        assert!(known || ["main", "lib", "cli"].contains(&&*name), "src/{name} has no line in this test");
    }
}

#[test]
fn structures_on_disk_do_not_know_each_other() {
    let storage = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage");
    for file in rust_files(&storage).iter().filter(|file| !is_test_code(file)) {
        let own = file.strip_prefix(&storage).unwrap().to_string_lossy().into_owned();
        for other in SEPARATE.iter().filter(|other| !own.starts_with(**other)) {
            let code = code(file);
            let names = [format!("storage::{other}"), format!("super::{other}")];
            assert!(
                own == "mod.rs" || !names.iter().any(|name| code.contains(&**name)),
                "{own} knows {other}"
            );
        }
    }
}

#[test]
fn only_the_file_system_layers_touch_the_file_system() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed =
        ["storage/fs.rs", "storage/fs/real.rs", "storage/fs/shared.rs", "shell/files.rs", "config.rs"];
    for file in rust_files(&src).iter().filter(|file| !is_test_code(file)) {
        let own = file.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        assert!(allowed.contains(&&*own) || !code(file).contains("std::fs"), "{own} uses std::fs");
    }
}

#[test]
fn only_the_shell_and_main_write_to_the_standard_streams() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src).iter().filter(|file| !is_test_code(file)) {
        let own = file.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let code = code(file);
        let prints = code.contains("io::stdout()") || code.contains("io::stderr()");
        assert!(!prints || own.starts_with("shell/") || own == "main.rs" || own == "cli.rs", "{own} prints");
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for dir in ["src", "tests", "benches", "examples"] {
        for file in rust_files_if_any(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)) {
            assert!(source(&file).starts_with("//!"), "{} has no header", file.display());
        }
    }
}
