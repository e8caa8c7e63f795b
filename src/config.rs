//! The shell's settings: what they are, where a value may come from, and which source wins.
//!
//! There are fifteen. Each has one name, used in a `config.toml`, and one environment variable; those that one may want to
//! change for a single run have a [flag](FLAGS). Every source goes through the same reading of text, so that `sync = "each"`,
//! `KVDB_SYNC=each` and `--sync each` can't differ. Later sources win:
//!
//! 1. the defaults,
//! 2. the user's `config.toml` (in the configuration directory of the platform),
//! 3. `DIR/config.toml` in the database (which can't decide what is the user's: the database, a command, the history),
//! 4. the environment,
//! 5. flags.
//!
//! Which database is opened is decided from 1, 2, 4 and 5 before 3 is read. Every value remembers where it came from;
//! `.show` prints that. A name that does not exist or a value that is not allowed is an error that says where it stands
//! and what is allowed: a setting with a typo must not be silently without effect.
//!
//! Nothing here touches the file system or the process's environment: [`resolve`] is given functions that do.

mod file;
mod flag;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::shell::command::{Bail, OutputMode};
use crate::types::{Compression, EngineKind, SyncMode};

use file::Owner;

pub use flag::{FLAGS, Flag, FlagValue};

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal that can, unless the environment says otherwise (`NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`). Decided for each
    /// stream.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// When results go through a pager, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Paging {
    /// At a prompt, if they are taller than the screen: through `$PAGER`, or `less`.
    #[default]
    Auto,
    /// At a prompt, always.
    On,
    /// Never.
    Off,
    /// As `Auto`, through this command of the system's shell.
    Command(String),
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The directory of the database.
    Db,
    /// The engine of a database that is created.
    Engine,
    /// When writes are synced.
    Sync,
    /// How values are packed.
    Compression,
    /// How results are written.
    Mode,
    /// When output is coloured.
    Color,
    /// Whether a script stops at the first error.
    Bail,
    /// Whether the time of each command is shown.
    Timer,
    /// Whether the commands of a script are shown.
    Echo,
    /// When results go through a pager, and which.
    Pager,
    /// How long to wait for another process's lock.
    LockTimeout,
    /// Whether writes are refused.
    ReadOnly,
    /// Whether the history of a session is kept in a file.
    History,
    /// How many lines of history are kept.
    HistorySize,
    /// Words that keep a line out of the history.
    HistoryIgnore,
}

/// How a setting is spelled and what may be said for it.
struct Spec {
    name: Name,
    key: &'static str,
    variable: &'static str,
    allowed: &'static str,
    /// What it says, for a comment or a manual page.
    summary: &'static str,
}

const SWITCH: &str = "on, off";

/// All settings, in the order of [`Name`] and of `.show`.
const SPECS: [Spec; 15] = [
    spec(Name::Db, "db", "KVDB_DIR", "a directory", "where the database is"),
    spec(Name::Engine, "engine", "KVDB_ENGINE", "simple, kv", "the engine of a database that is created"),
    spec(Name::Sync, "sync", "KVDB_SYNC", "each, group, none", "when writes are synced to the device"),
    spec(
        Name::Compression,
        "compression",
        "KVDB_COMPRESSION",
        "none, lz4",
        "how values are packed in sorted tables",
    ),
    spec(
        Name::Mode,
        "mode",
        "KVDB_MODE",
        "quoted, raw, null, json, jsonl, csv, tsv, table, script",
        "how results are written",
    ),
    spec(Name::Color, "color", "KVDB_COLOR", "auto, always, never", "when output is coloured"),
    spec(Name::Bail, "bail", "KVDB_BAIL", "on, off, auto", "whether a script stops at its first error"),
    spec(Name::Timer, "timer", "KVDB_TIMER", SWITCH, "whether the time of each command is shown"),
    spec(Name::Echo, "echo", "KVDB_ECHO", SWITCH, "whether the commands of a script are shown"),
    spec(
        Name::Pager,
        "pager",
        "KVDB_PAGER",
        "auto, on, off, or a command",
        "when results at the prompt go through a pager, and which",
    ),
    spec(
        Name::LockTimeout,
        "lock_timeout",
        "KVDB_LOCK_TIMEOUT",
        "seconds from 0 to 86400, for example 5 or 0.5",
        "how long to wait for another process",
    ),
    spec(Name::ReadOnly, "readonly", "KVDB_READONLY", SWITCH, "whether writes are refused"),
    spec(
        Name::History,
        "history",
        "KVDB_HISTORY",
        SWITCH,
        "whether what is typed at the prompt is kept in a file",
    ),
    spec(
        Name::HistorySize,
        "history_size",
        "KVDB_HISTORY_SIZE",
        "a number of lines from 0 to 1000000",
        "how much of it is kept",
    ),
    spec(
        Name::HistoryIgnore,
        "history_ignore",
        "KVDB_HISTORY_IGNORE",
        "words divided by blanks, for example \"password token\"",
        "a line with one of these words in it is not kept",
    ),
];

