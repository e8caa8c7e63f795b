//! One log, shared by any number of processes: how they commit, catch up and recover.
//!
//! Every handle keeps its own [`Memory`], which is what the log adds up to, and a position in the log. The files are the
//! only truth; a handle learns of another's commits by reading them there.
//!
//! ```text
//!  write   (TURN ─) LOCK exclusive ─ catch up ─ append in one write ─ sync ─ apply, leave a note ─ unlock ─ reply
//!          beside others:   catch up ─ append in one write ─ unlock ─ one syncs for all, leaves a note ─ apply ─ reply
//!  read    anything new behind my position? ── no, or it is my own ──► serve
//!                       └─ yes: (TURN ─) LOCK shared ─ catch up ─ unlock ─ serve
//! ```
//!
//! `TURN` is for queueing: it is passed by where a note says that nobody waits for `LOCK`, but only so often in a row.
//!
//! Invariants:
//!
//! 1. Only the holder of `LOCK` exclusive appends. What is already there is durable then (or was written without sync on
//!    request), or its write repeats it. A record says how far the log was durable before it was written, and never too much.
//! 2. A handle shows a record to its callers only after it is known to be durable (or was written without sync on request):
//!    by a later record, by a note, or by syncing it, reading it back from the device and writing it over itself. A turn may be
//!    decided upon what is not: it ends when that is durable too.
//! 3. `LOCK` is held for one turn, or a few that follow each other at once, never while idle. A process that dies loses it;
//!    whoever comes next finds either a complete record, and makes it durable before showing it, or an incomplete one, and ends
//!    the log before it.
//! 4. A turn is written with one write into one segment: if the segment has no room, a new one is made before anything of the
//!    turn is written. So a full disk is a clean refusal.
//! 5. After a failed write or sync the handle is poisoned: the state of the device is unknown, and asking again proves nothing.
//!    Others read the tail back from the device before they trust it.
//! 6. A handle whose position no longer exists (the log was compacted meanwhile), or whose reading broke off on an error,
//!    starts again from the manifest. Until it has caught up nothing of its memory is shown.
//! 7. While a handle has `LOCK` exclusive and everything in the log was durable when it caught up, nobody else can acknowledge
//!    anything: its threads read what it shows without asking, also while its own records are behind that in the log, on their
//!    way to the device.
//! 8. Before the first operation with an expiry is in the log, the manifest has a [`clock`].
//! 9. A handle stays with the directory that it opened: where another one is found in its place, or none, nothing more is
//!    written ([`Anchored`]).
//!
//! [`follow`] knows a position in the log, [`catch_up`] brings a handle to its end, [`look`] reads the memory, [`turn`] writes,
//! [`relay`] shares syncs with other processes, [`chain`] makes databases and segments, [`maintain`] replaces the log by other
//! files, [`backup`] makes another directory of it, [`clock`] tells the time, [`figures`] counts.

mod backup;
mod catch_up;
mod chain;
mod clock;
mod figures;
mod follow;
mod look;
mod maintain;
mod relay;
mod turn;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};

use crate::error::{Error, Notice, Result, is_of_the_device, is_refusal};
use crate::options::{Options, Pace};
use crate::storage::Place;
use crate::storage::codec::random_u64;
use crate::storage::fs::{Anchored, File, LockKind, OpenMode, look_full_at};
use crate::storage::lock::{LockFile, Patience};
use crate::storage::manifest::{self, Manifest};
use crate::storage::shm::Notes;
use crate::storage::totals::Totals;
use crate::storage::wal::record::{HEADER_LEN, OpRef};
use crate::types::{Entry, FileId, Lsn, SyncMode, Timestamp};
use clock::Clock;
use figures::Counters;
use follow::Follower;
use maintain::Exclusive;
use turn::Groups;

pub(crate) use backup::{Report, Supply, own_number};
pub(crate) use chain::{Aside, LOCK, MAINTENANCE, MERGING, NOTES, TURNSTILE, find_or_create};
pub(crate) use look::{is_missing, lost};
pub(crate) use maintain::{Maintenance, Sealed};
pub(crate) use turn::WalTurn;

/// A process queues for `LOCK` at least every so many commands, whatever the notes say.
const MAX_UNQUEUED: usize = 64;

