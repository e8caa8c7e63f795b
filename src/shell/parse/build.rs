//! From a checked [`Call`] to the [`Command`]: numbers, paths, limits, choices.
//!
//! One arm per [`Verb`]. Every error here points at the token that holds the wrong value.

use std::ffi::OsStr;
use std::fmt::Display;
use std::num::{IntErrorKind, ParseIntError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::super::command::{
    Bail, Columns, Command, CompletingShell, Export, Format, History, Import, Overview, Selection,
};
use super::super::diagnostic::Diagnostic;
use super::super::duration;
use super::super::glob::{self, Glob};
use super::super::lexer::Token;
use super::super::literal::brief;
use super::super::table::{self, Kind, Verb, alternatives};
use super::call::Call;
use super::{QUOTED_LEN, ValueSource, did_you_mean, topic};
use crate::config::Paging;
use crate::types::{
    Direction, Key, KeyRange, Lifetime, MAX_KEY_LEN, MAX_VALUE_LEN, SetOptions, Timestamp, Value,
};

/// Prefixes that are shown where nothing else is asked for.
const MOST_PREFIXES: u64 = 50;

impl Call<'_, '_> {
    /// The command, with everything that was given to it.
    pub(super) fn build(mut self) -> Result<Command, Diagnostic> {
        Ok(match self.spec.verb {
            Verb::Set => {
                Command::Set { key: self.key()?, options: self.set_options()?, value: self.value()? }
            }
            Verb::Get => Command::Get { keys: self.keys()?, default: self.value_of("--default")? },
            Verb::Delete => self.delete()?,
            Verb::Exists => Command::Exists { keys: self.keys()? },
            Verb::Incr => Command::Incr { key: self.key()?, by: self.increment()? },
            Verb::Append => Command::Append { key: self.key()?, value: self.value()? },
            Verb::Rename => Command::Rename {
                from: self.key()?,
                to: key(&self.args[1])?,
                if_absent: self.option("--nx").is_some(),
            },
            Verb::Ttl => Command::Ttl { keys: self.keys()? },
            Verb::Expire => {
                Command::Expire { key: self.key()?, lifetime: Lifetime::For(duration(&self.args[1])?) }
            }
            Verb::Persist => Command::Expire { key: self.key()?, lifetime: Lifetime::Forever },
            Verb::Count => Command::Count { selection: self.selection()? },
            Verb::Keys => Command::Scan { selection: self.selection()?, columns: Columns::Keys },
            Verb::Scan => Command::Scan { selection: self.selection()?, columns: self.columns() },
            Verb::Begin => Command::Begin,
            Verb::Commit => Command::Commit,
            Verb::Rollback => Command::Rollback,
            Verb::Undo => {
                Command::Undo { count: self.args.first().map_or(Ok(1), |token| number(token, 0, u64::MAX))? }
            }
            Verb::Stats => Command::Stats,
            Verb::Levels => Command::Levels,
            Verb::Prefixes => Command::Prefixes { overview: self.overview()? },
            Verb::Compact => Command::Compact,
            Verb::Backup => Command::Backup { dir: path(&self.args[0])? },
            Verb::Check => Command::Check,
            Verb::Repair => Command::Repair { dir: self.args.first().map(path).transpose()? },
            Verb::Dump => Command::Dump { file: self.args.first().map(path).transpose()? },
            Verb::Load => Command::Load { file: path(&self.args[0])? },
            Verb::Import => {
                Command::Import { file: path(&self.args[0])?, format: self.format()?, import: self.import() }
            }
            Verb::Export => {
                Command::Export { file: path(&self.args[0])?, format: self.format()?, export: self.export() }
            }
            Verb::Read => Command::Read { file: path(&self.args[0])? },
            Verb::Output => Command::Output { file: self.args.first().map(path).transpose()?, once: false },
            Verb::Once => Command::Output { file: Some(path(&self.args[0])?), once: true },
            Verb::Mode => Command::Mode { mode: self.choice(table::output_mode)? },
            Verb::Timer => Command::Timer { on: self.choice(switch)? },
            Verb::Echo => Command::Echo { on: self.choice(switch)? },
            Verb::Pager => Command::Pager { when: self.choice(paging)? },
            Verb::Bail => Command::Bail { bail: self.choice(bail)? },
            Verb::History => Command::History { history: self.history()? },
            Verb::Open => Command::Open { dir: path(&self.args[0])? },
            Verb::Config => {
                self.choice(|word| (word == "init").then_some(Command::ConfigInit))?.unwrap_or(Command::Show)
            }
            Verb::Completions => Command::Completions {
                shell: self.choice(completing_shell)?.unwrap_or(CompletingShell::Bash),
            },
            Verb::Man => Command::Man,
            Verb::Tutorial => Command::Tutorial,
            Verb::Show => Command::Show,
            Verb::Version => Command::Version,
            Verb::Help => Command::Help { topic: self.topic()? },
            Verb::Exit => Command::Exit,
        })
    }

    fn key(&self) -> Result<Key, Diagnostic> {
        key(&self.args[0])
    }

    fn keys(&self) -> Result<Vec<Key>, Diagnostic> {
        self.args.iter().map(key).collect()
    }

    /// The token of an option's value, if the option was given.
    fn token_of(&self, name: &str) -> Option<&Token<'_>> {
        self.option(name).and_then(|given| given.value.as_ref())
    }

    fn value_of(&self, name: &str) -> Result<Option<Value>, Diagnostic> {
        let Some(token) = self.token_of(name) else { return Ok(None) };
        check_value_len(token.bytes.len(), token)?;
        Ok(Some((&*token.bytes).into()))
    }

    fn set_options(&self) -> Result<SetOptions, Diagnostic> {
        let mut options = SetOptions::new();
        if self.option("--nx").is_some() {
            options = options.if_absent();
        } else if self.option("--xx").is_some() {
            options = options.if_present();
        } else if let Some(value) = self.value_of("--if-value")? {
            options = options.if_value(value);
        }
        if let Some(token) = self.token_of("--ttl") {
            options = options.ttl(duration(token)?);
        } else if let Some(token) = self.token_of("--expires-at") {
            options = options.until(moment(token)?);
        }
        Ok(options)
    }

    /// Of keys, or of all that begin with something: one of them must be there.
    fn delete(&self) -> Result<Command, Diagnostic> {
        let dry_run = self.option("--dry-run").is_some();
        match (self.token_of("--prefix"), self.args.first()) {
            (None, None) => Err(self.missing("KEY")),
            (None, Some(_)) => Ok(Command::Delete { keys: self.keys()?, dry_run }),
            (Some(prefix), None) => Ok(Command::DeletePrefix { prefix: (&*prefix.bytes).into(), dry_run }),
            (Some(_), Some(argument)) => Err(Diagnostic {
                message: "keys and --prefix exclude each other".into(),
                span: argument.span.clone(),
                label: "not together with --prefix".into(),
                help: Some(self.usage()),
            }),
        }
    }

    /// The value: the second argument, or what a one-shot reads instead of it.
    fn value(&mut self) -> Result<Value, Diagnostic> {
        let read_value = self.read_value.take();
        let file = self.replacement().and_then(|given| given.value.as_ref());
        let token = file.unwrap_or_else(|| &self.args[1]);
        let source = match file {
            Some(file) => Some(ValueSource::File(path(file)?)),
            None if !token.quoted && *token.bytes == *b"-" => Some(ValueSource::Stdin),
            None => None,
        };
        let Some((source, read)) = source.zip(read_value) else {
            check_value_len(token.bytes.len(), token)?;
            return Ok((&*token.bytes).into());
        };
        let bytes = read(source).map_err(|error| Diagnostic { span: token.span.clone(), ..error })?;
        check_value_len(bytes.len(), token)?;
        Ok(bytes.into())
    }

    fn increment(&self) -> Result<i64, Diagnostic> {
        self.args.get(1).map_or(Ok(1), |token| number(token, i64::MIN, i64::MAX))
    }

    fn selection(&self) -> Result<Selection, Diagnostic> {
        let bound = |name| self.given(name);
        let limit = self.token_of("--limit");
        let mut range =
            self.args.first().map_or_else(KeyRange::all, |prefix| KeyRange::prefix(&prefix.bytes));
        if let Some(from) = bound("--from") {
            range = range.intersect(KeyRange::from(from..));
        }
        if let Some(to) = bound("--to") {
            range = range.intersect(KeyRange::from(..to));
        }
        let glob = self.token_of("--glob").map(glob).transpose()?;
        if let Some(glob) = &glob {
            range = range.intersect(KeyRange::prefix(&glob.prefix()));
        }
        let direction = self.option("--reverse").map_or(Direction::Forward, |_| Direction::Reverse);
        let limit = limit.map(|token| number(token, 0, u64::MAX)).transpose()?;
        Ok(Selection { range, glob, direction, limit })
    }

    fn overview(&self) -> Result<Overview, Diagnostic> {
        let given = |name| self.option(name).and_then(|given| given.value.as_ref());
        let count = |name, or| given(name).map_or(Ok(or), |token| number(token, 0, u64::MAX));
        let separator = self.given("--separator");
        if let Some(token) = given("--separator").filter(|token| token.bytes.is_empty()) {
            return Err(Diagnostic {
                message: "empty separator".into(),
                span: token.span.clone(),
                label: "expected at least one byte".into(),
                help: None,
            });
        }
        Ok(Overview {
            prefix: self.args.first().map(|prefix| prefix.bytes.to_vec()).unwrap_or_default(),
            depth: count("--depth", 1)?,
            separator: separator.map(<[u8]>::to_vec),
            limit: usize::try_from(count("--limit", MOST_PREFIXES)?).unwrap_or(usize::MAX),
        })
    }

    /// The bytes of an option's value.
    fn given(&self, name: &str) -> Option<&[u8]> {
        self.token_of(name).map(|token| &*token.bytes)
    }

    fn import(&self) -> Import {
        let text = |name| self.given(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Import {
            key: text("--key"),
            value: text("--value"),
            prefix: self.given("--prefix").unwrap_or_default().to_vec(),
            no_header: self.option("--no-header").is_some(),
            dry_run: self.option("--dry-run").is_some(),
        }
    }

    fn export(&self) -> Export {
        let prefix = self.given("--prefix").unwrap_or_default().to_vec();
        Export { prefix, strip: self.option("--strip").is_some() }
    }

    /// The format that is asked for, or that the name of the file tells.
    fn format(&self) -> Result<Format, Diagnostic> {
        if let Some(token) = self.option("--format").and_then(|given| given.value.as_ref()) {
            let known = std::str::from_utf8(&token.bytes).ok().and_then(table::format);
            return known.ok_or_else(|| Diagnostic {
                message: format!("unknown format {}", brief(&token.bytes, QUOTED_LEN)),
                span: token.span.clone(),
                label: format!("expected {}", alternatives(table::FORMATS)),
                help: did_you_mean(&token.bytes, table::FORMATS.iter().copied()),
            });
        }
        let file = &self.args[0];
        let extension = Path::new(OsStr::from_bytes(&file.bytes)).extension();
        let known = extension.and_then(OsStr::to_str).and_then(table::format_of_extension);
        known.ok_or_else(|| Diagnostic {
            message: format!("the name {} does not tell the format", brief(&file.bytes, QUOTED_LEN)),
            span: file.span.clone(),
            label: "expected a name that ends with .csv, .tsv or .jsonl".into(),
            help: Some("--format csv, tsv or jsonl says it".into()),
        })
    }

    fn topic(&self) -> Result<Option<String>, Diagnostic> {
        let named = self.args.first().map(|token| topic(&token.bytes, token.span.clone())).transpose()?;
        Ok(named.map(|spec| spec.name.into()))
    }

    fn columns(&self) -> Columns {
        match (self.option("--keys"), self.option("--values")) {
            (Some(_), _) => Columns::Keys,
            (_, Some(_)) => Columns::Values,
            _ => Columns::Both,
        }
    }

    fn history(&self) -> Result<History, Diagnostic> {
        const USUAL_COUNT: usize = 20;
        match self.args.first() {
            None => Ok(History::Show(USUAL_COUNT)),
            Some(token) if token.bytes.first().is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9')) => {
                Ok(History::Show(number(token, 0, usize::MAX)?))
            }
            Some(_) => Ok(self.choice(switch)?.map_or(History::Show(USUAL_COUNT), History::Keep)),
        }
    }

    /// The first argument as one of the words that the table lists for it, read by `read`.
    fn choice<T>(&self, read: fn(&str) -> Option<T>) -> Result<Option<T>, Diagnostic> {
        let (Some(token), Some(arg)) = (self.args.first(), self.spec.args.first()) else { return Ok(None) };
        let Kind::Choice(words) = arg.kind else { return Ok(None) };
        match std::str::from_utf8(&token.bytes).ok().and_then(read) {
            Some(choice) => Ok(Some(choice)),
            None => Err(Diagnostic {
                message: format!("unknown setting {}", brief(&token.bytes, QUOTED_LEN)),
                span: token.span.clone(),
                label: format!("expected {}", alternatives(words)),
                help: did_you_mean(&token.bytes, words.iter().copied()),
            }),
        }
    }
}