const fn spec(
    name: Name,
    key: &'static str,
    variable: &'static str,
    allowed: &'static str,
    summary: &'static str,
) -> Spec {
    Spec { name, key, variable, allowed, summary }
}

/// The words that a setting can be, where these are all that is allowed.
#[must_use]
pub fn words(name: Name) -> Vec<&'static str> {
    let words: Vec<_> = SPECS[name as usize].allowed.split(", ").collect();
    if words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())) {
        words
    } else {
        Vec::new()
    }
}

/// The environment variable of each setting, and what the setting says.
pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    SPECS.iter().map(|spec| (spec.variable, spec.summary))
}

/// A configuration file that changes nothing: every setting, explained, and commented out with its default.
#[must_use]
pub fn template() -> String {
    let defaults = Settings::default();
    let mut text = "# Settings of kvdb. Environment variables and options of the command line count more than this file,\n\
                    # and so does a config.toml in the directory of a database. `.show` tells which value comes from where.\n"
        .to_owned();
    for spec in &SPECS {
        let value = defaults.text(spec.name);
        let is_bare = value.parse::<f64>().is_ok();
        let value = if is_bare { value } else { format!("\"{value}\"") };
        let lines = ["\n# ", spec.summary, ": ", spec.allowed, "\n#", spec.key, " = ", &value, "\n"];
        text.extend(lines);
    }
    text
}

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
    /// A flag, as it was typed.
    Flag(&'static str),
    /// A meta-command of the session.
    Session,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Session => f.write_str("this session"),
        }
    }
}

/// What is wrong with a setting, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingError {
    /// Where and what.
    pub message: String,
    /// What is allowed.
    pub help: Option<String>,
}

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own that is on or off")]
pub struct Settings {
    /// The directory of the database.
    pub db: PathBuf,
    /// The engine of a database that is created.
    pub engine: EngineKind,
    /// When writes are synced.
    pub sync: SyncMode,
    /// How values are packed.
    pub compression: Compression,
    /// How results are written.
    pub mode: OutputMode,
    /// When output is coloured.
    pub color: Color,
    /// Whether a script stops at the first error.
    pub bail: Bail,
    /// Whether the time of each command is shown.
    pub timer: bool,
    /// Whether the commands of a script are shown.
    pub echo: bool,
    /// When results go through a pager, and which.
    pub pager: Paging,
    /// How long to wait for another process's lock.
    pub lock_timeout: Duration,
    /// Whether writes are refused.
    pub readonly: bool,
    /// Whether the history of a session is kept in a file.
    pub history: bool,
    /// How many lines of history are kept.
    pub history_size: usize,
    /// Words, divided by blanks, that keep a line out of the history.
    pub history_ignore: String,
    /// Where each value came from, in the order of [`Name`].
    origins: [Origin; SPECS.len()],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            db: PathBuf::from(".kvdb"),
            engine: EngineKind::default(),
            sync: SyncMode::default(),
            compression: Compression::default(),
            mode: OutputMode::default(),
            color: Color::default(),
            bail: Bail::default(),
            timer: false,
            echo: false,
            pager: Paging::default(),
            lock_timeout: Duration::from_secs(5),
            readonly: false,
            history: true,
            history_size: 10_000,
            history_ignore: String::new(),
            origins: Default::default(),
        }
    }
}

