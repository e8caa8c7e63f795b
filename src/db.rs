//! The library's front door: open a directory, read, write, scan, begin a transaction.
//!
//! A [`Db`] is a handle that threads share by reference or by clone; any number of handles, in any number of processes, may be
//! open on one directory. It adds no rules of its own to those of [`engine`](crate::engine).

use std::path::Path;
use std::sync::Arc;

use crate::engine::{
    Backup, Bulk as EngineBulk, Check, Compaction, Engine, Progress, Repair, Snapshot as EngineSnapshot,
    Stats, Turn,
};
use crate::error::{Fault, Notice, Result};
use crate::options::Options;
use crate::transaction::Transaction;
use crate::types::{
    Batch, Condition, Direction, Entry, Key, KeyRange, Lsn, Op, SetOptions, Timestamp, Value,
};

impl Options {
    /// Opens the database in `dir`.
    ///
    /// # Errors
    /// `NoDatabase` when it is missing and not to be created; `NotADatabase`, `Format`, `Corruption`, `Io`.
    pub fn open(&self, dir: impl AsRef<Path>) -> Result<Db> {
        Ok(Db { engine: crate::engine::open(dir.as_ref(), self)? })
    }

    /// Checks the database in `dir` as [`Db::check`] does, also one that is too damaged to be opened. Nothing is written.
    /// `progress` is as in [`Db::check_with`].
    ///
    /// # Errors
    /// `NoDatabase`, `NotADatabase`, `Format`; `Interrupted` when `progress` said stop; `Busy`, `Io`. Damage is no error: it is
    /// what is told.
    pub fn check(
        &self,
        dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
    ) -> Result<Check> {
        crate::engine::check_dir(dir.as_ref(), self, progress)
    }

    /// Writes everything that can be read of the database in `dir`, however damaged, to a new database in `new`, a directory that
    /// must not exist, and tells exactly what could not be read. The damaged one is only read. Ends the use of neither: other
    /// processes may go on with `dir`, and what they write meanwhile may be in the new one or not.
    ///
    /// ```
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let (dir, new) = (scratch.path().join("db"), scratch.path().join("new"));
    /// kvdb::Db::open(&dir)?.set("name", "Ann")?;
    /// std::fs::remove_file(dir.join("MANIFEST")).unwrap();
    /// let repair = kvdb::Options::new().repair(&dir, &new, &mut |_| true)?;
    /// assert!(repair.is_complete(), "the log held everything");
    /// assert_eq!(kvdb::Db::open(&new)?.get("name")?.unwrap(), b"Ann");
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoDatabase`, `NotADatabase`, `Format`; `Interrupted` when `progress` said stop; `Busy`; `Io`, `AlreadyExists` when `new`
    /// exists. There is no new directory then.
    pub fn repair(
        &self,
        dir: impl AsRef<Path>,
        new: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Repair> {
        crate::engine::repair_dir(dir.as_ref(), new.as_ref(), self, progress)
    }
}

/// An open database.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("db");
/// let db = kvdb::Db::open(&path)?;
/// db.set("name", "Jaya Krishna")?;
/// assert_eq!(db.get("name")?.unwrap(), b"Jaya Krishna");
/// db.delete("name")?;
/// assert!(db.get("name")?.is_none());
/// # Ok::<(), kvdb::Error>(())
/// ```
#[derive(Clone)]
pub struct Db {
    engine: Arc<dyn Engine>,
}

impl Db {
    /// Opens the database in `dir` and creates it when it is missing.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Options::default().open(dir)
    }

    /// A database over an engine that is already open.
    #[must_use]
    pub fn from_engine(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// The newest value of `key`.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.engine.get(key.as_ref())
    }

