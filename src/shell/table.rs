//! The one table of commands. Parser, help, completion and the test of grammar.md all read it.
//!
//! ```text
//! Spec   name, aliases ── how a command is called: `set`; a meta-command's name begins with a dot: `.stats`
//!        args          ── what follows by position: KEY VALUE, [PREFIX], KEY...
//!        options       ── what follows by name: [--limit N]
//!        the rest      ── what help says
//! ```
//!
//! 1. A command is added by a [`Verb`], a [`Spec`] and an arm in the parser's `build`; nothing else lists commands.
//! 2. Names and aliases are unique, and so are the names of meta-commands without their dot: `kvdb stats` is `.stats`.
//! 3. Only the last argument may be optional or repeated.

mod meta;
mod records;

use super::command::{Format, OutputMode};
use crate::config::MODES;

/// Which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the command of that name, which its Spec explains")]
pub enum Verb {
    Set,
    Get,
    Delete,
    Exists,
    Incr,
    Append,
    Rename,
    Ttl,
    Expire,
    Persist,
    Count,
    Keys,
    Scan,
    Begin,
    Commit,
    Rollback,
    Undo,
    Stats,
    Levels,
    Prefixes,
    Compact,
    Backup,
    Check,
    Repair,
    Dump,
    Load,
    Import,
    Export,
    Read,
    Output,
    Once,
    Mode,
    Timer,
    Echo,
    Pager,
    Bail,
    History,
    Open,
    Config,
    Show,
    Version,
    Completions,
    Man,
    Tutorial,
    Help,
    Exit,
}

/// Where help lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One key at a time.
    Records,
    /// Many keys in order.
    Ranges,
    /// All or nothing.
    Transactions,
    /// The database as a whole.
    Database,
    /// The shell itself.
    Shell,
}

impl Group {
    /// All groups, as help lists them.
    pub const ALL: [Self; 5] = [Self::Records, Self::Ranges, Self::Transactions, Self::Database, Self::Shell];

    /// The heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Records => "Keys and values",
            Self::Ranges => "Ranges, in byte order of the keys",
            Self::Transactions => "Transactions",
            Self::Database => "Database",
            Self::Shell => "Shell",
        }
    }
}

/// What an argument or an option's value is, for the parser and for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key of at most [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) bytes.
    Key,
    /// A value of at most [`MAX_VALUE_LEN`](crate::MAX_VALUE_LEN) bytes.
    Value,
    /// Where keys begin or end: any byte string.
    Bound,
    /// A decimal number from −2⁶³ to 2⁶³ − 1.
    Integer,
    /// A decimal number from 0 to 2⁶⁴ − 1.
    Count,
    /// A length of time, like `1h30m`.
    Duration,
    /// A moment, like `2026-11-22T14:05:09.250Z`.
    Moment,
    /// A path.
    File,
    /// A command's name.
    Topic,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// How often an argument occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Once: `KEY`.
    One,
    /// Once or not at all: `[PREFIX]`.
    Optional,
    /// Once or more: `KEY...`.
    Many,
    /// Any number of times, none included: `[KEY...]`.
    Any,
}

/// An argument by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// As signatures call it.
    pub name: &'static str,
    /// How often it occurs.
    pub arity: Arity,
    /// What it is.
    pub kind: Kind,
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// With its two dashes.
    pub name: &'static str,
    /// Name and kind of its value; a flag has none.
    pub value: Option<(&'static str, Kind)>,
    /// One line for help.
    pub summary: &'static str,
    /// Whether it can't be given together with the option before it in the table, nor with those that one excludes so.
    pub excludes_previous: bool,
    /// Whether it stands for the last argument. Such an option exists only for one-shot commands.
    pub replaces_last_arg: bool,
}

