//! The contract between the shell and what keeps the data.
//!
//! An [`Engine`] is an ordered map from keys to values that many threads and many processes share. Its state is a
//! sequence of committed batches, numbered by [`Lsn`]; everything a caller can see is the result of a prefix of that
//! sequence:
//!
//! * [`Engine::get`] and [`Engine::snapshot`] see every batch that was acknowledged, by any process, before the call.
//! * [`Engine::turn`] gives the one right to write: while a [`Turn`] lives no other process or thread commits, so what
//!   it reads stays true until it commits. Its own uncommitted writes are visible to it alone.
//! * [`Turn::commit`] returns when the turn's batches are durable as the [`SyncMode`](crate::SyncMode) promises. A turn that is
//!   dropped leaves nothing behind, and so does one whose commit fails while the handle goes on. When the failure has stopped
//!   the handle, some of the batches may be found later, by everybody, in order and each of them whole.
//! * A key whose value has expired is not there, for every reader and writer. What is seen together is judged by one moment:
//!   a snapshot by that at which it was made, a turn by that at which it first mattered. The time is the database's own,
//!   [`Engine::now`], and never goes back.
//! * One batch is one record in the log, or one change of the manifest ([`Engine::bulk`]): applied whole or not at all,
//!   whatever crashes when.

mod check;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod glance;
mod inspect;
mod key_map;
mod kv_engine;
mod lsm;
#[cfg(test)]
pub(crate) mod model;
mod repair;
mod simple_engine;
mod stats;
#[cfg(test)]
pub(crate) mod tests;
mod wal_engine;

use std::path::Path;
use std::sync::Arc;

use crate::error::{Fault, Notice, Result};
use crate::options::Options;
use crate::storage::Place;
use crate::storage::fs::{Fs, RealFs};
use crate::storage::lock::Patience;
use crate::storage::manifest::Manifest;
use crate::storage::wal::record;
use crate::types::{Batch, Direction, EngineKind, Entry, Key, KeyRange, Lsn, Op, Timestamp, Value};
use kv_engine::KvEngine;
use simple_engine::SimpleEngine;

pub use check::Check;
pub(crate) use glance::{Glance, glance_on};
pub use repair::{Lost, Repair};
pub use stats::{Level, Rewrite, Stats};