    /// Stores `value` under `key`; durable when it returns.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn set(&self, key: impl Into<Key>, value: impl Into<Value>) -> Result<()> {
        let mut batch = Batch::new();
        batch.set(key, value);
        self.write(batch)
    }

    /// Stores `value` under `key` as `options` say; durable when it returns. Returns whether it was stored: what the condition of
    /// the options asks for and the storing are one step, which nobody else gets into.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = kvdb::Db::open(dir.path().join("db"))?;
    /// use kvdb::SetOptions;
    /// use std::time::Duration;
    ///
    /// let lock = SetOptions::new().if_absent().ttl(Duration::from_secs(30));
    /// assert!(db.set_with("lock", "mine", &lock)?);
    /// assert!(!db.set_with("lock", "yours", &lock)?);
    /// assert!(db.set_with("lock", "still mine", &SetOptions::new().if_value("mine"))?);
    /// assert!(db.entry("lock")?.unwrap().expires.is_none());
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Db::write`]; `ExpiresTooLate`.
    pub fn set_with(
        &self,
        key: impl Into<Key>,
        value: impl Into<Value>,
        options: &SetOptions,
    ) -> Result<bool> {
        let (key, value) = (key.into(), value.into());
        let mut turn = self.turn("set")?;
        let entry = if options.condition == Condition::Always { None } else { turn.entry(&key)? };
        if !options.condition.holds(entry.as_ref().map(|entry| &*entry.value)) {
            turn.commit()?;
            return Ok(false);
        }
        let expires = options.lifetime.expires(turn.now())?;
        turn.write(std::iter::once(Op::Set { key, value, expires }).collect())?;
        turn.commit()?;
        Ok(true)
    }

    /// The value of `key`, its version, and when it expires.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.engine.entry(key.as_ref())
    }

    /// The time by the database's own clock; see [`Engine::now`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn delete(&self, key: impl Into<Key>) -> Result<bool> {
        let key = key.into();
        let mut turn = self.turn("delete")?;
        if turn.entry(&key)?.is_none() {
            turn.commit()?;
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(key);
        turn.write(batch)?;
        turn.commit()?;
        Ok(true)
    }

    /// Applies a batch, all or nothing; durable when it returns.
    ///
    /// # Errors
    /// `KeyTooLong`, `ValueTooLong`, `Busy`, `ReadOnly`: nothing was applied. Otherwise as [`Turn::commit`].
    pub fn write(&self, batch: Batch) -> Result<()> {
        let mut turn = self.turn("write")?;
        turn.write(batch)?;
        turn.commit()
    }

    /// Begins a batch that is too large to be held in memory: any number of changes, applied as one. They are cheapest in
    /// ascending order of their keys. Much of it goes to sorted tables directly and never through the log; while there is such
    /// a batch, no other process compacts or has one, and the thread that has it waits for itself when it compacts or fills
    /// another.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = kvdb::Db::open(dir.path().join("db"))?;
    /// let mut bulk = db.bulk()?;
    /// for number in 0..1000_u32 {
    ///     bulk.set(number.to_be_bytes().to_vec(), "value")?;
    /// }
    /// assert!(db.get(7_u32.to_be_bytes())?.is_none());
    /// bulk.commit()?;
    /// assert!(db.get(7_u32.to_be_bytes())?.is_some());
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::bulk`].
    pub fn bulk(&self) -> Result<Bulk<'_>> {
        Ok(Bulk(self.engine.bulk()?))
    }

    /// The entries of a range in ascending key order, as of this call. `scan(..)` with `"a".."b"`, `"a"..`,
    /// [`KeyRange::prefix`] or [`KeyRange::all`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = kvdb::Db::open(dir.path().join("db"))?;
    /// db.set("b", "2")?;
    /// db.set("a", "1")?;
    /// let keys: Vec<_> = db.scan("a"..)?.map(|entry| Ok(entry?.0)).collect::<kvdb::Result<_>>()?;
    /// assert_eq!(keys, [kvdb::Key::from("a"), kvdb::Key::from("b")]);
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::snapshot`].
    pub fn scan(&self, range: impl Into<KeyRange>) -> Result<Scan> {
        Ok(self.snapshot()?.into_scan(range.into(), Direction::Forward))
    }

    /// Begins a transaction.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = kvdb::Db::open(dir.path().join("db"))?;
    /// let mut transfer = db.begin()?;
    /// transfer.set("ann", "90");
    /// transfer.set("bob", "110");
    /// transfer.commit()?;
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::snapshot`].
    pub fn begin(&self) -> Result<Transaction> {
        Transaction::begin(Arc::clone(&self.engine))
    }

    /// Has a transaction that began without a database commit to this one.
    pub(crate) fn take_in(&self, transaction: &mut Transaction) {
        transaction.settle_in(Arc::clone(&self.engine));
    }

    /// A frozen view of the database.
    ///
    /// # Errors
    /// As [`Engine::snapshot`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { view: self.engine.snapshot()?.into() })
    }

    /// Waits for the right to write: for changes that depend on what is there.
    ///
    /// # Errors
    /// As [`Engine::turn`].
    pub fn turn(&self, verb: &'static str) -> Result<Box<dyn Turn + '_>> {
        self.engine.turn(verb)
    }

    /// Figures about the database.
    ///
    /// # Errors
    /// As [`Engine::stats`].
    pub fn stats(&self) -> Result<Stats> {
        self.engine.stats()
    }

    /// Rewrites the files so that they hold live data only.
    ///
    /// # Errors
    /// As [`Engine::compact`].
    pub fn compact(&self) -> Result<Compaction> {
        self.compact_with(&mut |_| true)
    }

    /// As [`Db::compact`], telling `progress` of each step; it returns whether to go on.
    ///
    /// # Errors
    /// As [`Engine::compact`].
    pub fn compact_with(&self, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction> {
        self.engine.compact(progress)
    }

    /// Reads every record, page and cross-reference of the files, and tells all that is wrong: the damage itself is no error.
    /// Other handles and processes go on meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = kvdb::Db::open(dir.path().join("db"))?;
    /// db.set("name", "Ann")?;
    /// let check = db.check()?;
    /// assert!(check.is_clean(), "{:?}", check.faults);
    /// assert_eq!(check.log_records, 1);
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::check`].
    pub fn check(&self) -> Result<Check> {
        self.check_with(&mut |_, _| true)
    }

    /// As [`Db::check`], telling `progress` of each step and of the faults found so far, in no order; it returns whether to go on.
    ///
    /// # Errors
    /// As [`Engine::check`].
    pub fn check_with(&self, progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check> {
        self.engine.check(progress)
    }

    /// Makes a copy of the database in `dir`: see [`Engine::backup`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    /// let db = kvdb::Db::open(&path)?;
    /// db.set("k", "v")?;
    /// db.backup(&copy)?;
    /// assert_eq!(kvdb::Db::open(&copy)?.get("k")?.unwrap(), b"v");
    /// # Ok::<(), kvdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::backup`].
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(dir, &mut |_| true)
    }

    /// As [`Db::backup`], telling `progress` of each step; it returns whether to go on.
    ///
    /// # Errors
    /// As [`Engine::backup`].
    pub fn backup_with(
        &self,
        dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Backup> {
        self.engine.backup(dir.as_ref(), progress)
    }

    /// Does what dropping the last clone of the handle does, but keeps what is in memory: for processes that end now.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Why the database can't be written through this handle, if it can't.
    #[must_use]
    pub fn read_only(&self) -> Option<&str> {
        self.engine.read_only()
    }

    /// What the user should be told since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        self.engine.take_notices()
    }
}

