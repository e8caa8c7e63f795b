//! Figures about a database for `.stats`: what its files amount to, what was written to it, what this handle did.

use std::sync::TryLockError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::follow::read_manifest;
use super::{Memory, WalEngine};
use crate::engine::{Rewrite, Stats};
use crate::error::{Error, Result};
use crate::storage::Place;
use crate::storage::fs::OpenMode;
use crate::storage::totals::Totals;

/// What the handle did.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_micros: AtomicU64,
    pub(super) lock_waits: AtomicU64,
    pub(super) lock_wait_micros: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn add_micros(counter: &AtomicU64, time: Duration) {
        Self::add(counter, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Together with what was written before the handle's log began.
    fn stats(&self, totals: &Totals) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let if_ever = |rewrite: Rewrite| (rewrite.unix_ms > 0).then_some(rewrite);
        Stats {
            user_bytes: totals.user_bytes,
            log_bytes_written: totals.log_bytes,
            table_bytes_written: totals.table_bytes,
            flushes: totals.flushes,
            compactions: totals.merges,
            last_flush: if_ever(totals.last_flush),
            last_compaction: if_ever(totals.last_merge),
            commits: count(&self.commits),
            syncs: count(&self.syncs),
            sync_micros: count(&self.sync_micros),
            lock_waits: count(&self.lock_waits),
            lock_wait_micros: count(&self.lock_wait_micros),
            ..Stats::default()
        }
    }
}

impl<M: Memory> WalEngine<M> {
    /// Figures about the files and the log, and about what this handle did. What users wrote does not count here before it
    /// left the log. A file that goes away meanwhile does not count.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn stats(&self) -> Result<Stats> {
        let Place { fs, dir } = &self.place;
        let published = self.published();
        let mut stats = self.counters.stats(&published.totals);
        stats.log_bytes = published.log_bytes;
        stats.log_bytes_written += published.log_bytes;
        drop(published);
        for name in fs.read_dir(dir).map_err(|error| Error::io("list", dir, error))? {
            let bytes = self.place.open(&name, OpenMode::Read).map_or(0, |file| file.size().unwrap_or(0));
            let is_a = |kind| name.extension().is_some_and(|extension| extension == kind);
            stats.disk_bytes += bytes;
            stats.log_bytes += if is_a("base") { bytes } else { 0 };
            stats.log_files += u64::from(is_a("base") || is_a("wal"));
        }
        Ok(stats)
    }

    /// Takes up the manifest if another process has replaced it: a merge leaves no trace in the log. During a turn, of any
    /// thread, nothing is changed.
    ///
    /// # Errors
    /// As [`Engine::get`](crate::engine::Engine::get).
    pub(crate) fn look_for_changes(&self) -> Result<()> {
        let known = self.published().totals;
        if read_manifest(&self.place)?.totals == known {
            return Ok(());
        }
        match self.inner.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(()),
            free => {
                drop(free);
                self.take_up_manifest()
            }
        }
    }
}
