//! Writing: turns, and the groups in which threads of one process share a sync.
//!
//! A turn owns the handle (its mutex and `LOCK`) from [`WalEngine::turn`] to its end. When it commits while other threads
//! already wait for their turns, it leaves its batches in the [`Group`], hands the handle on with `LOCK` still held, and
//! waits; the last in line writes and syncs for all. So a sync is shared by those who were waiting anyway, and nobody
//! waits for anyone who might come.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::chain::{self, Growth};
use super::follow;
use super::{Counters, Inner, Memory, WalEngine};
use crate::error::{Error, Result};
use crate::storage::fs::{LockKind, write_all_at};
use crate::storage::wal::reader::{Mark, Position};
use crate::storage::wal::record::{self, Header, Kind};
use crate::storage::wal::segment;
use crate::types::{Batch, Entry, Key, Lsn, Op, SyncMode};

/// A group is not handed on beyond this: other processes wait too.
const MAX_GROUP_BATCHES: usize = 1_000;
const MAX_GROUP_BYTES: u64 = 16 << 20;

/// Turns that will be made durable together. While one exists, `LOCK` is held exclusive.
pub(super) struct Group {
    staged: Staged,
    outcome: Arc<Outcome>,
}

/// Batches that are not in the log yet, and what they do to the keys that they touch.
#[derive(Default)]
struct Staged {
    batches: Vec<(Lsn, Batch)>,
    /// Bytes of their records.
    len: u64,
    entries: HashMap<Key, Option<Entry>>,
}

impl Staged {
    fn add(&mut self, lsn: Lsn, batch: Batch) {
        self.len += record::encoded_len(batch.ops());
        for op in batch.ops() {
            let (key, entry) = match op {
                Op::Set { key, value } => (key, Some(Entry { value: value.clone(), lsn })),
                Op::Delete { key } => (key, None),
            };
            self.entries.insert(key.clone(), entry);
        }
        self.batches.push((lsn, batch));
    }

    fn absorb(&mut self, later: Self) {
        if self.batches.is_empty() {
            *self = later;
            return;
        }
        self.len += later.len;
        self.batches.extend(later.batches);
        self.entries.extend(later.entries);
    }

    fn is_full(&self) -> bool {
        self.batches.len() >= MAX_GROUP_BATCHES || self.len >= MAX_GROUP_BYTES
    }
}

/// How a group ended, for those who wait for it.
#[derive(Default)]
struct Outcome {
    result: Mutex<Option<Result<()>>>,
    decided: Condvar,
}

impl Outcome {
    fn decide(&self, result: &Result<()>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(duplicate(result));
        self.decided.notify_all();
    }

    fn wait(&self) -> Result<()> {
        let undecided = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = self
            .decided
            .wait_while(undecided, |result| result.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        decided.as_ref().map_or(Ok(()), duplicate)
    }
}

/// The same outcome for another waiter: errors of the operating system can't be cloned.
fn duplicate(result: &Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Error::Io { action, path, source }) => {
            let source =
                source.raw_os_error().map_or_else(|| source.kind().into(), std::io::Error::from_raw_os_error);
            Err(Error::Io { action, path: path.clone(), source })
        }
        Err(error) => Err(Error::Poisoned { cause: error.to_string() }),
    }
}

/// The right to write: see [`Turn`](crate::engine::Turn).
pub(crate) struct WalTurn<'a, M: Memory> {
    engine: &'a WalEngine<M>,
    /// Taken out when the turn ends.
    inner: Option<MutexGuard<'a, Inner>>,
    own: Staged,
    next: Lsn,
}