/// A batch that need not fit in memory: see [`Db::bulk`]. Dropped without a commit it leaves nothing behind.
pub struct Bulk<'a>(Box<dyn EngineBulk + 'a>);

impl Bulk<'_> {
    /// Adds "store `value` under `key`".
    ///
    /// # Errors
    /// As [`EngineBulk::apply`].
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Result<()> {
        self.0.apply(Op::Set { key: key.into(), value: value.into(), expires: None })
    }

    /// Adds a change.
    ///
    /// # Errors
    /// As [`EngineBulk::apply`].
    pub fn apply(&mut self, op: Op) -> Result<()> {
        self.0.apply(op)
    }

    /// Adds "remove `key`".
    ///
    /// # Errors
    /// As [`EngineBulk::apply`].
    pub fn delete(&mut self, key: impl Into<Key>) -> Result<()> {
        self.0.apply(Op::Delete { key: key.into() })
    }

    /// Applies all changes, all or none; durable when it returns.
    ///
    /// # Errors
    /// As [`EngineBulk::commit`].
    pub fn commit(self) -> Result<()> {
        self.0.commit()
    }
}

/// A frozen view of a database: later writes, by anyone, do not change it.
#[derive(Clone)]
pub struct Snapshot {
    view: Arc<dyn EngineSnapshot>,
}

