//! Writing: turns, and the groups in which threads of one process share a sync.
//!
//! A turn owns the handle (its mutex and `LOCK`) from [`WalEngine::turn`] to its end. When it ends, its batches join a group. Who
//! comes first leads the group: once the group before it is on the device, it writes and syncs for all. Meanwhile the
//! mutex is free, so that the next group comes together:
//!
//! ```text
//!  thread 1   turn ─ lead: write ── sync ─ reply │                  turn ─ join ───────── reply
//!  thread 2            turn ─ lead: wait ────────┴─ linger ─ write ── sync ───────────── reply
//!  thread 3               turn ─ join ──────────────────────────────────────────────────  reply
//! ```
//!
//! The threads that a sync has just released are back within microseconds. So a leader lingers for as many as took part or
//! waited last time, at most for a part of what a sync takes. One that writes alone never waits.
//!
//! `LOCK` is handed from group to group, because each was decided upon what the one before does: once, and then on for a few
//! milliseconds, after which no turn begins until it was given back.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::chain::{self, Growth};
use super::follow::read_manifest;
use super::relay::Company;
use super::{Counters, Inner, Memory, WalEngine};
use crate::error::{Error, Result, SYNC_LOG, WRITE_LOG};
use crate::storage::fs::{File, put_all_at, write_all_at};
use crate::storage::wal::reader::{Mark, Position};
use crate::storage::wal::record::{self, Header, Kind};
use crate::storage::wal::segment;
use crate::storage::{Life, Place};
use crate::types::{Batch, Entry, Key, Lsn, Op, SyncMode, Timestamp};

/// A group takes nobody in beyond this, and `LOCK` is not handed on later than this: other processes wait too.
const MAX_GROUP_BATCHES: usize = 1_000;
const MAX_GROUP_BYTES: u64 = 16 << 20;
const MAX_HOLD: Duration = Duration::from_millis(4);

/// A leader lingers no longer than this, and no longer than half of what the last sync took.
const MAX_LINGER: Duration = Duration::from_millis(1);

/// Turns that will be made durable together.
pub(super) struct Group {
    staged: Staged,
    /// How many turns have something in it.
    turns: usize,
    /// Some thread sees to it.
    led: bool,
    /// How many other threads wait for its outcome.
    waiting: usize,
    /// `LOCK` is given back before it is durable.
    relayed: bool,
    outcome: Arc<Outcome>,
}

impl Group {
    fn decide(&self, result: &Result<()>) {
        let Outcome { result: decision, decided } = &*self.outcome;
        *decision.lock().unwrap_or_else(PoisonError::into_inner) = Some(duplicate(result));
        // Telling nobody would cost a system call.
        if self.waiting > 0 {
            decided.notify_all();
        }
    }
}

/// How the groups of a handle follow each other. While there is one, `LOCK` is held exclusive, unless it is
/// [relayed](super::relay).
#[derive(Default)]
pub(super) struct Groups {
    /// The one that turns join.
    next: Option<Group>,
    /// The one before it, which is on its way to the device.
    flight: Option<Group>,
    /// When `LOCK` was taken, and how many groups took off since.
    pub(super) held_since: Option<Instant>,
    flights: usize,
    /// How many turns took part in the last group or waited for its end.
    last_turns: usize,
    last_sync: Duration,
    /// The leader lingers.
    lingers: bool,
    /// How many threads wait for the flight to end.
    waiting: usize,
    pub(super) company: Company,
}

impl Groups {
    pub(super) fn hold_the_lock(&self) -> bool {
        self.next.is_some() || self.flight.as_ref().is_some_and(|flight| !flight.relayed)
    }

    fn are_there(&self) -> bool {
        self.next.is_some() || self.is_flying()
    }