/// What the log adds up to, as an engine keeps it: on top of what the manifest's files hold, it is fed every operation in log
/// order.
pub(crate) trait Memory: Send + Sync + Sized {
    /// Whether batches that never were in the log are known only to who begins with the manifest that brought them in.
    const NEEDS_EVERY_BATCH: bool;

    /// Whether [`Memory::apply`] holds on to the bytes that an operation lies in: else it is given none.
    const KEEPS_BYTES: bool;

    /// What the files that the manifest names hold, without the log.
    ///
    /// # Errors
    /// Corruption; I/O, `NotFound` when another process replaced a file meanwhile.
    fn load(place: &Place, manifest: &Manifest) -> Result<Self>;

    /// The same for who has this memory already, and goes on with another manifest.
    ///
    /// # Errors
    /// As [`Memory::load`].
    fn load_again(&self, place: &Place, manifest: &Manifest) -> Result<Self>;

    /// The log goes on in the segment `id`.
    fn segment_begins(&mut self, id: FileId);

    /// Another manifest is in force. Its files stand for the log before its first segment, all of which was taken in.
    ///
    /// # Errors
    /// As [`Memory::load`].
    fn adopt(&mut self, place: &Place, manifest: &Manifest) -> Result<()>;

    /// Operations on this key and others will be taken in soon: a good time to start loading what that needs.
    fn prefetch(&self, _key: &[u8]) {}

    /// Takes in one operation, which lies in `bytes`. These stay as they are for as long as somebody holds them.
    fn apply(&mut self, op: OpRef<'_>, bytes: &Arc<[u8]>);

    /// The newest version of `key`.
    ///
    /// # Errors
    /// Corruption and I/O errors, if the memory reaches to disk.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;
}

/// How a memory is loaded: see [`Memory::load`].
type Load<'a, M> = &'a dyn Fn(&Place, &Manifest) -> Result<M>;

/// A handle on the shared log of one database.
pub(crate) struct WalEngine<M> {
    place: Place,
    /// The file system of the place.
    anchored: Arc<Anchored>,
    sync: SyncMode,
    pace: Pace,
    patience: Patience,
    /// Why the handle can't write, if it can't.
    read_only: Option<String>,
    turnstile: LockFile,
    lock: LockFile,
    maintaining: Exclusive,
    merging: Exclusive,
    notes: Notes,
    /// How often in a row `LOCK` was taken without queueing for it.
    unqueued: AtomicUsize,
    /// Drawn once: see the nonce of a record.
    nonce: u32,
    /// What readers see. Threads that read do not get into each other's way: each has a part of the lock. Lock order: `inner`
    /// before `published`.
    published: ShardedLock<Published<M>>,
    inner: Mutex<Inner>,
    /// A group has arrived at the device, or not.
    landed: Condvar,
    /// The turns that a leader lingers for have come.
    joined: Condvar,
    /// `LOCK` is held exclusive and the memory is up to date: there is nothing new that anybody has acknowledged.
    has_lock: AtomicBool,
    /// Which thread has a turn.
    in_turn: AtomicUsize,
    notices: Mutex<Vec<Notice>>,
    counters: Counters,
    clock: Clock,
}

/// What readers see: the memory, and where in the log it stands.
struct Published<M> {
    memory: M,
    lsn: Lsn,
    /// Bytes of records that the log holds behind the base.
    log_bytes: u64,
    /// What was written before that.
    totals: Totals,
    /// What had expired by then may be missing from the memory.
    clock: Option<Timestamp>,
    /// Something in the memory expires, or did.
    expires: bool,
    /// `None` when the memory must not be served before the handle has caught up.
    tail: Option<Tail>,
}

impl<M> Published<M> {
    /// Lets readers see the memory, which is what the log adds up to where the follower stands; only the turn, without a tail.
    fn show(&mut self, follower: &Follower, tail: Option<Tail>) {
        self.lsn = follower.segment.position().lsn;
        self.log_bytes = follower.log_bytes();
        self.totals = *follower.totals();
        (self.clock, self.expires) = (follower.clock(), follower.expires());
        self.tail = tail;
    }
}

/// The end of the log as it was last seen.
struct Tail {
    file: Arc<dyn File>,
    offset: u64,
    /// The bytes at `offset`: as long as they stay the same, nothing is new.
    seen: [u8; HEADER_LEN],
}

/// What only one thread at a time may touch.
struct Inner {
    follower: Follower,
    /// Reading broke off: the follower may stand elsewhere than the memory, so both begin again from the manifest.
    adrift: bool,
    groups: Groups,
    /// The failure after which the handle must not be used.
    poisoned: Option<String>,
}

impl<M: Memory> WalEngine<M> {
    /// Opens the database at `place`, which has `manifest`. What it leads to is loaded; the end of the log is looked at by the
    /// first command.
    ///
    /// # Errors
    /// `Format`, corruption, I/O.
    pub(crate) fn open(place: Place, manifest: Manifest, options: &Options) -> Result<Self> {
        Self::open_with(place, manifest, options, &M::load)
    }

