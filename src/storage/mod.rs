//! What is on disk, one structure per file, and every system call that touches it.
//!
//! The structures know nothing of each other and nothing of engines. A database directory holds
//!
//! ```text
//! MANIFEST        what the database consists of             manifest
//! nnnnnn.wal      a segment of the log                      wal
//! nnnnnn.base     entries that stand for older segments     wal
//! nnnnnn.sst      a sorted table                            sstable
//! TURN LOCK       empty files that processes lock           lock
//! MAINT MERGE     the same
//! SHM             advisory notes between processes          shm
//! ORIGIN          what a backup was taken of                origin
//! config.toml     settings, if the user wrote one
//! ```

pub(crate) mod codec;
pub mod fs;
pub(crate) mod lock;
pub(crate) mod manifest;
pub(crate) mod origin;
pub(crate) mod prefetch;
pub(crate) mod shm;
#[doc(hidden)]
pub mod sstable;
pub(crate) mod totals;
pub(crate) mod wal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::types::{FileId, Key, Lsn, Timestamp};
use fs::{File, Fs, OpenMode, remove_if_present, write_all_at};

/// Newest format of the files in a database directory that this build reads, and the one that it writes.
///
/// * 1: the first.
/// * 2: values that expire. Operations of the log and records of tables may have an expiry; the manifest keeps the time and
///   says of each table what in it expires. Before the first expiry is written the manifest is of this format, so that
///   a kvdb that does not know expiries refuses the database.
/// * 3: tables whose values are packed. Before one is named the manifest is of this format.
pub(crate) const FORMAT: u32 = 3;

/// The identity of one log file, which binds what is in it to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// The file's number.
    pub id: FileId,
    /// Drawn at random when the file was made.
    pub salt: u64,
}

/// What has to be known of a table to open it, and to decide whether to. Of a table without records, the keys are empty and
/// the LSNs zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// The file's number.
    pub id: FileId,
    /// The file's length in bytes.
    pub len: u64,
    /// Records, tombstones included.
    pub entries: u64,
    /// Records that say that a key was deleted.
    pub tombstones: u64,
    /// Bytes of all keys and values.
    pub payload_bytes: u64,
    /// The first key.
    pub smallest: Key,
    /// The last key.
    pub largest: Key,
    /// The smallest LSN of a record.
    pub smallest_lsn: Lsn,
    /// The largest LSN of a record.
    pub largest_lsn: Lsn,
    /// The footer's checksum, which depends on every byte of the file.
    pub checksum: u32,
    /// What in it expires; `None` when nothing does.
    pub expiries: Option<Expiries>,
}

/// Those records of a table whose values expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// How many there are.
    pub count: u64,
    /// When the first expires.
    pub first: Timestamp,
    /// When the last expires.
    pub last: Timestamp,
}

impl Expiries {
    /// About how many have expired by `now`, as if they did at even intervals. Exact where it is all or none.
    pub(crate) fn expired_by(&self, now: Timestamp) -> u64 {
        if now < self.first {
            return 0;
        }
        let span = |end: Timestamp| u128::from(end.unix_millis() - self.first.unix_millis()) + 1;
        let expired = u128::from(self.count) * span(now.min(self.last)) / span(self.last);
        u64::try_from(expired).unwrap_or(self.count)
    }

    /// Counts a record in.
    pub(crate) fn count(all: &mut Option<Self>, expires: Option<Timestamp>) {
        let Some(at) = expires else { return };
        let seen = all.get_or_insert(Self { count: 0, first: at, last: at });
        (seen.count, seen.first, seen.last) = (seen.count + 1, seen.first.min(at), seen.last.max(at));
    }
}

/// A table as a run has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunTable {
    /// What is in the file.
    pub table: TableMeta,
    /// Records below this key do not count: a merge has written them to other tables. Empty when all count.
    pub floor: Key,
    /// About how many records that are.
    pub hidden: u64,
    /// About how many records outdate one in an older run.
    pub outdating: u64,
    /// What is added to the LSNs in the file: it was written before they were known. Else 0.
    pub lsn_base: u64,
}

impl RunTable {
    /// A table all of whose records count.
    pub(crate) fn whole(table: TableMeta) -> Self {
        Self { table, floor: Key::from(b""), hidden: 0, outdating: 0, lsn_base: 0 }
    }

    /// No record that counts has a smaller key.
    pub(crate) fn smallest(&self) -> &Key {
        if self.floor.is_empty() { &self.table.smallest } else { &self.floor }
    }

    /// The largest key.
    pub(crate) fn largest(&self) -> &Key {
        &self.table.largest
    }

    /// The LSN of a record that has `lsn` in the file.
    pub(crate) fn lsn(&self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0 + self.lsn_base)
    }

    /// About how many records count.
    pub(crate) fn entries(&self) -> u64 {
        self.table.entries.saturating_sub(self.hidden)
    }

    /// About how many bytes of the file count.
    pub(crate) fn bytes(&self) -> u64 {
        self.share(self.table.len)
    }

    /// About how many of these `count` (bytes, records) belong to records that count.
    pub(crate) fn share(&self, count: u64) -> u64 {
        let share = u128::from(count) * u128::from(self.entries()) / u128::from(self.table.entries.max(1));
        u64::try_from(share).unwrap_or(count)
    }
}

/// Where a database lies: its file system and its directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub fs: Arc<dyn Fs>,
    pub dir: PathBuf,
}

/// Puts a file of these bytes in the place of the file `name` of a directory, durably: it is written and synced beside it, renamed
/// over it, and the directory synced. After an error the old file or the new one is there.
///
/// # Errors
/// I/O.
fn replace_file(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let write = || {
        remove_if_present(fs, &temporary)?;
        let file = fs.open(&temporary, OpenMode::CreateNew)?;
        write_all_at(&*file, bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|error| Error::io("write", &temporary, error))?;
    fs.rename(&temporary, &dir.join(name)).map_err(|error| Error::io("rename", &temporary, error))?;
    fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
}

impl Place {
    /// A file of the directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Opens a file of the directory.
    ///
    /// # Errors
    /// I/O, `NotFound` among them.
    pub(crate) fn open(&self, name: impl AsRef<Path>, mode: OpenMode) -> Result<Arc<dyn File>> {
        let path = self.path(name);
        self.fs.open(&path, mode).map_err(|error| Error::io("open", &path, error))
    }

    /// Removes a file of the directory if that is possible: what nothing refers to harms nobody.
    pub(crate) fn discard(&self, name: impl AsRef<Path>) {
        drop(self.fs.remove_file(&self.path(name)));
    }
}