    fn is_flying(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether all have to be durable, and `LOCK` given back, before another turn begins.
    fn are_full(&self) -> bool {
        let is_full = |group: &Group| group.staged.is_full();
        let is_due = || self.flights > 1 && self.held_since.is_some_and(|since| since.elapsed() >= MAX_HOLD);
        let is_relayed = self.flight.as_ref().is_some_and(|flight| flight.relayed);
        is_relayed || self.hold_the_lock() && (self.next.as_ref().is_some_and(is_full) || is_due())
    }

    /// How many batches are not in the log yet, as far as it is followed.
    fn batches(&self) -> u64 {
        self.flight.iter().chain(&self.next).map(|group| group.staged.batches.len() as u64).sum()
    }

    /// What these batches leave under `key`, if they touch it.
    fn left(&self, key: &[u8]) -> Option<Left> {
        self.next.iter().chain(&self.flight).find_map(|group| group.staged.left(key))
    }

    /// Whether turns are missing that the leader should linger for.
    fn are_some_missing(&self) -> bool {
        self.next.as_ref().is_some_and(|group| group.turns < self.last_turns)
    }
}

/// Batches that are not in the log yet.
#[derive(Default)]
struct Staged {
    batches: Vec<(Lsn, Batch)>,
    /// Bytes of their records.
    len: u64,
    /// Something in them expires.
    expires: bool,
    /// What they do to the keys that they touch, as far as somebody has asked.
    known: RefCell<Known>,
}

/// What there is under a key.
#[derive(Clone)]
enum Left {
    Entry(Entry),
    Nothing,
}

#[derive(Default)]
struct Known {
    entries: HashMap<Key, Left>,
    batches: usize,
}

impl Staged {
    fn add(&mut self, lsn: Lsn, batch: Batch) {
        self.len += record::encoded_len(batch.ops());
        self.expires |= batch.ops().iter().any(|op| op.expires().is_some());
        self.batches.push((lsn, batch));
    }

    fn absorb(&mut self, later: Self) {
        if self.batches.is_empty() {
            *self = later;
            return;
        }
        self.len += later.len;
        self.expires |= later.expires;
        self.batches.extend(later.batches);
    }

    fn is_full(&self) -> bool {
        self.batches.len() >= MAX_GROUP_BATCHES || self.len >= MAX_GROUP_BYTES
    }

    /// What the batches leave under `key`, if they touch it.
    fn left(&self, key: &[u8]) -> Option<Left> {
        let Known { entries, batches } = &mut *self.known.borrow_mut();
        for (lsn, batch) in &self.batches[*batches..] {
            for op in batch.ops() {
                let left = match op {
                    Op::Set { value, expires, .. } => {
                        Left::Entry(Entry { value: value.clone(), lsn: *lsn, expires: *expires })
                    }
                    Op::Delete { .. } => Left::Nothing,
                };
                entries.insert(op.key().clone(), left);
            }
        }
        *batches = self.batches.len();
        entries.get(key).cloned()
    }
}

/// How a group ended, for those who wait for it.
#[derive(Default)]
struct Outcome {
    result: Mutex<Option<Result<()>>>,
    decided: Condvar,
}

impl Outcome {
    fn get(&self) -> Option<Result<()>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(duplicate)
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
        Err(Error::Replaced { dir }) => Err(Error::Replaced { dir: dir.clone() }),
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
    /// The time in the turn, once it was asked for.
    now: OnceCell<Timestamp>,
}

/// Records on their way into the log.
pub(super) struct Write {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) life: Life,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// How many of them repeat what others have written.
    repeated_len: usize,
    /// Where the log stands behind them.
    pub(super) end: Mark,
    relayed: bool,
}

impl Write {
    /// The records of the group, without those of others that are repeated, and without zeros.
    fn records(&self) -> &[u8] {
        let end = usize::try_from(self.end.position.offset - self.offset).unwrap_or(usize::MAX);
        &self.bytes[self.repeated_len..end]
    }
}

/// What was written.
struct Written {
    sync_time: Duration,
    /// The records, for a memory that keeps them.
    records: Arc<[u8]>,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl<M: Memory> WalEngine<M> {
    /// Waits for the right to write.
    ///
    /// # Errors
    /// As [`Engine::turn`](crate::engine::Engine::turn).
    pub(crate) fn turn(&self, verb: &str) -> Result<WalTurn<'_, M>> {
        self.check_writable()?;
        let mut inner = self.inner_in_flight();
        while inner.groups.are_full() {
            inner = self.wait_while(inner, Groups::are_there);
        }
        inner.check_usable()?;
        if !inner.groups.hold_the_lock() {
            self.catch_up_to_append(&mut inner, verb)?;
            inner.groups.flights = 0;
            self.has_lock.store(true, Ordering::Release);
        }
        inner.groups.next.get_or_insert_with(|| Group {
            staged: Staged::default(),
            turns: 0,
            led: false,
            waiting: 0,
            relayed: false,
            outcome: Arc::default(),
        });
        self.in_turn.store(this_thread(), Ordering::Relaxed);
        let next = Lsn(inner.follower.segment.position().lsn.0 + inner.groups.batches() + 1);
        Ok(WalTurn { engine: self, inner: Some(inner), own: Staged::default(), next, now: OnceCell::new() })
    }

