//! Transactions: one snapshot plus own writes, committed as one batch.
//!
//! Isolation is snapshot isolation with first committer wins: reads see the database as it was when the transaction
//! began, overlaid with its own writes; at commit, under the right to write, every key that was written must still have the
//! version it had in the snapshot. A key that another transaction changed meanwhile is a [`Error::Conflict`] that names
//! it, and nothing is applied. Reads alone never conflict, and neither does a key that has expired meanwhile.
//!
//! One may begin before there is a database: it sees nothing, and commits to the one that is created for it.
//!
//! The time inside stands still at the moment of the beginning. What is to stay for some time does so from the commit on.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::{Cursor, Engine, Item, KeyCursor, Snapshot};
use crate::error::{Error, Result};
use crate::types::{
    Batch, Condition, Direction, Entry, Key, KeyRange, Lifetime, Lsn, Op, SetOptions, Timestamp, Value,
};

/// A transaction. Dropping it without [`Transaction::commit`] rolls it back.
pub struct Transaction {
    home: Home,
    base: Box<dyn Snapshot>,
    /// The transaction's own writes: `None` deletes.
    writes: BTreeMap<Key, Option<Write>>,
}

/// Where a transaction is committed.
enum Home {
    Engine(Arc<dyn Engine>),
    /// There was no database in this directory.
    Missing(PathBuf),
}

/// What there is without a database.
struct Nothing(Timestamp);

impl Snapshot for Nothing {
    fn entry(&self, _: &[u8]) -> Result<Option<Entry>> {
        Ok(None)
    }

    fn scan(&self, _: &KeyRange, _: Direction) -> Result<Box<dyn Cursor + '_>> {
        Ok(Box::new(NoEntries))
    }

    fn lsn(&self) -> Lsn {
        Lsn::ZERO
    }

    fn now(&self) -> Timestamp {
        self.0
    }
}

struct NoEntries;

impl Cursor for NoEntries {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        Ok(None)
    }
}

/// What a commit did to a key.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) key: Key,
    /// What was there.
    pub(crate) before: Option<Entry>,
    /// The version of what is there now, and when it expires; `None`: the key was removed.
    pub(crate) after: Option<(Lsn, Option<Timestamp>)>,
}

/// What a transaction had written to a key at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    key: Key,
    #[expect(
        clippy::option_option,
        reason = "the outer one is whether it had written anything, the inner one may be a removal"
    )]
    own: Option<Option<Write>>,
}

impl Mark {
    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }
}

/// A value that the commit will store.
#[derive(Clone, Debug)]
struct Write {
    value: Value,
    lifetime: Lifetime,
}

impl Write {
    /// Whether it is there at this moment, if it is committed now, and when it expires.
    fn at(&self, now: Timestamp) -> Option<(&Value, Option<Timestamp>)> {
        let expires = self.lifetime.expires(now).ok()?;
        expires.is_none_or(|expires| expires > now).then_some((&self.value, expires))
    }
}

impl Transaction {
    pub(crate) fn begin(engine: Arc<dyn Engine>) -> Result<Self> {
        let base = engine.snapshot()?;
        Ok(Self { home: Home::Engine(engine), base, writes: BTreeMap::new() })
    }