fn key(token: &Token<'_>) -> Result<Key, Diagnostic> {
    match token.bytes.len() {
        0..=MAX_KEY_LEN => Ok((&*token.bytes).into()),
        len => Err(too_long("key", len, MAX_KEY_LEN, token)),
    }
}

fn glob(token: &Token<'_>) -> Result<Glob, Diagnostic> {
    Glob::read(&token.bytes).map_err(|wrong| Diagnostic {
        message: format!("{} is not a pattern", brief(&token.bytes, QUOTED_LEN)),
        span: token.span.clone(),
        label: match wrong {
            glob::Wrong::Set => "a [ that is never closed, or holds what is not text",
            glob::Wrong::Escape => "a backslash that nothing follows",
        }
        .into(),
        help: Some(
            "a backslash makes the next character stand for itself; '…' keeps backslashes as they are".into(),
        ),
    })
}

/// A length of time that is not nothing.
fn duration(token: &Token<'_>) -> Result<Duration, Diagnostic> {
    let parsed = duration::parse(&token.bytes).filter(|time| !time.is_zero());
    parsed.ok_or_else(|| Diagnostic {
        message: format!("{} is not a length of time", brief(&token.bytes, QUOTED_LEN)),
        span: token.span.clone(),
        label: "expected at least 1ms, like 500ms, 10s, 10m, 2h, 7d or 1h30m".into(),
        help: None,
    })
}