    /// The same with a memory that `load` makes.
    ///
    /// # Errors
    /// As [`WalEngine::open`].
    pub(crate) fn open_with(
        Place { fs, dir }: Place,
        manifest: Manifest,
        options: &Options,
        load: Load<'_, M>,
    ) -> Result<Self> {
        let lock = LockFile::open(&*fs, &dir, chain::LOCK)?;
        let anchored = Arc::new(Anchored::new(fs, &dir, chain::LOCK, lock.inode()));
        let place = Place { fs: anchored.clone(), dir };
        let read_only = read_only_reason(&place, options)?;
        let boot_id =
            place.fs.boot_id().map_err(|error| Error::io("read the boot id for", &place.dir, error))?;
        let notes = open_notes(&place, read_only.is_some())?;
        let notes =
            if read_only.is_some() { Notes::of_others(notes, boot_id) } else { Notes::new(notes, boot_id) };
        let (totals, clock) = (manifest.totals, manifest.clock);
        let (follower, memory) = Follower::load(&place, read_only.is_none(), manifest, load)?;
        let engine = Self {
            turnstile: LockFile::open(&*place.fs, &place.dir, chain::TURNSTILE)?,
            lock,
            maintaining: Exclusive::new(chain::MAINTENANCE),
            merging: Exclusive::new(chain::MERGING),
            place,
            anchored,
            sync: options.sync,
            pace: options.pace,
            patience: Patience { timeout: options.lock_timeout, interrupt: options.interrupt.clone() },
            read_only,
            notes,
            unqueued: AtomicUsize::new(0),
            #[expect(clippy::cast_possible_truncation, reason = "any 32 random bits do")]
            nonce: random_u64() as u32,
            published: ShardedLock::new(Published {
                memory,
                lsn: Lsn::ZERO,
                log_bytes: 0,
                totals,
                clock: None,
                expires: false,
                tail: None,
            }),
            inner: Mutex::new(Inner { follower, adrift: false, groups: Groups::default(), poisoned: None }),
            landed: Condvar::new(),
            joined: Condvar::new(),
            has_lock: AtomicBool::new(false),
            in_turn: AtomicUsize::new(0),
            notices: Mutex::default(),
            counters: Counters::default(),
            clock: Clock::default(),
        };
        engine.keep_up_with(clock);
        Ok(engine)
    }

    /// Whether the caller asked to stop.
    pub(super) fn is_interrupted(&self) -> bool {
        self.patience.interrupt.as_ref().is_some_and(|raised| raised.load(Ordering::Relaxed))
    }

    /// Runs `read` on the memory once it holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// As [`Engine::get`](crate::engine::Engine::get).
    pub(crate) fn read<R>(&self, read: impl FnOnce(&M, Lsn) -> R) -> Result<R> {
        self.read_published(|published| read(&published.memory, published.lsn))
    }

    /// Runs `look` on the memory as [`WalEngine::read`] does, with a time by which to judge what is in it: the memory is not
    /// older. What was written meanwhile may be in it, and never is something missing that was there at that time.
    ///
    /// # Errors
    /// As [`WalEngine::read`].
    pub(crate) fn view<R>(&self, look: impl Fn(&M, Lsn, Timestamp) -> R) -> Result<R> {
        loop {
            let matters = self.clock.is_used();
            let now = if matters { self.common_now()? } else { Timestamp::nearest(self.place.fs.now().wall) };
            let seen = self.read_published(|published| {
                let now = published.clock.map_or(now, |clock| clock.max(now));
                (matters || !published.expires).then(|| look(&published.memory, published.lsn, now))
            })?;
            match seen {
                Some(seen) => return Ok(seen),
                None => self.clock.begin(),
            }
        }
    }

