//! What each command does to the data, apart from where the data is.
//!
//! Commands that concern single keys read a [`View`] and write a [`Store`]: a turn, a transaction or, for reads, the database
//! itself stand behind these two, so a command can't behave differently inside `begin … commit` or inside a group.
//!
//! 1. One command hands over its changes at once, so they are applied whole or not at all.
//! 2. A command that fails has written nothing and has replied nothing.
//! 3. Lengths are checked before anything is written: inside a transaction the line that is at fault is told, not its commit.

use std::collections::BTreeSet;

use super::command::Command;
use super::render::{Binary, Left, Quantity, Renderer};
use crate::db::{Db, Snapshot};
use crate::engine::{Glance, Turn};
use crate::error::{Error, Result};
use crate::transaction::Transaction;
use crate::types::{
    Batch, Condition, Key, Lifetime, MAX_KEY_LEN, MAX_VALUE_LEN, Op, SetOptions, Timestamp, Value,
};

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
            Command::Get { keys, .. } | Command::Exists { keys } | Command::Ttl { keys } => {
                Self::of_reads(keys.len())
            }
            Command::Delete { keys, dry_run: true } => Self::of_reads(keys.len()),
            Command::Set { .. } => Self::Write("set"),
            Command::Delete { .. } => Self::Write("delete"),
            Command::Incr { .. } => Self::Write("incr"),
            Command::Append { .. } => Self::Write("append"),
            Command::Rename { .. } => Self::Write("rename"),
            Command::Expire { .. } => Self::Write("expire"),
            _ => Self::Alone,
        }
    }

    const fn of_reads(keys: usize) -> Self {
        if keys <= MAX_POINT_KEYS { Self::Read } else { Self::Alone }
    }
}

/// Whether a command of the kind [`Kind::Write`] can store what was not there; otherwise it only changes what is.
pub(crate) const fn may_store_anew(command: &Command) -> bool {
    match command {
        Command::Set { options, .. } => matches!(options.condition, Condition::Always | Condition::Absent),
        Command::Incr { .. } | Command::Append { .. } => true,
        _ => false,
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

/// Something whose time stands still, so that it can be told how long a value will be there.
pub(crate) trait Lasting: View {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>>;
    fn now(&self) -> Timestamp;
}

/// Something that can be written to as well.
pub(crate) trait Store: Lasting {
    fn apply(&mut self, changes: Vec<Change>) -> Result<()>;
}

/// What a command does to one key.
pub(crate) struct Change {
    key: Key,
    /// What it stores, and for how long; `None`: it removes the key.
    write: Option<(Value, Lifetime)>,
}

impl Change {
    pub(crate) const fn set(key: Key, value: Value, lifetime: Lifetime) -> Self {
        Self { key, write: Some((value, lifetime)) }
    }

    pub(crate) const fn delete(key: Key) -> Self {
        Self { key, write: None }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }
}

/// Changes as a batch; the time is asked for when something begins to last.
pub(crate) fn to_batch(changes: Vec<Change>, now: impl Fn() -> Timestamp) -> Result<Batch> {
    let op = |Change { key, write }| match write {
        None => Ok(Op::Delete { key }),
        Some((value, Lifetime::Forever)) => Ok(Op::Set { key, value, expires: None }),
        Some((value, lifetime)) => Ok(Op::Set { key, value, expires: lifetime.expires(now())? }),
    };
    changes.into_iter().map(op).collect()
}

impl View for Db {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Self::get(self, key)
    }
}

impl View for Glance {
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

impl Lasting for Snapshot {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        Ok(self.entry(key)?.map(|entry| (entry.value, entry.expires.into())))
    }

    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}

impl Lasting for Transaction {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        Self::find(self, key)
    }

    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}

impl Store for Transaction {
    fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        for Change { key, write } in changes {
            match write {
                Some((value, lifetime)) => {
                    self.set_with(key, value, &SetOptions::new().lifetime(lifetime))?;
                }
                None => self.delete(key),
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

impl Lasting for Box<dyn Turn + '_> {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        Ok(self.entry(key)?.map(|entry| (entry.value, entry.expires.into())))
    }

    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl Store for Box<dyn Turn + '_> {
    fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        let batch = to_batch(changes, || Lasting::now(self))?;
        self.write(batch).map(drop)
    }
}