/// A line and what the shell answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// What is typed.
    pub line: &'static str,
    /// What is printed; empty where that depends on the database.
    pub output: &'static str,
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which.
    pub verb: Verb,
    /// In lower case; a meta-command's begins with a dot.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// Where help lists it.
    pub group: Group,
    /// By position.
    pub args: &'static [Arg],
    /// By name, as signatures list them.
    pub options: &'static [Opt],
    /// What it does, in one line of help.
    pub summary: &'static str,
    /// What it does, in full: paragraphs divided by newlines.
    pub details: &'static str,
    /// What it answers.
    pub reply: &'static str,
    /// Lines to run one after the other on an empty database.
    pub examples: &'static [Example],
    /// What its exit codes mean beyond the general table, for a one-shot or a script.
    pub exits: &'static [(u8, &'static str)],
}

impl Spec {
    /// Whether this is a meta-command.
    #[must_use]
    pub fn is_meta(&self) -> bool {
        self.name.starts_with('.')
    }

    /// How a one-shot calls it: `kvdb stats`.
    #[must_use]
    pub fn one_shot_name(&self) -> &'static str {
        self.name.trim_start_matches('.')
    }

    /// The name and every alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// How it is written: `count [PREFIX] [--from KEY] [--to KEY] [--glob PATTERN] [--reverse] [--limit N]`. Options that exist
    /// only for one-shots are left out.
    #[must_use]
    pub fn signature(&self) -> String {
        let mut text = self.short_signature();
        for option in self.options.iter().filter(|option| !option.replaces_last_arg) {
            if option.excludes_previous {
                text.truncate(text.len() - 1);
                text += " | ";
            } else {
                text += " [";
            }
            text += &option.signature();
            text.push(']');
        }
        text
    }

    /// The name and the arguments by position.
    #[must_use]
    pub fn short_signature(&self) -> String {
        let mut text = self.name.to_owned();
        for arg in self.args {
            text.push(' ');
            text += &arg.signature();
        }
        text
    }
}

impl Arg {
    /// How signatures write it.
    #[must_use]
    pub fn signature(&self) -> String {
        match self.arity {
            Arity::One => self.name.into(),
            Arity::Optional => format!("[{}]", self.name),
            Arity::Many => format!("{}...", self.name),
            Arity::Any => format!("[{}...]", self.name),
        }
    }
}

impl Opt {
    /// How signatures write it, without brackets.
    #[must_use]
    pub fn signature(&self) -> String {
        let value = self.value.map(|(name, _)| format!(" {name}"));
        format!("{}{}", self.name, value.unwrap_or_default())
    }
}

/// Every command, as help lists them.
pub fn specs() -> impl Iterator<Item = &'static Spec> + Clone {
    records::SPECS.iter().chain(meta::SPECS)
}

/// The command that a line calls by this name, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    specs().find(|spec| spec.names().any(|known| name.eq_ignore_ascii_case(known.as_bytes())))
}

/// The command that a one-shot or a help topic calls by this name: as in a line, or a meta-command without its dot.
#[must_use]
pub fn find_one_shot(name: &[u8]) -> Option<&'static Spec> {
    let dotless = |spec: &&Spec| name.eq_ignore_ascii_case(spec.one_shot_name().as_bytes());
    find(name).or_else(|| specs().find(dotless))
}

/// Every name that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    specs().flat_map(Spec::names)
}

/// Every name that [`find_one_shot`] knows.
pub fn one_shot_names() -> impl Iterator<Item = &'static str> {
    names().chain(specs().filter(|spec| spec.is_meta()).map(Spec::one_shot_name))
}

/// The names of the output modes.
pub const OUTPUT_MODES: &[&str] =
    &["quoted", "raw", "null", "json", "jsonl", "csv", "tsv", "table", "script"];

/// The output mode of this name.
#[must_use]
pub fn output_mode(name: &str) -> Option<OutputMode> {
    MODES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
}

/// The names of the formats for other programs.
pub const FORMATS: &[&str] = &["csv", "tsv", "jsonl"];

