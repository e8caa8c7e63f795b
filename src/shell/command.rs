//! What a line of the language means once it is parsed: plain data, no I/O, no engine.

use std::path::PathBuf;

use super::glob::Glob;
use crate::config::Paging;
use crate::types::{Direction, Key, KeyRange, Lifetime, SetOptions, Value};

/// One command, ready to run. How it is written down is the table in [`table`](super::table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `set K V`: replies `OK`, or `null` if the condition does not hold.
    Set {
        /// Where to store.
        key: Key,
        /// What to store.
        value: Value,
        /// `--nx`, `--xx`, `--if-value`; `--ttl`, `--expires-at`.
        options: SetOptions,
    },
    /// `get K…`: one literal or `null` per key.
    Get {
        /// At least one.
        keys: Vec<Key>,
        /// `--default V`: what stands for a key that is not there.
        default: Option<Value>,
    },
    /// `delete K…`: the number removed.
    Delete {
        /// At least one.
        keys: Vec<Key>,
        /// `--dry-run`: only counts.
        dry_run: bool,
    },
    /// `delete --prefix P`: the number removed.
    DeletePrefix {
        /// What all keys that are removed begin with.
        prefix: Value,
        /// `--dry-run`: only counts.
        dry_run: bool,
    },
    /// `rename A B`: `OK`, or `null` if A is not there.
    Rename {
        /// The key that there is.
        from: Key,
        /// The key that its value is under afterwards.
        to: Key,
        /// `--nx`: only if `to` is not there.
        if_absent: bool,
    },
    /// `ttl K…`: how long each key will be there, `none` or `null`.
    Ttl {
        /// At least one.
        keys: Vec<Key>,
    },
    /// `expire K D` and `persist K`: `OK`, or `null` if the key is not there.
    Expire {
        /// The key.
        key: Key,
        /// How long it will be there.
        lifetime: Lifetime,
    },
    /// `exists K…`: `true` or `false` per key.
    Exists {
        /// At least one.
        keys: Vec<Key>,
    },
    /// `count [P]`: a number.
    Count {
        /// What to count.
        selection: Selection,
    },
    /// `scan`, `scan --keys` = `keys`, `scan --values`: records in byte order.
    Scan {
        /// What to walk over.
        selection: Selection,
        /// What to show of each record.
        columns: Columns,
    },
    /// `incr K [N]`: the new number.
    Incr {
        /// The counter; absent counts as 0.
        key: Key,
        /// What is added.
        by: i64,
    },
    /// `append K V`: the new length in bytes.
    Append {
        /// Where; absent counts as empty.
        key: Key,
        /// What is added at the end.
        value: Value,
    },
    /// `begin`.
    Begin,
    /// `commit`.
    Commit,
    /// `rollback`.
    Rollback,
    /// `help [TOPIC]`.
    Help {
        /// A verb or meta-command, as the table spells it.
        topic: Option<String>,
    },
    /// `exit`, `quit`.
    Exit,
    /// `.undo [N]`: takes back what was typed last.
    Undo {
        /// How many commands or commits.
        count: u64,
    },
    /// `.stats`.
    Stats,
    /// `.levels`.
    Levels,
    /// `.prefixes [P]`: what is there, by what keys begin with.
    Prefixes {
        /// Where to look.
        overview: Overview,
    },
    /// `.compact`.
    Compact,
    /// `.check`.
    Check,
    /// `.repair [NEW_DIR]`.
    Repair {
        /// Where the new database goes; beside the damaged one when there is none.
        dir: Option<PathBuf>,
    },
    /// `.backup DIR`.
    Backup {
        /// New, empty, or an older backup.
        dir: PathBuf,
    },
    /// `.dump [FILE]`.
    Dump {
        /// Standard output when there is none.
        file: Option<PathBuf>,
    },
    /// `.load FILE`.
    Load {
        /// A dump; `-` is standard input for a one-shot.
        file: PathBuf,
    },
    /// `.import FILE`: records from another program.
    Import {
        /// `-` is standard input for a one-shot.
        file: PathBuf,
        /// How it is written.
        format: Format,
        /// What to take from it.
        import: Import,
    },
    /// `.export FILE`: records for another program.
    Export {
        /// `-` is where results go.
        file: PathBuf,
        /// How it is written.
        format: Format,
        /// What to write to it.
        export: Export,
    },
    /// `.read FILE`.
    Read {
        /// A script.
        file: PathBuf,
    },
    /// `.output [FILE]`, `.once FILE`: where results go.
    Output {
        /// Standard output when there is none.
        file: Option<PathBuf>,
        /// Whether for one command only.
        once: bool,
    },
    /// `.mode [M]`: shows or sets how results are written.
    Mode {
        /// Shown when there is none.
        mode: Option<OutputMode>,
    },
    /// `.timer [on|off]`.
    Timer {
        /// Shown when there is none.
        on: Option<bool>,
    },
    /// `.echo [on|off]`.
    Echo {
        /// Shown when there is none.
        on: Option<bool>,
    },
    /// `.pager [on|off|auto]`.
    Pager {
        /// Shown when there is none.
        when: Option<Paging>,
    },
    /// `.bail [on|off|auto]`.
    Bail {
        /// Shown when there is none.
        bail: Option<Bail>,
    },
    /// `.history [N|on|off]`.
    History {
        /// What to do with it.
        history: History,
    },
    /// `.open DIR`.
    Open {
        /// The directory of another database.
        dir: PathBuf,
    },
    /// `.config init`: writes the user's configuration file.
    ConfigInit,
    /// `.completions SHELL`.
    Completions {
        /// The shell that is to complete.
        shell: CompletingShell,
    },
    /// `.man`: the manual page.
    Man,
    /// `.tutorial`: begins it, or leaves it.
    Tutorial,
    /// `.show`: the settings and where each comes from.
    Show,
    /// `.version`.
    Version,
}

