//! How to open a database: what a program may choose, and what happens when it does not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::types::{Compression, EngineKind, SyncMode};

/// How much an engine does at once, in bytes, and whether and when on a thread of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The first segment of a log is small, so that the first write to a new database is quick.
    pub(crate) first_segment: u64,
    /// Each segment is four times the one before it, up to this.
    pub(crate) full_segment: u64,
    /// Sealed memtables are flushed when they take so much memory: it is what the next process may have to read of the log.
    pub(crate) flush: u64,
    /// With more in sealed memtables than this a writer flushes itself, so that memory is bounded.
    pub(crate) most_sealed: u64,
    /// A run is cut into tables of about this size.
    pub(crate) table: u64,
    /// What is merged at once in the background.
    pub(crate) slice: u64,
    /// What is merged at once while somebody waits for it.
    pub(crate) short_slice: u64,
    /// What a bulk holds in memory.
    pub(crate) chunk: u64,
    /// Flush and merge on a thread, or a little of it before the write that made it due returns.
    pub(crate) in_background: bool,
    /// How long that thread waits, when nothing is due, before it looks whether somebody still writes.
    pub(crate) pause: Duration,
}

impl Pace {
    pub(crate) const USUAL: Self = Self {
        first_segment: 64 << 10,
        full_segment: 4 << 20,
        flush: 24 << 20,
        most_sealed: 48 << 20,
        table: 64 << 20,
        slice: 32 << 20,
        short_slice: 8 << 20,
        chunk: 48 << 20,
        in_background: true,
        pause: Duration::from_millis(250),
    };

    /// For tests: little data makes many flushes, tables and slices, one call after the other.
    #[cfg(any(test, fuzzing))]
    pub(crate) const SMALL: Self = Self {
        first_segment: 64 << 10,
        full_segment: 4 << 20,
        flush: 1,
        most_sealed: 200_000,
        table: 40_000,
        slice: 60_000,
        short_slice: 20_000,
        chunk: 2_000,
        in_background: false,
        pause: Duration::from_hours(1),
    };
}

/// How to open a database.
///
/// ```no_run
/// let db = kvdb::Options::new().create(false).open("state.kvdb")?;
/// # Ok::<(), kvdb::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the database when the directory is missing or empty. Default: yes.
    pub(crate) create: bool,
    /// Refuse writes, and need no permission for them. Default: no.
    pub(crate) read_only: bool,
    /// When writes are synced. Default: [`SyncMode::Group`].
    pub(crate) sync: SyncMode,
    /// How long to wait for another process's lock. Default: 5 s.
    pub(crate) lock_timeout: Duration,
    /// Ends a wait for another process's lock, and a bulk, when it is raised. Default: none.
    pub(crate) interrupt: Option<Arc<AtomicBool>>,
    /// The engine of a database that is created. An existing one remembers its own.
    pub(crate) engine: EngineKind,
    /// How values are packed. Default: [`Compression::None`].
    pub(crate) compression: Compression,
    pub(crate) pace: Pace,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            sync: SyncMode::default(),
            lock_timeout: Duration::from_secs(5),
            interrupt: None,
            engine: EngineKind::default(),
            compression: Compression::default(),
            pace: Pace::USUAL,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a missing database is created (default) or an error.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether writes are refused (default: no).
    #[must_use]
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// When writes are synced (default: [`SyncMode::Group`]).
    #[must_use]
    pub const fn sync(mut self, sync: SyncMode) -> Self {
        self.sync = sync;
        self
    }

    /// How long to wait for another process's lock (default: 5 s).
    #[must_use]
    pub const fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// A flag that, when it is raised, ends a wait for another process's lock, and what a bulk writes, with `Interrupted`
    /// (default: none).
    #[must_use]
    pub fn interrupt(mut self, raised: Arc<AtomicBool>) -> Self {
        self.interrupt = Some(raised);
        self
    }

    /// Whether files are tidied up on a thread while the handle is open (default: yes). Without, writes and the end of the
    /// handle pay for it a little at a time: for processes that end soon.
    #[must_use]
    pub const fn background(mut self, background: bool) -> Self {
        self.pace.in_background = background;
        self
    }

    /// How values are packed in the tables that this handle writes, which are all once it compacts (default:
    /// [`Compression::None`]). However they are packed, every handle reads them. The simple engine packs nothing.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The engine of a database that is created (default: [`EngineKind::Kv`]).
    #[must_use]
    pub const fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }
}