impl Snapshot {
    /// The value of `key` in the view.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }

    /// The value of `key` in the view, its version, and when it expires.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.view.entry(key.as_ref())
    }

    /// The time in the view: what expires by then is not in it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.view.now()
    }

    /// The newest batch in the view: it holds this one and everything before it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.view.lsn()
    }

    /// A walk over a range without copying entries.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn cursor(
        &self,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn crate::engine::Cursor + '_>> {
        self.view.scan(range, direction)
    }

    /// A walk over the keys of a range. Values that lie apart from their keys are not read.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn key_cursor(
        &self,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn crate::engine::KeyCursor + '_>> {
        self.view.keys(range, direction)
    }

    /// The entries of a range in key order, as an iterator of copies.
    #[must_use]
    pub fn into_scan(self, range: KeyRange, direction: Direction) -> Scan {
        Scan { snapshot: self, rest: range, direction, page: Vec::new().into_iter(), done: false }
    }
}

/// A [`Scan`] copies so many entries out of its snapshot at once, or as many as have so many bytes: one at least.
const SCAN_PAGE_ENTRIES: usize = 256;
const SCAN_PAGE_BYTES: usize = 1 << 20;

/// An iterator over the entries of a range. It ends after the first error.
pub struct Scan {
    snapshot: Snapshot,
    rest: KeyRange,
    direction: Direction,
    page: std::vec::IntoIter<(Key, Value)>,
    done: bool,
}

impl Scan {
    /// Copies the next entries out and moves the start of the rest behind them.
    fn fill(&mut self) -> Result<()> {
        let mut page = Vec::with_capacity(SCAN_PAGE_ENTRIES);
        let mut cursor = self.snapshot.cursor(&self.rest, self.direction)?;
        let mut bytes = 0;
        let is_done = loop {
            if page.len() == SCAN_PAGE_ENTRIES || bytes >= SCAN_PAGE_BYTES {
                break false;
            }
            let Some((key, value)) = cursor.next()? else { break true };
            bytes += key.len() + value.len();
            page.push((Key::from(key), Value::from(value)));
        };
        cursor.check()?;
        drop(cursor);
        self.done = is_done;
        if let Some((last, _)) = page.last() {
            let behind = std::ops::Bound::Excluded(last.clone());
            match self.direction {
                Direction::Forward => self.rest.start = behind,
                Direction::Reverse => self.rest.end = behind,
            }
        }
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && !self.done
            && let Err(error) = self.fill()
        {
            self.done = true;
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::open_on;
    use crate::storage::fs::sim::SimFs;

    #[test]
    fn a_scan_holds_few_large_values_at_once() {
        const VALUE_LEN: usize = 300_000;
        let disk = SimFs::new();
        let db = Db::from_engine(open_on(disk.process(), Path::new("/db"), &Options::new()).unwrap());
        for number in 0..20 {
            db.set(format!("{number:02}"), vec![number; VALUE_LEN]).unwrap();
        }
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut scan = db.snapshot().unwrap().into_scan(KeyRange::all(), direction);
            let mut found = Vec::new();
            while let Some(entry) = scan.next().transpose().unwrap() {
                found.push(entry.1[0]);
                assert!(scan.page.len() < 5, "{} more were copied", scan.page.len());
            }
            if direction == Direction::Reverse {
                found.reverse();
            }
            assert_eq!(found, (0..20).collect::<Vec<u8>>());
        }
    }
}