impl Settings {
    /// Where the value of a setting came from.
    #[must_use]
    pub const fn origin(&self, name: Name) -> &Origin {
        &self.origins[name as usize]
    }

    /// Notes that a value was changed within the session.
    pub fn changed_in_session(&mut self, name: Name) {
        self.origins[name as usize] = Origin::Session;
    }

    /// Every setting as name, value and origin, as `.show` prints them.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String, String)> {
        let row = |spec: &Spec| (spec.key, self.text(spec.name), self.origin(spec.name).to_string());
        SPECS.iter().map(row).collect()
    }

    /// A setting's value, as it would be typed.
    #[must_use]
    pub fn text(&self, name: Name) -> String {
        match name {
            Name::Db => self.db.display().to_string(),
            Name::Engine => self.engine.name().into(),
            Name::Sync => spelling(&SYNC_MODES, self.sync).into(),
            Name::Compression => spelling(&COMPRESSIONS, self.compression).into(),
            Name::Mode => spelling(&MODES, self.mode).into(),
            Name::Color => spelling(&COLORS, self.color).into(),
            Name::Bail => spelling(&BAILS, self.bail).into(),
            Name::Timer => switch_name(self.timer).into(),
            Name::Echo => switch_name(self.echo).into(),
            Name::Pager => match &self.pager {
                Paging::Auto => "auto".into(),
                Paging::On => "on".into(),
                Paging::Off => "off".into(),
                Paging::Command(command) => command.clone(),
            },
            Name::LockTimeout => self.lock_timeout.as_secs_f64().to_string(),
            Name::ReadOnly => switch_name(self.readonly).into(),
            Name::History => switch_name(self.history).into(),
            Name::HistorySize => self.history_size.to_string(),
            Name::HistoryIgnore => self.history_ignore.clone(),
        }
    }

    /// Reads one value; `None` when it is not allowed.
    fn assign(&mut self, name: Name, text: &str) -> Option<()> {
        match name {
            Name::Db => self.db = PathBuf::from(text),
            Name::Engine => {
                self.engine = EngineKind::from_name(text)?;
            }
            Name::Sync => self.sync = meaning(&SYNC_MODES, text)?,
            Name::Compression => self.compression = meaning(&COMPRESSIONS, text)?,
            Name::Mode => self.mode = meaning(&MODES, text)?,
            Name::Color => self.color = meaning(&COLORS, text)?,
            Name::Bail => self.bail = meaning(&BAILS, text)?,
            Name::Timer => self.timer = switch(text)?,
            Name::Echo => self.echo = switch(text)?,
            Name::Pager => self.pager = paging(text),
            Name::LockTimeout => self.lock_timeout = seconds(text)?,
            Name::ReadOnly => self.readonly = switch(text)?,
            Name::History => self.history = switch(text)?,
            Name::HistorySize => {
                self.history_size = text.parse().ok().filter(|&lines| lines <= 1_000_000)?;
            }
            Name::HistoryIgnore => text.clone_into(&mut self.history_ignore),
        }
        Some(())
    }

    /// Reads one value and notes where it came from, or says what is wrong with it there.
    fn set(&mut self, name: Name, value: &OsStr, origin: Origin) -> Result<(), SettingError> {
        let spec = &SPECS[name as usize];
        let accepted = match (name, value.to_str()) {
            (_, Some("")) if name != Name::HistoryIgnore => None,
            (Name::Engine, None) => None,
            (Name::Db, _) => {
                self.db = PathBuf::from(value);
                Some(())
            }
            (_, text) => text.and_then(|text| self.assign(name, text)),
        };
        if accepted.is_none() {
            let value = value.to_string_lossy();
            let message = match &origin {
                Origin::File { .. } => format!("{origin}: invalid value \"{value}\" for \"{}\"", spec.key),
                _ => format!("invalid value \"{value}\" for {origin}"),
            };
            return Err(SettingError { message, help: Some(format!("allowed: {}", spec.allowed)) });
        }
        self.origins[name as usize] = origin;
        Ok(())
    }
}