    /// Begins where there is no database yet.
    pub(crate) fn without_database(dir: PathBuf) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = Nothing(Timestamp::nearest(since));
        Self { home: Home::Missing(dir), base: Box::new(base), writes: BTreeMap::new() }
    }

    /// Whether the commit needs a database that was not there at the beginning.
    pub(crate) fn needs_database(&self) -> bool {
        !self.writes.is_empty() && matches!(self.home, Home::Missing(_))
    }

    /// Has the commit go to this database.
    pub(crate) fn settle_in(&mut self, engine: Arc<dyn Engine>) {
        self.home = Home::Engine(engine);
    }

    /// The value of `key`: the transaction's own write, or what the snapshot holds.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.find(key)?.map(|(value, _)| value))
    }

    /// The value of `key`, and how long it stays; see [`Transaction::now`].
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        match self.writes.get(key) {
            Some(own) => {
                let there = own.as_ref().filter(|write| write.at(self.now()).is_some());
                Ok(there.map(|write| (write.value.clone(), write.lifetime)))
            }
            None => Ok(self.base.entry(key)?.map(|entry| (entry.value, entry.expires.into()))),
        }
    }

    /// The time in the transaction: that of its beginning.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base.now()
    }

    /// Stores `value` under `key` when the transaction commits.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.store(key.into(), value.into(), Lifetime::Forever);
    }

    /// Stores `value` under `key` when the transaction commits, as `options` say. Returns whether it will: its condition is held
    /// against the snapshot and the transaction's own writes.
    ///
    /// # Errors
    /// `ExpiresTooLate`; corruption and I/O errors.
    pub fn set_with(
        &mut self,
        key: impl Into<Key>,
        value: impl Into<Value>,
        options: &SetOptions,
    ) -> Result<bool> {
        let key = key.into();
        options.lifetime.expires(self.now())?;
        if options.condition != Condition::Always && !options.condition.holds(self.get(&key)?.as_deref()) {
            return Ok(false);
        }
        self.store(key, value.into(), options.lifetime);
        Ok(true)
    }

    fn store(&mut self, key: Key, value: Value, lifetime: Lifetime) {
        self.writes.insert(key, Some(Write { value, lifetime }));
    }

    /// Removes `key` when the transaction commits.
    pub fn delete(&mut self, key: impl Into<Key>) {
        self.writes.insert(key.into(), None);
    }

    /// What was written to `key` so far.
    pub(crate) fn mark(&self, key: &Key) -> Mark {
        Mark { key: key.clone(), own: self.writes.get(key).cloned() }
    }

    /// Takes back what was written to a key since.
    pub(crate) fn restore(&mut self, Mark { key, own }: Mark) {
        match own {
            Some(write) => self.writes.insert(key, write),
            None => self.writes.remove(&key),
        };
    }

    /// The entries of a range in key order, own writes included.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        let entries = Values::Read(self.base.scan(range, direction)?);
        Ok(Box::new(self.overlay(entries, range, direction)))
    }

    /// The keys of a range in order, own writes included. Values that lie apart from their keys are not read.
    ///
    /// # Errors
    /// As [`Transaction::scan`].
    pub fn keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        let keys = Values::OfKeys(self.base.keys(range, direction)?);
        Ok(Box::new(self.overlay(keys, range, direction)))
    }

    fn overlay<'a>(&'a self, base: Values<'a>, range: &KeyRange, direction: Direction) -> Overlay<'a> {
        let own = if range.is_empty() { None } else { Some(self.writes.range::<[u8], _>(range.as_bounds())) };
        let own = OwnWrites { range: own, next: None, now: self.now() };
        Overlay { own, base: Peeked::new(base), direction, consumed: Consumed { own: true, base: true } }
    }

    /// Number of keys that the transaction would write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether the transaction wrote nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Applies the writes as one batch.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a written key changed since the transaction began: nothing was applied. Otherwise as
    /// [`Engine::turn`] and [`Turn::commit`](crate::engine::Turn::commit).
    pub fn commit(self) -> Result<()> {
        self.commit_and_note(None)
    }

    /// [`Transaction::commit`], noting what it does to each key.
    pub(crate) fn commit_and_note(self, mut noted: Option<&mut Vec<Touched>>) -> Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let engine = match self.home {
            Home::Engine(engine) => engine,
            Home::Missing(dir) => return Err(Error::NoDatabase { dir }),
        };
        let mut turn = engine.turn("commit")?;
        let now = turn.now();
        let version =
            |entry: Option<&Entry>| entry.filter(|entry| entry.is_there(now)).map(|entry| entry.lsn);
        for (key, write) in &self.writes {
            let before = turn.entry(key)?;
            if version(before.as_ref()) != version(self.base.entry(key)?.as_ref()) {
                return Err(Error::Conflict { key: key.clone() });
            }
            if let Some(noted) = &mut noted {
                let after =
                    write.as_ref().map(|write| (Lsn::ZERO, write.lifetime.expires(now).unwrap_or_default()));
                noted.push(Touched { key: key.clone(), before, after });
            }
        }
        let lsn = turn.write(into_batch(self.writes, now)?)?;
        for (version, _) in noted.into_iter().flatten().filter_map(|touched| touched.after.as_mut()) {
            *version = lsn;
        }
        turn.commit()
    }
}

fn into_batch(writes: BTreeMap<Key, Option<Write>>, now: Timestamp) -> Result<Batch> {
    let op = |(key, write)| match write {
        Some(Write { value, lifetime }) => Ok(Op::Set { key, value, expires: lifetime.expires(now)? }),
        None => Ok(Op::Delete { key }),
    };
    writes.into_iter().map(op).collect()
}

/// The transaction's writes in a range, one ahead.
struct OwnWrites<'a> {
    range: Option<btree_map::Range<'a, Key, Option<Write>>>,
    next: Option<(&'a Key, Option<Item<'a>>)>,
    now: Timestamp,
}