/// A database as the shell and the library see it.
pub trait Engine: Send + Sync {
    /// The newest value of `key`, and its version.
    ///
    /// # Errors
    /// Corruption and I/O errors; `Busy` when catching up with other processes waits too long.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// The newest value of `key`.
    ///
    /// # Errors
    /// As [`Engine::entry`].
    #[inline]
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }

    /// A frozen view of everything committed so far. It costs no copy of the data and blocks nobody.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// Waits for the right to write and catches up with what others committed. `verb` names the command to those who wait.
    /// The thread that has a turn can read, but waits for itself when it asks for another, or compacts.
    ///
    /// # Errors
    /// `Busy` after the lock timeout, `ReadOnly`, and as [`Engine::get`].
    fn turn(&self, verb: &'static str) -> Result<Box<dyn Turn + '_>>;

    /// Begins a batch that is too large to be held in memory. The thread that has one waits for itself when it fills another, or
    /// compacts, until that is `Busy`.
    ///
    /// # Errors
    /// `ReadOnly`.
    fn bulk(&self) -> Result<Box<dyn Bulk + '_>>;

    /// The time by the database's own clock: the system's, but that it never goes back, for no process. What is written to expire
    /// later than now is there until then. Where the time can't be noted for other processes it is told all the same, but reads and
    /// turns that go by it fail.
    fn now(&self) -> Timestamp;

    /// Figures about the database and this handle.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn stats(&self) -> Result<Stats>;

    /// Rewrites the files so that they hold live data only. Other processes go on reading and writing meanwhile.
    /// `progress` is told of every step and returns whether to go on.
    ///
    /// # Errors
    /// As [`Engine::turn`]; `Interrupted` when `progress` said stop: what was done until then stays, and is no loss.
    fn compact(&self, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Compaction>;

    /// Reads everything that the database consists of and tells all that is wrong with it. Other processes go on reading and
    /// writing meanwhile. `progress` is told of every step and returns whether to go on.
    ///
    /// # Errors
    /// As [`Engine::get`], but for corruption, which is what is told; `Interrupted` when `progress` said stop.
    fn check(&self, progress: &mut dyn FnMut(Progress, &[Fault]) -> bool) -> Result<Check>;

    /// Makes a copy of the database in `dir`, which opens like any other: everything that was acknowledged before the call.
    /// Others go on reading and writing meanwhile. `dir` may be new, empty, or an older backup of this database that nobody has
    /// written to: then only what is missing is brought. Tables become the same files under second names where the file system
    /// allows it, and are copied elsewhere. Durable when it returns, and read back. `progress` is as in [`Engine::compact`].
    ///
    /// # Errors
    /// `BackupTarget` when something else is in `dir`; `ReadOnly` when changes that are only in the log would have to be
    /// flushed; `Interrupted`; `Busy`; corruption; I/O. `dir` is as it was then, or the new backup is complete.
    fn backup(&self, dir: &Path, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Backup>;

    /// Ends what is under way in the background, and leaves the files so that the next process has little to read. For processes
    /// that end without dropping the handle, which does the same. What goes wrong here is left for the next process.
    fn close(&self) {}

    /// Why the handle can't write, if it can't.
    fn read_only(&self) -> Option<&str>;

    /// What the user should be told since the last call.
    fn take_notices(&self) -> Vec<Notice>;
}

/// A frozen view of the database.
pub trait Snapshot: Send + Sync {
    /// The value of `key` and its version.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// The entries of a range in key order.
    ///
    /// # Errors
    /// As [`Snapshot::entry`].
    fn scan(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>>;

    /// The keys of a range in order. Values that lie apart from their keys are not read.
    ///
    /// # Errors
    /// As [`Snapshot::entry`].
    fn keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        Ok(Box::new(KeysOf(self.scan(range, direction)?)))
    }

    /// Everything committed up to here is in the view.
    fn lsn(&self) -> Lsn;

    /// The time in the view: what expires by then is not in it. Where nothing in the database ever expired it is the system's.
    fn now(&self) -> Timestamp;
}

/// A walk over entries. After an error or the end it yields nothing more.
pub trait Cursor {
    /// The next key, its value, and when it expires, if it does; valid until the next call. If a file loses parts while they are
    /// used, because somebody cuts it or the device fails, the next call says so, or [`Cursor::check`] where there is none.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    fn next_entry(&mut self) -> Result<Option<Item<'_>>>;

    /// The next key and value, valid until the next call.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    #[inline]
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(self.next_entry()?.map(|(key, value, _)| (key, value)))
    }

    /// Whether everything that was handed out so far is what the files held when it was used.
    ///
    /// # Errors
    /// Corruption.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A key, its value, and when it expires, if it does.
pub type Item<'a> = (&'a [u8], &'a [u8], Option<Timestamp>);

/// A walk over keys. After an error or the end it yields nothing more.
pub trait KeyCursor {
    /// The next key, valid until the next call, and how many bytes its value has.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    fn next(&mut self) -> Result<Option<(&[u8], u64)>>;
}

/// The keys of a walk that has the values at hand.
pub(crate) struct KeysOf<'a>(pub(crate) Box<dyn Cursor + 'a>);

impl KeyCursor for KeysOf<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        Ok(self.0.next()?.map(|(key, value)| (key, value.len() as u64)))
    }
}

/// The right to write, with a view that includes the turn's own writes.
pub trait Turn {
    /// The value of `key` and its version. Entries written in this turn carry the LSN they will have. What is seen here may still
    /// be on its way to the device together with this turn: an answer based on it counts once [`Turn::commit`] succeeds, also
    /// when there is nothing to write.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// The time in the turn, which stands still: what expires by then is not there.
    fn now(&self) -> Timestamp;

    /// Adds a batch. It is visible to this turn at once, and to others after [`Turn::commit`].
    ///
    /// # Errors
    /// `KeyTooLong`, `ValueTooLong`: the batch is not added, the turn goes on.
    fn write(&mut self, batch: Batch) -> Result<Lsn>;

    /// Makes the turn's batches durable and visible, and gives the right to write back. A turn that wrote nothing waits at
    /// most until what it was shown is durable.
    ///
    /// # Errors
    /// Io. Unless the handle is poisoned from then on, nothing of the turn is applied.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// A batch that need not fit in memory. Dropped without [`Bulk::commit`] it leaves nothing behind.
pub trait Bulk {
    /// Adds a change. Nobody sees it before the commit.
    ///
    /// # Errors
    /// `KeyTooLong`, `ValueTooLong`: the change is not added. `Busy`, corruption, I/O: it is, but what has come so far could not be
    /// written; the next change, or the commit, tries that again.
    fn apply(&mut self, op: Op) -> Result<()>;