impl<M: Memory> WalEngine<M> {
    /// Waits for the right to write.
    ///
    /// # Errors
    /// As [`Engine::turn`](crate::engine::Engine::turn).
    pub(crate) fn turn(&self, verb: &str) -> Result<WalTurn<'_, M>> {
        self.check_writable()?;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let mut inner = self.inner();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        inner.check_usable()?;
        if inner.group.is_none() {
            self.catch_up(&mut inner, LockKind::Exclusive, verb)?;
            inner.group = Some(Group { staged: Staged::default(), outcome: Arc::default() });
        }
        let staged = inner.group.as_ref().map_or(0, |group| group.staged.batches.len());
        let next = Lsn(inner.follower.segment.position().lsn.0 + staged as u64 + 1);
        Ok(WalTurn { engine: self, inner: Some(inner), own: Staged::default(), next })
    }

    /// Ends a turn: hands its group on, or makes it durable. `wait` for the group's outcome when it is handed on.
    fn end_turn(&self, mut inner: MutexGuard<'_, Inner>, wait: bool) -> Result<()> {
        let Some(group) = &inner.group else { return Ok(()) };
        let somebody_waits = self.waiting.load(Ordering::Acquire) > 0;
        if somebody_waits
            && self.sync != SyncMode::Each
            && !group.staged.batches.is_empty()
            && !group.staged.is_full()
        {
            let outcome = Arc::clone(&group.outcome);
            drop(inner);
            return if wait { outcome.wait() } else { Ok(()) };
        }
        self.flush_group(&mut inner)
    }

    /// Makes the group durable, if there is one, and gives `LOCK` back.
    pub(super) fn flush_group(&self, inner: &mut Inner) -> Result<()> {
        let Some(Group { staged, outcome }) = inner.group.take() else { return Ok(()) };
        let result = if staged.batches.is_empty() { Ok(()) } else { self.commit(inner, staged) };
        self.lock.release();
        outcome.decide(&result);
        result
    }

    fn commit(&self, inner: &mut Inner, staged: Staged) -> Result<()> {
        if inner.follower.segment.position().lsn == Lsn::ZERO {
            chain::sync_name(&self.place)?;
        }
        if inner.follower.segment.room() < staged.len + record::SEAL_LEN as u64 {
            self.rotate(inner, staged.len, Growth::Larger)?;
        }
        let sync = self.sync != SyncMode::None;
        let (bytes, mark) = self.encode(inner, &staged, !sync);
        self.write(inner, &bytes, sync)?;
        inner.follower.wrote(mark, sync);
        self.publish(inner, staged);
        if sync {
            self.leave_note(inner);
        }
        Ok(())
    }

    /// The records of the group, and where the log stands behind them. Zeros behind the last one cover what is left of an
    /// incomplete write.
    fn encode(&self, inner: &Inner, staged: &Staged, unsynced: bool) -> (Vec<u8>, Mark) {
        let Position { offset: start, mut link, .. } = inner.follower.segment.position();
        let life = inner.follower.segment.life();
        let durable = inner.follower.durable();
        let mut bytes = Vec::with_capacity(usize::try_from(staged.len).unwrap_or(0));
        let (mut last_offset, mut last_lsn) = (start, Lsn::ZERO);
        for (lsn, batch) in &staged.batches {
            last_offset = start + bytes.len() as u64;
            last_lsn = *lsn;
            let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            let header =
                Header { kind: Kind::Batch, lsn: *lsn, durable, link, nonce: self.nonce, unsynced, count };
            link = record::encode(&mut bytes, life, last_offset, &header, |out| {
                batch.ops().iter().for_each(|op| record::encode_op(out, op));
            });
        }
        let position = Position { offset: start + bytes.len() as u64, link, lsn: last_lsn };
        let stale = inner.follower.stale_end().saturating_sub(position.offset);
        bytes.resize(bytes.len() + usize::try_from(stale).unwrap_or(0), 0);
        segment::with_zeros_ahead(&mut bytes, start, inner.follower.segment.header().capacity);
        (bytes, Mark { position, last_offset })
    }

    /// Writes at the position of the log. After an error the handle is poisoned.
    pub(super) fn write(&self, inner: &mut Inner, bytes: &[u8], sync: bool) -> Result<()> {
        let segment = &inner.follower.segment;
        let offset = segment.position().offset;
        let written = write_all_at(&**segment.file(), bytes, offset)
            .map_err(|error| Error::io("write to", segment.path(), error))
            .and_then(|()| if sync { self.sync(inner) } else { Ok(()) });
        if let Err(error) = &written {
            inner.poisoned = Some(error.to_string());
        }
        written
    }

    fn sync(&self, inner: &Inner) -> Result<()> {
        let start = Instant::now();
        let segment = &inner.follower.segment;
        let synced = segment.file().sync_data().map_err(|error| Error::io("sync", segment.path(), error));
        Counters::add(&self.counters.syncs, 1);
        Counters::add_micros(&self.counters.sync_micros, start.elapsed());
        synced
    }

    /// Shows what was committed to readers.
    fn publish(&self, inner: &Inner, staged: Staged) {
        let mut published = self.published_mut();
        Counters::add(&self.counters.commits, staged.batches.len() as u64);
        for (lsn, batch) in staged.batches {
            for op in batch.into_ops() {
                published.memory.apply(lsn, op);
            }
        }
        published.show(&inner.follower, inner.follower.own_tail());
    }
}

impl<M: Memory> WalTurn<'_, M> {
    fn group(&self) -> Option<&Group> {
        self.inner.as_ref()?.group.as_ref()
    }

    /// Ends the turn with its batches. Returns when they are durable.
    pub(crate) fn finish(mut self) -> Result<()> {
        let own = std::mem::take(&mut self.own);
        let Some(mut inner) = self.inner.take() else { return Ok(()) };
        if let Some(group) = &mut inner.group {
            group.staged.absorb(own);
        }
        self.engine.end_turn(inner, true)
    }

    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let of_group = || self.group().and_then(|group| group.staged.entries.get(key));
        match self.own.entries.get(key).or_else(of_group) {
            Some(entry) => Ok(entry.clone()),
            None => self.engine.published().memory.entry(key),
        }
    }

    /// Has the memory take up the manifest that is in force, which nobody else can replace during the turn.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub(crate) fn take_up_manifest(&self) -> Result<()> {
        let place = &self.engine.place;
        let manifest = follow::read_manifest(place)?;
        self.engine.published_mut().memory.adopt(place, &manifest)
    }

    pub(crate) fn write(&mut self, batch: Batch) -> Result<Lsn> {
        record::validate(batch.ops())?;
        if batch.is_empty() {
            return Ok(Lsn(self.next.0 - 1));
        }
        let lsn = self.next;
        self.own.add(lsn, batch);
        self.next = lsn.next();
        Ok(lsn)
    }
}

impl<M: Memory> Drop for WalTurn<'_, M> {
    /// A turn that is dropped leaves nothing behind, but others may have left it the duty to commit for them.
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            // The group's own waiters are told how it went.
            drop(self.engine.end_turn(inner, false));
        }
    }
}
