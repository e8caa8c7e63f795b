//! What each command does to the data, apart from where the data is.
//!
//! Commands that concern single keys read a [`View`] and write a [`Store`]: a turn, a transaction or, for reads, the database
//! itself stand behind these two, so a command can't behave differently inside `begin … commit` or inside a group.
//!
//! 1. One command writes one [`Batch`], so it is applied whole or not at all.
//! 2. A command that fails has written nothing and has replied nothing.
//! 3. Lengths are checked before anything is written: inside a transaction the line that is at fault is told, not its commit.

use super::command::Command;
use super::render::{Binary, Quantity, Renderer};
use crate::db::{Db, Snapshot};
use crate::engine::Turn;
use crate::error::{Error, Result};
use crate::transaction::Transaction;
use crate::types::{Batch, Key, MAX_KEY_LEN, MAX_VALUE_LEN, Op, SetOptions, Value};

/// Keys in one command up to which it may run inside a group of commands.
const MAX_POINT_KEYS: usize = 64;

/// How a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Looks at a few keys.
    Read,
    /// Changes a few keys; named to those who wait for the right to write.
    Write(&'static str),
    /// All else: walks over many records, or concerns the session.
    Alone,
}

impl Kind {
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Get { keys } | Command::Exists { keys } if keys.len() <= MAX_POINT_KEYS => Self::Read,
            Command::Set { .. } => Self::Write("set"),
            Command::Delete { .. } => Self::Write("delete"),
            Command::Incr { .. } => Self::Write("incr"),
            Command::Append { .. } => Self::Write("append"),
            _ => Self::Alone,
        }
    }
}

/// Whether a command's answer is yes; a one-shot ends with 1 when it is no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

/// Something that values can be read from.
pub(crate) trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Value>>;
}

/// Something that can be written to as well.
pub(crate) trait Store: View {
    fn apply(&mut self, batch: Batch) -> Result<()>;
}

impl View for Db {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Self::get(self, key)
    }
}

impl View for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Self::get(self, key)
    }
}

impl View for Transaction {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Self::get(self, key)
    }
}

impl Store for Transaction {
    fn apply(&mut self, batch: Batch) -> Result<()> {
        for op in batch.into_ops() {
            match op {
                Op::Set { key, value, expires } => {
                    let options = SetOptions::new().lifetime(expires.into());
                    self.set_with(key, value, &options)?;
                }
                Op::Delete { key } => self.delete(key),
            }
        }
        Ok(())
    }
}

impl View for Box<dyn Turn + '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }
}

impl Store for Box<dyn Turn + '_> {
    fn apply(&mut self, batch: Batch) -> Result<()> {
        self.write(batch).map(drop)
    }
}

/// Runs `get`: the value of each key, or `null`.
pub(crate) fn get(
    keys: &[Key],
    view: &dyn View,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    let values: Vec<Option<Value>> = keys.iter().map(|key| view.get(key)).collect::<Result<_>>()?;
    let answered = || keys.iter().zip(&values);
    let mut binary = Binary::default();
    if renderer.looks_ahead() {
        answered().for_each(|(key, value)| binary.look(key, value.as_deref().unwrap_or_default()));
    }
    let mut records = renderer.answers(keys.len() > 1);
    records.foresee(binary);
    answered().for_each(|(key, value)| records.record(out, key, value.as_deref()));
    records.end(out);
    Ok(if values.iter().all(Option::is_some) { Answer::Yes } else { Answer::No })
}

/// Runs `exists`: `true` or `false` for each key.
pub(crate) fn exists(
    keys: &[Key],
    view: &dyn View,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    let look = |key: &'_ Key| Ok((key.clone(), view.get(key)?.is_some()));
    let answers: Vec<(Key, bool)> = keys.iter().map(look).collect::<Result<_>>()?;
    renderer.presence(out, &answers);
    Ok(if answers.iter().all(|(_, there)| *there) { Answer::Yes } else { Answer::No })
}

/// Runs a command of the kind [`Kind::Read`].
pub(crate) fn read(
    command: &Command,
    view: &dyn View,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    match command {
        Command::Get { keys } => get(keys, view, renderer, out),
        Command::Exists { keys } => exists(keys, view, renderer, out),
        _ => Ok(Answer::Yes),
    }
}

/// Runs a command of the kind [`Kind::Read`] or [`Kind::Write`].
pub(crate) fn read_or_write(
    command: Command,
    store: &mut dyn Store,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    match command {
        Command::Set { key, value } => set(key, value, store).map(|()| renderer.done(out)),
        Command::Delete { keys } => {
            delete(keys, store).map(|count| renderer.number(out, Quantity::Deleted, count))
        }
        Command::Incr { key, by } => {
            increment(key, by, store).map(|number| renderer.number(out, Quantity::Value, number))
        }
        Command::Append { key, value } => {
            append(key, &value, store).map(|len| renderer.number(out, Quantity::Length, len))
        }
        Command::Get { keys } => return get(&keys, &*store, renderer, out),
        Command::Exists { keys } => return exists(&keys, &*store, renderer, out),
        _ => Ok(()),
    }
    .map(|()| Answer::Yes)
}