fn moment(token: &Token<'_>) -> Result<Timestamp, Diagnostic> {
    let parsed = std::str::from_utf8(&token.bytes).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Diagnostic {
        message: format!("{} is not a moment", brief(&token.bytes, QUOTED_LEN)),
        span: token.span.clone(),
        label: "expected a time in UTC, like 2026-11-22T14:05:09.250Z".into(),
        help: None,
    })
}

fn check_value_len(len: usize, token: &Token<'_>) -> Result<(), Diagnostic> {
    match len {
        0..=MAX_VALUE_LEN => Ok(()),
        _ => Err(too_long("value", len, MAX_VALUE_LEN, token)),
    }
}

fn too_long(what: &str, len: usize, max: usize, token: &Token<'_>) -> Diagnostic {
    Diagnostic {
        message: format!("{what} of {len} bytes is too long"),
        span: token.span.clone(),
        label: format!("a {what} has at most {max} bytes"),
        help: None,
    }
}

fn path(token: &Token<'_>) -> Result<PathBuf, Diagnostic> {
    if token.bytes.is_empty() {
        return Err(Diagnostic {
            message: "empty file name".into(),
            span: token.span.clone(),
            label: "expected a path".into(),
            help: None,
        });
    }
    Ok(OsStr::from_bytes(&token.bytes).into())
}