/// Runs `get`: the value of each key, or what stands for it, or `null`.
pub(crate) fn get(
    keys: &[Key],
    default: Option<&Value>,
    view: &dyn View,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    let look = |key: &Key| Ok(view.get(key)?.or_else(|| default.cloned()));
    let values: Vec<Option<Value>> = keys.iter().map(look).collect::<Result<_>>()?;
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

/// Runs `ttl`: how long each key will be there.
pub(crate) fn ttl(
    keys: &[Key],
    view: &dyn Lasting,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    let now = view.now();
    let look = |key: &'_ Key| {
        let left = match view.find(key)? {
            None => Left::Gone,
            Some((_, Lifetime::Forever)) => Left::Forever,
            Some((_, Lifetime::Until(moment))) => Left::For(moment.since(now)),
            Some((_, Lifetime::For(duration))) => Left::For(duration),
        };
        Ok((key.clone(), left))
    };
    let answers: Vec<_> = keys.iter().map(look).collect::<Result<_>>()?;
    renderer.lifetimes(out, &answers);
    Ok(if answers.iter().all(|(_, left)| *left != Left::Gone) { Answer::Yes } else { Answer::No })
}

/// How many of some keys are there, each counted once.
fn count(keys: &[Key], view: &dyn View) -> Result<u64> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if view.get(key)?.is_some() {
            seen.insert(key);
        }
    }
    Ok(seen.len() as u64)
}

/// The keys that a command of the kind [`Kind::Read`] but `ttl` looks at.
pub(crate) fn keys(command: &Command) -> &[Key] {
    match command {
        Command::Get { keys, .. } | Command::Exists { keys } | Command::Delete { keys, .. } => keys,
        _ => &[],
    }
}

/// Runs a command of the kind [`Kind::Read`] but `ttl`.
pub(crate) fn read(
    command: &Command,
    view: &dyn View,
    renderer: &mut Renderer,
    out: &mut Vec<u8>,
) -> Result<Answer> {
    match command {
        Command::Get { keys, default } => get(keys, default.as_ref(), view, renderer, out),
        Command::Exists { keys } => exists(keys, view, renderer, out),
        Command::Delete { keys, .. } => {
            renderer.number(out, Quantity::Deleted, count(keys, view)?);
            Ok(Answer::Yes)
        }
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
        Command::Set { key, value, options } => {
            return set(key, value, &options, store).map(|done| renderer.done_or_not(out, done));
        }
        Command::Rename { from, to, if_absent } => {
            return rename(from, to, if_absent, store).map(|done| renderer.done_or_not(out, done));
        }
        Command::Expire { key, lifetime } => {
            return expire(key, lifetime, store).map(|done| renderer.done_or_not(out, done));
        }
        Command::Delete { keys, dry_run: false } => {
            delete(keys, store).map(|count| renderer.number(out, Quantity::Deleted, count))
        }
        Command::Incr { key, by } => {
            increment(key, by, store).map(|number| renderer.number(out, Quantity::Value, number))
        }
        Command::Append { key, value } => {
            append(key, &value, store).map(|len| renderer.number(out, Quantity::Length, len))
        }
        Command::Ttl { keys } => return ttl(&keys, &*store, renderer, out),
        other => return read(&other, &*store, renderer, out),
    }
    .map(|()| Answer::Yes)
}

/// Stores a value if it may; whether it did.
fn set(key: Key, value: Value, options: &SetOptions, store: &mut dyn Store) -> Result<bool> {
    check_lengths(key.len(), value.len())?;
    if options.condition != Condition::Always && !options.condition.holds(store.get(&key)?.as_deref()) {
        return Ok(false);
    }
    store.apply(vec![Change::set(key, value, options.lifetime)])?;
    Ok(true)
}

/// Moves a value to another key; whether it did.
fn rename(from: Key, to: Key, if_absent: bool, store: &mut dyn Store) -> Result<bool> {
    check_lengths(to.len(), 0)?;
    let Some((value, lifetime)) = store.find(&from)? else { return Ok(false) };
    if if_absent && store.get(&to)?.is_some() {
        return Ok(false);
    }
    if from != to {
        store.apply(vec![Change::delete(from), Change::set(to, value, lifetime)])?;
    }
    Ok(true)
}

/// Changes how long a key is there; whether it was.
fn expire(key: Key, lifetime: Lifetime, store: &mut dyn Store) -> Result<bool> {
    let Some((value, present)) = store.find(&key)? else { return Ok(false) };
    if lifetime != present {
        store.apply(vec![Change::set(key, value, lifetime)])?;
    }
    Ok(true)
}

fn delete(keys: Vec<Key>, store: &mut dyn Store) -> Result<u64> {
    let mut seen = BTreeSet::new();
    for key in keys {
        check_lengths(key.len(), 0)?;
        if store.get(&key)?.is_some() {
            seen.insert(key);
        }
    }
    let count = seen.len() as u64;
    if count > 0 {
        store.apply(seen.into_iter().map(Change::delete).collect())?;
    }
    Ok(count)
}