fn set(key: Key, value: Value, store: &mut dyn Store) -> Result<()> {
    check_lengths(key.len(), value.len())?;
    let mut batch = Batch::new();
    batch.set(key, value);
    store.apply(batch)
}

fn delete(keys: Vec<Key>, store: &mut dyn Store) -> Result<u64> {
    let mut batch = Batch::new();
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        check_lengths(key.len(), 0)?;
        if store.get(&key)?.is_some() && seen.insert(key.clone()) {
            batch.delete(key);
        }
    }
    if !batch.is_empty() {
        store.apply(batch)?;
    }
    Ok(seen.len() as u64)
}

fn increment(key: Key, by: i64, store: &mut dyn Store) -> Result<i64> {
    let present = store.get(&key)?;
    let number = present.as_deref().map_or(Ok(0), |value| parse_number(&key, value))?;
    let sum = number.checked_add(by).ok_or_else(|| {
        Error::NotANumber(format!("{number} + {by} is beyond a 64-bit integer; the value is unchanged"))
    })?;
    set(key, sum.to_string().into(), store)?;
    Ok(sum)
}

fn parse_number(key: &Key, value: &[u8]) -> Result<i64> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        let [key, value] = [&key[..], value].map(|bytes| super::literal::brief(bytes, 40));
        Error::NotANumber(format!("the value of {key} is {value}, not a decimal 64-bit integer"))
    })
}

fn append(key: Key, suffix: &[u8], store: &mut dyn Store) -> Result<usize> {
    let present = store.get(&key)?;
    let present = present.as_deref().unwrap_or_default();
    check_lengths(key.len(), present.len().saturating_add(suffix.len()))?;
    let whole = [present, suffix].concat();
    let len = whole.len();
    set(key, whole.into(), store)?;
    Ok(len)
}

const fn check_lengths(key_len: usize, value_len: usize) -> Result<()> {
    if key_len > MAX_KEY_LEN {
        return Err(Error::KeyTooLong { len: key_len });
    }
    if value_len > MAX_VALUE_LEN {
        return Err(Error::ValueTooLong { len: value_len });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs commands on one transaction of an empty database and returns what they said.
    fn said(commands: Vec<Command>) -> Vec<Result<String, String>> {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Db::open(dir.path().join("db")).unwrap().begin().unwrap();
        let mut renderer = Renderer::new(super::super::command::OutputMode::Quoted, None, true);
        let mut run = |command| {
            let mut out = Vec::new();
            let answer = read_or_write(command, &mut store, &mut renderer, &mut out);
            answer.map(|_| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
        };
        commands.into_iter().map(&mut run).collect()
    }

    fn set_command(key: &str, value: &str) -> Command {
        Command::Set { key: key.into(), value: value.into() }
    }

    #[test]
    fn counters_count_and_refuse_what_is_no_number() {
        let incr = |key: &str, by| Command::Incr { key: key.into(), by };
        let answers = said(vec![
            incr("n", 1),
            incr("n", -5),
            set_command("text", "four"),
            incr("text", 1),
            set_command("max", &i64::MAX.to_string()),
            incr("max", 1),
            incr("max", 0),
        ]);
        assert_eq!(answers[..3], ["1\n", "-4\n", "OK\n"].map(|text| Ok(text.into())));
        let refused = "the value of \"text\" is \"four\", not a decimal 64-bit integer";
        assert_eq!(answers[3], Err(refused.into()));
        assert!(answers[5].as_ref().unwrap_err().contains("beyond a 64-bit integer"));
        assert_eq!(answers[6], Ok(format!("{}\n", i64::MAX)));
    }

    #[test]
    fn appending_tells_the_new_length_and_deleting_the_number_removed() {
        let append = |value: &str| Command::Append { key: "k".into(), value: value.into() };
        let keys = vec!["k".into(), "absent".into(), "k".into()];
        let answers = said(vec![
            append("ab"),
            append("é"),
            Command::Get { keys: keys.clone() },
            Command::Exists { keys: keys.clone() },
            Command::Delete { keys: keys.clone() },
            Command::Delete { keys },
        ]);
        let expected = ["2\n", "4\n", "\"abé\"\nnull\n\"abé\"\n", "true\nfalse\ntrue\n", "1\n", "0\n"];
        assert_eq!(answers, expected.map(|text| Ok(text.into())));
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_at_once() {
        let answers = said(vec![set_command(&"k".repeat(MAX_KEY_LEN + 1), "v")]);
        assert!(answers[0].as_ref().unwrap_err().contains("65536 bytes is too long"));
    }
}