    /// Whether the calling thread has a turn.
    pub(super) fn is_in_turn(&self) -> bool {
        self.in_turn.load(Ordering::Relaxed) == this_thread()
    }

    /// What only one thread at a time may touch, while nothing is on its way to the device.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.wait_while(self.inner_in_flight(), Groups::is_flying)
    }

    fn inner_in_flight(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of flights.
    fn wait_while<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        condition: impl Fn(&Groups) -> bool,
    ) -> MutexGuard<'a, Inner> {
        while condition(&inner.groups) {
            inner.groups.waiting += 1;
            inner = self.landed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.groups.waiting -= 1;
        }
        inner
    }

    /// Ends a turn with its batches. Returns when they are durable, and what the turn was told of is.
    fn end_turn<'a>(&'a self, mut inner: MutexGuard<'a, Inner>, own: Staged) -> Result<()> {
        self.in_turn.store(0, Ordering::Relaxed);
        let Groups { next: Some(group), .. } = &mut inner.groups else { return Ok(()) };
        if own.batches.is_empty() {
            return self.end_reading_turn(inner);
        }
        group.staged.absorb(own);
        group.turns += 1;
        if !std::mem::replace(&mut group.led, true) {
            return self.lead(inner);
        }
        if inner.groups.lingers && !inner.groups.are_some_missing() {
            self.joined.notify_one();
        }
        wait_for_outcome(inner)
    }

    /// Ends a turn that has nothing to write, and waits for what it was told of.
    fn end_reading_turn(&self, mut inner: MutexGuard<'_, Inner>) -> Result<()> {
        let is_unled = inner.groups.next.as_ref().is_some_and(|group| !group.led);
        let settled =
            if is_unled && !inner.groups.is_flying() { self.settle_turn(&mut inner) } else { Ok(()) };
        self.drop_unused_group(&mut inner);
        settled?;
        wait_for_outcome(inner)
    }

    /// Ends a group that nobody has joined.
    fn drop_unused_group(&self, inner: &mut Inner) {
        if inner.groups.next.take_if(|group| !group.led).is_some() && !inner.groups.is_flying() {
            self.give_lock_back();
        }
    }

    pub(super) fn give_lock_back(&self) {
        self.has_lock.store(false, Ordering::Release);
        self.lock.release();
    }

    /// Makes the group durable once its time has come, unless somebody else does meanwhile.
    fn lead<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> Result<()> {
        let Groups { next: Some(group), .. } = &inner.groups else { return Ok(()) };
        let outcome = Arc::clone(&group.outcome);
        if self.sync == SyncMode::Group {
            inner = self.wait_while(inner, Groups::is_flying);
            inner = self.linger(inner, &outcome);
        }
        if let Some(result) = outcome.get() {
            return result;
        }
        let Some(write) = self.take_off(&mut inner)? else { return Ok(()) };
        let written = if self.sync == SyncMode::Group {
            drop(inner);
            let written = self.perform(&write);
            inner = self.inner_in_flight();
            written
        } else {
            self.perform(&write)
        };
        self.land(&mut inner, &write, written)
    }

    /// Waits a little for the turns that are likely to come.
    fn linger<'a>(&self, mut inner: MutexGuard<'a, Inner>, outcome: &Outcome) -> MutexGuard<'a, Inner> {
        let is_worth_it = |inner: &mut Inner| inner.groups.are_some_missing() && outcome.get().is_none();
        if !is_worth_it(&mut inner) {
            return inner;
        }
        let limit = (inner.groups.last_sync / 2).min(MAX_LINGER);
        inner.groups.lingers = true;
        let waited = self.joined.wait_timeout_while(inner, limit, is_worth_it);
        (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.groups.lingers = false;
        inner
    }

    /// Makes the group durable, if there is one, and gives `LOCK` back. Nothing is on its way to the device.
    pub(super) fn flush_group(&self, inner: &mut Inner) -> Result<()> {
        self.drop_unused_group(inner);
        let Some(write) = self.take_off(inner)? else { return Ok(()) };
        let written = self.perform(&write);
        self.land(inner, &write, written)
    }

    /// Sends the group on its way, if there is one.
    fn take_off(&self, inner: &mut Inner) -> Result<Option<Write>> {
        let Some(mut group) = inner.groups.next.take() else { return Ok(None) };
        match self.prepare(inner, &group.staged) {
            Ok(write) => {
                group.relayed = write.relayed;
                inner.groups.flight = Some(group);
                inner.groups.flights += 1;
                Ok(Some(write))
            }
            Err(error) => self.finish(inner, &group, Err(error)).map(|()| None),
        }
    }

    /// Makes sure of room for the group in the log, and encodes it.
    fn prepare(&self, inner: &mut Inner, staged: &Staged) -> Result<Write> {
        inner.check_usable()?;
        if inner.follower.segment.position().lsn == Lsn::ZERO {
            chain::sync_name(&self.place)?;
        }
        if staged.expires && !inner.follower.clock_is_durable() {
            self.begin_to_expire(inner)?;
        }
        if inner.follower.segment.room() < staged.len + record::SEAL_LEN as u64 {
            self.settle_turn(inner)?;
            self.rotate(inner, staged.len, Growth::Larger, 0)?;
        }
        let repeated = self.what_is_pending(inner)?;
        let (mut bytes, end) = self.encode(inner, staged, self.sync == SyncMode::None);
        let segment = &inner.follower.segment;
        let repeated_len = repeated.len();
        let offset = segment.position().offset - repeated_len as u64;
        bytes.splice(0..0, repeated);
        let (file, path, life) = (Arc::clone(segment.file()), segment.path().to_owned(), segment.life());
        let relayed = inner.groups.company.is_there();
        Ok(Write { file, path, life, offset, bytes, repeated_len, end, relayed })
    }

    /// The records at the end of the log that others wrote and that are not known to be durable.
    fn what_is_pending(&self, inner: &mut Inner) -> Result<Vec<u8>> {
        if !inner.follower.is_pending() {
            return Ok(Vec::new());
        }
        let pending = inner.follower.unconfirmed()?;
        pending.ok_or_else(|| self.lose_the_end(inner))
    }

    /// Gives the manifest a clock, and the format of a database in which something expires, durably. `LOCK` is held exclusive:
    /// nobody else replaces the manifest.
    fn begin_to_expire(&self, inner: &mut Inner) -> Result<()> {
        let Place { fs, dir } = &self.place;
        let mut manifest = read_manifest(&self.place)?;
        if manifest.clock.is_none() {
            manifest.clock = Some(self.now());
            manifest.install(&**fs, dir)?;
        } else {
            // Whoever gave it the clock may have died before that was durable.
            fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        }
        inner.follower.begin_to_expire(manifest.clock);
        self.clock.begin();
        Ok(())
    }

    /// Writes and syncs.
    fn perform(&self, write: &Write) -> Result<Written> {
        let sync_time = if write.relayed {
            self.relay(write)?
        } else {
            let sync = self.sync != SyncMode::None;
            self.write_at(&*write.file, &write.path, write.offset, &write.bytes, sync)?
        };
        let records = if M::KEEPS_BYTES { write.records().into() } else { Arc::default() };
        Ok(Written { sync_time, records })
    }

    /// Draws the conclusions from a group's arrival at the device. After an error the handle is poisoned.
    fn land(&self, inner: &mut Inner, write: &Write, written: Result<Written>) -> Result<()> {
        let Some(flight) = inner.groups.flight.take() else { return Ok(()) };
        let result = written.map(|Written { sync_time, records }| {
            inner.groups.last_sync = sync_time;
            inner.groups.last_turns = flight.turns + inner.groups.next.as_ref().map_or(0, |next| next.turns);
            let sync = self.sync != SyncMode::None;
            inner.follower.wrote(write.end, sync);
            self.publish(inner, &flight.staged, &records);
            if sync && !flight.relayed {
                self.leave_note(inner);
            }
        });
        if let Err(error) = &result {
            let cause = error.to_string();
            inner.poisoned = Some(cause.clone());
            // It was decided upon what is not there now.
            if let Some(next) = inner.groups.next.take() {
                next.decide(&Err(Error::Poisoned { cause }));
            }
        }
        self.finish(inner, &flight, result)
    }

    /// Gives `LOCK` back unless another group needs it, and tells those who wait.
    fn finish(&self, inner: &mut Inner, group: &Group, result: Result<()>) -> Result<()> {
        if inner.groups.next.is_none() && !group.relayed {
            self.give_lock_back();
        }
        group.decide(&result);
        if inner.groups.waiting > 0 {
            self.landed.notify_all();
        }
        if inner.groups.lingers {
            self.joined.notify_one();
        }
        result
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
        let written =
            self.write_at(&**segment.file(), segment.path(), segment.position().offset, bytes, sync);
        if let Err(error) = &written {
            inner.poisoned = Some(error.to_string());
        }
        written.map(drop)
    }

    fn write_at(
        &self,
        file: &dyn File,
        path: &Path,
        offset: u64,
        bytes: &[u8],
        sync: bool,
    ) -> Result<Duration> {
        // What is put through a mapping is lost without a word where the file was cut: nothing for what is to be durable.
        let write = if sync { write_all_at } else { put_all_at };
        write(file, bytes, offset).map_err(|error| Error::io(WRITE_LOG, path, error))?;
        if !sync {
            return Ok(Duration::ZERO);
        }
        let start = Instant::now();
        let synced = file.sync_data().map_err(|error| Error::io(SYNC_LOG, path, error));
        let took = start.elapsed();
        Counters::add(&self.counters.syncs, 1);
        Counters::add_micros(&self.counters.sync_micros, took);
        synced.map(|()| took)
    }

    /// Shows what was committed to readers.
    fn publish(&self, inner: &Inner, staged: &Staged, records: &Arc<[u8]>) {
        let mut published = self.published_mut();
        Counters::add(&self.counters.commits, staged.batches.len() as u64);
        let mut start = 0;
        for (lsn, batch) in &staged.batches {
            batch.ops().iter().for_each(|op| published.memory.prefetch(op.key()));
            for op in record::laid_out(batch.ops(), *lsn, start) {
                published.memory.apply(op, records);
            }
            start += usize::try_from(record::encoded_len(batch.ops())).unwrap_or(usize::MAX);
        }
        published.show(&inner.follower, Some(inner.follower.own_tail()));
    }
}