/// How records are written for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, RFC 4180.
    Csv,
    /// TAB-separated, with escapes.
    Tsv,
    /// A JSON object a line.
    Jsonl,
}

/// What an import takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The column or field of the key; the usual one when there is none.
    pub key: Option<String>,
    /// The column or field of the value.
    pub value: Option<String>,
    /// What every key is made to begin with.
    pub prefix: Vec<u8>,
    /// Whether the first row is a record already.
    pub no_header: bool,
    /// Whether nothing is applied.
    pub dry_run: bool,
}

/// What an export writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// What keys begin with.
    pub prefix: Vec<u8>,
    /// Whether that is left out of the keys.
    pub strip: bool,
}

/// How keys are divided into groups by what they begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// What all of them begin with.
    pub prefix: Vec<u8>,
    /// How many separators behind that a group's prefix has.
    pub depth: u64,
    /// What ends a part of a key: this, or one of `:`, `/` and `.`.
    pub separator: Option<Vec<u8>>,
    /// How many groups are shown.
    pub limit: usize,
}

/// Which records, in which order, how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Prefix, `--from` (included), `--to` (excluded) and how `--glob` begins, intersected.
    pub range: KeyRange,
    /// `--glob PATTERN`.
    pub glob: Option<Glob>,
    /// `--reverse`.
    pub direction: Direction,
    /// `--limit N`.
    pub limit: Option<u64>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { range: KeyRange::all(), glob: None, direction: Direction::Forward, limit: None }
    }
}

/// What a scan shows of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Key and value.
    #[default]
    Both,
    /// Keys only.
    Keys,
    /// Values only.
    Values,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputMode {
    /// Literals that read back to the same bytes.
    #[default]
    Quoted,
    /// The exact bytes and nothing else.
    Raw,
    /// The exact bytes, and a NUL behind each key and each value.
    Null,
    /// One JSON document per command.
    Json,
    /// One JSON object per record.
    Jsonl,
    /// Comma-separated columns below their names.
    Csv,
    /// Columns divided by TAB below their names, with escapes.
    Tsv,
    /// Aligned columns.
    Table,
    /// Commands that would store the result again.
    Script,
}

/// Whether a script stops at the first error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bail {
    /// Stops.
    On,
    /// Goes on.
    Off,
    /// Goes on in a script on standard input, stops in `.read`.
    #[default]
    Auto,
}

/// What to do with the history of what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Show the newest lines, at most so many.
    Show(usize),
    /// Keep what is typed from now on, or don't.
    Keep(bool),
}

/// A shell that can be told how the command line is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the shell of that name")]
pub enum CompletingShell {
    Bash,
    Zsh,
    Fish,
}
