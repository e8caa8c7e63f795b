//! README.md and grammar.md are true: every session and command line that they show is run, and prints what they show.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Block {
    line: usize,
    language: String,
    text: String,
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(markdown.lines()) {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                blocks.push(Block { line: number, language: language.to_owned(), text: String::new() });
            }
            None if open => writeln!(blocks.last_mut().unwrap().text, "{line}").unwrap(),
            None => {}
        }
    }
    blocks
}

/// The lines as a text.
fn join<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn in_scratch(dir: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    let bin = Path::new(env!("CARGO_BIN_EXE_kvdb")).parent().unwrap();
    command.current_dir(dir).env_clear().env("HOME", dir);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command
}

fn feed(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a shell line prints, standard output first, and how it ends if not with 0.
fn console(dir: &Path, line: &str) -> String {
    let mut command = in_scratch(dir, "sh");
    command.args(["-c", line]);
    let output = feed(command, "");
    let mut shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if let Some(code) = output.status.code().filter(|code| *code != 0) {
        writeln!(shown, "[exit {code}]").unwrap();
    }
    shown
}

#[test]
fn command_lines_in_the_readme_print_what_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines_run = 0;
    for block in blocks(&read("README.md")).iter().filter(|block| block.language == "console") {
        let mut printed = String::new();
        for line in block.text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            write!(printed, "$ {line}\n{}", console(dir.path(), line)).unwrap();
            lines_run += 1;
        }
        assert_eq!(printed, block.text, "the block at line {}", block.line);
    }
    assert!(lines_run >= 10, "the test has lost sight of the README's command lines");
}

#[test]
fn sessions_in_the_readme_print_what_it_shows() {
    let mut sessions = 0;
    for block in blocks(&read("README.md")).iter().filter(|block| block.text.starts_with("kvdb> ")) {
        let dir = tempfile::tempdir().unwrap();
        let typed = join(block.text.lines().filter_map(|line| line.strip_prefix("kvdb> ")));
        let shown = join(block.text.lines().filter(|line| !line.starts_with("kvdb> ")));
        let output = feed(in_scratch(dir.path(), "kvdb"), &typed);
        assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "the block at line {}", block.line);
        sessions += 1;
    }
    assert_eq!(sessions, 1, "the test has lost sight of the README's session");
}

#[test]
fn the_readmes_two_commands_are_the_ones_that_are_checked() {
    let commands: Vec<_> =
        blocks(&read("README.md")).into_iter().filter(|block| block.language == "sh").collect();
    assert!(commands[0].text.contains("cargo install --locked --path ."));
    assert_eq!(commands[1].text, "cargo test --locked\n");
    assert!(read(".ci/run").contains("cargo test --locked"));
}

#[test]
fn the_figures_in_the_grammar_are_those_of_stats() {
    let grammar = read("grammar.md");
    let section = grammar.split("\n## ").find(|section| section.starts_with("Figures\n")).unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let documented = cells.flat_map(|(names, _)| names.split('`').filter(|name| !["", " "].contains(name)));
    let documented: BTreeSet<&str> = documented.filter(|name| !name.ends_with('…')).collect();
    let dir = tempfile::tempdir().unwrap();
    console(dir.path(), "kvdb set a 1 && kvdb .compact");
    let lines = console(dir.path(), "kvdb .stats");
    let object: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&console(dir.path(), "kvdb --json .stats")).unwrap();
    let mut shown: BTreeSet<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    shown.extend(object.keys().map(String::as_str));
    assert_eq!(documented, shown);
}

/// In a `kvdb` block a line that begins with `# ` is what the commands before it print.
#[test]
fn examples_in_the_grammar_print_what_it_shows() {
    let mut compared = 0;
    for block in blocks(&read("grammar.md")).iter().filter(|block| block.language == "kvdb") {
        let shown = join(block.text.lines().filter_map(|line| line.strip_prefix("# ")));
        if shown.is_empty() || block.text.lines().next().is_none_or(|line| line.starts_with('#')) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let output = feed(in_scratch(dir.path(), "kvdb"), &block.text);
        assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "the block at line {}", block.line);
        compared += 1;
    }
    assert!(compared >= 10, "the test has lost sight of the grammar's examples");
}
