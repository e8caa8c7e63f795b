//! [`Anchored`]: the file system as the handle of one directory sees it, which stays with the directory that it opened.
//!
//! Files that are open stay what they are, whatever becomes of their names. So a handle whose directory was removed would go on
//! in files that nobody else will ever see; and what it does by path would reach into the directory that somebody has put in
//! that place, whose files have the same names.
//!
//! 1. Every call on a path in the directory looks first whether a certain file there, the anchor, is still the one that the
//!    handle has open. If not, nothing is done: the call fails with [`Displaced`]. It is not `NotFound`, which has a meaning of
//!    its own.
//! 2. Where no file is made, removed or renamed an answer counts for as long as [`LASTS`]: in less nobody removes a database
//!    and makes another. So it does for who goes by open files alone, and asks [`Anchored::look`].
//! 3. Relative paths lead from where the process worked when the directory was opened. They are shown as they were given.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{File, Fs, Inode, Moment, OpenMode};
use crate::error::Displaced;

/// How long the anchor is taken to be where it was found.
const LASTS: Duration = Duration::from_micros(200);

/// A file system on which a directory is the one that it was.
#[derive(Debug)]
pub(crate) struct Anchored {
    fs: Arc<dyn Fs>,
    /// The directory as it was given, and from the root.
    dir: PathBuf,
    whole: PathBuf,
    /// A file in it, and which file that is.
    path: PathBuf,
    anchor: Inode,
    start: Instant,
    /// When the anchor was found in its place last, in nanoseconds since `start`.
    found: AtomicU64,
}

impl Anchored {
    /// `fs`, with the directory `dir` where the file `name` is `anchor`. The caller has that open for as long as this is used.
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &Path, name: &str, anchor: Inode) -> Self {
        let mut whole = fs.absolute(dir);
        // Who may go through the working directory need not be allowed to go through those above it.
        if dir.is_relative() && fs.inode(&whole.join(name)).ok() != Some(anchor) {
            dir.clone_into(&mut whole);
        }
        let (dir, path) = (dir.to_owned(), whole.join(name));
        Self { fs, dir, whole, path, anchor, start: Instant::now(), found: AtomicU64::new(0) }
    }

    /// Sees to it that the directory was the right one up to `now`, or nearly.
    ///
    /// # Errors
    /// [`Displaced`]; the operating system's.
    #[inline]
    pub(crate) fn look(&self, now: Instant) -> io::Result<()> {
        let now = nanos(now.saturating_duration_since(self.start));
        if now.saturating_sub(self.found.load(Ordering::Relaxed)) < nanos(LASTS) {
            return Ok(());
        }
        self.check()?;
        self.found.store(now, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        match self.fs.inode(&self.path) {
            Ok(found) if found == self.anchor => Ok(()),
            Err(error) if !is_absence(&error) => Err(error),
            _ => Err(io::Error::other(Displaced { dir: self.dir.clone() })),
        }
    }

    /// Where a path leads for who changes something there; in the directory only as long as that is the one that it was.
    fn at<'p>(&self, path: &'p Path) -> io::Result<Cow<'p, Path>> {
        if path.starts_with(&self.dir) {
            self.check()?;
        }
        Ok(self.lead(path))
    }

    /// The same for who changes nothing.
    fn seen_at<'p>(&self, path: &'p Path) -> io::Result<Cow<'p, Path>> {
        if path.starts_with(&self.dir) {
            self.look(Instant::now())?;
        }
        Ok(self.lead(path))
    }

    fn lead<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        match path.strip_prefix(&self.dir) {
            Ok(rest) if self.dir != self.whole => self.whole.join(rest).into(),
            _ => path.into(),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether an error says that a path leads nowhere.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Fs for Anchored {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = if mode == OpenMode::CreateNew { self.at(path) } else { self.seen_at(path) };
        self.fs.open(&path?, mode)
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.fs.inode(&self.lead(path))
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.fs.absolute(&self.lead(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(&self.at(from)?, &self.at(to)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.link(&self.at(from)?, &self.at(to)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_file(&self.at(path)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir(&self.at(path)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir(&self.at(path)?)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.fs.read_dir(&self.seen_at(path)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.sync_dir(&self.seen_at(path)?)
    }

    fn now(&self) -> Moment {
        self.fs.now()
    }

    fn boot_id(&self) -> io::Result<u128> {
        self.fs.boot_id()
    }
}
