//! Locks between processes: empty files held with `flock`, which the kernel releases when a process dies.
//!
//! | file    | held                                                                                   |
//! |---------|----------------------------------------------------------------------------------------|
//! | `TURN`  | exclusive, while waiting for `LOCK`: a turnstile that keeps a tight loop from starving others; passed by where nobody waits |
//! | `LOCK`  | exclusive to commit, shared to catch up; for one command, never while idle             |
//! | `*.wal` | exclusive, by the one of those who wrote to a segment that syncs it for all           |
//! | `MAINT` | exclusive, by the one process that shortens the log                                    |
//! | `MERGE` | exclusive, by the one process that merges runs                                         |
//!
//! Order: `MERGE` before `MAINT` before `TURN` before `LOCK` before a segment, never the reverse.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::fs::{File, Fs, Inode, LockKind, OpenMode};
use crate::error::{Error, Holder, Result};

/// How long a waiter does not sleep at all, and lets others run only: on a fast device a commit takes about that long, and to
/// wake up takes half of it.
const BRISK: Duration = Duration::from_micros(200);
/// How long a waiter polls at its shortest interval: on other devices.
const EAGER: Duration = Duration::from_millis(2);
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);
const LONGEST_SLEEP: Duration = Duration::from_millis(5);

/// How long a process waits for others.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    pub timeout: Duration,
    /// Raised by whoever wants the wait to end.
    pub interrupt: Option<Arc<AtomicBool>>,
}

impl Patience {
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|raised| raised.load(Ordering::Relaxed))
    }

    /// Tries again and again, as one does since `start`, until an attempt comes to something.
    ///
    /// # Errors
    /// Those of an attempt; `Busy` for the file `lock` with what `holder` knows, after the timeout; `Interrupted`.
    pub(crate) fn wait<T>(
        &self,
        lock: &'static str,
        start: Instant,
        holder: impl Fn() -> Option<Holder>,
        attempt: impl Fn() -> Result<Option<T>>,
    ) -> Result<T> {
        let _punctual = Punctual::become_so();
        loop {
            if let Some(got) = attempt()? {
                return Ok(got);
            }
            let waited = start.elapsed();
            if self.is_interrupted() {
                return Err(Error::Interrupted);
            }
            if waited >= self.timeout {
                return Err(Error::Busy { lock, waited, holder: holder() });
            }
            rest(waited, self.timeout);
        }
    }
}

/// One lock file, opened by one handle.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: Arc<dyn File>,
    path: PathBuf,
    name: &'static str,
}

impl LockFile {
    /// Opens the lock file `name` of a database. Reading it is enough to lock it.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path, name: &'static str) -> Result<Self> {
        let path = dir.join(name);
        let file = fs.open(&path, OpenMode::Read).map_err(|error| Error::io("open", &path, error))?;
        Ok(Self { file, path, name })
    }

    /// Which file it is: no other is as long as this one is open.
    pub(crate) fn inode(&self) -> Inode {
        self.file.inode()
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn try_acquire(&self, kind: LockKind) -> Result<bool> {
        self.file.try_lock(kind).map_err(|error| Error::io("lock", &self.path, error))
    }

    /// Waits for the lock, as one has waited since `start`.
    ///
    /// # Errors
    /// `Busy` with what `holder` knows, after the timeout; `Interrupted`; I/O.
    pub(crate) fn acquire(
        &self,
        kind: LockKind,
        patience: &Patience,
        start: Instant,
        holder: impl Fn() -> Option<Holder>,
    ) -> Result<()> {
        patience.wait(self.name, start, holder, || Ok(self.try_acquire(kind)?.then_some(())))
    }

    /// Gives the lock back. Closing the file does so too, so an error changes nothing.
    pub(crate) fn release(&self) {
        drop(self.file.unlock());
    }
}

/// Lets the thread sleep for as short as it asks for, until it is dropped. Linux wakes threads up to 50 µs late else, to save
/// power: half a commit.
pub(crate) struct Punctual {
    #[cfg(target_os = "linux")]
    slack_before: Option<NonZeroU64>,
}

#[cfg(target_os = "linux")]
impl Punctual {
    pub(crate) fn become_so() -> Self {
        let slack_before = rustix::thread::current_timer_slack().ok().and_then(NonZeroU64::new);
        Self::set_slack(slack_before.and(NonZeroU64::new(1)));
        Self { slack_before }
    }

    /// Where it can't be set, sleeps are longer and nothing else is different.
    fn set_slack(slack: Option<NonZeroU64>) {
        if slack.is_some() {
            rustix::thread::set_current_timer_slack(slack).unwrap_or_default();
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Punctual {
    fn drop(&mut self) {
        Self::set_slack(self.slack_before);
    }
}

#[cfg(not(target_os = "linux"))]
impl Punctual {
    pub(crate) const fn become_so() -> Self {
        Self {}
    }
}

/// Waits a little before the next try, after having waited this long, and no longer than `limit` in all.
pub(crate) fn rest(waited: Duration, limit: Duration) {
    if waited < BRISK {
        thread::yield_now();
    } else {
        thread::sleep(pause(waited).min(limit.saturating_sub(waited)));
    }
}

/// How long to sleep between two tries after having waited this long.
fn pause(waited: Duration) -> Duration {
    if waited < EAGER { SHORTEST_SLEEP } else { (waited / 8).min(LONGEST_SLEEP) }
}
