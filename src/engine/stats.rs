//! Figures about a database and the handle that was asked: what `.stats` shows.

pub use crate::storage::totals::Rewrite;
use crate::types::{EngineKind, Key, Lsn};

/// Figures about a database and the handle that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Which engine keeps the data.
    pub engine: EngineKind,
    /// Keys stored.
    pub keys: u64,
    /// Bytes of those keys and their values.
    pub live_bytes: u64,
    /// Whether these two were counted: of a large database they are estimates, outdated versions included.
    pub is_exact: bool,
    /// The newest committed batch.
    pub lsn: Lsn,
    /// Keys whose newest change is in memory and in the log only; one that was changed in several segments of the log counts
    /// in each.
    pub memtable_keys: u64,
    /// Bytes of the keys and values of the changes in memory, overwritten ones included.
    pub memtable_bytes: u64,
    /// Files of the log, the base included.
    pub log_files: u64,
    /// Bytes of records in the log, the base included.
    pub log_bytes: u64,
    /// Runs of sorted tables; each is one more place where a read may have to look.
    pub runs: u64,
    /// Sorted tables.
    pub tables: u64,
    /// The runs, newest first, which is the order in which a read looks at them.
    pub levels: Vec<Level>,
    /// Bytes of all the database's files on disk, preallocated space included.
    pub disk_bytes: u64,
    /// Bytes of keys and values that were written in the life of the database, by any process; those of a deletion are its key.
    pub user_bytes: u64,
    /// Bytes of log records that were written for them. The zeros that a new segment is filled with do not count.
    pub log_bytes_written: u64,
    /// Bytes of tables, and of bases, that were written in the life of the database. Work that was cut short does not count.
    pub table_bytes_written: u64,
    /// Flushes of memory to tables in the life of the database.
    pub flushes: u64,
    /// Compactions in the life of the database: merges of tables that came to their end, or bases that took the place of the
    /// log.
    pub compactions: u64,
    /// The last flush: bytes of log records became bytes of tables.
    pub last_flush: Option<Rewrite>,
    /// The last compaction, as far as it has come: bytes of files became bytes of files.
    pub last_compaction: Option<Rewrite>,
    /// Batches this handle committed.
    pub commits: u64,
    /// Syncs this handle made for them.
    pub syncs: u64,
    /// Microseconds spent in those syncs.
    pub sync_micros: u64,
    /// Times this handle had to wait for another process's lock.
    pub lock_waits: u64,
    /// Microseconds spent in those waits.
    pub lock_wait_micros: u64,
    /// Tables that this handle had open when it was asked. A table is opened when it is first read.
    pub open_tables: u64,
    /// Bytes of those tables. They are mapped: how much of that is in memory is up to the system.
    pub mapped_bytes: u64,
}

/// A sorted run of tables that share no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Its tables.
    pub tables: u64,
    /// Records in them: values and tombstones.
    pub entries: u64,
    /// Records that say that a key was deleted.
    pub tombstones: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// None of its keys is smaller; mostly it is the first.
    pub first_key: Key,
    /// Its last key.
    pub last_key: Key,
}

impl Stats {
    /// Bytes written to the log and to tables for each byte of a key or value that was written, in the life of the database;
    /// `None` before the first.
    #[must_use]
    pub fn write_amplification(&self) -> Option<f64> {
        ratio(self.log_bytes_written + self.table_bytes_written, self.user_bytes)
    }

    /// Bytes of files, preallocated space included, for each live byte; `None` when there is none. The live bytes of a large
    /// database are an estimate, see [`Stats::is_exact`], which makes this one too: the true figure is then larger.
    #[must_use]
    pub fn space_amplification(&self) -> Option<f64> {
        ratio(self.disk_bytes, self.live_bytes)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amplification_is_written_or_kept_bytes_by_useful_ones() {
        let stats = Stats {
            user_bytes: 100,
            log_bytes_written: 150,
            table_bytes_written: 100,
            disk_bytes: 60,
            live_bytes: 50,
            ..Stats::default()
        };
        assert_eq!(stats.write_amplification(), Some(2.5));
        assert_eq!(stats.space_amplification(), Some(1.2));
        assert_eq!(Stats::default().write_amplification(), None);
        assert_eq!(Stats::default().space_amplification(), None);
    }
}