fn number<T>(token: &Token<'_>, min: T, max: T) -> Result<T, Diagnostic>
where
    T: FromStr<Err = ParseIntError> + Display + Copy,
{
    let text = std::str::from_utf8(&token.bytes).unwrap_or_default();
    text.parse().map_err(|error: ParseIntError| {
        let shown = brief(&token.bytes, QUOTED_LEN);
        let is_out_of_range = matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
        let problem = if is_out_of_range { "is out of range" } else { "is not a whole number" };
        Diagnostic {
            message: format!("{shown} {problem}"),
            span: token.span.clone(),
            label: format!("expected a number from {min} to {max}"),
            help: None,
        }
    })
}

fn switch(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn completing_shell(word: &str) -> Option<CompletingShell> {
    match word {
        "bash" => Some(CompletingShell::Bash),
        "zsh" => Some(CompletingShell::Zsh),
        "fish" => Some(CompletingShell::Fish),
        _ => None,
    }
}

fn paging(word: &str) -> Option<Paging> {
    match word {
        "auto" => Some(Paging::Auto),
        _ => switch(word).map(|on| if on { Paging::On } else { Paging::Off }),
    }
}

fn bail(word: &str) -> Option<Bail> {
    match word {
        "auto" => Some(Bail::Auto),
        _ => switch(word).map(|on| if on { Bail::On } else { Bail::Off }),
    }
}
