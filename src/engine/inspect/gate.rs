//! The lock that keeps writers out for a moment, taken without writing to anything.

use std::time::Instant;

use crate::engine::wal_engine::{LOCK, NOTES, TURNSTILE};
use crate::error::{Error, Result};
use crate::storage::Place;
use crate::storage::fs::{LockKind, OpenMode};
use crate::storage::lock::{LockFile, Patience};
use crate::storage::shm::{Durable, Notes};
use crate::types::Timestamp;

/// The way to the lock. Where its files are missing nobody else can be inside either.
pub(in crate::engine) struct Gate {
    turnstile: Option<LockFile>,
    lock: Option<LockFile>,
    notes: Notes,
    patience: Patience,
}

/// `LOCK`, held until this is dropped.
pub(in crate::engine) struct Held<'a>(Option<&'a LockFile>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.0 {
            lock.release();
        }
    }
}

impl Gate {
    /// The gate of the database at `place`.
    pub(in crate::engine) fn new(place: &Place, patience: Patience) -> Self {
        let open = |name| LockFile::open(&*place.fs, &place.dir, name).ok();
        let notes = place.open(NOTES, OpenMode::Read).ok();
        let boot_id = place.fs.boot_id().unwrap_or(0);
        Self {
            turnstile: open(TURNSTILE),
            lock: open(LOCK),
            notes: Notes::of_others(notes, boot_id),
            patience,
        }
    }

    /// Keeps writers out, and lets readers in.
    ///
    /// # Errors
    /// `Busy`, `Interrupted`, I/O.
    pub(in crate::engine) fn hold(&self) -> Result<Held<'_>> {
        let start = Instant::now();
        let acquire =
            |lock: &LockFile, kind| lock.acquire(kind, &self.patience, start, || self.notes.holder());
        if let Some(turnstile) = &self.turnstile {
            acquire(turnstile, LockKind::Exclusive)?;
        }
        let held = self.lock.as_ref().map_or(Ok(()), |lock| acquire(lock, LockKind::Shared));
        if let Some(turnstile) = &self.turnstile {
            turnstile.release();
        }
        held.map(|()| Held(self.lock.as_ref()))
    }

    /// The last note on how far the log is durable.
    pub(in crate::engine) fn durable(&self) -> Option<Durable> {
        self.notes.durable()
    }

    /// What the clock of the database said when a process last left a note of it.
    pub(in crate::engine) fn clock(&self) -> Option<Timestamp> {
        let clock = self.notes.clock().ok()??.clock;
        Timestamp::from_unix_millis(u64::try_from(clock.as_millis()).ok()?)
    }

    /// An error when somebody raised the flag that ends a wait.
    pub(in crate::engine) fn check(&self) -> Result<()> {
        if self.patience.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
