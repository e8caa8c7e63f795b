//! The options of the program, which stand before the command: each gives one setting a value.

use super::Name;

/// An option of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With its two dashes.
    pub name: &'static str,
    /// One character that stands for it behind a single dash.
    pub short: Option<char>,
    /// What it sets.
    pub setting: Name,
    /// To what.
    pub value: FlagValue,
    /// One line for help.
    pub summary: &'static str,
}

/// Where the value of an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// Typed behind it, and called this in help.
    Typed(&'static str),
    /// Always this: the option is a shorthand.
    Fixed(&'static str),
}

const fn typed(name: &'static str, setting: Name, placeholder: &'static str, summary: &'static str) -> Flag {
    Flag { name, short: None, setting, value: FlagValue::Typed(placeholder), summary }
}

const fn fixed(name: &'static str, setting: Name, value: &'static str, summary: &'static str) -> Flag {
    Flag { name, short: None, setting, value: FlagValue::Fixed(value), summary }
}

/// All of them, in the order of help. Where two that are given set the same, the last counts.
pub const FLAGS: [Flag; 12] = [
    typed("--db", Name::Db, "DIR", "Where the database is [default: $KVDB_DIR, then ./.kvdb]"),
    typed(
        "--mode",
        Name::Mode,
        "MODE",
        "How results are written, for example json or csv: see `kvdb help .mode`",
    ),
    typed("--sync", Name::Sync, "WHEN", "When writes reach the device: each, group, none"),
    typed(
        "--lock-timeout",
        Name::LockTimeout,
        "SECONDS",
        "How long to wait for another process [default: 5]",
    ),
    typed("--bail", Name::Bail, "WHEN", "Stop a script at its first error: on, off, auto"),
    typed("--color", Name::Color, "WHEN", "Colour: auto, always, never"),
    typed("--engine", Name::Engine, "ENGINE", "The engine of a database that is created: simple, kv"),
    fixed("--json", Name::Mode, "json", "Same as --mode json; errors are JSON too"),
    fixed("--raw", Name::Mode, "raw", "Same as --mode raw: the exact bytes"),
    Flag {
        short: Some('0'),
        ..fixed("--null", Name::Mode, "null", "Same as --mode null: the exact bytes, each ended by NUL")
    },
    fixed("--readonly", Name::ReadOnly, "on", "Refuse writes"),
    fixed("--timer", Name::Timer, "on", "Say how long each command took, on standard error"),
];

impl Flag {
    /// How it is typed: `--json`, `--db DIR`.
    #[must_use]
    pub fn signature(&self) -> String {
        match self.value {
            FlagValue::Typed(placeholder) => format!("{} {placeholder}", self.name),
            FlagValue::Fixed(_) => self.name.into(),
        }
    }
}