fn increment(key: Key, by: i64, store: &mut dyn Store) -> Result<i64> {
    let (present, lifetime) = store.find(&key)?.unzip();
    let number = present.as_deref().map_or(Ok(0), |value| parse_number(&key, value))?;
    let sum = number.checked_add(by).ok_or_else(|| {
        Error::NotANumber(format!("{number} + {by} is beyond a 64-bit integer; the value is unchanged"))
    })?;
    store.apply(vec![Change::set(key, sum.to_string().into(), lifetime.unwrap_or_default())])?;
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
    let (present, lifetime) = store.find(&key)?.unzip();
    let present = present.as_deref().unwrap_or_default();
    check_lengths(key.len(), present.len().saturating_add(suffix.len()))?;
    let whole = [present, suffix].concat();
    let len = whole.len();
    store.apply(vec![Change::set(key, whole.into(), lifetime.unwrap_or_default())])?;
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
        Command::Set { key: key.into(), value: value.into(), options: SetOptions::new() }
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
            Command::Get { keys: keys.clone(), default: None },
            Command::Get { keys: keys.clone(), default: Some("-".into()) },
            Command::Exists { keys: keys.clone() },
            Command::Delete { keys: keys.clone(), dry_run: true },
            Command::Delete { keys: keys.clone(), dry_run: false },
            Command::Delete { keys, dry_run: false },
        ]);
        let expected = [
            "2\n",
            "4\n",
            "\"abé\"\nnull\n\"abé\"\n",
            "\"abé\"\n\"-\"\n\"abé\"\n",
            "true\nfalse\ntrue\n",
            "1\n",
            "1\n",
            "0\n",
        ];
        assert_eq!(answers, expected.map(|text| Ok(text.into())));
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_at_once() {
        let answers = said(vec![set_command(&"k".repeat(MAX_KEY_LEN + 1), "v")]);
        assert!(answers[0].as_ref().unwrap_err().contains("65536 bytes is too long"));
    }

    #[test]
    fn conditions_decide_whether_a_value_is_stored() {
        let set =
            |value: &str, options: SetOptions| Command::Set { key: "k".into(), value: value.into(), options };
        let get = || Command::Get { keys: vec!["k".into()], default: None };
        let answers = said(vec![
            set("1", SetOptions::new().if_present()),
            set("2", SetOptions::new().if_value("")),
            set("3", SetOptions::new().if_absent()),
            set("4", SetOptions::new().if_absent()),
            set("5", SetOptions::new().if_value("4")),
            get(),
            set("6", SetOptions::new().if_value("3")),
            set("7", SetOptions::new().if_present()),
            get(),
        ]);
        let expected = ["null", "null", "OK", "null", "null", "\"3\"", "OK", "OK", "\"7\""];
        assert_eq!(answers, expected.map(|text| Ok(format!("{text}\n"))));
    }

    #[test]
    fn a_value_keeps_its_lifetime_unless_it_is_set() {
        let second = Lifetime::For(std::time::Duration::from_secs(1));
        let rename =
            |from: &str, to: &str, if_absent| Command::Rename { from: from.into(), to: to.into(), if_absent };
        let expire = |key: &str, lifetime| Command::Expire { key: key.into(), lifetime };
        let ttl = |keys: &[&str]| Command::Ttl { keys: keys.iter().map(|key| Key::from(*key)).collect() };
        let answers = said(vec![
            expire("a", second),
            Command::Set { key: "a".into(), value: "1".into(), options: SetOptions::new().lifetime(second) },
            Command::Incr { key: "a".into(), by: 1 },
            Command::Append { key: "a".into(), value: "0".into() },
            rename("a", "b", true),
            ttl(&["a", "b"]),
            rename("b", "b", false),
            set_command("c", "3"),
            rename("b", "c", true),
            rename("b", "c", false),
            ttl(&["c"]),
            rename("b", "c", false),
            expire("c", Lifetime::Forever),
            ttl(&["c"]),
            expire("c", second),
            set_command("c", "4"),
            ttl(&["c"]),
            expire("c", Lifetime::For(std::time::Duration::MAX)),
        ]);
        let expected = [
            "null", "OK", "2", "2", "OK", "null\n1s", "OK", "OK", "null", "OK", "1s", "null", "OK", "none",
            "OK", "OK", "none",
        ];
        assert_eq!(answers[..17], expected.map(|text| Ok(format!("{text}\n"))));
        assert!(answers[17].as_ref().unwrap_err().contains("after the year 9999"));
    }
}
