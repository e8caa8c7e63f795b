//! How to open a database: what a program may choose, and what happens when it does not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::types::{EngineKind, SyncMode};

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
    /// Ends a wait for another process's lock when it is raised. Default: none.
    pub(crate) interrupt: Option<Arc<AtomicBool>>,
    /// The engine of a database that is created. An existing one remembers its own.
    pub(crate) engine: EngineKind,
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

    /// A flag that ends a wait for another process's lock with `Interrupted` when it is raised (default: none).
    #[must_use]
    pub fn interrupt(mut self, raised: Arc<AtomicBool>) -> Self {
        self.interrupt = Some(raised);
        self
    }

    /// The engine of a database that is created (default: [`EngineKind::Simple`]).
    #[must_use]
    pub const fn engine(mut self, engine: EngineKind) -> Self {
        self.engine = engine;
        self
    }
}