impl OwnWrites<'_> {
    fn advance(&mut self, direction: Direction) {
        let next = match (&mut self.range, direction) {
            (None, _) => None,
            (Some(range), Direction::Forward) => range.next(),
            (Some(range), Direction::Reverse) => range.next_back(),
        };
        self.next = next.map(|(key, write)| {
            let there = write.as_ref().and_then(|write| write.at(self.now));
            (key, there.map(|(value, expires)| (&key[..], &value[..], expires)))
        });
    }
}

/// A walk over the snapshot, with values or without.
enum Values<'a> {
    Read(Box<dyn Cursor + 'a>),
    OfKeys(Box<dyn KeyCursor + 'a>),
}

/// A walk with its next entry copied out, so that it can be compared before it is consumed.
struct Peeked<'a> {
    walk: Values<'a>,
    key: Vec<u8>,
    /// Empty where values are not read.
    value: Vec<u8>,
    value_len: u64,
    expires: Option<Timestamp>,
    present: bool,
}

impl<'a> Peeked<'a> {
    fn new(walk: Values<'a>) -> Self {
        Self { walk, key: Vec::new(), value: Vec::new(), value_len: 0, expires: None, present: true }
    }

    fn advance(&mut self) -> Result<()> {
        self.present = false;
        let next = match &mut self.walk {
            Values::Read(cursor) => {
                cursor.next_entry()?.map(|(key, value, expires)| (key, value, value.len() as u64, expires))
            }
            Values::OfKeys(cursor) => cursor.next()?.map(|(key, len)| (key, &b""[..], len, None)),
        };
        if let Some((key, value, value_len, expires)) = next {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.value.clear();
            self.value.extend_from_slice(value);
            (self.value_len, self.expires) = (value_len, expires);
            self.present = true;
        }
        Ok(())
    }
}

/// Own writes merged over the snapshot: of two entries for one key the own write counts, and an own delete hides.
struct Overlay<'a> {
    own: OwnWrites<'a>,
    base: Peeked<'a>,
    direction: Direction,
    /// What the last call returned and the next one has to move past.
    consumed: Consumed,
}

#[derive(Clone, Copy, Default)]
struct Consumed {
    own: bool,
    base: bool,
}

impl Overlay<'_> {
    /// Moves past what was consumed.
    fn advance(&mut self) -> Result<()> {
        if std::mem::take(&mut self.consumed.own) {
            self.own.advance(self.direction);
        }
        if std::mem::take(&mut self.consumed.base) {
            self.base.advance()?;
        }
        Ok(())
    }

    /// How the next own write stands to the next entry of the snapshot in the direction of the scan.
    fn order(&self) -> Option<Ordering> {
        match (&self.own.next, self.base.present) {
            (None, false) => None,
            (Some(_), false) => Some(Ordering::Less),
            (None, true) => Some(Ordering::Greater),
            (Some((own, _)), true) => {
                let order = own[..].cmp(&self.base.key);
                Some(if self.direction == Direction::Reverse { order.reverse() } else { order })
            }
        }
    }
}

impl<'a> Overlay<'a> {
    /// Moves to what comes next; an own write is handed out.
    fn step(&mut self) -> Result<Option<Step<'a>>> {
        loop {
            self.advance()?;
            let Some(order) = self.order() else { return Ok(None) };
            self.consumed = Consumed { own: order != Ordering::Greater, base: order != Ordering::Less };
            match self.own.next {
                Some((_, Some(item))) if self.consumed.own => return Ok(Some(Step::Own(item))),
                Some((_, None)) if self.consumed.own => {}
                _ => return Ok(Some(Step::Base)),
            }
        }
    }
}

/// What comes next in an overlay.
enum Step<'a> {
    Own(Item<'a>),
    Base,
}

impl Cursor for Overlay<'_> {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        Ok(self.step()?.map(|step| match step {
            Step::Own(item) => item,
            Step::Base => (&self.base.key[..], &self.base.value[..], self.base.expires),
        }))
    }

    fn check(&self) -> Result<()> {
        match &self.base.walk {
            Values::Read(cursor) => cursor.check(),
            Values::OfKeys(_) => Ok(()),
        }
    }
}

impl KeyCursor for Overlay<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        Ok(self.step()?.map(|step| match step {
            Step::Own((key, value, _)) => (key, value.len() as u64),
            Step::Base => (&self.base.key[..], self.base.value_len),
        }))
    }
}