/// The format of this name.
#[must_use]
pub fn format(name: &str) -> Option<Format> {
    Some(match name {
        "csv" => Format::Csv,
        "tsv" => Format::Tsv,
        "jsonl" => Format::Jsonl,
        _ => return None,
    })
}

/// The format of files whose names end so.
#[must_use]
pub fn format_of_extension(extension: &str) -> Option<Format> {
    match &*extension.to_ascii_lowercase() {
        "tab" => Some(Format::Tsv),
        "ndjson" => Some(Format::Jsonl),
        other => format(other),
    }
}

/// `a, b or c`.
#[must_use]
pub fn alternatives(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let joint = match words.len() - index {
            _ if index == 0 => "",
            1 => " or ",
            _ => ", ",
        };
        text += joint;
        text += word;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut seen = HashSet::new();
        for name in one_shot_names() {
            assert!(seen.insert(name), "{name} is there twice");
            assert_eq!(name, name.to_ascii_lowercase());
        }
        assert_eq!(find(b"GeT").map(|spec| spec.verb), Some(Verb::Get));
        assert_eq!(find(b"rm").map(|spec| spec.verb), Some(Verb::Delete));
        assert_eq!(find(b"?").map(|spec| spec.verb), Some(Verb::Help));
        assert_eq!(find(b".Q").map(|spec| spec.verb), Some(Verb::Exit));
        assert_eq!(find(b"stats"), None);
        assert_eq!(find_one_shot(b"stats").map(|spec| spec.verb), Some(Verb::Stats));
        assert_eq!(find_one_shot(b".stats").map(|spec| spec.verb), Some(Verb::Stats));
        assert_eq!(find(b"ge"), None);
        assert_eq!(find_one_shot(b".get"), None);
    }

    #[test]
    fn every_verb_is_in_the_table_once() {
        let verbs: HashSet<Verb> = specs().map(|spec| spec.verb).collect();
        assert_eq!(verbs.len(), specs().count());
        assert_eq!(verbs.len(), Verb::Exit as usize + 1);
    }

    #[test]
    fn signatures_are_made_of_the_parts() {
        let signature = |name: &[u8]| find(name).unwrap().signature();
        assert_eq!(signature(b"append"), "append KEY VALUE");
        assert_eq!(signature(b"get"), "get KEY... [--default VALUE]");
        assert_eq!(signature(b"delete"), "delete [KEY...] [--prefix PREFIX] [--dry-run]");
        assert_eq!(
            signature(b"scan"),
            "scan [PREFIX] [--from KEY] [--to KEY] [--glob PATTERN] [--reverse] [--limit N] [--keys | --values]"
        );
        assert_eq!(signature(b".timer"), ".timer [on|off]");
    }

    #[test]
    fn entries_are_complete_and_fit_a_terminal() {
        for spec in specs() {
            assert!(spec.summary.len() <= 52 && !spec.summary.ends_with('.'), "{}", spec.name);
            assert!((1..=3).contains(&spec.examples.len()), "{}", spec.name);
            assert!(spec.details.ends_with('.') && !spec.reply.is_empty(), "{}", spec.name);
            let all_but_last = spec.args.split_last().map_or(spec.args, |(_, rest)| rest);
            assert!(all_but_last.iter().all(|arg| arg.arity == Arity::One), "{}", spec.name);
            assert!(!spec.options.first().is_some_and(|first| first.excludes_previous), "{}", spec.name);
        }
    }

    #[test]
    fn every_output_mode_has_its_name() {
        let modes: Vec<_> = OUTPUT_MODES.iter().map(|name| output_mode(name).unwrap()).collect();
        assert_eq!(modes.len(), OutputMode::Script as usize + 1);
        assert_eq!(modes[3], OutputMode::Json);
        assert_eq!(output_mode("Json"), None);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(&["on", "off", "auto"]), "on, off or auto");
        assert_eq!(alternatives(&["on", "off"]), "on or off");
        assert_eq!(alternatives(&["on"]), "on");
    }
}