    /// Applies all changes in the order in which they came, all or none; durable when it returns.
    ///
    /// # Errors
    /// As [`Turn::commit`].
    fn commit(self: Box<Self>) -> Result<()>;
}

/// A bulk of an engine that holds everything in memory anyway.
struct BatchBulk<'a> {
    engine: &'a dyn Engine,
    batch: Batch,
}

impl Bulk for BatchBulk<'_> {
    fn apply(&mut self, op: Op) -> Result<()> {
        record::check(&op)?;
        self.batch.push(op);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let mut turn = self.engine.turn("load")?;
        turn.write(self.batch)?;
        turn.commit()
    }
}

/// How far a long operation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries done.
    pub done: u64,
    /// Entries in all.
    pub total: u64,
    /// Bytes of new files written.
    pub written_bytes: u64,
    /// Faults that a check has found so far.
    pub faults: u64,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Bytes of the database's files before.
    pub bytes_before: u64,
    /// Bytes of the database's files after.
    pub bytes_after: u64,
}

/// What a backup consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The last batch in it.
    pub lsn: Lsn,
    /// Files that the older backup had already.
    pub kept_files: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Files that are the database's own, under a second name.
    pub linked_files: u64,
    /// Their bytes.
    pub linked_bytes: u64,
    /// Files that were copied.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Bytes that were read back and verified: all that were copied. Of the other files, length and identity were.
    pub verified_bytes: u64,
}

/// Checks the database in `dir`, whether it can be opened or not: see [`Engine::check`].
///
/// # Errors
/// `NoDatabase`, `NotADatabase`, `Format`; as [`Engine::check`].
pub(crate) fn check_dir(
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
) -> Result<Check> {
    check_on(Arc::new(RealFs), dir, options, progress)
}

/// The same on a file system of choice.
pub(crate) fn check_on(
    fs: Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
) -> Result<Check> {
    check::check(&place(fs, dir), patience(options), progress)
}

/// Writes what can be read of the database in `dir` to a new one in `new`: see [`Options::repair`].
///
/// # Errors
/// As [`Options::repair`].
pub(crate) fn repair_dir(
    dir: &Path,
    new: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Repair> {
    repair_on(Arc::new(RealFs), (dir, new), options, progress)
}

/// The same on a file system of choice.
pub(crate) fn repair_on(
    fs: Arc<dyn Fs>,
    (dir, new): (&Path, &Path),
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Repair> {
    repair::repair(&place(fs, dir), new, options, progress)
}

fn place(fs: Arc<dyn Fs>, dir: &Path) -> Place {
    Place { fs, dir: dir.to_owned() }
}

fn patience(options: &Options) -> Patience {
    Patience { timeout: options.lock_timeout, interrupt: options.interrupt.clone() }
}

/// Opens the engine of the database in `dir`, and creates it first if it is missing and `options` say so.
///
/// # Errors
/// As [`Options::open`].
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Arc<dyn Engine>> {
    open_on(Arc::new(RealFs), dir, options)
}

/// The same on a file system of choice.
pub(crate) fn open_on(fs: Arc<dyn Fs>, dir: &Path, options: &Options) -> Result<Arc<dyn Engine>> {
    let manifest = wal_engine::find_or_create(&*fs, dir, options)?;
    open_manifest(place(fs, dir), manifest, options)
}

/// Opens the database at `place`, which has `manifest`.
fn open_manifest(place: Place, manifest: Manifest, options: &Options) -> Result<Arc<dyn Engine>> {
    Ok(match manifest.engine {
        EngineKind::Simple => Arc::new(SimpleEngine::open(place, manifest, options)?),
        EngineKind::Kv => Arc::new(KvEngine::open(place, manifest, options)?),
    })
}

/// Opens the database in `dir` for a look at a few keys, where that is less work: see [`Glance`].
///
/// # Errors
/// As [`Options::open`].
pub(crate) fn glance(dir: &Path, options: &Options, keys: &[Key]) -> Result<Option<Glance>> {
    glance_on(Arc::new(RealFs), dir, options, keys)
}