const SYNC_MODES: [(&str, SyncMode); 3] =
    [("each", SyncMode::Each), ("group", SyncMode::Group), ("none", SyncMode::None)];
const COMPRESSIONS: [(&str, Compression); 2] = [("none", Compression::None), ("lz4", Compression::Lz4)];
const COLORS: [(&str, Color); 3] =
    [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];

const BAILS: [(&str, Bail); 3] = [("on", Bail::On), ("off", Bail::Off), ("auto", Bail::Auto)];

/// The output modes and their names.
pub const MODES: [(&str, OutputMode); 9] = [
    ("quoted", OutputMode::Quoted),
    ("raw", OutputMode::Raw),
    ("null", OutputMode::Null),
    ("json", OutputMode::Json),
    ("jsonl", OutputMode::Jsonl),
    ("csv", OutputMode::Csv),
    ("tsv", OutputMode::Tsv),
    ("table", OutputMode::Table),
    ("script", OutputMode::Script),
];

fn meaning<T: Copy>(names: &[(&'static str, T)], text: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

fn spelling<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}

fn paging(text: &str) -> Paging {
    match (text, switch(text)) {
        ("auto", _) => Paging::Auto,
        (_, Some(true)) => Paging::On,
        (_, Some(false)) => Paging::Off,
        (command, None) => Paging::Command(command.into()),
    }
}

const fn switch_name(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// What was typed before the verb: setting, value, and the flag as it was typed.
pub type Flags = Vec<(Name, OsString, &'static str)>;

/// Where [`resolve`] gets what it does not know.
pub struct Sources<'a> {
    /// The settings given as flags.
    pub flags: Flags,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The text of a file; `None` when there is no such file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Option<String>>,
    /// The user's configuration file, if the platform has a place for one.
    pub user_file: Option<PathBuf>,
    /// Whether configuration files count at all.
    pub files: bool,
}

/// The settings that follow from the sources.
///
/// # Errors
/// The first name or value that is not allowed, or a file that can't be read.
pub fn resolve(sources: &Sources<'_>) -> Result<Settings, SettingError> {
    let mut settings = Settings::default();
    if let Some(path) = sources.user_file.as_deref().filter(|_| sources.files) {
        apply_file(&mut settings, sources, path, Owner::User)?;
    }
    let mut located = settings.clone();
    apply_process(&mut located, sources)?;
    if sources.files {
        apply_file(&mut settings, sources, &located.db.join("config.toml"), Owner::Database)?;
    }
    apply_process(&mut settings, sources)?;
    Ok(settings)
}

/// The environment, then the flags.
fn apply_process(settings: &mut Settings, sources: &Sources<'_>) -> Result<(), SettingError> {
    for spec in &SPECS {
        if let Some(value) = (sources.variable)(spec.variable).filter(|value| !value.is_empty()) {
            settings.set(spec.name, &value, Origin::Variable(spec.variable))?;
        }
    }
    for (name, value, flag) in &sources.flags {
        settings.set(*name, value, Origin::Flag(flag))?;
    }
    Ok(())
}

/// What helps against a configuration file that can't be used.
const NO_CONFIG: &str = "--no-config leaves configuration files out";

/// Applies a configuration file if it is there.
fn apply_file(
    settings: &mut Settings,
    sources: &Sources<'_>,
    path: &Path,
    owner: Owner,
) -> Result<(), SettingError> {
    let failed = |error: io::Error| SettingError {
        message: format!("cannot read {}: {error}", path.display()),
        help: Some(NO_CONFIG.into()),
    };
    match (sources.read)(path).map_err(failed)? {
        Some(text) => file::apply_toml(settings, &text, path, owner),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