    /// The time by the database's clock. Whether it is that of others too is for [`WalEngine::vouch`] to say.
    pub(crate) fn now(&self) -> Timestamp {
        self.read_clock().0
    }

    /// Nobody needs what has expired by this time. `None` where nothing expires.
    pub(crate) fn expired_by(&self) -> Option<Timestamp> {
        let expires = self.published().expires;
        expires.then(|| self.now())
    }

    /// The time by the database's clock, by which all others go as well.
    ///
    /// # Errors
    /// I/O: the file of notes.
    pub(crate) fn common_now(&self) -> Result<Timestamp> {
        let (now, is_common) = self.read_clock();
        is_common.map(|()| now)
    }

    /// Whether all others go by the time that [`WalEngine::now`] told since [`WalEngine::forget_the_time`], if it matters.
    ///
    /// # Errors
    /// As [`WalEngine::common_now`].
    pub(crate) fn vouch(&self) -> Result<()> {
        let is_at_stake = self.clock.is_private() && (self.clock.is_used() || self.published().expires);
        if is_at_stake { self.common_now().map(drop) } else { Ok(()) }
    }

    /// Nothing that is told or done from here on relies on a time that was read before.
    pub(crate) fn forget_the_time(&self) {
        self.clock.forget();
    }

    fn read_clock(&self) -> (Timestamp, Result<()>) {
        let have_notes = self.have_notes();
        let (now, is_common) = self.clock.now(self.place.fs.now(), &self.notes);
        let failed = |error| Error::io("keep the time in", &self.place.path(chain::NOTES), error);
        (now, have_notes.and(is_common.map_err(failed)))
    }

    /// Sees to it that there is a file of notes, though there was none when the database was opened.
    fn have_notes(&self) -> Result<()> {
        if self.notes.have_file() {
            return Ok(());
        }
        if self.read_only.is_none() {
            self.notes.begin(self.place.open(chain::NOTES, OpenMode::OpenOrCreate)?);
        } else if let Some(file) = open_notes(&self.place, true)? {
            self.notes.begin(file);
        }
        Ok(())
    }

    /// The clock goes on from that of a manifest.
    fn keep_up_with(&self, manifest: Option<Timestamp>) {
        if let Some(clock) = manifest {
            self.clock.keep_up_with(clock, self.place.fs.now());
        }
    }

    #[inline]
    fn read_published<R>(&self, read: impl FnOnce(&Published<M>) -> R) -> Result<R> {
        let published = self.published();
        if !is_behind(&published)? {
            return Ok(read(&published));
        }
        drop(published);
        self.read_what_is_new(read)
    }

    #[cold]
    fn read_what_is_new<R>(&self, read: impl FnOnce(&Published<M>) -> R) -> Result<R> {
        // What is new is on its way from this handle then, and not acknowledged yet.
        if self.has_lock.load(Ordering::Acquire) {
            let published = self.published();
            // The turn itself may read what is not durable yet: it ends when it is.
            if published.tail.is_some() || self.is_in_turn() {
                return Ok(read(&published));
            }
        }
        // As long as `inner` is held no other thread reads ahead into the memory.
        let mut inner = self.inner();
        // A turn may stand on what is not durable yet while its leader lingers: that is shown when its group is.
        while inner.groups.hold_the_lock() && self.published().tail.is_none() {
            drop(turn::wait_for_outcome(inner));
            inner = self.inner();
        }
        self.catch_up_to_read(&mut inner)?;
        Ok(read(&self.published()))
    }

    fn catch_up_to_read(&self, inner: &mut Inner) -> Result<()> {
        inner.check_usable()?;
        if !inner.groups.hold_the_lock() && is_behind(&self.published())? {
            self.catch_up(inner, LockKind::Shared, "read")?;
            self.lock.release();
        }
        Ok(())
    }

    /// The manifest that is in force.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub(crate) fn manifest(&self) -> Result<Manifest> {
        follow::read_manifest(&self.place)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn notify(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    /// Looks at the memory as it is, without catching up.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.published().memory)
    }