/// Waits for the newest group that has been decided upon, if there is one.
pub(super) fn wait_for_outcome(mut inner: MutexGuard<'_, Inner>) -> Result<()> {
    let Groups { next, flight, .. } = &mut inner.groups;
    let Some(group) = next.as_mut().or(flight.as_mut()) else { return Ok(()) };
    group.waiting += 1;
    let outcome = Arc::clone(&group.outcome);
    drop(inner);
    outcome.wait()
}

impl<M: Memory> WalTurn<'_, M> {
    /// Ends the turn with its batches. Returns when they are durable.
    pub(crate) fn finish(mut self) -> Result<()> {
        let own = std::mem::take(&mut self.own);
        self.inner.take().map_or(Ok(()), |inner| self.engine.end_turn(inner, own))
    }

    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let of_groups = || self.inner.as_ref()?.groups.left(key);
        let entry = match self.own.left(key).or_else(of_groups) {
            Some(Left::Entry(entry)) => Some(entry),
            Some(Left::Nothing) => None,
            None => self.engine.published().memory.entry(key)?,
        };
        Ok(entry.filter(|entry| entry.expires.is_none() || entry.is_there(self.now())))
    }

    /// The time in the turn, which stands still.
    pub(crate) fn now(&self) -> Timestamp {
        *self.now.get_or_init(|| {
            let clock = self.engine.published().clock;
            clock.map_or_else(|| self.engine.now(), |clock| clock.max(self.engine.now()))
        })
    }

    /// Has the memory take up the manifest that is in force, which nobody else can replace during the turn.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub(crate) fn take_up_manifest(&self) -> Result<()> {
        self.engine.take_up_manifest()
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
    /// A turn that is dropped leaves nothing behind.
    fn drop(&mut self) {
        if let Some(mut inner) = self.inner.take() {
            self.engine.in_turn.store(0, Ordering::Relaxed);
            self.engine.drop_unused_group(&mut inner);
        }
    }
}
