//! How processes that write at the same time share syncs.
//!
//! A handle that finds the records of others in the log keeps `LOCK` for its write only. What it wrote is made durable behind
//! that, by one of those who wait for the same, for all that was written by then:
//!
//! ```text
//!  process 1   LOCK ─ write │ segment ─ sync ─────── note │ reply
//!  process 2          LOCK ─ write │ wait ────────────────│ segment ─ sync ─────── note │ reply
//!  process 3                 LOCK ─ write │ wait ─────────────────────────────────────── │ reply
//! ```
//!
//! Whoever syncs has the segment's file locked. That saves syncs, and is all that it is for: who waits for it too long syncs too.
//!
//! Why the sync of another handle, which its note reports, counts for a write:
//!
//! 1. It began after the write was done: it is for what the note on written records said before it began.
//! 2. A sync that failed leaves pages that look clean, and the next one says nothing about them. But the system reports a
//!    failure to every handle that had the file open (Linux does; where notes are not kept no sync is shared). A handle that
//!    was opened later repeated, when it wrote, all that it did not know to be durable.
//! 3. The write is still in its place. A page that could not be written may be forgotten, and then another handle may write there.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::follow::Follower;
use super::turn::Write;
use super::{Counters, Inner, Memory, WalEngine};
use crate::error::{Error, Result, SYNC_LOG, WRITE_LOG};
use crate::storage::Life;
use crate::storage::fs::{File, LockKind, write_all_at};
use crate::storage::lock::{Punctual, rest};
use crate::storage::shm::{Durable, Extent};
use crate::storage::wal::reader::SegmentReader;
use crate::types::Lsn;

/// For so many turns after one that found records of others a handle takes it that they go on writing.
const COMPANY: u8 = 16;

/// Nobody waits longer than this for the sync of another process: it may have been stopped.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// Whether others write to the log as well.
#[derive(Debug, Default)]
pub(super) struct Company(u8);

impl Company {
    /// Takes note of what a turn found.
    pub(super) fn observe(&mut self, others_wrote: bool) {
        self.0 = if others_wrote { COMPANY } else { self.0.saturating_sub(1) };
    }

    pub(super) const fn is_there(&self) -> bool {
        self.0 > 0
    }
}

/// What becomes of a wait for durability.
enum Sync {
    /// This note says that it is there.
    Noted(Durable),
    /// This handle is to sync. The segment is locked, unless another has it for too long.
    Own(Syncing),
}

/// A segment that is locked for a sync, until it is dropped.
struct Syncing(Arc<dyn File>);

impl Drop for Syncing {
    fn drop(&mut self) {
        // Closing the file gives the lock back too.
        drop(self.0.unlock());
    }
}

impl<M: Memory> WalEngine<M> {
    /// Writes with `LOCK` held, gives that back, and returns when what was written is durable; says how long that took.
    pub(super) fn relay(&self, write: &Write) -> Result<Duration> {
        let written = write_all_at(&*write.file, &write.bytes, write.offset);
        if written.is_ok() {
            self.notes.publish_written(&write.extent());
        }
        self.give_lock_back();
        written.map_err(|error| Error::io(WRITE_LOG, &write.path, error))?;
        let start = Instant::now();
        match self.await_sync(&write.file, write.life, write.end.position.lsn) {
            Sync::Noted(_) => write.check_place()?,
            Sync::Own(_syncing) => self.sync_for_all(write)?,
        }
        Ok(start.elapsed())
    }

    /// Syncs the segment, and notes how far it was written before.
    fn sync_for_all(&self, write: &Write) -> Result<()> {
        let own = write.extent();
        let written = self.notes.written().filter(|written| written.covers(own.life, own.lsn));
        let start = Instant::now();
        write.file.sync_data().map_err(|error| Error::io(SYNC_LOG, &write.path, error))?;
        Counters::add(&self.counters.syncs, 1);
        Counters::add_micros(&self.counters.sync_micros, start.elapsed());
        self.note_sync(written.unwrap_or(own));
        Ok(())
    }

    /// Leaves a note, unless there is one that says more: the log may have gone on in another segment since.
    fn note_sync(&self, to: Extent) {
        if self.notes.durable().is_none_or(|note| note.to.lsn < to.lsn) {
            self.notes.publish(&Durable { to, dropped: false });
        }
    }

    /// Waits until a note says that the batch `lsn` of a segment is durable, or it is this handle's turn to see to it.
    fn await_sync(&self, file: &Arc<dyn File>, life: Life, lsn: Lsn) -> Sync {
        let start = Instant::now();
        let limit = MAX_WAIT.min(self.patience.timeout);
        let _punctual = Punctual::become_so();
        loop {
            // A lock that can't be had for an error is one to do without.
            let is_free = file.try_lock(LockKind::Exclusive).unwrap_or(true);
            if let Some(note) = self.notes.durable().filter(|note| note.to.covers(life, lsn)) {
                if is_free {
                    drop(file.unlock());
                }
                return Sync::Noted(note);
            }
            let waited = start.elapsed();
            if is_free || waited >= limit {
                return Sync::Own(Syncing(Arc::clone(file)));
            }
            rest(waited, limit);
        }
    }

    /// Has everything that the follower has read on the device. `LOCK` is held. `false` when something is not there any more.
    ///
    /// # Errors
    /// `Poisoned` when that failed.
    pub(super) fn settle_pending(&self, follower: &mut Follower) -> Result<bool> {
        // Who can't write can't write it again either.
        if self.read_only.is_some() || !follower.is_relayed(self.notes.written().as_ref()) {
            return follower.confirm();
        }
        let file = Arc::clone(follower.segment.file());
        match self.await_sync(&file, follower.segment.life(), follower.segment.position().lsn) {
            // Read anew it could be another one, and half written.
            Sync::Noted(note) => Ok(follower.heed(Some(&note))),
            Sync::Own(_syncing) => follower.write_again(),
        }
    }

    /// The same for a turn that did not see to it.
    ///
    /// # Errors
    /// As [`WalEngine::settle_pending`]; corruption when something is gone.
    pub(super) fn settle_turn(&self, inner: &mut Inner) -> Result<()> {
        if !inner.follower.is_pending() {
            return Ok(());
        }
        match self.settle_pending(&mut inner.follower) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.lose_the_end(inner)),
            Err(error) => {
                inner.poisoned = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// What the end of the log held is not there any more: the memory begins again.
    pub(super) fn lose_the_end(&self, inner: &mut Inner) -> Error {
        self.set_adrift(inner);
        let segment = &inner.follower.segment;
        let what = "the end of the log changed while it was locked";
        Error::corruption(segment.path(), segment.position().offset, what)
    }
}

impl Write {
    /// Up to where it goes.
    fn extent(&self) -> Extent {
        Extent { life: self.life, end: self.end.position.offset, lsn: self.end.position.lsn }
    }

    /// # Errors
    /// I/O, when its last record is not where it was written.
    fn check_place(&self) -> Result<()> {
        let lost = || io::Error::other("what was written is gone from the log");
        let is_there = SegmentReader::is_there(&*self.file, self.end);
        let found = is_there.and_then(|is_there| if is_there { Ok(()) } else { Err(lost()) });
        found.map_err(|error| Error::io(SYNC_LOG, &self.path, error))
    }
}