    /// Bytes of records that the log holds behind the base.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.published().log_bytes
    }

    /// Where the files are.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// How long to wait for others.
    pub(crate) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match &self.read_only {
            Some(reason) => Err(Error::ReadOnly { dir: self.place.dir.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn published(&self) -> ShardedLockReadGuard<'_, Published<M>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn published_mut(&self) -> ShardedLockWriteGuard<'_, Published<M>> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `LOCK`, says who has it now, and returns since when.
    fn acquire(&self, kind: LockKind, verb: &str) -> Result<Instant> {
        if !self.acquire_unqueued(kind)? {
            self.acquire_in_turn(kind)?;
        }
        let now = Instant::now();
        if let Err(error) = self.anchored.look(now) {
            self.lock.release();
            return Err(Error::io("look for the lock in", &self.place.dir, error));
        }
        self.notes.sign(verb);
        Ok(now)
    }

    /// Takes `LOCK` if it is free and nobody is known to wait for it. That notes may be wrong is why it is done only so often.
    fn acquire_unqueued(&self, kind: LockKind) -> Result<bool> {
        let may = self.unqueued.fetch_add(1, Ordering::Relaxed) < MAX_UNQUEUED && self.notes.nobody_waits();
        if may { self.lock.try_acquire(kind) } else { Ok(false) }
    }

    /// Takes `LOCK`, queueing at the turnstile.
    fn acquire_in_turn(&self, kind: LockKind) -> Result<()> {
        let start = Instant::now();
        self.unqueued.store(0, Ordering::Relaxed);
        self.wait_for(&self.turnstile, LockKind::Exclusive, start)?;
        let acquired = self.acquire_at_front(kind, start);
        self.notes.set_waiting(false);
        self.turnstile.release();
        acquired
    }

    fn acquire_at_front(&self, kind: LockKind, start: Instant) -> Result<()> {
        if self.lock.try_acquire(kind)? {
            return Ok(());
        }
        self.notes.set_waiting(true);
        self.wait_for(&self.lock, kind, start)
    }

    /// Takes a lock for a command that began to wait at `start`, and counts the time if somebody else has it.
    fn wait_for(&self, lock: &LockFile, kind: LockKind, start: Instant) -> Result<()> {
        if lock.try_acquire(kind)? {
            return Ok(());
        }
        let begun = Instant::now();
        let acquired = lock.acquire(kind, &self.patience, start, || self.notes.holder());
        Counters::add(&self.counters.lock_waits, 1);
        Counters::add_micros(&self.counters.lock_wait_micros, begun.elapsed());
        acquired
    }
}

impl Inner {
    /// # Errors
    /// `Poisoned`.
    fn check_usable(&self) -> Result<()> {
        match &self.poisoned {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether something was written behind the end of the log that `published` stands for. Segments are never truncated, so the
/// log itself can be looked at without a system call.
fn is_behind<M>(published: &Published<M>) -> Result<bool> {
    let Some(tail) = &published.tail else { return Ok(true) };
    let mut now = [0; HEADER_LEN];
    look_full_at(&*tail.file, &mut now, tail.offset)
        .map_err(|error| Error::io("read", Path::new("the log"), error))?;
    Ok(now != tail.seen)
}

/// Why the database can only be read: the caller wants it so, or the system does.
fn read_only_reason(place: &Place, options: &Options) -> Result<Option<String>> {
    if options.read_only {
        return Ok(Some("it was opened so".into()));
    }
    let path = place.path(manifest::NAME);
    match place.fs.open(&path, OpenMode::Write) {
        Ok(_) => Ok(None),
        Err(error) if is_refusal(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(Error::io("open", &path, error)),
    }
}

/// The file of notes. To do without it is no harm before the time matters, but a device that fails is not passed over: it may have
/// the database's clock.
fn open_notes(place: &Place, read_only: bool) -> Result<Option<Arc<dyn File>>> {
    let mode = if read_only { OpenMode::Read } else { OpenMode::OpenOrCreate };
    match place.open(chain::NOTES, mode) {
        Err(error) if is_of_the_device(&error) => Err(error),
        opened => Ok(opened.ok()),
    }
}
